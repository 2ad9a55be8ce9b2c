"""What a segmenter finds by one look and by several, with answers that are known."""

import sys

import numpy as np
import pytest
import tensorflow as tf

from resnet_keras.errors import InputError
from resnet_keras.pipelines import masks, png
from resnet_keras.segmentation import prediction, scores


class Tones:
    """Takes pixels for class 0, 1 or 2 by their first channel: 0, 100 or 200; remembers sizes."""

    def __init__(self):
        self.sizes = []

    def predict_on_batch(self, images):
        self.sizes.append(images.shape[1:3])
        distance = np.abs(images[..., :1].astype(np.float32) - np.array([0, 100, 200], "float32"))
        return -distance


class Columns:
    """Class 1 in the left half, whatever is there."""

    def predict_on_batch(self, images):
        left = np.arange(images.shape[2]) < images.shape[2] // 2
        ones = np.broadcast_to(left, images.shape[:3]).astype(np.float32)
        return {"logits": np.stack([2 * (1 - ones), 2 * ones], -1), "auxiliary": None}


def scene():
    labels = np.zeros([24, 40], np.uint8)
    labels[4:14, 6:20] = 1
    labels[10:22, 22:36] = 2
    return labels, np.repeat(100 * labels[..., None], 3, -1).astype(np.uint8)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("scales", [(1.0,), (0.5, 1.0, 1.75)])
def test_looks_come_back_to_the_image(scales, flip):
    labels, image = scene()
    model = Tones()
    found = prediction.probabilities(model, image[None], scales=scales, flip=flip)
    assert found.shape == (1, 24, 40, 3)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)
    assert (found[0].argmax(-1) == labels).mean() > (0.97 if len(scales) > 1 else 0.999)
    sizes = [(24, 40)] if scales == (1.0,) else [(12, 20), (24, 40), (42, 70)]
    assert model.sizes == [size for size in sizes for _ in range(1 + flip)]


def test_softmax_is_averaged_over_a_mirrored_look():
    image = np.zeros([1, 4, 6, 3], np.uint8)
    alone = prediction.probabilities(Columns(), image)
    share = np.exp(2) / (1 + np.exp(2))
    np.testing.assert_allclose(alone[0, :, 0, 1], share, rtol=1e-5)
    both = prediction.probabilities(Columns(), image, flip=True)
    np.testing.assert_allclose(both, 0.5, atol=1e-6)


def test_a_stream_is_counted():
    labels, image = scene()
    other = labels.copy()
    other[:2] = 255
    batches = [(image[None], labels[None]), (image[None], other[None])]
    matrix = prediction.confusion(Tones(), batches)
    assert matrix.sum() == labels.size + (other != 255).sum()
    assert scores.mean_iou(matrix) == 1
    test = masks.evaluation("shapes", "val[:3]", 2, device=None).as_numpy_iterator()
    with pytest.raises(InputError, match="Labels are 0 to 1"):
        prediction.confusion(Columns(), test)


def test_files(tmp_path):
    labels, image = scene()
    path = tmp_path / "scene.png"
    path.write_bytes(tf.io.encode_png(image).numpy())
    ((name, pixels, found),) = prediction.of_files(Tones(), [path])
    assert name == str(path)
    np.testing.assert_array_equal(pixels, image)
    np.testing.assert_array_equal(found, labels)
    model = Tones()
    ((_, _, found),) = prediction.of_files(model, [path], scale=(12, 20))
    assert model.sizes == [(12, 20)]
    assert found.shape == labels.shape
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"scene.png cannot be decoded"):
        list(prediction.of_files(Tones(), [path]))
    with pytest.raises(InputError, match=r"no image .*other.png"):
        list(prediction.of_files(Tones(), [tmp_path / "other.png"]))


def test_mistakes():
    with pytest.raises(InputError, match="RGB pixels"):
        prediction.probabilities(Tones(), scene()[1])
    with pytest.raises(InputError, match="positive factors"):
        prediction.probabilities(Tones(), scene()[1][None], scales=(0.0,))
    assert png.IGNORED == masks.IGNORED == scores.IGNORED


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
