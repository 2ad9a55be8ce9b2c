"""Turns an HDF5 file into safetensors, in a process of its own: `python hdf5.py IN OUT BYTES`.

The HDF5 library may take all memory, or crash, over a few wrong bytes: version 1.14 asks for more
and more of it while it lists a group whose names overlap. Here it can take BYTES of address space,
and what it does to its process is no harm. This file imports nothing of the package.
"""

import json
import sys

MAX_CONFIG = 8 * 2**20  # bytes; ResNet-1202's has 4 MB
MAX_NAME = 200  # characters of a layer's
OWN_MEMORY = 2**30  # bytes of address space that Python and its libraries take, with a margin


class Refused(ValueError):
    """A file that is not read; the message follows its name."""


def read(path):
    """Reads all floating-point tensors and the configuration of a whole model, if there is one.

    Links out of the file are not followed. Returns a dict of float32 arrays by path, the
    configuration's text or None, and the names that Keras notes of numbered layers, by the layer's
    path; raises `Refused`.
    """
    import h5py
    import numpy as np

    tensors, config, layers = {}, None, {}

    def add(name, item):
        if isinstance(item, h5py.Group) and name.endswith("/vars"):
            noted = item.attrs.get("name")
            if isinstance(noted, str) and len(noted) <= MAX_NAME:
                layers[name.removesuffix("/vars")] = noted
        if not isinstance(item, h5py.Dataset) or item.shape is None:
            return
        if item.is_virtual or item.external:
            raise Refused(f"refers to another file in {name}, which is not followed")
        bfloat16 = item.dtype == "V2" and item.attrs.get("dtype") == "bfloat16"  # as Keras has it
        if item.dtype.kind != "f" and not bfloat16:
            return  # Keras keeps counters and names beside the weights
        if item.id.get_storage_size() != item.nbytes:
            raise Refused(f"has {name} compressed or incomplete, which is not read")
        values = item[()]
        if bfloat16:
            values = (values.view("uint16").astype("uint32") << 16).view("float32")
        tensors[name] = np.asarray(values, "float32")

    with h5py.File(path, "r") as file:
        file.visititems(add)
        found = file.attrs.get("model_config")  # of a whole model in the old format
        if isinstance(found, str) and len(found) <= MAX_CONFIG:
            config = found
    return tensors, config, layers


def limit_memory(size):
    """Bounds the process's address space, where the system can."""
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_AS, (size, size))


def main(source, target, size):
    limit_memory(int(size))
    try:
        tensors, config, layers = read(source)
    except Refused as error:
        return str(error)
    except Exception as error:  # h5py raises whatever the C library's error maps to
        return f"is not a readable HDF5 file: {error}"
    from safetensors.numpy import save_file

    metadata = {"config": config or json.dumps({}), "layers": json.dumps(layers)}
    save_file(tensors, target, metadata=metadata)
    return None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
