"""DenseNets with other projects' weights answer as those projects' own networks do."""

import sys

import densenet_parity
import h5py
import keras
import numpy as np
import parity
import pytest
from recorded import difference
from safetensors.numpy import save_file

from resnet_keras import facts, zoo
from resnet_keras.errors import InputError

RECORD = densenet_parity.RECORD
TOLERANCE = 1e-6
ANY_SIZE = {"input_shape": (None, None, 3)}


def assert_answers(model, name, sizes):
    for size in sizes:
        expected = RECORD.logits(name, *size)
        assert difference(model(parity.images(*size)), expected) < TOLERANCE
        # What is compared depends on the image.
        assert difference(expected[:1], expected[1:]) > 20 * TOLERANCE


def older(path):
    """The file's tensors by the names that torchvision's first files have: `norm.1` for `norm1`."""
    from safetensors.numpy import load_file

    tensors = {}
    for name, value in load_file(path).items():
        for kind in ("norm", "conv"):
            for number in "12":
                name = name.replace(f".{kind}{number}.", f".{kind}.{number}.")
        tensors[name] = value
    save_file(tensors, path)
    return path


def test_logits_of_a_thin_torch_network(tmp_path):
    name = "thin densenet121"
    path = RECORD.torch_file(tmp_path / "thin.safetensors", name, prefix="module.")
    model = zoo.get("densenet121", weights=path, **ANY_SIZE)
    assert model.output_shape == (None, densenet_parity.CLASSES)
    assert model.get_layer("conv2_block1_2_conv").filters == densenet_parity.GROWTH
    assert_answers(model, name, densenet_parity.SIZES)
    again = zoo.get("densenet121", weights=older(path), **ANY_SIZE)
    for one, two in zip(again.weights, model.weights, strict=True):
        np.testing.assert_array_equal(one, two)


def test_files_of_torchs_own_format(tmp_path):
    torch = pytest.importorskip("torch")
    name = "thin densenet121"
    state = {k: torch.from_numpy(np.array(v)) for k, v in RECORD.torch_weights(name).items()}
    torch.save(state, tmp_path / "densenet121.pth")
    model = zoo.get("densenet121", weights=tmp_path / "densenet121.pth", **ANY_SIZE)
    assert_answers(model, name, densenet_parity.SIZES[1:])


@pytest.mark.slow
@pytest.mark.large
@pytest.mark.parametrize("name", densenet_parity.FULL)
def test_logits_of_torch_networks(name, tmp_path):
    path = RECORD.torch_file(tmp_path / f"{name}.safetensors", name)
    assert_answers(zoo.get(name, weights=path, **ANY_SIZE), name, densenet_parity.SIZES)


@pytest.mark.parametrize("name", densenet_parity.CIFAR)
def test_logits_of_the_authors_cifar_networks(name):
    """Their files are not read: the weights are set in the order of the authors' layers."""
    model = zoo.get(name, mean=facts.IMAGENET_MEAN, std=facts.IMAGENET_STD, **ANY_SIZE)
    # The stem's convolution is first, and behind the last one's normalization is no other.
    convs = [x for x in model.layers if isinstance(x, keras.layers.Conv2D)]
    norms = [x for x in model.layers if x.name.endswith("_bn")]
    assert [x.name.rpartition("_")[0] for x in norms[:2]] == ["conv2_block1_0", _second(name)]
    theirs = {"stem": convs[0], "norm": norms[-1], "fc": model.get_layer("logits")}
    theirs |= {f"convs.{i}": layer for i, layer in enumerate(convs[1:])}
    theirs |= {f"norms.{i}": layer for i, layer in enumerate(norms[:-1])}
    leaves = {
        "weight": "gamma",
        "bias": "beta",
        "running_mean": "moving_mean",
        "running_var": "moving_variance",
    }
    weights = RECORD.torch_weights(name)
    assert len(weights) == len(model.weights) - 2  # mean and std
    for torch_name, value in weights.items():
        path, _, leaf = torch_name.rpartition(".")
        layer = theirs[path]
        kernel = {"weight": "kernel", "bias": "bias"}
        variable = (leaves if layer in norms else kernel)[leaf]
        axes = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}[value.ndim]
        getattr(layer, variable).assign(value.transpose(axes))
    assert_answers(model, name, densenet_parity.CIFAR_SIZES)


def _second(name):
    return "conv2_block1_1" if "_bc" in name else "conv2_block2_0"


def thin_applications(input_shape, include_top):
    """keras.applications' DenseNet121 with an eighth of its widths, which are no argument of it."""
    source = keras.applications.DenseNet121(
        weights=None,
        classes=10,
        classifier_activation=None,
        include_top=include_top,
        input_shape=input_shape,
        pooling=None if include_top else "avg",
    )
    config = source.get_config()
    for layer in config["layers"]:
        if "filters" in layer["config"]:
            layer["config"]["filters"] //= 8
        layer.pop("build_config", None)
    return keras.Model.from_config(config)


@pytest.fixture(scope="module")
def applications():
    """With weights by the rule, which leaves logits as they are."""
    return ruled(thin_applications((224, 224, 3), True))


def ruled(source):
    for v in source.variables:
        shape = tuple(v.shape)
        v.assign(parity.weights(v.path, shape, int(np.prod(shape[:-1]))))
    return source


def answers(source, size, other=None):
    """What a network of keras.applications says of `parity.images(*size)`."""
    pixels = keras.applications.densenet.preprocess_input(parity.images(*size).astype("float32"))
    if other is None:
        return np.asarray(source(pixels))
    # Its builder has no classifier for images of any size.
    other.set_weights(source.get_weights()[:-2])
    head = source.layers[-1]
    return np.asarray(other(pixels)) @ np.asarray(head.kernel) + np.asarray(head.bias)


def written(source, path):
    """As keras.applications' files are, but for the names of layers."""
    from keras.src.legacy.saving import legacy_h5_format

    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, source)
    return path


def with_older_names(path, target):
    """The released files' layers are called so: `conv1/conv`, `conv1/bn`, `fc1000`."""
    names = {"conv1_conv": "conv1/conv", "conv1_bn": "conv1/bn", "predictions": "fc1000"}
    with h5py.File(path) as file, h5py.File(target, "w") as older_file:
        for layer, group in file.items():
            name = names.get(layer, layer)
            leaves = group.get(layer, {})
            for leaf, values in leaves.items():
                older_file[f"{name}/{name}/{leaf}"] = values[()]
            if leaves:
                older_file[name].attrs["weight_names"] = [f"{name}/{leaf}" for leaf in leaves]
    return target


@pytest.mark.slow
@pytest.mark.large
@pytest.mark.parametrize("kind", ["h5", "keras", "weights.h5"])
def test_logits_of_keras_applications(kind, applications, tmp_path):
    """In the released files' format, and as Keras 3 saves such a model today."""
    path = tmp_path / f"densenet121.{kind}"
    if kind == "h5":
        path = with_older_names(written(applications, tmp_path / "new.h5"), path)
    elif kind == "keras":
        applications.save(path)
    else:
        applications.save_weights(path)
    model = zoo.get("densenet121", weights=path, **ANY_SIZE)
    assert model.get_layer("conv1_bn").epsilon == 1.001e-5
    expected = answers(applications, (224, 224))
    assert difference(model(parity.images(224, 224)), expected) < TOLERANCE
    assert difference(expected[:1], expected[1:]) > 20 * TOLERANCE
    if kind == "keras":  # and images of an odd size
        other = thin_applications((193, 161, 3), False)
        expected = answers(applications, (193, 161), other)
        assert difference(model(parity.images(193, 161)), expected) < TOLERANCE
    for asked in ("resnet50", "vgg16", "resnet50v2"):
        with pytest.raises(InputError, match=rf"of densenet121, not of {asked}: ask for dense"):
            zoo.get(asked, weights=path)


@pytest.mark.slow
@pytest.mark.parametrize("depth", [121, 169, 201])
def test_logits_of_full_networks_of_keras_applications(depth, tmp_path):
    build = getattr(keras.applications, f"DenseNet{depth}")
    source = ruled(build(weights=None, classes=10, classifier_activation=None))
    source.save(tmp_path / "full.keras")
    model = zoo.get(f"densenet{depth}", weights=tmp_path / "full.keras", **ANY_SIZE)
    other = build(weights=None, include_top=False, pooling="avg", input_shape=(193, 161, 3))
    for size, peer in (((224, 224), None), ((193, 161), other)):
        expected = answers(source, size, peer)
        assert difference(model(parity.images(*size)), expected) < TOLERANCE


@pytest.mark.slow
def test_features_of_files_without_a_head(tmp_path):
    source = ruled(thin_applications((64, 64, 3), False))
    path = written(source, tmp_path / "densenet121_notop.h5")
    model = zoo.get("densenet121", weights=path, include_top=False, pooling="avg", **ANY_SIZE)
    assert difference(model(parity.images(64, 64)), answers(source, (64, 64))) < TOLERANCE
    with pytest.raises(InputError, match="has no head: give num_classes, or include_top=False"):
        zoo.get("densenet121", weights=path)


def test_files_of_other_networks_are_named(tmp_path):
    path = RECORD.torch_file(tmp_path / "thin.safetensors", "thin densenet121", prefix="model.")
    asked = ("resnet50", "resnet20", "vgg16", "resnetv2_50", "densenet169", "densenet40_12")
    for name in asked:
        with pytest.raises(InputError, match=rf"of densenet121, not of {name}: ask for densenet1"):
            zoo.get(name, weights=path)
    resnet = {"conv1.weight": np.zeros((64, 3, 7, 7), "float32")}
    for stage, count in enumerate((3, 4, 6, 3), 1):
        for block in range(count):
            for number in (1, 2, 3):
                kernel = np.zeros((4, 4, 1, 1), "float32")
                resnet[f"layer{stage}.{block}.conv{number}.weight"] = kernel
    save_file(resnet, path)
    with pytest.raises(InputError, match=r"of .*resnet50, not of densenet121: ask for .*resnet50"):
        zoo.get("densenet121", weights=path)
    save_file({"conv1.weight": resnet["conv1.weight"]}, path)
    with pytest.raises(InputError, match="of no DenseNet that is known here, of which densenet121"):
        zoo.get("densenet121", weights=path)


def test_other_files_are_named_too(tmp_path):
    first = {"features.0.weight": np.zeros((64, 3, 3, 3), "float32")}
    save_file(first, tmp_path / "vgg16.safetensors")
    with pytest.raises(InputError, match="a VGG or AlexNet: of these vgg16, vgg16_bn"):
        zoo.get("densenet121", weights=tmp_path / "vgg16.safetensors")
    path = tmp_path / "own.weights.h5"
    zoo.get("densenet_bc16_4").save_weights(path)
    for asked in ("resnet20", "densenet10_4", "densenet_bc16_5", "densenet121", "wrn10_2"):
        with pytest.raises(InputError, match=rf"of densenet_bc16_4, not of {asked}: ask for dens"):
            zoo.get(asked, weights=path)
    zoo.get("resnet20").save(tmp_path / "resnet20.keras")
    with pytest.raises(InputError, match="of resnet20, not of densenet40_12: ask for resnet20"):
        zoo.get("densenet40_12", weights=tmp_path / "resnet20.keras")


def test_entries_have_their_publishers_preprocessing():
    """As torchvision 0.28, timm 1.0 and keras.applications have it."""
    bicubic = zoo.Preprocessing(224, 256, "bicubic")
    shown = {tag: e for (name, tag), e in zoo.ENTRIES.items() if name == "densenet121"}
    assert {tag: entry.preprocessing for tag, entry in shown.items()} == {
        "tv_in1k": zoo.Preprocessing(),
        "torchvision_in1k": zoo.Preprocessing(),
        "keras_in1k": zoo.Preprocessing(),
        "ra_in1k": bicubic,
    }
    assert shown["keras_in1k"].options["epsilon"] == 1.001e-5
    assert {entry.published.top1_error for entry in shown.values()} == {25.566, 25.0, 24.43}


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
