"""SavedModels answer in a process that has TensorFlow alone as `predict` does here."""

import io
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_sample_images

from resnet_keras import zoo
from resnet_keras.deployment import saved_model
from resnet_keras.errors import InputError
from resnet_keras.pipelines import encoded

SIDE = 24
CROPPED = zoo.Preprocessing(SIDE, 32)
WAYS = {"bicubic": CROPPED._replace(interpolation="bicubic"), "stretched": CROPPED.stretched(SIDE)}
NAMES = [f"class {number} (größte)" for number in range(6)]
ORIENTATION = 0x0112  # EXIF's tag

# What a server does: it has no package of ours, and calls the signatures by their names.
ELSEWHERE = """
import sys
sys.modules["resnet_keras"] = sys.modules["keras"] = None
import numpy as np, tensorflow as tf
given = np.load("given.npz")
files = [given[f"file{number}"].tobytes() for number in range(int(given["count"]))]
answers, loaded = {}, {}  # the models hold the variables

def plain(values):
    return values.astype("S") if values.dtype == object else values  # strings, for the file

def call(folder, signature, **inputs):
    if folder not in loaded:
        loaded[folder] = tf.saved_model.load(f"{folder}/1")
    serve = loaded[folder].signatures[signature]
    outputs = serve(**{name: tf.constant(value) for name, value in inputs.items()})
    for name, value in outputs.items():
        answers[f"{folder} {signature} {name}"] = plain(value.numpy())

for way in ("bicubic", "stretched"):
    call(way, "image_bytes", image_bytes=files)
call("resnet", "image_bytes", image_bytes=files)
call("resnet", "serving_default", pixels=given["pixels"])
call("resnet", "serving_float", pixels=given["pixels"].astype("float32"))
call("backbone", "serving_default", pixels=given["pixels"][:1])
call("series", "serving_default", series=given["series"])

with tf.Graph().as_default(), tf.compat.v1.Session() as session:  # TensorFlow Serving's way
    model = tf.compat.v1.saved_model.load(session, ["serve"], "resnet/1")
    signature = model.signature_def["image_bytes"]
    wanted = {name: tensor.name for name, tensor in signature.outputs.items()}
    outputs = session.run(wanted, {signature.inputs["image_bytes"].name: files})
    answers.update({f"session {name}": plain(value) for name, value in outputs.items()})
    broken = [b"", b"no image", b"no image at all, but longer", files[0][:99]]
    for number, content in enumerate(broken):
        try:
            session.run(wanted, {signature.inputs["image_bytes"].name: [files[0], content]})
        except tf.errors.InvalidArgumentError as error:
            answers[f"broken {number}"] = np.array(error.message)
np.savez("answers.npz", **answers)
"""


def encoded_as(kind, image, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def photographs():
    """Two photographs as files of many kinds and sizes, by name."""
    china, flower = map(Image.fromarray, load_sample_images().images)
    exif = Image.Exif()
    files = {
        "landscape.jpg": encoded_as("JPEG", china, quality=90),
        "portrait.jpg": encoded_as("JPEG", flower.crop((200, 0, 410, 427)), quality=75),
        "small.jpg": encoded_as("JPEG", china.resize((19, 15))),
        "exact.png": encoded_as("PNG", flower.resize((SIDE, SIDE))),
        "narrow.png": encoded_as("PNG", china.crop((0, 0, 640, 41))),
        "grey.jpg": encoded_as("JPEG", china.convert("L")),
        "grey_alpha.png": encoded_as("PNG", flower.resize((80, 60)).convert("LA")),
        "alpha.png": encoded_as("PNG", flower.resize((60, 80)).convert("RGBA")),
        "cmyk.jpg": encoded_as("JPEG", flower.convert("CMYK")),
        "photograph.webp": encoded_as("WEBP", flower.resize((100, 90))),
    }
    for orientation in (3, 5, 6, 8):
        exif[ORIENTATION] = orientation
        turned = china.resize((120, 80))
        files[f"turned{orientation}.jpg"] = encoded_as("JPEG", turned, exif=exif)
    return files


def pixel_teller():
    """A classifier whose probabilities tell the pixels that it is shown.

    The logits are log(1 + pixel) and, of one more class, 0: each probability over the last one's is
    1 + pixel.
    """
    pixels = keras.Input((SIDE, SIDE, 3), name="pixels")
    logits = keras.ops.log(keras.layers.Flatten()(pixels) + 1)
    logits = keras.layers.ZeroPadding1D((0, 1))(logits[..., None])
    return keras.Model(pixels, keras.layers.Reshape((-1,), name="logits")(logits))


def pixels_told(classes, probabilities):
    values = np.zeros(probabilities.shape)
    np.put_along_axis(values, classes, probabilities, axis=1)
    return (values[:, :-1] / values[:, -1:] - 1).reshape(-1, SIDE, SIDE, 3)


@pytest.fixture(scope="module")
def models():
    keras.utils.set_random_seed(0)
    shape = (SIDE, SIDE, 3)
    return {
        "resnet": zoo.get("resnet8", num_classes=6, input_shape=shape),
        "backbone": zoo.backbone("resnet8", input_shape=shape, endpoints=("conv3", "conv4")),
        "series": zoo.get("resnet1d", num_classes=3, input_shape=(16, 2)),
    }


@pytest.fixture(scope="module")
def given():
    random = np.random.default_rng(0)
    return {
        "pixels": random.integers(0, 256, (2, SIDE, SIDE, 3), "uint8"),
        "series": random.normal(size=(2, 16, 2)).astype("float32"),
    }


@pytest.fixture(scope="module")
def folder(models, photographs, given, tmp_path_factory):
    """Where SavedModels are, the photographs and the answers of another process."""
    folder = tmp_path_factory.mktemp("served")
    for way, preprocessing in WAYS.items():
        saved_model.write(
            pixel_teller(), folder / way / "1", preprocessing=preprocessing, top=SIDE * SIDE * 3 + 1
        )
    resnet = {"preprocessing": CROPPED, "class_names": NAMES, "top": 3}
    saved_model.write(models["resnet"], folder / "resnet/1", **resnet)
    for name in ("backbone", "series"):
        saved_model.write(models[name], folder / name / "1", preprocessing=None)
    for name, content in photographs.items():
        (folder / name).write_bytes(content)
    files = [np.frombuffer(content, "uint8") for content in photographs.values()]
    named = {f"file{number}": file for number, file in enumerate(files)}
    np.savez(folder / "given.npz", count=len(files), **named, **given)
    subprocess.run([sys.executable, "-c", ELSEWHERE], cwd=folder, check=True)
    return folder


@pytest.fixture(scope="module")
def answers(folder):
    return dict(np.load(folder / "answers.npz"))


@pytest.mark.parametrize("way", WAYS)
def test_pixels_are_those_of_predict(way, answers, folder, photographs):
    shown = WAYS[way]
    paths = [str(folder / name) for name in photographs]
    turned = {"exif_orientation": shown.heeds_exif}  # as `zoo.prediction.of_files` has it
    expected = [image for image, _ in encoded.images(paths, **shown._asdict(), **turned)]
    told = pixels_told(*(answers[f"{way} image_bytes {n}"] for n in ("classes", "probabilities")))
    for name, given, wanted in zip(photographs, told, expected, strict=True):
        difference = np.abs(given - np.asarray(wanted, "float64")).max()
        assert difference <= 1, f"{name}: pixels differ by {difference}"
        assert np.ptp(given) > 50, name


def test_classes_are_those_of_predict(answers, folder, models, photographs):
    paths = [folder / name for name in photographs]
    way = {"preprocessing": CROPPED, "class_names": NAMES, "top": 3}
    for number, guesses in enumerate(zoo.predict(models["resnet"], paths, **way)):
        for source in ("resnet image_bytes", "session"):
            told = {n: answers[f"{source} {n}"][number] for n in ("classes", "labels")}
            assert [guess.label for guess in guesses] == told["classes"].tolist()
            assert [guess.name for guess in guesses] == [n.decode() for n in told["labels"]]
            np.testing.assert_allclose(
                answers[f"{source} probabilities"][number],
                [guess.probability for guess in guesses],
                rtol=1e-4,
            )


@pytest.mark.parametrize("signature", ["serving_default", "serving_float"])
def test_pixels_in_classes_out(signature, answers, models, given):
    logits = models["resnet"].predict_on_batch(given["pixels"])
    told = answers[f"resnet {signature} logits"]
    np.testing.assert_allclose(told, logits, rtol=1e-4, atol=1e-5)
    probabilities = answers[f"resnet {signature} probabilities"]
    np.testing.assert_allclose(probabilities, tf.nn.softmax(logits), rtol=1e-4)


def test_several_outputs_and_series(answers, models, given):
    features = models["backbone"](given["pixels"][:1])
    assert set(features) == {"conv3", "conv4"}
    for name, values in features.items():
        told = answers[f"backbone serving_default {name}"]
        np.testing.assert_allclose(told, values, rtol=1e-4, atol=1e-5)
    told = answers["series serving_default logits"]
    logits = models["series"].predict_on_batch(given["series"])
    np.testing.assert_allclose(told, logits, rtol=1e-4, atol=1e-5)


def test_what_is_no_image_fails_with_a_reason(answers):
    reasons = [str(answers[f"broken {number}"]) for number in range(4)]
    assert "image_bytes must hold an encoded image, not" in reasons[0]
    assert "image_bytes must hold an encoded image, not" in reasons[1]
    assert "not a JPEG, PNG or still WebP" in reasons[2]
    assert "JPEG" in reasons[3]


def test_keras_loads_it_as_a_layer(folder, models, given):
    layer = keras.layers.TFSMLayer(folder / "resnet/1", call_endpoint="serving_default")
    np.testing.assert_allclose(
        layer(given["pixels"])["logits"],
        models["resnet"].predict_on_batch(given["pixels"]),
        rtol=1e-4,
        atol=1e-5,
    )


def test_options(models, tmp_path):
    saved_model.write(
        models["resnet"],
        tmp_path / "resnet",
        preprocessing=CROPPED,
        batch_size=2,
        top=100,
        exif_orientation=False,
        webp=False,
    )
    content = (tmp_path / "resnet/saved_model.pb").read_bytes()
    assert b"DecodeWebP" not in content  # which older servers have not
    signature = tf.saved_model.load(str(tmp_path / "resnet")).signatures["image_bytes"]
    assert signature.structured_input_signature[1]["image_bytes"].shape == [2]
    outputs = {name: tuple(spec.shape) for name, spec in signature.structured_outputs.items()}
    assert outputs == {"classes": (2, 6), "probabilities": (2, 6)}


def test_what_cannot_be_written(models, tmp_path):
    def assert_refused(message, model="resnet", folder=tmp_path / "1", **options):
        options = {"preprocessing": CROPPED, **options}
        with pytest.raises(InputError, match=message):
            saved_model.write(models[model], folder, **options)

    assert_refused("something at .* already", folder=tmp_path)
    assert_refused("no local path", folder="gs://bucket/resnet/1")
    assert_refused("batch_size must be positive, not 0", batch_size=0)
    assert_refused("top must be positive", top=0)
    assert_refused("of side 32, and resnet8 .* 24 x 24", preprocessing=zoo.Preprocessing(32, 32))
    assert_refused("shows no image: a crop of 24", preprocessing=zoo.Preprocessing(SIDE, 8))
    assert_refused("2 class_names do not fit resnet8: it has 6", class_names=["a", "b"])
    assert_refused("does not tell classes: leave preprocessing out", model="backbone")
    assert_refused(r"takes series of shape \(16, 2\), and files are read as RGB", model="series")
    assert not list(tmp_path.iterdir())


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
