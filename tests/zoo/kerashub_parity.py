"""Records what KerasHub's ResNets answer.

    pip install keras-hub==0.32.0 keras==3.15.1 tensorflow==2.21.0
    PYTHONPATH=tests/zoo python tests/zoo/kerashub_parity.py

The networks have the weights that `parity.weights` makes for the names of their layers and
variables. kerashub_parity.json has these names and shapes, with each preset's configuration and
image converter; kerashub_parity.npz the logits. What a preset's folder holds is written from that
by `preset`, laid out as KerasHub's own `save_to_preset` does it, which is checked here.
"""

import json
import tempfile
from pathlib import Path

import h5py
import numpy as np
import parity
import recorded

NAMES, ANSWERS = recorded.HERE / "kerashub_parity.json", recorded.HERE / "kerashub_parity.npz"
SIZES, CLASSES = ((224, 224), (193, 161)), 10
# Names here, block types, blocks of the stages, whether it is v2.
NETWORKS = {
    "resnet18": ("basic_block", (2, 2, 2, 2), False),
    "resnet50": ("bottleneck_block", (3, 4, 6, 3), False),
    "resnetv2_50": ("bottleneck_block", (3, 4, 6, 3), True),
}


def values(layer, leaf, shape):
    """The weights of a variable by the rule."""
    return parity.weights(f"{layer}/{leaf}", shape, int(np.prod(shape[:-1])))


def preset(folder, name):
    """Writes a preset's folder as `save_to_preset` does, with weights by the rule."""
    recorded_networks = json.loads(NAMES.read_text())["networks"]
    found = recorded_networks[name]
    folder.mkdir()
    for file in ("config.json", "image_converter.json"):
        (folder / file).write_text(json.dumps(found[file]))
    (folder / "task.json").write_text("{}")
    for file in ("model.weights.h5", "task.weights.h5"):
        with h5py.File(folder / file, "w") as target:
            for group, layer, variables in found[file]:
                own = target.create_group(f"layers/{group}/vars")
                own.attrs["name"] = layer
                for index, (leaf, shape) in enumerate(variables):
                    own[str(index)] = values(layer, leaf, tuple(shape))
    return folder


def _layers(model, path):
    """The groups of a file, with the layers' names and their variables'."""
    by_name = {layer.name: layer for layer in model.layers}
    found = []
    with h5py.File(path) as file:
        for group in file["layers"].values():
            own = group.get("vars")
            if own is None or not len(own):
                continue
            layer = own.attrs["name"]
            variables = [[v.path.rpartition("/")[2], list(v.shape)] for v in by_name[layer].weights]
            assert [tuple(own[str(i)].shape) for i in range(len(own))] == [
                tuple(shape) for _, shape in variables
            ]
            found.append([group.name.rpartition("/")[2], layer, variables])
    return found


def _record():
    import keras
    import keras_hub  # pyright: ignore[reportMissingImports]

    mean, std = (np.array(v) * 255 for v in recorded.IMAGENET)
    networks, answers = {}, {}
    for name, (block, blocks, preactivated) in NETWORKS.items():
        backbone = keras_hub.models.ResNetBackbone(
            input_conv_filters=[64],
            input_conv_kernel_sizes=[7],
            stackwise_num_filters=[64, 128, 256, 512],
            stackwise_num_blocks=list(blocks),
            stackwise_num_strides=[1, 2, 2, 2],
            block_type=block,
            use_pre_activation=preactivated,
        )
        converter = keras_hub.layers.ResNetImageConverter(
            image_size=(224, 224),
            scale=[float(v) for v in 1 / std],
            offset=[float(v) for v in -mean / std],
            interpolation="bicubic",
        )
        processor = keras_hub.models.ResNetImageClassifierPreprocessor(converter)
        model = keras_hub.models.ResNetImageClassifier(
            backbone=backbone, num_classes=CLASSES, preprocessor=processor
        )
        head = model.get_layer("predictions")
        for layer in (*backbone.layers, head):
            for v in layer.weights:
                v.assign(values(layer.name, v.path.rpartition("/")[2], tuple(v.shape)))
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / name
            model.save_to_preset(place)
            networks[name] = {
                "config.json": json.loads((place / "config.json").read_text()),
                "image_converter.json": json.loads((place / "image_converter.json").read_text()),
                "model.weights.h5": _layers(backbone, place / "model.weights.h5"),
                "task.weights.h5": _layers(model, place / "task.weights.h5"),
            }
        for height, width in SIZES:
            pixels = (parity.images(height, width).astype("float32") - mean) / std
            answer = np.asarray(model(pixels.astype("float32")))
            answers[f"{name} {height}x{width}"] = answer
        print(name, flush=True)
    versions = {module.__name__: module.__version__ for module in (keras, keras_hub)}
    NAMES.write_text(json.dumps({"versions": versions, "networks": networks}) + "\n")
    np.savez_compressed(ANSWERS, **answers)


if __name__ == "__main__":
    _record()
