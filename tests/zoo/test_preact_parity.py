"""Pre-activation networks with other projects' weights answer as those projects' own do."""

import hashlib
import sys

import keras
import numpy as np
import parity
import preact_parity
import pytest
from recorded import difference
from safetensors.numpy import save_file

from resnet_keras import zoo
from resnet_keras.errors import InputError

RECORD = preact_parity.RECORD
TOLERANCE = 5e-6  # 152 layers round to 1.2e-6 of the largest logit, the others to less than 1e-6
THIN = "thin resnetv2_50"
ANY_SIZE = {"input_shape": (None, None, 3)}


def distinct(expected):
    """Whether what is compared depends on the image."""
    return difference(expected[:1], expected[1:]) > 20 * TOLERANCE


def test_logits_of_a_thin_torch_network(tmp_path):
    path = RECORD.torch_file(tmp_path / "thin.safetensors", THIN, prefix="module.")
    model = zoo.get("resnetv2_50", weights=path, **ANY_SIZE)
    assert model.output_shape == (None, preact_parity.CLASSES)
    assert model.get_layer("conv1_conv").filters == preact_parity.WIDTH
    for size in preact_parity.SIZES:
        expected = RECORD.logits(THIN, *size)
        assert difference(model(parity.images(*size)), expected) < TOLERANCE
        assert distinct(expected)


@pytest.mark.parametrize("stride", preact_parity.DILATED)
def test_dilated_stages_are_timms(stride, tmp_path):
    path = RECORD.torch_file(tmp_path / "thin.safetensors", THIN)
    model = zoo.get("resnetv2_50", weights=path, output_stride=stride, **ANY_SIZE)
    for size in preact_parity.SIZES[1:]:
        expected = RECORD.logits(f"{THIN} {stride}", *size)
        assert difference(model(parity.images(*size)), expected) < TOLERANCE
        assert difference(RECORD.logits(THIN, *size), expected) > 1e-3


@pytest.mark.slow
@pytest.mark.large
def test_registered_weights_are_built_for_the_images_they_were_measured_on(
    applications, tmp_path, monkeypatch
):
    import h5py
    from keras.src.legacy.saving import legacy_h5_format

    entry = zoo.ENTRIES["resnet50v2", "keras_in1k"]
    path = tmp_path / entry.file_name
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, applications)
    checksum = f"md5:{hashlib.md5(path.read_bytes()).hexdigest()}"
    entries = {**zoo.ENTRIES, (entry.model, entry.tag): entry._replace(checksum=checksum)}
    monkeypatch.setattr(zoo.entries, "ENTRIES", entries)
    model = zoo.get("resnet50v2", weights="imagenet", weights_dir=tmp_path)
    assert model.input_shape == (None, 299, 299, 3)
    ((best, *_),) = zoo.predict(model, parity.images(310, 400)[:1], class_names=list("abcdefghij"))
    assert best.name in "abcdefghij"
    expected = answers(applications, (299, 299))
    assert difference(model(parity.images(299, 299)), expected) < TOLERANCE
    features = zoo.get("resnet50v2", weights=path, include_top=False, pooling="avg", **ANY_SIZE)
    head = applications.layers[-1]
    found = np.asarray(features(parity.images(224, 224))) @ np.asarray(head.kernel) + head.bias
    assert difference(found, answers(applications, (224, 224))) < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("depth", [101, 152])
def test_logits_of_deeper_networks_of_keras_applications(depth, tmp_path):
    build = getattr(keras.applications, f"ResNet{depth}V2")
    source = ruled(build(weights=None, classes=10, classifier_activation=None))
    source.save(tmp_path / "deeper.keras")
    model = zoo.get(f"resnet{depth}v2", weights=tmp_path / "deeper.keras", **ANY_SIZE)
    for size in ((224, 224), (193, 161)):
        expected = answers(source, size, build)
        assert difference(model(parity.images(*size)), expected) < TOLERANCE
        assert distinct(expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", preact_parity.FULL)
def test_logits_of_torch_networks(name, tmp_path):
    path = RECORD.torch_file(tmp_path / f"{name}.safetensors", name)
    model = zoo.get(name, weights=path, **ANY_SIZE)
    for size in preact_parity.SIZES:
        expected = RECORD.logits(name, *size)
        assert difference(model(parity.images(*size)), expected) < TOLERANCE
        assert distinct(expected)


@pytest.mark.parametrize("name", preact_parity.CIFAR)
def test_logits_of_the_authors_cifar_networks(name):
    """Their files are not read: the weights are set in the order of the authors' layers."""
    model = zoo.get(name, mean=(127.5,) * 3, std=(127.5,) * 3, **ANY_SIZE)
    for torch_name, value in RECORD.torch_weights(name).items():
        layer, variable = _ours(torch_name, name)
        axes = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}[value.ndim]
        getattr(model.get_layer(layer), variable).assign(value.transpose(axes))
    assert len(RECORD.torch_weights(name)) == len(model.weights) - 2  # mean and std
    for size in preact_parity.CIFAR_SIZES:
        expected = RECORD.logits(name, *size)
        assert difference(model(parity.images(*size)), expected) < TOLERANCE
        assert distinct(expected)


def _ours(torch_name, name):
    """Our layer and its variable of one of `preact_parity.cifar`'s tensors."""
    path, _, leaf = torch_name.rpartition(".")
    norms = {
        "weight": "gamma",
        "bias": "beta",
        "running_mean": "moving_mean",
        "running_var": "moving_variance",
    }
    if path in ("conv", "fc"):
        layer = {"conv": "conv1_conv", "fc": "logits"}[path]
        return layer, {"weight": "kernel", "bias": "bias"}[leaf]
    if path == "norm":
        return "conv4_post_bn", norms[leaf]
    _, unit, kind, *number = path.split(".")
    count = {"preact_resnet20": 3, "preact_resnet29": 3, "wrn10_2": 1, "wrn16_1": 2}[name]
    place = f"conv{int(unit) // count + 2}_block{int(unit) % count + 1}"
    if kind == "norms":
        return f"{place}_{'preact' if number == ['0'] else number[0]}_bn", norms[leaf]
    return f"{place}_{int(number[0]) + 1 if number else 0}_conv", "kernel"


@pytest.fixture(scope="module")
def applications():
    """keras.applications' ResNet50V2 with weights by the rule, which leaves logits as they are."""
    source = keras.applications.ResNet50V2(weights=None, classes=10, classifier_activation=None)
    return ruled(source)


def ruled(source):
    for v in source.variables:
        shape = tuple(v.shape)
        v.assign(parity.weights(v.path, shape, int(np.prod(shape[:-1]))))
    return source


def answers(source, size, build=keras.applications.ResNet50V2):
    """What a network of keras.applications says of `parity.images(*size)`."""
    pixels = keras.applications.resnet_v2.preprocess_input(parity.images(*size).astype("float32"))
    if source.input_shape[1:3] == size:
        return np.asarray(source(pixels))
    # Its builder has no classifier for images of any size.
    other = build(weights=None, include_top=False, pooling="avg", input_shape=(*size, 3))
    other.set_weights(source.get_weights()[:-2])
    head = source.layers[-1]
    return np.asarray(other(pixels)) @ np.asarray(head.kernel) + np.asarray(head.bias)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["keras", "h5", "weights.h5"])
def test_logits_of_keras_applications(kind, applications, tmp_path):
    """In the released files' format, and as Keras 3 saves such a model today."""
    path = tmp_path / f"resnet50v2.{kind}"
    if kind == "h5":
        import h5py
        from keras.src.legacy.saving import legacy_h5_format

        with h5py.File(path, "w") as file:
            legacy_h5_format.save_weights_to_hdf5_group(file, applications)
    elif kind == "keras":
        applications.save(path)
    else:
        applications.save_weights(path)
    model = zoo.get("resnet50v2", weights=path, **ANY_SIZE)
    for size in ((224, 224), (193, 161)):
        expected = answers(applications, size)
        assert difference(model(parity.images(*size)), expected) < TOLERANCE
        assert distinct(expected)
    for other in ("resnet50", "vgg16", "preact_resnet110"):
        with pytest.raises(InputError, match=r"holds weights of resnet50v2.*: ask for resnet50v2"):
            zoo.get(other, weights=path)
    with pytest.raises(InputError, match="of resnet50v2, not of resnetv2_50: ask for resnet50v2"):
        zoo.get("resnetv2_50", weights=path)


def put(path, tensors):
    save_file({name: np.asarray(value, "float32") for name, value in tensors.items()}, path)
    return path


def test_files_of_other_networks_are_named(tmp_path):
    path = RECORD.torch_file(tmp_path / "thin.safetensors", THIN, prefix="model.")
    for other in ("resnet50", "resnet101", "vgg16", "resnet50v2", "resnetv2_101", "wrn16_8"):
        with pytest.raises(InputError, match=r"of resnetv2_50.*: ask for resnetv2_50"):
            zoo.get(other, weights=path)
    bit = {k: v for k, v in RECORD.torch_weights(THIN).items() if "running" not in k}
    put(path, bit)
    with pytest.raises(InputError, match="group normalization, such as BiT's"):
        zoo.get("resnetv2_50", weights=path)
    with pytest.raises(InputError, match="a ResNet V2 of timm's or BiT's"):
        zoo.get("resnet50", weights=path)


@pytest.mark.parametrize("asked", ["resnetv2_50", "resnet50v2", "preact_resnet164"])
@pytest.mark.parametrize(("groups", "inner", "name"), [(1, 64, "resnet50"), (32, 128, "resnext50")])
def test_networks_without_pre_activation_are_named(asked, groups, inner, name, tmp_path):
    path = tmp_path / "w.safetensors"
    torch = {"conv1.weight": np.zeros((64, 3, 7, 7))}
    shapes = {1: (inner, 4, 1, 1), 2: (inner, inner // groups, 3, 3), 3: (256, 4, 1, 1)}
    for stage, count in enumerate((3, 4, 6, 3), 1):
        for block in range(count):
            for number, shape in shapes.items():
                torch[f"layer{stage}.{block}.conv{number}.weight"] = np.zeros(shape)
    put(path, torch)
    with pytest.raises(InputError, match=f"without .*, not of {asked}: ask for .*{name}"):
        zoo.get(asked, weights=path)
    put(path, {"conv1.weight": torch["conv1.weight"]})
    with pytest.raises(InputError, match=f"no network .* such as {asked}: its 1 tensors"):
        zoo.get(asked, weights=path)


@pytest.mark.slow
def test_keras_files_of_its_first_form_are_named(tmp_path):
    keras.applications.ResNet50(weights=None, classes=3).save(tmp_path / "resnet50.keras")
    with pytest.raises(
        InputError, match=r"of resnet50, without .*, not of resnet50v2: ask for resnet50\."
    ):
        zoo.get("resnet50v2", weights=tmp_path / "resnet50.keras")


@pytest.mark.parametrize(
    ("name", "other"), [("wrn10_1", "preact_resnet8"), ("preact_resnet8", "wrn10_1")]
)
def test_two_networks_with_the_same_weights_are_told_by_their_layers(name, other, tmp_path):
    path = tmp_path / "model.weights.h5"
    zoo.get(name, input_shape=(16, 16, 3)).save_weights(path)
    assert zoo.get(name, weights=path, input_shape=(16, 16, 3)).name == name
    with pytest.raises(InputError, match=f"of {name}, not of {other}: ask for {name}"):
        zoo.get(other, weights=path)


@pytest.mark.slow
def test_own_files_of_other_networks_are_named(tmp_path):
    path = tmp_path / "own.weights.h5"
    zoo.get("resnetv2_50", width=8).save_weights(path)
    for other in ("resnet50", "resnet50v2"):
        with pytest.raises(InputError, match=r"of resnetv2_50.*: ask for resnetv2_50"):
            zoo.get(other, weights=path)
    zoo.get("wrn10_2").save_weights(path)
    for other in ("preact_resnet8", "wrn10_3", "resnet8"):
        with pytest.raises(InputError, match=r"holds weights of wrn10_2.*: ask for wrn10_2"):
            zoo.get(other, weights=path)
    zoo.get("resnet8").save_weights(path)
    with pytest.raises(InputError, match=r"of .*resnet8, without .*: ask for .*resnet8"):
        zoo.get("preact_resnet8", weights=path)


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
