"""What torchvision's own VGG networks answer to weights and images by the rule of parity.py.

Run as a script, it records the answers.

    pip install torch==2.13.0 torchvision==0.28.0
    PYTHONPATH=tests/zoo python tests/zoo/vgg_parity.py

It writes vgg_parity.json (names and shapes of the networks' tensors, versions) and vgg_parity.npz
(logits) beside itself. The thin networks are of torchvision's class and its `make_layers`, with the
widths below and a classifier like its own of so many units, as its own has no such argument.
"""

import itertools
import json
from pathlib import Path

import numpy as np
import parity

HERE = Path(__file__).parent
NAMES, LOGITS = HERE / "vgg_parity.json", HERE / "vgg_parity.npz"
FULL = ("vgg16", "vgg16_bn", "vgg19", "vgg19_bn")
WIDTH, HIDDEN, CLASSES = 4, 24, 10  # of the thin networks
# The second leaves 6x5 features behind the last pooling, which bins of 7x7 repeat; the third 9x8.
SIZES = ((224, 224), (193, 161), (301, 257))
FULL_SIZES = SIZES[:2]


def _declare(torch):
    """Declares operations that torchvision's Python code asks for as it is imported."""
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


def _thin(torch, vgg, name):
    depth, batch_norm = name.removesuffix("_bn"), name.endswith("_bn")
    widths = [v if v == "M" else v * WIDTH // 64 for v in vgg.cfgs["D" if "16" in depth else "E"]]
    model = vgg.VGG(torch.nn.Identity(), init_weights=False)
    model.features = vgg.make_layers(widths, batch_norm=batch_norm)
    sizes = (8 * WIDTH * 49, HIDDEN, HIDDEN, CLASSES)
    for place, (inputs, outputs) in zip((0, 3, 6), itertools.pairwise(sizes), strict=True):
        model.classifier[place] = torch.nn.Linear(inputs, outputs)
    return model


def _record():
    import torch  # pyright: ignore[reportMissingImports]

    library = _declare(torch)
    import torchvision  # pyright: ignore[reportMissingImports]
    from torchvision.models import vgg  # pyright: ignore[reportMissingImports]

    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    names, logits = {}, {}
    for full in (False, True):
        for name in FULL:
            called = name if full else f"thin {name}"
            model = getattr(vgg, name)() if full else _thin(torch, vgg, name)
            state = model.state_dict()
            shapes = {k: tuple(v.shape) for k, v in state.items() if "num_batches" not in k}
            for key, shape in shapes.items():
                state[key] = torch.from_numpy(parity.torch_weights(key, shape))
            model.load_state_dict(state)
            model.eval()
            names[called] = [[key, list(shape)] for key, shape in shapes.items()]
            for size in FULL_SIZES if full else SIZES:
                pixels = torch.from_numpy(parity.images(*size)).permute(0, 3, 1, 2).float()
                with torch.no_grad():
                    found = model((pixels / 255 - mean) / std).numpy()
                logits[f"{called} {size[0]}x{size[1]}"] = found
            print(called, flush=True)
    del library
    versions = {module.__name__: module.__version__ for module in (torch, torchvision)}
    NAMES.write_text(json.dumps({"versions": versions, "tensors": names}) + "\n")
    np.savez_compressed(LOGITS, **logits)


if __name__ == "__main__":
    _record()
