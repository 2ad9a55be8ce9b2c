"""Each format, with each argument that may differ from what its weights were made with."""

import functools

import keras
import numpy as np
import pytest
import written
from written import equal

from resnet_keras import facts, zoo
from resnet_keras.errors import InputError
from resnet_keras.networks.surgery import endpoints
from resnet_keras.zoo import weights

formats = weights.formats

pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model")
KINDS = (*written.OWN, written.NUMBERED, written.TORCH)
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), "uint8")
LARGE = np.random.default_rng(1).integers(0, 256, (2, 24, 40, 3), "uint8")
GREY = IMAGES[..., :1]
OPTIONS = {"shortcut": "B", "num_classes": 3, "input_shape": (16, 16, 3)}
NORMALIZATION = {"mean": (125, 123, 114), "std": (63, 62, 67)}


@pytest.fixture(scope="module", autouse=True)
def _opened_once():
    """HDF5 takes a process each time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(formats, "open_file", functools.cache(formats.open_file))
        yield


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """(path, the model that is in it, what the file does not tell) by (kind, whether headless)."""
    folder = tmp_path_factory.mktemp("written")

    @functools.cache
    def model(kind, headless, drops):
        keras.utils.set_random_seed(0)
        options = {"stochastic_depth": 0.5} if drops else {}
        options |= NORMALIZATION if kind == written.TORCH else {}
        if headless:
            shape = {"shortcut": "B", "input_shape": (16, 16, 3)}
            options |= {**shape, "include_top": False, "pooling": "avg"}
        else:
            options |= OPTIONS
        return written.randomize(zoo.get("resnet8", **options))

    @functools.cache
    def source(kind, headless=False, drops=False):
        made = model(kind, headless, drops)
        place = folder / f"{headless}{drops}"
        place.mkdir(exist_ok=True)
        path = written.write(made, place, kind)
        untold = NORMALIZATION if kind == written.TORCH else {}
        return path, made, {"input_shape": (16, 16, 3), **untold}

    return source


def trunk(model, images):
    """The features of each stage, by the model's own layers at the images' size."""
    stages = keras.Model(model.input, endpoints(model))
    twin = keras.models.clone_model(stages, keras.Input((*images.shape[1:3], 3)))
    twin.set_weights(stages.get_weights())
    return {name: np.asarray(values) for name, values in twin(images).items()}


@pytest.mark.parametrize(
    ("kind", "drops"),
    [
        ("w.safetensors", False),
        (written.TORCH, False),
        ("w.weights.h5", True),
        *(
            pytest.param(kind, False, marks=pytest.mark.slow)
            for kind in KINDS
            if kind not in ("w.safetensors", written.TORCH)
        ),
        *(
            pytest.param(kind, True, marks=pytest.mark.slow)
            for kind in ("w.keras", written.NUMBERED)
        ),
    ],
)
def test_heads_and_features(sources, kind, drops):
    """The same head, another, none, pooled, and a backbone; by a model that drops blocks too."""
    path, model, given = sources(kind, drops=drops)
    features = trunk(model, IMAGES)
    equal(zoo.get("resnet8", weights=path, **given)(IMAGES), model(IMAGES))
    other = zoo.get("resnet8", weights=path, num_classes=7, **given)
    assert other.output_shape == (None, 7)
    equal(keras.Model(other.input, endpoints(other)["conv4"])(IMAGES), features["conv4"])
    headless = {"include_top": False, **given}
    equal(zoo.get("resnet8", weights=path, **headless)(IMAGES), features["conv4"])
    for pooling, expected in (
        ("avg", features["conv4"].mean((1, 2))),
        ("max", features["conv4"].max((1, 2))),
    ):
        equal(zoo.get("resnet8", weights=path, pooling=pooling, **headless)(IMAGES), expected)
    backbone = zoo.backbone("resnet8", weights=path, **given)(IMAGES)
    assert backbone.keys() == features.keys()
    for name, expected in features.items():
        equal(backbone[name], expected)


@pytest.mark.parametrize(
    "kind",
    [
        *("w.safetensors", "w.keras"),
        *(
            pytest.param(kind, marks=pytest.mark.slow)
            for kind in KINDS
            if kind not in ("w.safetensors", "w.keras")
        ),
    ],
)
def test_grey_pixels_other_sizes_and_what_is_of_training(sources, kind):
    path, model, given = sources(kind)
    rgb = np.repeat(GREY, 3, axis=-1)
    untold = {key: value for key, value in given.items() if key != "input_shape"}
    grey = zoo.get("resnet8", weights=path, input_shape=(16, 16, 1), **untold)
    assert grey.input_shape == (None, 16, 16, 1)
    equal(grey(GREY), model(rgb))
    expected = trunk(model, LARGE)["conv4"]
    for size in ((24, 40, 3), (None, None, 3)):
        shape = {**untold, "input_shape": size}
        sized = zoo.get("resnet8", weights=path, **shape)
        equal(keras.Model(sized.input, endpoints(sized)["conv4"])(LARGE), expected)
        equal(sized(LARGE), model.get_layer("logits")(expected.mean((1, 2))))
    dropped = zoo.get("resnet8", weights=path, stochastic_depth=0.3, dropout=0.2, **given)
    assert [layer.name for layer in dropped.layers if "drop" in layer.name][-1] == "dropout"
    equal(dropped(IMAGES), model(IMAGES))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_headless_weights_get_the_head_that_is_asked_for(sources, kind):
    path, model, given = sources(kind, headless=True)
    head = zoo.get("resnet8", weights=path, num_classes=4, **given)
    assert head.output_shape == (None, 4)
    equal(keras.Model(head.input, head.get_layer("avg_pool").output)(IMAGES), model(IMAGES))
    for words, more in (
        ("has no head: give num_classes, or include_top=False", {"include_top": True}),
        ("num_classes is of a head", {"include_top": False, "num_classes": 4}),
        ("pooling is for features", {"num_classes": 4, "pooling": "avg"}),
    ):
        with pytest.raises(InputError, match=words):
            zoo.get("resnet8", weights=path, **given, **more)
    pooled = zoo.get("resnet8", weights=path, include_top=False, pooling="max", **given)
    expected = trunk(model, IMAGES)["conv4"]
    equal(pooled(IMAGES), expected.max((1, 2)))
    equal(zoo.backbone("resnet8", weights=path, **given)(IMAGES)["conv4"], expected)
    if kind not in (written.NUMBERED, written.TORCH, "w.weights.h5"):  # which do not tell
        equal(zoo.get("resnet8", weights=path)(IMAGES), model(IMAGES))
        assert zoo.get("resnet8", weights=path, pooling="max").output_shape == (None, 64)
    if kind == "folder":
        assert zoo.get(path, num_classes=4).output_shape == (None, 4)
        with pytest.raises(InputError, match="has no head"):
            zoo.get(path, include_top=True)


# By format, whether a file settles the option, so that another value is refused.
SETTLED = {
    "shortcut": KINDS,
    "mean": tuple(kind for kind in KINDS if kind != written.TORCH),
    "std": tuple(kind for kind in KINDS if kind != written.TORCH),
    "epsilon": ("folder", "w.safetensors", "w.keras", "w.h5"),
    "stride_in_1x1": (),
}
GIVEN = {"shortcut": "C", "mean": (1, 2, 3), "std": (4, 5, 6), "epsilon": 0.5}


@pytest.mark.parametrize("kind", KINDS)
def test_no_argument_is_ignored(sources, kind):
    """An option is obeyed, or refused where the file settles it."""
    path, _, given = sources(kind)
    for option, value in GIVEN.items():
        call = functools.partial(zoo.get, "resnet8", weights=path, **{**given, option: value})
        if kind in SETTLED[option]:
            with pytest.raises(InputError, match=f"{option} belongs to the weights"):
                call()
            continue
        model = call()
        if option == "epsilon":
            assert model.get_layer("conv4_block1_2_bn").epsilon == value
        else:
            shown = getattr(model.get_layer("normalization"), f"initial_{option}")
            np.testing.assert_array_equal(shown, value)
    half = zoo.get("resnet8", weights=path, dtype="mixed_bfloat16", **given)
    assert half.get_layer("conv1_conv").compute_dtype == "bfloat16"
    for words, more in (
        ("pooling is for features", {"pooling": "avg"}),
        ("option of resnet8: 'stride_in_1x1'", {"stride_in_1x1": False}),
        ("num_classes is of a head", {"include_top": False, "num_classes": 3}),
        ("num_classes is of a head", {"include_top": False, "num_classes": 9}),
    ):
        with pytest.raises(InputError, match=words):
            zoo.get("resnet8", weights=path, **given, **more)


@pytest.mark.slow
def test_arguments_beside_weights_of_keras_applications(tmp_path):
    options = {"mean": facts.CAFFE_MEAN, "std": facts.CAFFE_STD, "epsilon": 1.001e-5}
    model = written.randomize(
        zoo.get("resnet18", num_classes=3, input_shape=(32, 32, 3), **options)
    )
    path = written.write(model, tmp_path, written.KERAS_APPLICATIONS)
    images = np.repeat(np.repeat(IMAGES, 2, 1), 2, 2)
    shape = {"input_shape": (32, 32, 3)}
    features = trunk(model, images)["conv5"]
    headless = zoo.get("resnet18", weights=path, include_top=False, **shape)
    equal(headless(images), features)
    equal(zoo.backbone("resnet18", weights=path, **shape)(images)["conv5"], features)
    other = zoo.get("resnet18", weights=path, num_classes=4, mean=(1, 2, 3), epsilon=0.5, **shape)
    assert other.output_shape == (None, 4)
    assert other.get_layer("conv1_bn").epsilon == 0.5
    np.testing.assert_array_equal(other.get_layer("normalization").initial_mean, (1, 2, 3))
    with pytest.raises(InputError, match="shortcut belongs to the weights"):
        zoo.get("resnet18", weights=path, shortcut="C")


def test_no_head_and_classes_are_refused_without_weights_too():
    with pytest.raises(InputError, match="num_classes is of a head"):
        zoo.get("resnet8", include_top=False, num_classes=4)


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
