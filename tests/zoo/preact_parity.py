"""Records what timm's own pre-activation networks answer, see recorded.py.

    pip install torch==2.13.0 torchvision==0.28.0 timm==1.0.31
    PYTHONPATH=tests/zoo python tests/zoo/preact_parity.py

The thin ones are of timm's class with the width below, which is an argument of it; so are the
dilated ones. keras.applications' networks are asked in the test itself. The authors' code is in
Lua: what `cifar` builds are its layers in torch's, in the order of resnet-pre-act.lua
(github.com/KaimingHe/resnet-1k-layers) and wide-resnet.lua (szagoruyko/wide-residual-networks).
"""

import functools

import recorded

RECORD = recorded.Record("preact")
WIDTH, CLASSES = 8, 10  # of the thin networks; timm rounds to multiples of 8
SIZES = ((224, 224), (193, 161))
CIFAR_SIZES = ((32, 32), (27, 27))
FULL = ("resnetv2_50", "resnetv2_101", "resnetv2_152")
DILATED = (16, 8)
CIFAR = ("preact_resnet20", "preact_resnet29", "wrn10_2", "wrn16_1")


def cifar(torch, name):
    """A network of the authors' code."""
    nn, functional = torch.nn, torch.nn.functional
    wide = name.startswith("wrn")
    depth, _, factor = name.removeprefix("wrn").removeprefix("preact_resnet").partition("_")
    bottleneck = name == "preact_resnet29"
    count = (int(depth) - (4 if wide else 2)) // (9 if bottleneck else 6)

    class Unit(nn.Module):
        def __init__(self, inputs, outputs, stride, first):
            super().__init__()
            inner = outputs // 4 if bottleneck else outputs
            # (in, out, kernel, stride); bottlenecks stride in the first 1x1.
            shapes = [(inputs, inner, 3, stride), (inner, outputs, 3, 1)]
            if bottleneck:
                shapes = [(inputs, inner, 1, stride), (inner, inner, 3, 1), (inner, outputs, 1, 1)]
            self.norms = nn.ModuleList(nn.BatchNorm2d(shape[0]) for shape in shapes)
            self.convs = nn.ModuleList(
                nn.Conv2d(a, b, k, s, k // 2, bias=False) for a, b, k, s in shapes
            )
            grows = inputs != outputs
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if grows else None
            self.shared = grows or (first and not wide)

        def forward(self, x):
            activated = functional.relu(self.norms[0](x))
            identity = activated if self.shared else x
            x = self.convs[0](activated)
            for norm, convolution in zip(self.norms[1:], self.convs[1:], strict=True):
                x = convolution(functional.relu(norm(x)))
            return x + (identity if self.shortcut is None else self.shortcut(identity))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            widths = [width * int(factor or 1) * (4 if bottleneck else 1) for width in (16, 32, 64)]
            self.conv = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
            units, inputs = [], 16
            for stage, width in enumerate(widths):
                for number in range(count):
                    stride = 2 if stage and not number else 1
                    units.append(Unit(inputs, width, stride, not stage and not number))
                    inputs = width
            self.units = nn.Sequential(*units)
            self.norm = nn.BatchNorm2d(inputs)
            self.fc = nn.Linear(inputs, CLASSES)

        def forward(self, x):
            x = functional.relu(self.norm(self.units(self.conv(x))))
            return self.fc(x.mean((2, 3)))

    return Net()


def _record():
    import torch  # pyright: ignore[reportMissingImports]

    library = recorded.declare_torchvision()
    import timm  # pyright: ignore[reportMissingImports]

    def thin(output_stride=32):
        channels = [4 * WIDTH * 2**stage for stage in range(4)]
        return timm.create_model(
            "resnetv2_50",
            channels=channels,
            stem_chs=WIDTH,
            num_classes=CLASSES,
            output_stride=output_stride,
        )

    def full(name):
        return timm.create_model(name, num_classes=CLASSES)

    cases = [
        ("thin resnetv2_50", thin, SIZES),
        *((f"thin resnetv2_50 {s}", functools.partial(thin, s), SIZES[1:]) for s in DILATED),
        *((name, functools.partial(full, name), SIZES) for name in FULL),
        *((name, functools.partial(cifar, torch, name), CIFAR_SIZES) for name in CIFAR),
    ]
    RECORD.write(
        cases,
        {module.__name__: module.__version__ for module in (torch, timm)},
        ((0.5,) * 3, (0.5,) * 3),
    )
    del library


if __name__ == "__main__":
    _record()
