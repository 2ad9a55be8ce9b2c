"""ResNeXt, wide, C, D and SE networks with other projects' weights answer as the projects' own."""

import sys

import parity
import pytest
import variant_parity
from recorded import difference

from resnet_keras import zoo

RECORD = variant_parity.RECORD
TOLERANCE = 1e-6  # of the largest logit
# The squeezes scale these networks' logits down, and 1.4e-6 was seen.
LEGACY = 2e-6
QUICK = ("resnet18d", "seresnet18", "legacy_seresnet18")


def marks(name, quick=QUICK):
    """A network's: those of which a smaller one has the same blocks are large."""
    large = () if name in variant_parity.FULL["timm"] else (pytest.mark.large,)
    return () if name in quick else (pytest.mark.slow, *large)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=marks(name))
        for name in (*variant_parity.FULL["timm"], *variant_parity.FULL["large"])
    ],
)
def test_logits_of_timms_networks(name, tmp_path):
    path = RECORD.torch_file(tmp_path / "file.safetensors", name, prefix="module.")
    model = zoo.get(name, weights=path, input_shape=(None, None, 3))
    assert model.output_shape == (None, variant_parity.CLASSES)
    for size in variant_parity.SIZES:
        expected = RECORD.logits(name, *size)
        tolerance = LEGACY if name.startswith("legacy") else TOLERANCE
        assert difference(model(parity.images(*size)), expected) < tolerance
        # What is compared depends on the image.
        assert difference(expected[:1], expected[1:]) > 20 * TOLERANCE


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=marks(name, quick=()))
        for name in variant_parity.FULL["torchvision"]
    ],
)
def test_logits_of_torchvisions_networks(name, tmp_path):
    path = RECORD.torch_file(tmp_path / "file.safetensors", f"torchvision {name}")
    model = zoo.get(name, weights=path, input_shape=(None, None, 3))
    for size in variant_parity.SIZES:
        expected = RECORD.logits(f"torchvision {name}", *size)
        assert difference(model(parity.images(*size)), expected) < TOLERANCE


@pytest.mark.parametrize(
    ("name", "stride"),
    [
        pytest.param(*case, marks=() if case[0] in QUICK else pytest.mark.slow)
        for case in variant_parity.DILATED
    ],
)
def test_logits_of_dilated_networks(name, stride, tmp_path):
    path = RECORD.torch_file(tmp_path / "file.safetensors", f"{name} at {stride}")
    model = zoo.get(name, weights=path, input_shape=(None, None, 3), output_stride=stride)
    size = variant_parity.SIZES[1]
    expected = RECORD.logits(f"{name} at {stride}", *size)
    assert difference(model(parity.images(*size)), expected) < TOLERANCE


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
