"""The rule that makes weights and images for parity tests, and what other networks answer.

Run as a script, it records the answers of other projects' networks.

    pip install torch==2.13.0 timm torchvision pillow
    git clone https://github.com/akamaster/pytorch_resnet_cifar10
    python tests/zoo/parity.py --akamaster=pytorch_resnet_cifar10

It writes parity.json (names and shapes of each network's tensors, versions) and parity.npz (logits)
beside itself. Neither holds weights or images: both follow from the rule. The tests need none of
these packages.
"""

import argparse
import importlib.util
import io
import json
import math
import zlib
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
NAMES, LOGITS = HERE / "parity.json", HERE / "parity.npz"
IMAGENET = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
CIFAR = ("resnet20", "resnet32", "resnet44", "resnet56", "resnet110")
SIZES = {"imagenet": ((224, 224), (193, 161)), "cifar10": ((32, 32), (27, 27))}
# The entries whose preprocessing is recorded, and whose transform makes it.
TRANSFORMS = ("tv_in1k", "tv2_in1k", "a1_in1k", "gluon_in1k")
PHOTOGRAPH = (341, 407)


def raw(name, count):
    """PCG64's own output, which NumPy promises not to change, as its distributions may."""
    return np.random.PCG64(zlib.crc32(name.encode())).random_raw(count)


def uniform(name, shape):
    """Numbers in [-1, 1)."""
    return ((raw(name, math.prod(shape)) >> 11) * 2.0**-52 - 1.0).reshape(shape)


def weights(name, shape, fan_in=None):
    """Random weights, statistics and biases by the tensor's name, float32."""
    leaf = name.rpartition(".")[2].rpartition("/")[2].removesuffix(":0")
    drawn = uniform(name, shape)
    if len(shape) > 1:
        return np.float32(drawn * math.sqrt((6 if len(shape) == 4 else 3) / fan_in))
    if leaf in ("running_var", "moving_variance"):
        return np.float32(1.0 + 0.5 * drawn)
    if leaf in ("weight", "gamma"):  # small enough that 50 blocks in a row do not overflow
        return np.float32(0.5 + 0.25 * drawn)
    return np.float32(0.1 * drawn)


def torch_weights(name, shape):
    """`weights` of a tensor in torch's layout, (out, in, ...)."""
    return weights(name, shape, fan_in=math.prod(shape[1:]))


def images(height, width, count=2):
    """uint8 (count, height, width, 3)."""
    drawn = raw(f"images {height} {width}", count * height * width * 3)
    return (drawn >> 56).astype("uint8").reshape(count, height, width, 3)


def photograph():
    """uint8 pixels of a smooth picture with texture and a little noise."""
    height, width = PHOTOGRAPH
    rows, columns = np.mgrid[:height, :width] / 100.0
    waves = [np.sin(3 * rows + k) * np.cos((2 + k) * columns - k * rows) for k in range(3)]
    texture = np.sin(40 * (rows + columns))[..., None] * 12
    noise = uniform("photograph", (height, width, 3)) * 8
    return np.clip(128 + 90 * np.stack(waves, axis=-1) + texture + noise, 0, 255).astype("uint8")


def jpeg():
    """The photograph's bytes as Pillow writes them."""
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(photograph()).save(content, "JPEG", quality=92)
    return content.getvalue()


def _record(akamaster):
    import torch  # pyright: ignore[reportMissingImports]
    import torchvision  # pyright: ignore[reportMissingImports]

    library = torch.library.Library("torchvision", "FRAGMENT")
    del library
    import timm  # pyright: ignore[reportMissingImports]

    def set_weights(model):
        state = model.state_dict()
        shapes = {k: tuple(v.shape) for k, v in state.items() if "num_batches" not in k}
        for name, shape in shapes.items():
            state[name] = torch.from_numpy(torch_weights(name, shape))
        model.load_state_dict(state)
        return model.eval(), shapes

    def forward(model, pixels):
        mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
        std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
        inputs = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - mean) / std
        with torch.no_grad():
            return model(inputs).numpy()

    names, logits = {}, {}
    spec = importlib.util.spec_from_file_location("akamaster", Path(akamaster) / "resnet.py")
    cifar = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(cifar)
    for name in (*IMAGENET, *CIFAR):
        small = name in CIFAR
        source = cifar if small else torchvision.models
        model, names[name] = set_weights(getattr(source, name)())
        for size in SIZES["cifar10" if small else "imagenet"]:
            found = forward(model, images(*size))
            logits[f"{name} {size[0]}x{size[1]}"] = found
            if not small:
                twin, _ = set_weights(timm.create_model(f"{name}.a1_in1k"))
                difference = np.abs(forward(twin, images(*size)) - found).max()
                assert difference <= 1e-6 * np.abs(found).max(), (name, difference)
        print(name, {k: float(np.abs(v).max()) for k, v in logits.items() if k.startswith(name)})

    from PIL import Image

    model, _ = set_weights(torchvision.models.resnet18())
    photo = Image.open(io.BytesIO(jpeg()))
    for tag in TRANSFORMS:
        with torch.no_grad():
            logits[f"jpeg {tag}"] = model(_transform(tag)(photo)[None]).numpy()
    NAMES.write_text(
        json.dumps(
            {
                "versions": {m.__name__: m.__version__ for m in (torch, torchvision, timm)},
                "jpeg_crc32": zlib.crc32(jpeg()),
                "tensors": {k: [[n, list(s)] for n, s in v.items()] for k, v in names.items()},
            }
        )
        + "\n"
    )
    np.savez_compressed(LOGITS, **logits)


def _transform(tag):
    """The publisher's own evaluation transform of an entry of ResNet-50."""
    import timm  # pyright: ignore[reportMissingImports]
    from torchvision.models import ResNet50_Weights  # pyright: ignore[reportMissingImports]

    published = {
        "tv_in1k": ResNet50_Weights.IMAGENET1K_V1,
        "tv2_in1k": ResNet50_Weights.IMAGENET1K_V2,
    }
    if tag in published:
        return published[tag].transforms()
    config = timm.data.resolve_data_config({}, model=timm.create_model(f"resnet50.{tag}"))
    return timm.data.create_transform(**config)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--akamaster", required=True, help="checkout of pytorch_resnet_cifar10")
    _record(parser.parse_args().akamaster)
