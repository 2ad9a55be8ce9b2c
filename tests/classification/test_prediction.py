"""Which image files there are to predict."""

import pytest
import tensorflow as tf

from resnet_keras import pipelines
from resnet_keras.classification.prediction import image_files
from resnet_keras.errors import InputError


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Six digits as PNG and JPEG files."""
    folder = tmp_path_factory.mktemp("digits")
    for number, image in enumerate(pipelines.arrays("digits", "test", image_size=48)[0][:6]):
        if number % 2:
            (folder / f"{number}.png").write_bytes(tf.io.encode_png(image).numpy())
        else:
            (folder / f"{number}.jpg").write_bytes(tf.io.encode_jpeg(image).numpy())
    return folder


def test_what_is_no_image_is_refused(digits, tmp_path):
    assert image_files([str(digits), str(digits / "0.jpg")])[-2:] == [
        str(digits / "5.png"),
        str(digits / "0.jpg"),
    ]
    with pytest.raises(InputError, match=r"has no JPEG, PNG or WebP files below it\."):
        image_files([str(tmp_path)])
    with pytest.raises(InputError, match="no image or folder"):
        image_files([str(tmp_path / "nowhere.jpg")])


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
