"""What networks say of images, from Python."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from resnet_keras import pipelines, zoo
from resnet_keras.errors import InputError

IMAGES, LABELS = pipelines.arrays("digits", "test", image_size=48)
GUESSED = "zoo.predict assumes "


@pytest.fixture(scope="module")
def model():
    return zoo.get("resnet20", weights="digits")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Six digits as PNG files."""
    folder = tmp_path_factory.mktemp("digits")
    for number, image in enumerate(IMAGES[:6]):
        (folder / f"{number}.png").write_bytes(tf.io.encode_png(image).numpy())
    return sorted(folder.iterdir())


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


def test_probabilities_are_the_softmax_of_the_networks_logits(model, files):
    shown = zoo.ENTRIES["resnet20", "digits"].preprocessing
    predictions = list(
        zoo.prediction.of_files(model, files, preprocessing=shown, top=10, batch_size=4)
    )
    assert [prediction.path for prediction in predictions] == files
    for prediction in predictions:
        assert prediction.image.shape == (16, 16, 3)
        logits = np.asarray(model(prediction.image[None]))[0]
        expected = np.exp(logits) / np.exp(logits).sum()
        assert prediction.guesses is not None
        for guess in prediction.guesses:
            assert guess.probability == pytest.approx(expected[guess.label], abs=1e-5)
            assert guess.name == f"class {guess.label}"


def test_files_and_arrays_of_any_kind_get_the_same_answer(model, files):
    expected = zoo.predict(model, files, top=3, batch_size=4)
    assert [guesses[0].label for guesses in expected] == LABELS[:6].tolist()
    assert [guesses[0].name for guesses in expected] == [str(label) for label in LABELS[:6]]
    assert [len(guesses) for guesses in expected] == [3] * 6
    for images in (map(str, files[:2]), IMAGES[:2].astype("float32"), tf.constant(IMAGES[:2])):
        assert labels_of(zoo.predict(model, images, top=3)) == labels_of(expected[:2])
    for single in (files[1], IMAGES[1], IMAGES[1:2]):
        assert labels_of(zoo.predict(model, single, top=3)) == labels_of(expected[1:2])
    # Images of other sizes, and of several, are shown as the weights' test does.
    sizes = [
        IMAGES[0],
        IMAGES[1, 4:, 2:-2],
        pipelines.arrays("digits", "test", image_size=16)[0][2],
    ]
    assert [g[0].label for g in zoo.predict(model, sizes)] == LABELS[:3].tolist()


def labels_of(predictions):
    return [[(guess.label, round(guess.probability, 4)) for guess in row] for row in predictions]


def test_fewer_classes_than_asked_for_and_a_new_head(files):
    head = zoo.get("resnet20", weights="digits", num_classes=3)
    with pytest.warns(UserWarning, match=f"its head is new, so {GUESSED}.*without names"):
        (guesses,) = zoo.predict(head, files[0])
    assert sorted(guess.name for guess in guesses) == ["class 0", "class 1", "class 2"]
    said = {"preprocessing": zoo.Preprocessing(16, 16), "class_names": ["a", "b", "c"]}
    (guesses,) = zoo.predict(head, files[0], **said)
    assert {guess.name for guess in guesses} == {"a", "b", "c"}


@pytest.mark.slow
def test_networks_that_were_saved(model, files, tmp_path):
    expected = zoo.predict(model, files[:2])
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    with pytest.warns(UserWarning, match=f"load_model and clone_model lose, so {GUESSED}"):
        found = zoo.predict(again, files[:2])
    assert labels_of(found) == labels_of(expected)
    assert found[0][0].name == f"class {LABELS[0]}"
    zoo.save(model, tmp_path / "mine", class_names=[f"digit {n}" for n in range(10)])
    (guesses,) = zoo.predict(zoo.get(tmp_path / "mine"), files[0])
    assert guesses[0].name == f"digit {LABELS[0]}"


def test_grey_images(files):
    grey = zoo.get("resnet20", weights="digits", input_shape=(16, 16, 1))
    (guesses,) = zoo.predict(grey, IMAGES[0, ..., :1])
    assert guesses[0].label == LABELS[0]
    with pytest.raises(InputError, match=r"takes images of 1 channel\(s\), and files are read as"):
        zoo.predict(grey, files[0])


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ([], "no images to predict"),
        (3, r"of shape \(\)"),
        (IMAGES[0, ..., :1], r"arrays \(height, width, 3\).*of shape \(48, 48, 1\)"),
        (IMAGES[0, ..., 0], r"of shape \(48,\)"),
        (IMAGES[0] / 255, "multiply them by 255"),
        (IMAGES[0] * 2.0, "run from 0 to 510"),
        (IMAGES[0] * np.nan, "run from nan"),
        ([IMAGES[0], "1.png"], "not some of each"),
        ("nowhere.png", r"no image nowhere\.png"),
        (".", "is a folder"),
        (__file__, r"cannot be decoded as JPEG, PNG or WebP: .*test_prediction\.py\."),
        (np.zeros((0, 48, 48, 3)), "no images to predict"),
        (np.zeros((1, 1, 9, 9, 3)), r"of shape \(1, 9, 9, 3\)"),
        (np.zeros((9, 9, 3), "U1"), "Pixels are numbers"),
    ],
)
def test_what_is_no_image(images, words, model):
    with pytest.raises(InputError, match=words):
        zoo.predict(model, images)


def test_networks_that_do_not_tell_classes(model):
    softmax = keras.Model(model.input, keras.layers.Softmax()(model.output), name="shares")
    dense = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)], name="dense")
    for other, words in (
        (zoo.get("resnet20", weights="digits", include_top=False), "ends at its features"),
        (zoo.backbone("resnet20", weights="digits"), "ends at its features"),
        (softmax, "shares goes on after its logits"),
        (dense, "'dense' is not a network as zoo.get builds them"),
        ("resnet20", "'resnet20' is not a network"),
        (zoo.get("resnet8", input_shape=(16, 32, 3)), "16 x 32 pixels"),
    ):
        with pytest.raises(InputError, match=words):
            zoo.predict(other, IMAGES[0])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"top": 0}, "must be positive, not 0"),
        ({"class_names": ["a"]}, "1 class_names do not fit resnet20: it has 10 classes"),
        ({"preprocessing": zoo.Preprocessing(24, 24)}, r"give preprocessing\.at\(16\)"),
    ],
)
def test_what_cannot_be_asked(given, words, model):
    with pytest.raises(InputError, match=words):
        zoo.predict(model, IMAGES[0], **given)


@pytest.mark.slow
def test_on_jax(files, model, run_on_jax):
    code = """
        import sys
        from resnet_keras import zoo
        model = zoo.get("resnet20", weights="digits")
        for guesses in zoo.predict(model, sys.argv[1:]):
            print(guesses[0].name)
    """
    assert run_on_jax(code, *files).split() == [str(label) for label in LABELS[:6]]


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
