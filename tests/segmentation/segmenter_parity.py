"""Records what torchvision's segmenters and dilated networks answer to random weights.

    pip install torch==2.13.0 torchvision==0.28.0
    PYTHONPATH=tests/zoo python tests/segmentation/segmenter_parity.py

It writes segmenter_parity.json (names and shapes of the heads' tensors, counts, versions) and
segmenter_parity.npz (answers) beside itself. Neither holds weights or images: both follow from the
rule of parity.py. The tests need none of these packages.
"""

import json
from pathlib import Path

import numpy as np
import parity

HERE = Path(__file__).parent
NAMES, ANSWERS = HERE / "segmenter_parity.json", HERE / "segmenter_parity.npz"
SEGMENTERS = ("fcn_resnet50", "deeplabv3_resnet50")
# Thin, so that DeepLabV3's convolutions, which reach 36 values of a map, see something there.
SIZES = ((304, 40), (33, 301))
# Of the answers so much is recorded: pixels, which no size divides, and the channels of features.
ROWS, COLUMNS = slice(None, None, 5), slice(None, None, 7)
CHANNELS = slice(None, None, 128)
DILATED = {16: [False, False, True], 8: [False, True, True]}  # by output stride
COUNTED = (96, 64)  # pixels for which multiply-adds are counted


def image(size):
    """uint8 pixels (1, height, width, 3)."""
    return parity.images(*size, count=1)


def first_1x1(torchvision, torch, model):
    """Moves the strides of torchvision's ResNet to the first 1x1 convolutions, the paper's place.

    So does the first 3x3 of a dilated stage, which torchvision leaves at the dilation before it:
    it now stands behind the place where the stage would have strided.
    """
    dilation = 1
    for stage in (model.layer2, model.layer3, model.layer4):
        first, later = stage[0], stage[1]
        first.conv1.stride, first.conv2.stride = first.conv2.stride, (1, 1)
        first.conv2.dilation = first.conv2.padding = later.conv2.dilation
        assert later.conv2.dilation[0] >= dilation
        dilation = later.conv2.dilation[0]
    return model


def _shapes(torch, model):
    """Sets a model's weights by the rule; their shapes by name."""
    state = model.state_dict()
    shapes = {k: tuple(v.shape) for k, v in state.items() if "num_batches" not in k}
    for name, shape in shapes.items():
        # The same tensors in a segmenter's backbone as in a network.
        values = parity.torch_weights(name.removeprefix("backbone."), shape)
        state[name] = torch.from_numpy(values)
    model.load_state_dict(state)
    model.eval()
    return shapes


def _input(torch, size):
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    return (torch.from_numpy(image(size)).permute(0, 3, 1, 2).float() / 255 - mean) / std


def _multiply_adds(torch, model, size):
    """Of convolutions and dense layers, by hooks."""
    total = 0

    def hook(module, inputs, output):
        nonlocal total
        total += output.shape[2:].numel() * module.weight.numel()

    hooks = [
        module.register_forward_hook(hook)
        for module in model.modules()
        if isinstance(module, torch.nn.Conv2d)
    ]
    with torch.no_grad():
        model(_input(torch, size))
    for handle in hooks:
        handle.remove()
    return total


def _features(torch, model, x):
    """Of each stage by endpoint, (h, w, channels)."""
    features = {}
    with torch.no_grad():
        x = model.maxpool(model.relu(model.bn1(model.conv1(x))))
        for number in (1, 2, 3, 4):
            x = getattr(model, f"layer{number}")(x)
            features[f"conv{number + 1}"] = x[0].permute(1, 2, 0).numpy()
    return features


def _record():
    import torch  # pyright: ignore[reportMissingImports]

    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision  # pyright: ignore[reportMissingImports]

    answers, tensors, counts = {}, {}, {}
    for stride, replaced in DILATED.items():
        for place in ("3x3", "1x1"):
            model = torchvision.models.resnet50(replace_stride_with_dilation=replaced)
            if place == "1x1":
                first_1x1(torchvision, torch, model)
            _shapes(torch, model)
            key = f"resnet50 {stride} {place}"
            for size in SIZES if place == "3x3" else SIZES[1:]:
                for name, values in _features(torch, model, _input(torch, size)).items():
                    if name in ("conv4", "conv5"):
                        answers[f"{key} {size[0]}x{size[1]} {name}"] = values[..., CHANNELS]
            model.fc = torch.nn.Identity()
            counts[key] = _multiply_adds(torch, model, COUNTED)
    for name in SEGMENTERS:
        source = getattr(torchvision.models.segmentation, name)
        model = source(weights=None, weights_backbone=None, aux_loss=True)
        shapes = _shapes(torch, model)
        tensors[name] = [[n, list(s)] for n, s in shapes.items() if not n.startswith("backbone.")]
        for size in SIZES:
            with torch.no_grad():
                outputs = model(_input(torch, size))
            for output, values in outputs.items():
                values = values[0].permute(1, 2, 0)[ROWS, COLUMNS].numpy()
                answers[f"{name} {size[0]}x{size[1]} {output}"] = values
                print(name, size, output, values.shape, float(np.abs(values).max()))
        counts[f"{name} auxiliary"] = _multiply_adds(torch, model, COUNTED)
        model.aux_classifier = None
        counts[name] = _multiply_adds(torch, model, COUNTED)
    versions = {m.__name__: m.__version__ for m in (torch, torchvision)}
    recorded = {"versions": versions, "multiply_adds": counts, "tensors": tensors}
    NAMES.write_text(json.dumps(recorded) + "\n")
    np.savez_compressed(ANSWERS, **answers)
    print(f"{ANSWERS.stat().st_size:,} bytes")


if __name__ == "__main__":
    _record()
