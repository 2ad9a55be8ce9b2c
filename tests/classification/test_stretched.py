"""Images that training saw stretched to a square are shown so ever after."""

import json
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from resnet_keras import evaluate, optimizers, predict, zoo
from resnet_keras.errors import InputError
from resnet_keras.pipelines import encoded

Preprocessing = zoo.Preprocessing
STRETCHED = Preprocessing.stretched(16)
CLASSES = ("left", "right")


def write(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tf.io.encode_png(image).numpy())


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Wide images, bright at one end or the other: the centre crop shows neither end."""
    root = tmp_path_factory.mktemp("wide")
    generator = np.random.default_rng(0)
    for split, count in (("train", 24), ("val", 8)):
        for number in range(count):
            for name, bright in zip(CLASSES, (slice(0, 16), slice(80, 96)), strict=True):
                image = generator.integers(0, 120, (32, 96, 3), "uint8")
                image[:, bright] = 230
                write(root / split / name / f"{number:02}.png", image)
    return root


def loaded(folder, **options):
    return keras.utils.image_dataset_from_directory(
        folder, image_size=(16, 16), batch_size=8, verbose=0, **options
    )


@pytest.fixture(scope="module")
def trained(wide):
    """README's recipe."""
    keras.utils.set_random_seed(0)
    model = zoo.get("resnet20", weights="digits", num_classes=2)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizers.SGD(0.01), loss, metrics=["accuracy"])
    model.fit(loaded(wide / "train", seed=0), epochs=6, verbose=0)
    return model


def quietly(function, *arguments, **options):
    """Calls a function that may not warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        return function(*arguments, **options)


def warning_of(function, *arguments, **options):
    """The one warning of a call."""
    with pytest.warns(UserWarning) as caught:  # noqa: PT030
        function(*arguments, **options)
    (warning,) = [w for w in caught if w.category is UserWarning]
    assert warning.filename == __file__
    return str(warning.message)


def test_predict_and_evaluate_agree_with_the_training(trained, wide, tmp_path, capsys):
    _, accuracy = trained.evaluate(loaded(wide / "val", shuffle=False), verbose=0)
    assert accuracy > 0.9
    folder = tmp_path / "wide"
    quietly(zoo.save, trained, folder, preprocessing=STRETCHED, class_names=CLASSES)
    assert "stretched to 16 x 16 (bilinear, not antialiased)" in (folder / "README.md").read_text()

    def right(*more):
        images = str(wide / "val")
        assert predict.main(["predict", f"--model={folder}", "--json", *more, images]) == 0
        said = capsys.readouterr()
        rows = json.loads(said.out)
        assert said.err == ""
        return np.mean([row["image"].split("/")[-2] == row["top"][0]["name"] for row in rows])

    assert right() == pytest.approx(accuracy)
    assert right("--crop=centre") < 0.8  # the ends are not seen
    arguments = ["evaluate", f"--model={folder}", "--dataset=folder", f"--data_dir={wide}"]
    results = tmp_path / "results.json"
    assert evaluate.main([*arguments, f"--results={results}"]) == 0
    (row,) = json.loads(results.read_text())
    assert row["top1_error"] == pytest.approx(1 - accuracy)
    assert (row["crop_mode"], row["antialias"]) == ("stretch", False)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_pixels_are_those_of_keras_loader(interpolation, tmp_path):
    """PNGs of all proportions, larger and smaller: rounding is all that remains."""
    generator = np.random.default_rng(0)
    sizes = [(32, 96), (50, 20), (7, 9), (16, 16), (200, 130), (16, 40)]
    for number, size in enumerate(sizes):
        write(tmp_path / "a" / f"{number}.png", generator.integers(0, 256, (*size, 3), "uint8"))
    dataset = loaded(tmp_path, shuffle=False, interpolation=interpolation)
    expected = np.concatenate([np.asarray(images) for images, _ in dataset])
    shown = Preprocessing.stretched(16, interpolation)
    images = encoded.images(dataset.file_paths, **shown._asdict())
    pixels = np.stack([np.asarray(image) for image, _ in images])
    assert pixels.dtype == np.uint8
    np.testing.assert_allclose(pixels, np.clip(expected, 0, 255), atol=0.501)


def test_stretched_and_cropped_is_antialiased_as_pillow_does_it(tmp_path):
    """timm's squash."""
    image_module = pytest.importorskip("PIL.Image")
    image = np.random.default_rng(0).integers(0, 256, (90, 40, 3), "uint8")
    write(tmp_path / "image.png", image)
    square = image_module.fromarray(image).resize((20, 20), image_module.Resampling.BICUBIC)
    shown = Preprocessing(16, 20, "bicubic", crop_mode="stretch")
    ((pixels, _),) = encoded.images([str(tmp_path / "image.png")], **shown._asdict())
    difference = np.asarray(pixels, "int32") - np.asarray(square, "int32")[2:18, 2:18]
    assert np.abs(difference).max() <= 2
    assert str(shown) == "stretched to 20 x 20 (bicubic), centre crop 16 (0.800 of it)"


def test_another_size_stays_stretched():
    assert STRETCHED.at(24) == Preprocessing.stretched(24)
    assert Preprocessing(224, 256, "bicubic", antialias=False).at(112) == Preprocessing(
        112, 128, "bicubic", antialias=False
    )
    assert Preprocessing(224, 235, crop_mode="stretch").at(448).resize == 470


def test_ten_crops_are_not_of_stretched_images(wide):
    from resnet_keras import pipelines

    source = pipelines.open_split("folder", "val", data_dir=str(wide))
    with pytest.raises(InputError, match="not of stretched ones"):
        encoded.evaluation(source, 2, crops="ten", **STRETCHED._asdict())
    for wrong in ({"crop_mode": "left"}, {"interpolation": "lanczos"}, {"resize": 8}):
        with pytest.raises(InputError):
            encoded.evaluation(source, 2, **{**STRETCHED._asdict(), **wrong})


@pytest.mark.parametrize(
    "change",
    [
        {"crop_mode": "left"},
        pytest.param({"crop_mode": None}, marks=pytest.mark.slow),
        pytest.param({"antialias": 1}, marks=pytest.mark.slow),
        pytest.param({"antialias": "no"}, marks=pytest.mark.slow),
        {"padding": 3},
    ],
)
def test_headers_of_an_unknown_kind_are_refused(change, trained, tmp_path):
    zoo.save(trained, tmp_path / "wide", preprocessing=STRETCHED, class_names=CLASSES)
    place = tmp_path / "wide" / "config.json"
    config = json.loads(place.read_text())
    assert config["preprocessing"] == STRETCHED._asdict()
    config["preprocessing"] |= change
    place.write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"header that cannot be read"):
        zoo.get(tmp_path / "wide")
    if "padding" not in change:
        with pytest.raises(InputError, match=f"cannot be written.*{next(iter(change))}"):
            zoo.save(trained, tmp_path / "new", preprocessing=STRETCHED._replace(**change))


def test_headers_of_before_are_read_as_they_were_meant(trained, tmp_path):
    zoo.save(trained, tmp_path / "wide", preprocessing=Preprocessing(16, 18), class_names=CLASSES)
    place = tmp_path / "wide" / "config.json"
    config = json.loads(place.read_text())
    for name in ("crop_mode", "antialias"):
        del config["preprocessing"][name]
    place.write_text(json.dumps(config))
    _, file = zoo.weights.find(tmp_path / "wide", None)
    assert file.preprocessing == Preprocessing(16, 18)
    assert file.assumed == ""


SAYS = "preprocessing=zoo.Preprocessing.stretched(16)"


@pytest.mark.slow
def test_a_new_head_is_warned_of(trained, tmp_path):
    said = warning_of(zoo.save, trained, tmp_path / "a")
    for words in (
        "shorter side 16",
        "classes without names",
        "its head is new",
        SAYS,
        "class_names",
    ):
        assert words in said
    said = warning_of(zoo.save, trained, tmp_path / "a", class_names=CLASSES)
    assert SAYS in said
    assert "class_names" not in said
    said = warning_of(zoo.save, trained, tmp_path / "a", preprocessing=STRETCHED)
    assert SAYS not in said
    assert "class_names=[...]" in said
    # What the warning advises, done.
    quietly(zoo.save, trained, tmp_path / "a", preprocessing=STRETCHED, class_names=CLASSES)
    # And what was saved is known from then on; of a third generation with another head it is not.
    quietly(zoo.save, zoo.get(tmp_path / "a"), tmp_path / "b")
    _, file = zoo.weights.find(tmp_path / "b", None)
    assert (file.preprocessing, file.class_names) == (STRETCHED, CLASSES)
    said = warning_of(zoo.save, zoo.get(tmp_path / "b", num_classes=3), tmp_path / "c")
    assert "stretched to 16 x 16" in said
    assert zoo.weights.find(tmp_path / "c", None)[1].preprocessing == STRETCHED


def by_load_model(model, folder):
    model.save(folder / "model.keras")
    return keras.models.load_model(folder / "model.keras")


def by_clone_model(model, folder):
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    return clone


@pytest.mark.parametrize(
    "copy", [pytest.param(by_load_model, marks=pytest.mark.slow), by_clone_model]
)
def test_copies_of_keras_remember_nothing_and_say_so(copy, tmp_path):
    model = zoo.get("resnet20", weights="digits")
    quietly(zoo.save, model, tmp_path / "known")
    again = copy(model, tmp_path)
    said = warning_of(zoo.save, again, tmp_path / "again")
    for words in ("load_model and clone_model lose", "classes without names", SAYS):
        assert words in said
    names = tuple("0123456789")
    quietly(zoo.save, again, tmp_path / "again", preprocessing=STRETCHED, class_names=names)
    _, file = zoo.weights.find(tmp_path / "again", None)
    assert (file.preprocessing, file.class_names) == (STRETCHED, names)


@pytest.mark.slow
def test_what_was_assumed_when_it_was_saved_is_told_when_it_is_used(
    trained, wide, tmp_path, capsys
):
    warning_of(zoo.save, trained, tmp_path / "assumed", class_names=CLASSES)
    images = str(wide / "val")
    for more in ([], ["--crop=stretch"]):
        arguments = [f"--model={tmp_path / 'assumed'}", *more, images]
        assert predict.main(["predict", *arguments]) == 0
        said = capsys.readouterr().err
        assert ("warning: " in said and "does not say how images were shown" in said) == (not more)


@pytest.mark.slow
def test_guesses_of_networks_without_weights_and_of_foreign_files(tmp_path):
    trunk = zoo.get("resnet8", include_top=False, pooling="avg", input_shape=(16, 16, 3))
    said = warning_of(zoo.save, trunk, tmp_path / "trunk")
    assert SAYS in said
    assert "class_names" not in said  # it has no classes
    head = zoo.get("resnet8", num_classes=2, input_shape=(16, 16, 3))
    assert "class_names=[...]" in warning_of(zoo.save, head, tmp_path / "head")
    head.save(tmp_path / "head.keras")
    again = zoo.get("resnet8", weights=tmp_path / "head.keras")
    said = warning_of(zoo.save, again, tmp_path / "again")
    assert "head.keras does not say how images were shown to it" in said
    quietly(zoo.save, again, tmp_path / "again", preprocessing=STRETCHED)
    # The features of weights that say it are known.
    features = zoo.get("resnet20", weights="digits", include_top=False, pooling="avg")
    quietly(zoo.save, features, tmp_path / "features")


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
