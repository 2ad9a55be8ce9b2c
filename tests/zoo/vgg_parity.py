"""Records what torchvision's own VGG networks answer, see recorded.py.

    pip install torch==2.13.0 torchvision==0.28.0
    PYTHONPATH=tests/zoo python tests/zoo/vgg_parity.py

The thin networks are of torchvision's class and its `make_layers`, with the widths below and a
classifier like its own of so many units, as its own has no such argument.
"""

import functools
import itertools

import recorded

RECORD = recorded.Record("vgg")
FULL = ("vgg16", "vgg16_bn", "vgg19", "vgg19_bn")
WIDTH, HIDDEN, CLASSES = 4, 24, 10  # of the thin networks
# The second leaves 6x5 features behind the last pooling, which bins of 7x7 repeat; the third 9x8.
SIZES = ((224, 224), (193, 161), (301, 257))
FULL_SIZES = SIZES[:2]


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

    library = recorded.declare_torchvision()
    import torchvision  # pyright: ignore[reportMissingImports]
    from torchvision.models import vgg  # pyright: ignore[reportMissingImports]

    thin = [(f"thin {name}", functools.partial(_thin, torch, vgg, name), SIZES) for name in FULL]
    full = [(name, getattr(vgg, name), FULL_SIZES) for name in FULL]
    versions = {module.__name__: module.__version__ for module in (torch, torchvision)}
    RECORD.write([*thin, *full], versions)
    del library


if __name__ == "__main__":
    _record()
