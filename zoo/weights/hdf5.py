"""Turns an HDF5 file into safetensors, in a process of its own: `python hdf5.py IN OUT BYTES`.

The HDF5 library may take all memory, or crash, over a few wrong bytes: version 1.14 asks for more
and more of it while it lists a group whose names overlap. Here it can take BYTES of address space,
and what it does to its process is no harm. This file imports nothing of the package.
"""

import json
import sys

MAX_CONFIG = 8 * 2**20  # bytes; ResNet-1202's has 4 MB
MAX_NAME = 100  # characters of a layer's name
OWN_MEMORY = 2**30  # bytes of address space that Python and its libraries take, with a margin


class Refused(ValueError):
    """A file that is not read; the message follows its name."""


def read(path):
    """Reads a model's floating-point weights, and what the file says of its layers.

    What is not of the layers, as the optimizer's variables, is left alone, and links out of the
    file are not followed. Returns a dict of float32 arrays by path; the configuration's text of a
    whole model, or None; and the names of the layers, those without weights too, by the paths of
    their groups. Raises `Refused`.
    """
    import h5py
    import numpy as np

    tensors, config, layers = {}, None, {}

    def add(name, item):
        if not is_weight(name, whole):
            return
        if isinstance(item, h5py.Group):
            layers.update(layer(name, item.attrs))
            return
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
        whole = "model_weights" in file
        file.visititems(add)
        found = file.attrs.get("model_config")  # of a whole model in the old format
        if isinstance(found, str) and len(found) <= MAX_CONFIG:
            config = found
    return tensors, config, layers


def is_weight(name, whole):
    """Whether a path is of a layer; `whole` is a model in the old format.

    Beside them a file has variables of the optimizer, and may have others' (`vars` that are of no
    layer). They may be anything: the gradient norms of updates to come are NaN.
    """
    parts = name.split("/")
    if whole:
        return parts[0] == "model_weights"
    if parts[0] in ("optimizer", "optimizer_weights"):
        return False
    return "vars" not in parts or "layers" in parts


def layer(name, attributes):
    """A layer's name by the path of its group; empty for other groups.

    The old format has the name in the path. The new one numbers a model's layers by their class
    (`layers/conv2d_3/vars`) and has the name beside it; without, as older Keras wrote it, the
    number must do.
    """
    if "weight_names" in attributes:
        return {name: name.rpartition("/")[2]}
    group, _, last = name.rpartition("/")
    if last != "vars" or group.rpartition("/")[0].rpartition("/")[2] != "layers":
        return {}
    named = attributes.get("name")
    known = isinstance(named, str) and named.isascii() and len(named) <= MAX_NAME
    return {group: named if known else group.rpartition("/")[2]}


def limit_memory(size):
    """Bounds the process's address space, where the system can."""
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_AS, (size, size))


def main(source, target, size):
    """Reads the file `source` and writes its tensors to `target`; returns what was wrong."""
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
