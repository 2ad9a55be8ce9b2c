"""Records what the ResNets of Hugging Face's transformers answer.

    pip install torch==2.13.0 transformers==5.24.0 torchvision==0.28.0 pillow
    PYTHONPATH=tests/zoo python tests/zoo/transformers_parity.py

Its networks are torchvision's with other names. So their weights are those that the rule of
parity.py makes for torchvision's names, which parity.json has; that transformers' names follow from
these, by `name`, is checked here. The logits are in transformers_parity.npz.
"""

import json
import re

import numpy as np
import parity
import recorded

ANSWERS = recorded.HERE / "transformers_parity.npz"
DEPTHS, CLASSES = (18, 34, 50, 101, 152), 10
SIZES = ((224, 224), (193, 161))
BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
_KINDS = {"conv": "convolution", "bn": "normalization"}
_BLOCK = re.compile(r"layer(\d)\.(\d+)\.(?:downsample\.([01])|(conv|bn)(\d))\.(\w+)")


def name(torch_name):
    """What transformers calls one of torchvision's tensors."""
    match = _BLOCK.fullmatch(torch_name)
    if match is None:
        layer, _, leaf = torch_name.partition(".")
        if layer == "fc":
            return f"classifier.1.{leaf}"
        return f"resnet.embedder.embedder.{_KINDS[layer[:-1]]}.{leaf}"
    stage, block, place, kind, number, leaf = match.groups()
    where = "shortcut" if place else f"layer.{int(number) - 1}"
    kind = _KINDS[kind] if kind else list(_KINDS.values())[int(place)]
    return f"resnet.encoder.stages.{int(stage) - 1}.layers.{block}.{where}.{kind}.{leaf}"


def tensors(depth):
    """The weights of a network by transformers' names."""
    shapes = json.loads(parity.NAMES.read_text())["tensors"][f"resnet{depth}"]
    found = {}
    for torch_name, shape in shapes:
        shape = (CLASSES, *shape[1:]) if torch_name.startswith("fc.") else tuple(shape)
        found[name(torch_name)] = parity.torch_weights(torch_name, shape)
    return found


def _record():
    import torch  # pyright: ignore[reportMissingImports]

    library = recorded.declare_torchvision()
    from transformers import (  # pyright: ignore[reportMissingImports]
        ResNetConfig,
        ResNetForImageClassification,
    )

    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in recorded.IMAGENET)
    answers = {}
    for depth in DEPTHS:
        bottleneck = depth >= 50
        config = ResNetConfig(
            depths=list(BLOCKS[depth]),
            layer_type="bottleneck" if bottleneck else "basic",
            hidden_sizes=[width * (4 if bottleneck else 1) for width in (64, 128, 256, 512)],
            num_labels=CLASSES,
        )
        model = ResNetForImageClassification(config).eval()
        state = {key: torch.from_numpy(np.array(v)) for key, v in tensors(depth).items()}
        missing, unexpected = model.load_state_dict(state, strict=False)
        assert not unexpected
        assert all(key.endswith("num_batches_tracked") for key in missing)
        for height, width in SIZES:
            pixels = torch.from_numpy(parity.images(height, width)).permute(0, 3, 1, 2).float()
            with torch.no_grad():
                answer = model((pixels / 255 - mean) / std).logits.numpy()
            answers[f"{depth} {height}x{width}"] = answer
        print(depth, flush=True)
    np.savez_compressed(ANSWERS, **answers)
    del library


if __name__ == "__main__":
    _record()
