"""What images show, from files to guesses."""

import numpy as np
import pytest
import tensorflow as tf

from resnet_keras import pipelines, zoo
from resnet_keras.classification.prediction import image_files, predict
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


def test_probabilities_are_the_softmax_of_the_networks_logits(digits):
    model = zoo.get("resnet20", weights="digits")
    paths = image_files([str(digits)])
    shown = zoo.ENTRIES["resnet20", "digits"].preprocessing
    predictions = list(predict(model, paths, preprocessing=shown, top=10, batch_size=4))
    assert [prediction.path for prediction in predictions] == paths
    for prediction in predictions:
        assert prediction.image.shape == (16, 16, 3)
        logits = np.asarray(model(prediction.image[None]))[0]
        expected = np.exp(logits) / np.exp(logits).sum()
        for guess in prediction.guesses:
            assert guess.probability == pytest.approx(expected[guess.label], abs=1e-5)
            assert guess.name == f"class {guess.label}"


def test_what_is_no_image_is_refused(digits, tmp_path):
    assert image_files([str(digits), str(digits / "0.jpg")])[-2:] == [
        str(digits / "5.png"),
        str(digits / "0.jpg"),
    ]
    with pytest.raises(InputError, match="has no JPEG or PNG files"):
        image_files([str(tmp_path)])
    with pytest.raises(InputError, match="no image or folder"):
        image_files([str(tmp_path / "nowhere.jpg")])


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
