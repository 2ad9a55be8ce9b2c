"""Writes networks in every format that the zoo reads, other projects' layouts included."""

import h5py
import numpy as np
import torch_names
from safetensors.numpy import save_file

from resnet_keras import zoo

KERAS_APPLICATIONS = "applications.h5"
TORCH = "torch.safetensors"
OWN = ("folder", "w.safetensors", "w.keras", "w.h5", "w.weights.h5")
NUMBERED = "numbered.weights.h5"


def write(model, folder, kind):
    """Writes a model as one of the kinds above; returns the path."""
    path = folder / kind
    if kind == "folder":
        zoo.save(model, path)
    elif kind == "w.safetensors":
        zoo.weights.save(path, model)
    elif kind == TORCH:
        save_file(_torch_tensors(model), path, metadata={"format": "pt"})
    elif kind == KERAS_APPLICATIONS:
        _write_keras_applications(model, path)
    elif kind == NUMBERED:
        model.save_weights(path)
        without_names(path)
    elif kind.endswith(".weights.h5"):
        model.save_weights(path)
    else:
        model.save(path)
    return path


def without_names(path):
    """Makes a `.weights.h5` file as an older Keras wrote it: layers have numbers only."""
    with h5py.File(path, "a") as file:
        named = []
        file.visititems(lambda _, item: named.append(item) if "name" in item.attrs else None)
        for item in named:
            del item.attrs["name"]


def randomize(model):
    """Gives batch normalizations weights and statistics that are not the initial ones."""
    generator = np.random.default_rng(0)
    for v in model.variables:
        if "_bn/" in v.path:
            v.assign(generator.uniform(0.5, 1.5, v.shape))
    return model


def equal(found, expected):
    """Asserts that two arrays are equal up to rounding, which is relative to the largest value."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def _torch_tensors(model):
    tensors = {}
    for layer in model.layers:
        for (name, _), v in zip(torch_names.tensors(layer), layer.weights, strict=False):
            axes = {4: (3, 2, 0, 1), 2: (1, 0)}.get(len(v.shape), (0,))
            tensors[name] = np.ascontiguousarray(np.asarray(v).transpose(axes))
    return tensors


def _write_keras_applications(model, path):
    """With biases before batch normalizations, BGR pixels, and layers without weights."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name for layer in model.layers]
        for layer in model.layers:
            tensors = {v.path.rpartition("/")[2]: np.asarray(v) for v in layer.weights}
            if layer.name == "normalization":
                continue
            if layer.name.endswith("_conv"):
                tensors["bias"] = np.full(tensors["kernel"].shape[-1], 0.25, "float32")
            if layer.name == "conv1_conv":
                tensors["kernel"] = tensors["kernel"][:, :, ::-1]
            if layer.name.endswith("_bn"):
                tensors["moving_mean"] = tensors["moving_mean"] + 0.25
            name = "probs" if layer.name == "logits" else layer.name
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"{name}/{leaf}:0" for leaf in tensors]
            for leaf, values in tensors.items():
                group[f"{name}/{leaf}:0"] = values
