"""Records what torchvision's and timm's networks of `families.variants` answer, see recorded.py.

    pip install torch==2.13.0 torchvision==0.28.0 timm==1.0.31
    PYTHONPATH=tests/zoo python tests/zoo/variant_parity.py

All are the projects' own, but for ten classes.
"""

import functools

import recorded

RECORD = recorded.Record("variant")
SIZES = ((224, 224), (193, 161))
CLASSES = 10
FULL = {
    "timm": (
        *("resnext50_32x4d", "resnet50c", "resnet18d", "resnet50d", "seresnet18", "seresnet50"),
        *("seresnext50_32x4d", "legacy_seresnet18", "legacy_seresnet50"),
        *("legacy_seresnext50_32x4d", "wide_resnet50_2"),
    ),
    "large": (
        *("resnext101_32x4d", "resnext101_64x4d", "resnet34d", "resnet101d", "resnet152d"),
        *("seresnet34", "seresnet101", "seresnet152", "seresnext101_32x4d"),
        *("seresnext101_32x8d", "seresnext101_64x4d"),
        *("legacy_seresnet34", "legacy_seresnet101", "legacy_seresnet152"),
        "legacy_seresnext101_32x4d",
    ),
    "torchvision": ("resnext50_32x4d", "resnext101_32x8d", "wide_resnet50_2", "wide_resnet101_2"),
}
# Networks at an output stride. (Those of D average otherwise in timm's, see networks/resnet_d.py.)
DILATED = (("resnext50_32x4d", 16), ("seresnet18", 8))


def _record():
    import torch  # pyright: ignore[reportMissingImports]

    library = recorded.declare_torchvision()
    import timm  # pyright: ignore[reportMissingImports]
    import torchvision  # pyright: ignore[reportMissingImports]

    timms = [
        (name, functools.partial(timm.create_model, name, num_classes=CLASSES), SIZES)
        for name in (*FULL["timm"], *FULL["large"])
    ]
    torchvisions = [
        (
            f"torchvision {name}",
            functools.partial(getattr(torchvision.models, name), num_classes=CLASSES),
            SIZES,
        )
        for name in FULL["torchvision"]
    ]
    dilated = [
        (
            f"{name} at {stride}",
            functools.partial(timm.create_model, name, num_classes=CLASSES, output_stride=stride),
            SIZES[1:],
        )
        for name, stride in DILATED
    ]
    versions = {module.__name__: module.__version__ for module in (torch, torchvision, timm)}
    RECORD.write([*timms, *torchvisions, *dilated], versions)
    del library


if __name__ == "__main__":
    _record()
