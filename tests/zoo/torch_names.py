"""torchvision's names for the weights of this package's layers."""

import re


def tensors(layer):
    """torchvision's names and shapes of a layer's weights."""
    shapes = [tuple(v.shape) for v in layer.weights]
    if layer.name == "logits":
        return [("fc.weight", shapes[0][::-1]), ("fc.bias", shapes[1])]
    match = re.fullmatch(r"conv(\d)(?:_block(\d+)_(\d))?_(conv|bn)", layer.name)
    if not match:
        return []
    stage, block, number, kind = match.groups()
    if block is None:
        name = f"{kind}1"
    elif number == "0":
        place = "0" if kind == "conv" else "1"
        name = f"layer{int(stage) - 1}.{int(block) - 1}.downsample.{place}"
    else:
        name = f"layer{int(stage) - 1}.{int(block) - 1}.{kind}{number}"
    if kind == "conv":
        height, width, channels, filters = shapes[0]
        return [(f"{name}.weight", (filters, channels, height, width))]
    leaves = ("weight", "bias", "running_mean", "running_var")
    return [(f"{name}.{leaf}", shape) for leaf, shape in zip(leaves, shapes, strict=True)]
