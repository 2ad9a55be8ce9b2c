"""Images of a user are shown to a detector as the evaluation shows them."""

import sys

import numpy as np
import object_files
import pytest

from resnet_keras.detection import prediction
from resnet_keras.errors import InputError
from resnet_keras.pipelines import objects

SCALE = (60, 100)
# Shrunk while it is decoded, where it is a JPEG; just smaller; enlarged.
ROWS = {
    "a": ((200, 300), [("cup", (1, 1, 60, 40), 0)]),
    "b": ((123, 77), [("fork", (2, 3, 20, 50), 0)]),
    "c": ((40, 50), [("cup", (5, 5, 20, 20), 0)]),
}


class Witness:
    """Remembers what it sees, and finds one object, at the first pixel of what it sees."""

    scale = SCALE

    def predict_on_batch(self, inputs):
        self.pixels, self.size = (np.asarray(inputs[name])[0] for name in ("image", "size"))
        height, width = self.size
        return {
            "boxes": np.array([[[0, 0, width, height], [0, 0, 0, 0]]], "float32"),
            "scores": np.array([[0.9, 0.0]], "float32"),
            "labels": np.array([[1, -1]]),
            "count": np.array([1]),
        }


@pytest.fixture(scope="module", params=["png", "jpeg"])
def folder(request, tmp_path_factory):
    import tensorflow as tf

    root = object_files.write_voc(tmp_path_factory.mktemp(request.param), ROWS)
    if request.param == "jpeg":
        for path in (root / "JPEGImages").iterdir():
            path.write_bytes(tf.io.encode_jpeg(tf.io.decode_png(path.read_bytes())).numpy())
    return root


def test_files_are_seen_as_in_the_evaluation(folder):
    paths = sorted((folder / "JPEGImages").iterdir())
    witness = Witness()
    answers = prediction.of_files(witness, paths)
    seen = {}
    for number, (path, image, found) in enumerate(answers):
        assert image.shape[:2] == ROWS[path.split("/")[-1][0]][0]
        # Boxes come back in pixels of the image.
        np.testing.assert_allclose(found["boxes"], [[0, 0, *image.shape[1::-1]]], rtol=1e-5)
        seen[number] = (witness.pixels, witness.size)
    test = objects.evaluation(
        "voc", "trainval", 1, data_dir=folder, scale=SCALE, device=None
    ).as_numpy_iterator()
    for features, targets in test:
        pixels, size = seen.pop(int(targets["image_id"][0]))
        np.testing.assert_array_equal(size, features["size"][0])
        height, width = size
        np.testing.assert_array_equal(
            pixels[:height, :width], features["image"][0, :height, :width]
        )
        assert not pixels[height:].any()
        assert not pixels[:, width:].any()
    assert not seen


def test_an_image_in_memory_is_seen_like_its_jpeg(tmp_path):
    """As far as the mean over squares is libjpeg's way of shrinking."""
    import tensorflow as tf

    y, x = np.mgrid[:200, :300]
    image = np.stack([x * 255 / 300, y * 255 / 200, 128 + 0 * x], -1).astype("uint8")
    witness = Witness()
    prediction.of_image(witness, image)
    assert tuple(witness.size) == (60, 90)
    seen = witness.pixels.astype(int)
    prediction.of_image(witness, image.astype("float32"))
    np.testing.assert_array_equal(witness.pixels, seen)
    path = tmp_path / "smooth.jpg"
    path.write_bytes(tf.io.encode_jpeg(image, quality=100).numpy())
    next(prediction.of_files(witness, [path]))
    assert abs(witness.pixels.astype(int) - seen).max() <= 4
    with pytest.raises(InputError, match=r"is \(height, width, 3\)"):
        prediction.of_image(witness, image[..., 0])


def test_drawn_in_one_line(tmp_path):
    """What `predict` gives of one image is drawn as what `of_image` gives."""
    image = np.zeros((60, 90, 3), "uint8")
    batch = Witness().predict_on_batch({"image": image[None], "size": [(60, 90)]})
    picture = prediction.draw(image, batch, ("plate", "cup"))
    assert picture == prediction.draw(
        image, prediction.of_image(Witness(), image), ("plate", "cup")
    )
    assert picture != prediction.draw(image, batch, ("plate", "fork"))
    with pytest.raises(InputError, match="class 1 was found, and there are 1 class_names"):
        prediction.draw(image, batch, ("plate",))
    picture.save(tmp_path / "found.png")
    assert (tmp_path / "found.png").read_bytes() == picture._repr_png_() == picture
    several = {name: np.repeat(values, 2, axis=0) for name, values in batch.items()}
    with pytest.raises(InputError, match="of 2 images: draw one at a time"):
        prediction.draw(image, several)


def test_what_cannot_be_read_is_named(tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no image")
    with pytest.raises(InputError, match=r"bad\.jpg cannot be decoded as JPEG, PNG or WebP"):
        next(prediction.of_files(Witness(), [bad]))
    with pytest.raises(InputError, match=r"There is no image .*none\.jpg"):
        next(prediction.of_files(Witness(), [tmp_path / "none.jpg"]))


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
