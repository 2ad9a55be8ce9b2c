"""ResNets with the weights of transformers' networks answer as those do."""

import sys

import numpy as np
import parity
import pytest
import transformers_parity
from recorded import difference
from safetensors.numpy import save_file

from resnet_keras import zoo

TOLERANCE = 5e-6  # 152 layers round to more than 1e-6 of the largest logit
SLOW = transformers_parity.DEPTHS[1:]


@pytest.mark.parametrize(
    "depth",
    [18, *(pytest.param(depth, marks=pytest.mark.slow) for depth in SLOW)],
)
def test_logits_of_transformers_networks(depth, tmp_path):
    tensors = transformers_parity.tensors(depth)
    path = tmp_path / "model.safetensors"
    save_file(tensors, path, metadata={"format": "pt"})
    model = zoo.get(f"resnet{depth}", weights=path, input_shape=(None, None, 3))
    with np.load(transformers_parity.ANSWERS) as answers:
        for height, width in transformers_parity.SIZES:
            expected = answers[f"{depth} {height}x{width}"]
            found = model(parity.images(height, width))
            assert difference(found, expected) < TOLERANCE
            # What is compared depends on the image.
            assert difference(expected[:1], expected[1:]) > 20 * TOLERANCE


def test_entries_are_those_that_have_safetensors():
    entries = [entry for entry in zoo.ENTRIES.values() if entry.tag == "microsoft_in1k"]
    assert {entry.hub for entry in entries} == {f"microsoft/resnet-{n}" for n in (18, 34, 50, 152)}
    assert {entry.preprocessing for entry in entries} == {zoo.Preprocessing(224, 256, "bicubic")}


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
