"""Records what torchvision's own DenseNets answer, see recorded.py.

    pip install torch==2.13.0 torchvision==0.28.0 timm==1.0.31
    PYTHONPATH=tests/zoo python tests/zoo/densenet_parity.py

The thin one is of torchvision's class with the growth rate below, which is an argument of it;
timm's class answers the same, which is checked. keras.applications' networks are asked in the test
itself. The authors' code is in Lua: what `cifar` builds are its layers in torch's, in the order of
models/densenet.lua (github.com/liuzhuang13/DenseNet), with the paper's stem.
"""

import functools

import recorded

RECORD = recorded.Record("densenet")
GROWTH, CLASSES = 4, 10
SIZES = ((224, 224), (193, 161))
CIFAR_SIZES = ((32, 32), (27, 29))
FULL = ("densenet121", "densenet161", "densenet169", "densenet201")
CIFAR = ("densenet10_4", "densenet_bc16_6")


def cifar(torch, name):
    """A network of the authors' code: what `append` takes are its layers with weights, in order."""
    nn, functional = torch.nn, torch.nn.functional
    bottleneck = "_bc" in name
    depth, growth = map(int, name.removeprefix("densenet").removeprefix("_bc").split("_"))
    count = (depth - 4) // (6 if bottleneck else 3)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.norms, self.convs = nn.ModuleList(), nn.ModuleList()
            channels = 2 * growth if bottleneck else 16
            self.stem = nn.Conv2d(3, channels, 3, padding=1, bias=False)
            for stage in range(3):
                for _ in range(count):
                    if bottleneck:
                        self.append(channels, 4 * growth, 1)
                    self.append(4 * growth if bottleneck else channels, growth, 3)
                    channels += growth
                if stage < 2:
                    self.append(channels, channels // (2 if bottleneck else 1), 1)
                    channels = channels // (2 if bottleneck else 1)
            self.norm = nn.BatchNorm2d(channels)
            self.fc = nn.Linear(channels, CLASSES)

        def append(self, inputs, outputs, kernel):
            self.norms.append(nn.BatchNorm2d(inputs))
            self.convs.append(nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False))

        def forward(self, x):
            places = iter(zip(self.norms, self.convs, strict=True))

            def next_layer(x):
                norm, convolution = next(places)
                return convolution(functional.relu(norm(x)))

            x = self.stem(x)
            for stage in range(3):
                for _ in range(count):
                    y = next_layer(x)
                    x = torch.cat([x, next_layer(y) if bottleneck else y], 1)
                if stage < 2:
                    x = functional.avg_pool2d(next_layer(x), 2)
            x = functional.relu(self.norm(x))
            return self.fc(x.mean((2, 3)))

    return Net()


def _record():
    import torch  # pyright: ignore[reportMissingImports]

    library = recorded.declare_torchvision()
    import timm  # pyright: ignore[reportMissingImports]
    import torchvision  # pyright: ignore[reportMissingImports]
    from torchvision.models import densenet  # pyright: ignore[reportMissingImports]

    def thin():
        return densenet.DenseNet(GROWTH, (6, 12, 24, 16), 2 * GROWTH, num_classes=CLASSES)

    def full(name):
        model = getattr(densenet, name)(num_classes=CLASSES)
        twin = timm.create_model(name, num_classes=CLASSES)
        twin.load_state_dict(model.state_dict())
        x = torch.randn(1, 3, 97, 64)
        with torch.no_grad():
            same = torch.equal(model.eval()(x), twin.eval()(x))
        assert same, name
        return model

    cases = [
        ("thin densenet121", thin, SIZES),
        *((name, functools.partial(full, name), SIZES) for name in FULL),
        *((name, functools.partial(cifar, torch, name), CIFAR_SIZES) for name in CIFAR),
    ]
    modules = (torch, torchvision, timm)
    RECORD.write(cases, {module.__name__: module.__version__ for module in modules})
    del library


if __name__ == "__main__":
    _record()
