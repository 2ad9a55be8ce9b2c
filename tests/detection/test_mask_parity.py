"""Mask R-CNN with torchvision's weights answers as torchvision's own does; see mask_parity.py."""

import json

import detector_parity
import mask_parity
import numpy as np
import pytest
from safetensors.numpy import save_file

from resnet_keras import detection
from resnet_keras.detection import faster_rcnn

BACKGROUND = 4 * 1025 + 257  # channels of the background's deltas and mask


def old_name(name):
    """What torchvision called a tensor when it published the first file."""
    for number in range(4):
        name = name.replace(f"mask_head.{number}.0.", f"mask_head.mask_fcn{number + 1}.")
    return name


@pytest.mark.slow
@pytest.mark.parametrize("name", [mask_parity.V1, mask_parity.V2])
def test_masks_of_torchvision(name, tmp_path):
    recorded = json.loads(mask_parity.NAMES.read_text())["networks"][name]
    answers = np.load(mask_parity.ANSWERS)
    expected = {key: answers[f"{name} {key}"] for key in ("logits", "masks")}
    gains = mask_parity.gains(name)
    tensors = {
        old_name(key) if name == mask_parity.V1 else key: detector_parity.weights(key, shape, gains)
        for key, shape in recorded["tensors"]
    }
    entry = detection.detectors.DETECTORS[name].entry
    path = (tmp_path / entry.file_name).with_suffix(".safetensors")
    save_file(tensors, path)
    model = detection.get(name, weights=path, proposals=detector_parity.PROPOSALS)

    image = detector_parity.image(mask_parity.SIZE)[None]
    maps, _ = model.look(*faster_rcnn.unpack(image))
    rois = detector_parity.ROIS
    # torchvision counts classes from 1, and so are those that were recorded.
    for place, label in enumerate(range(91)[mask_parity.CLASSES]):
        labels = np.full([1, len(rois)], label - 1, "int32")
        logits = model.mask_logits(maps, rois[None], labels)[0].numpy()
        cells = logits[:, mask_parity.CELLS, mask_parity.CELLS]
        largest = np.abs(expected["logits"]).max()
        np.testing.assert_allclose(cells, expected["logits"][:, place], rtol=0, atol=1e-5 * largest)

    found = model(image)
    masks = found["masks"][0, : mask_parity.FOUND].numpy()
    cells = masks[:, mask_parity.CELLS, mask_parity.CELLS]
    np.testing.assert_allclose(cells, expected["masks"], rtol=0, atol=1e-4)

    count = sum(int(np.prod(v.shape)) for v in model.trainable_weights)
    published = detection.detectors.DETECTORS[name].parameters
    assert count + BACKGROUND == published == recorded["parameters"]


def test_masks_lie_where_torchvision_draws_them():
    """It cuts boxes to whole pixels before, so that edges are apart by up to a pixel."""
    drawn = [mask_parity.ellipse()] * len(mask_parity.PLACES)
    whole = detection.masks.paste(np.stack(drawn), mask_parity.PLACES, mask_parity.SIZE)
    bits = np.load(mask_parity.ANSWERS)[f"{mask_parity.V1} pasted"]
    theirs = np.unpackbits(bits)[: whole.size].reshape(whole.shape).astype(bool)
    ious = (whole & theirs).sum((1, 2)) / (whole | theirs).sum((1, 2))
    assert ious.min() > 0.9, ious


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
