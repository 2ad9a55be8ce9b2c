"""Weights in other people's wrappings and of other projects: read, or named with a way out.

Every piece of advice in an error message is followed.
"""

import json
import pickle
import re
import sys
import warnings
import zipfile

import numpy as np
import pytest
import torch_names
from safetensors.numpy import save_file

from resnet_keras import zoo
from resnet_keras.errors import InputError
from resnet_keras.zoo import networks, weights

formats, pickles = weights.formats, weights.pickles

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), "uint8")


def random_state(name, classes=7, seed=0, **options):
    """A network's weights under torchvision's names, in torch's layout."""
    generator = np.random.default_rng(seed)
    model = zoo.get(name, num_classes=classes, **options)
    state = {}
    for layer in model.layers:
        for tensor, shape in torch_names.tensors(layer):
            values = generator.uniform(0.5, 1.5, shape)
            if len(shape) > 1:
                values = generator.normal(size=shape) / np.sqrt(np.prod(shape[1:]))
            state[tensor] = values.astype("float32")
    return state


@pytest.fixture(scope="module")
def state():
    return random_state("resnet8", shortcut="B")


@pytest.fixture(scope="module")
def imagenet_state():
    return random_state("resnet18")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "w.safetensors"


@pytest.fixture(scope="module")
def logits(state, tmp_path_factory):
    """Of the state as it is; test_parity holds such files to other projects' answers."""
    path = tmp_path_factory.mktemp("plain") / "w.safetensors"
    save_file(state, path)
    return np.asarray(zoo.get("resnet8", weights=path)(IMAGES))


def put(path, tensors):
    save_file(tensors, path)
    return path


def prefixed(prefix, tensors):
    return {f"{prefix}{name}": values for name, values in tensors.items()}


def with_head(state, place, prefix=""):
    """The state with its head at another place."""
    body = {f"{prefix}{name}": v for name, v in state.items() if not name.startswith("fc.")}
    return body | {f"{place}.weight": state["fc.weight"], f"{place}.bias": state["fc.bias"]}


def same(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def refused(path, *words, network="resnet8", **given):
    with pytest.raises(InputError) as error:
        zoo.get(network, weights=path, **given)
    message = str(error.value)
    assert all(word in message for word in (str(path), *words)), message
    return message


# Prefixes, and which of several networks


@pytest.mark.parametrize(
    "prefix",
    [
        "module.",
        "model.",
        "_orig_mod.",
        "model._orig_mod.module.",
        "state_dict.model.backbone.",
        "anything.encoder_q.",
    ],
)
def test_prefixes_are_taken_off(state, logits, path, prefix):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same(zoo.get("resnet8", weights=put(path, prefixed(prefix, state)))(IMAGES), logits)


def test_wrappers_of_modules_inside(state, logits, path):
    compiled = {
        name.replace("layer1.0.", "layer1.0._orig_mod."): values for name, values in state.items()
    }
    same(zoo.get("resnet8", weights=put(path, compiled))(IMAGES), logits)


@pytest.mark.parametrize(
    ("plain", "averaged"),
    [
        ("model.", "model_ema.module."),
        ("state_dict.", "state_dict_ema."),
        ("", "ema."),
        ("net.backbone.", "ema.backbone."),
    ],
)
def test_the_average_is_taken_and_said(state, logits, path, plain, averaged):
    other = {name: values + 1 for name, values in state.items()}
    put(path, {**prefixed(plain, other), **prefixed(averaged, state)})
    with pytest.warns(UserWarning, match="averaged") as told:
        model = zoo.get("resnet8", weights=path)
    (message,) = (str(warning.message) for warning in told)
    assert f"{averaged}*" in message
    assert (f"not {plain}*" if plain else "without a prefix") in message
    assert str(path) in message
    assert told[0].filename == __file__
    same(model(IMAGES), logits)


def test_of_two_networks_none_is_taken(state, logits, path):
    put(path, {**prefixed("student.", state), **prefixed("teacher.", state)})
    refused(path, "several networks, student.*, teacher.*: save the weights of one alone")
    same(zoo.get("resnet8", weights=put(path, prefixed("student.", state)))(IMAGES), logits)


def test_what_stands_beside_the_network(state, path):
    """The state of the training is nobody's loss; what may belong to the network is told."""
    beside = {"optimizer.state.0.exp_avg": np.zeros(3, "f4"), "loss.centres": np.zeros(3, "f4")}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        zoo.get("resnet8", weights=put(path, {**prefixed("model.", state), **beside}))
    put(path, {**prefixed("model.", state), "normalize.mean": np.zeros(3, "f4")})
    with pytest.warns(UserWarning, match=r"left out: normalize\.mean"):
        zoo.get("resnet8", weights=path)
    put(path, {**state, "normalize.mean": np.zeros(3, "f4")})
    refused(path, "has normalize.mean, which the model lacks")


def test_dicts_in_dicts():
    numbers = {"a": np.zeros(2), 3: np.ones(1), "epoch": 7}
    checkpoint = {"state_dict": {"model": numbers, "again": numbers}, "name": "x"}
    checkpoint["state_dict"]["self"] = checkpoint
    found = pickles.flatten(checkpoint, lambda value: isinstance(value, np.ndarray))
    assert found.keys() == {"state_dict.model.a", "state_dict.model.3"}
    with pytest.raises(InputError, match=r"two tensors for a\.b"):
        pickles.flatten({"a.b": 1, "a": {"b": 2}}, lambda value: True)


# Heads


@pytest.mark.parametrize(
    ("place", "prefix"),
    [
        ("fc.1", ""),
        ("linear", ""),
        ("head.fc", ""),
        ("classifier", "backbone."),
        ("head", "model.backbone."),
        ("model.classifier.1", "model.backbone."),
    ],
)
def test_a_head_of_one_linear_layer_is_the_logits(state, logits, path, place, prefix):
    model = zoo.get("resnet8", weights=put(path, with_head(state, place, prefix)))
    same(model(IMAGES), logits)
    assert zoo.get("resnet8", weights=path, include_top=False).output_shape[-1] == 64


def test_a_head_without_a_bias(state, logits, path):
    biased = state["fc.bias"]
    put(path, {name: values for name, values in state.items() if name != "fc.bias"})
    same(zoo.get("resnet8", weights=path)(IMAGES), logits - biased)


def matrix(*shape):
    return np.ones(shape, "float32")


@pytest.mark.parametrize(
    ("head", "named"),
    [
        ({"fc.0.weight": matrix(9, 64), "fc.2.weight": matrix(7, 9)}, "fc.0.weight (9, 64)"),
        ({"fc.3.weight": matrix(7, 64), "fc.3.bias": matrix(7)}, "fc.3.weight (7, 64)"),
        ({"fc.weight": matrix(7, 64), "aux.weight": matrix(7, 64)}, "aux.weight"),
        ({"classifier.weight": matrix(7, 64, 1, 1)}, "classifier.weight (7, 64, 1, 1)"),
        ({"fc.weight": matrix(7, 128), "fc.bias": matrix(7)}, "kernel (128, 7)"),
    ],
)
def test_another_head_is_named_and_the_advice_works(state, path, head, named):
    put(path, {name: v for name, v in state.items() if not name.startswith("fc.")} | head)
    refused(path, "has no head that can be read", named, "num_classes=N", "include_top=False")
    with pytest.warns(UserWarning, match="cannot be read and is left out") as told:
        model = zoo.get("resnet8", weights=path, num_classes=7)
    assert told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        features = zoo.get("resnet8", weights=path, include_top=False)
        zoo.backbone("resnet8", weights=path)
    for found in (model, features):
        kernel = found.get_layer("conv1_conv").kernel
        np.testing.assert_array_equal(kernel, state["conv1.weight"].transpose(2, 3, 1, 0))


def test_a_layer_before_the_head_makes_it_another(state, path):
    put(path, with_head(state, "head", "backbone.") | {"neck.weight": matrix(64, 64)})
    with pytest.warns(UserWarning, match=r"neck\.weight"):
        refused(path, "has no head that can be read", "head.weight (7, 64)")


# Other networks in torch's names


def test_a_stem_of_one_channel_can_be_spread(state, path):
    grey = {**state, "conv1.weight": state["conv1.weight"][:, :1]}
    refused(put(path, grey), "one channel", "divide it by three", "mean and std of three equal")
    spread = np.repeat(grey["conv1.weight"], 3, axis=1) / 3
    numbers = {"mean": (120.0,) * 3, "std": (60.0,) * 3, "input_shape": (16, 16, 1)}
    model = zoo.get("resnet8", weights=put(path, {**state, "conv1.weight": spread}), **numbers)
    stem = model.get_layer("conv1_conv")
    pixels = np.random.default_rng(0).normal(size=(1, 16, 16, 1)).astype("float32")
    expected = np.einsum("hwco,c->o", np.asarray(stem.kernel), np.ones(3)) * 2.0
    # Inside, where no padding is: constant pixels two standard deviations above the mean.
    constant = stem(np.full((1, 16, 16, 3), 2.0, "float32"))
    np.testing.assert_allclose(np.asarray(constant)[0, 8, 8], expected, rtol=1e-4, atol=1e-4)
    assert model(pixels).shape == (1, 7)
    np.testing.assert_allclose(
        np.asarray(stem.kernel).sum(2), grey["conv1.weight"][:, 0].transpose(1, 2, 0), rtol=1e-5
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"conv1.weight": matrix(64, 4, 7, 7)}, "4 channels"),
        ({"conv1.weight": matrix(64, 3, 3, 3)}, "3x3 with 64 filters"),
        ({"layer1.0.conv1.weight": matrix(128, 64, 3, 3)}, "of a network of another width"),
    ],
)
def test_other_stems_and_widths(imagenet_state, path, change, words):
    refused(put(path, {**imagenet_state, **change}), words, network="resnet18")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("conv1.0.weight", "deep stem"),
        ("backbone.bottom_up.res2.0.conv1.weight", "Detectron2"),
        ("conv_stem.weight", "EfficientNet"),
        ("features.0.weight", "VGG"),
        ("features.denseblock1.denselayer1.conv1.weight", "DenseNet"),
        ("cls_token", "vision transformer"),
        ("stages.0.blocks.0.conv_dw.weight", "ConvNeXt"),
    ],
)
def test_other_networks_are_named(path, name, words):
    refused(put(path, {name: matrix(3)}), words)


def test_an_unknown_file_is_answered_with_what_is_in_it(path):
    names = [f"decoder.{'very' * 30}.{n}" for n in range(9)]
    put(path, {name: matrix(1) for name in ("alpha", "beta.gamma", *names)})
    message = refused(path, "no weights of a layout that is known", "11 tensors", "alpha, beta")
    assert "top-level names alpha, beta, decoder" in message
    assert len(message) - len(str(path)) < 600
    refused(put(path, {}), "holds no tensors")
    assert "\x1b" not in refused(put(path, {"a\x1b[1mb": matrix(1)}), "a?[1mb")
    refused(put(path, {"conv1_conv/kernel": matrix(1)}), "lacks the normalization of its pixels")


# Keras's formats


def hdf5(path, layers):
    """A `.weights.h5` file: the names of layers by their paths, each with one tensor."""
    import h5py

    with h5py.File(path, "w") as file:
        for place, name in layers.items():
            group = file.create_group(f"{place}/vars")
            group["0"] = matrix(3)
            if name:
                group.attrs["name"] = name
    return path


HUB = {
    "layers/res_net_backbone/layers/conv2d": "conv1_conv",
    "layers/res_net_backbone/layers/conv2d_1": "stack0_block0_1_conv",
    "layers/dense": "predictions",
}


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        (HUB, "holds weights of a network of 1 basic blocks"),
        (dict.fromkeys(HUB), "KerasHub's ResNet"),
        ({"layers/conv2d": "conv1_conv", "layers/batch_normalization": "post_bn"}, "ResNet V2"),
        ({"layers/conv2d": "stem_conv"}, "EfficientNet"),
        ({"layers/conv2d": "block1_conv1"}, "VGG"),
        ({"layers/conv2d": "conv1_conv", "layers/conv2d_1": "pool2_conv"}, "DenseNet"),
        ({"layers/conv2d": "mine"}, "mine/kernel"),
        ({"layers/conv2d": None}, "lacks the names of its layers"),
        ({"layers/conv2d": "a", "layers/x/layers/conv2d": "a"}, "two tensors for a/kernel"),
    ],
)
def test_keras_files_of_other_networks(tmp_path, layers, words):
    refused(hdf5(tmp_path / "w.weights.h5", layers), words)


def test_a_whole_h5_file_of_resnet_v2(tmp_path):
    import h5py

    with h5py.File(tmp_path / "w.h5", "w") as file:
        for layer, leaf in (("conv1_conv", "kernel"), ("conv1_conv", "bias"), ("post_bn", "gamma")):
            file[f"model_weights/{layer}/{layer}/{leaf}"] = matrix(3)
    refused(tmp_path / "w.h5", "ResNet V2", "of these resnet50v2,", network="resnet50")


@pytest.fixture(scope="module")
def applications(tmp_path_factory):
    """A user's network around that of keras.applications, saved in each way of Keras's."""
    import h5py
    import keras

    folder = tmp_path_factory.mktemp("applications")
    network = keras.applications.ResNet50(weights=None, input_shape=(32, 32, 3), classes=5)
    generator = np.random.default_rng(0)
    for v in network.variables:
        if "bias" in v.path or "moving" in v.path:
            v.assign(generator.uniform(0.5, 1.5, v.shape))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("w.keras", "w.h5"):
            network.save(folder / name)
    network.save_weights(folder / "w.weights.h5")
    network.save_weights(folder / "old.weights.h5")
    with h5py.File(folder / "old.weights.h5", "a") as file:  # as older Keras wrote it
        for group in file["layers"].values():
            group["vars"].attrs.pop("name", None)
    features = keras.Model(network.input, network.get_layer("avg_pool").output)
    user = keras.Sequential([keras.Input((32, 32, 3)), features, keras.layers.Dense(3)])
    user.save(folder / "user.keras")
    return folder


def test_files_that_users_save_of_keras_applications(applications):
    """As the whole .h5 file, whose logits test_parity compares."""
    network = networks.find("resnet50")
    expected = weights.read(applications / "w.h5", network)
    assert expected.options["num_classes"] == 5
    for name in ("w.keras", "w.weights.h5"):
        found = weights.read(applications / name, network)
        assert found.tensors.keys() == expected.tensors.keys()
        assert (found.options, found.defaults) == (expected.options, expected.defaults)
        for key, tensor in expected.tensors.items():
            np.testing.assert_array_equal(found.tensors[key].read(), tensor.read())


def test_without_names_of_layers_the_advice_works(applications, tmp_path):
    import keras

    refused(
        applications / "old.weights.h5", "load it with keras", "save the model as .keras",
        network="resnet50",
    )  # fmt: skip
    source = keras.applications.ResNet50(weights=None, input_shape=(32, 32, 3), classes=5)
    source.load_weights(applications / "old.weights.h5")
    source.save(tmp_path / "new.keras")
    network = networks.find("resnet50")
    found = weights.read(tmp_path / "new.keras", network).tensors
    expected = weights.read(applications / "w.h5", network).tensors
    for key in ("conv1_conv/kernel", "conv1_bn/moving_mean", "logits/kernel"):
        np.testing.assert_array_equal(found[key].read(), expected[key].read())


@pytest.mark.slow
def test_a_users_head_behind_keras_applications(applications):
    path = applications / "user.keras"
    refused(path, "no head that can be read, but dense", "(2048, 3)", network="resnet50")
    model = zoo.get("resnet50", weights=path, include_top=False, input_shape=(32, 32, 3))
    network = networks.find("resnet50")
    expected = weights.read(applications / "w.h5", network).tensors
    for name in ("conv1_conv", "conv5_block3_3_conv"):
        np.testing.assert_array_equal(
            model.get_layer(name).kernel, expected[f"{name}/kernel"].read()
        )


# Folders of other projects


def to_transformers(name):
    """The name that transformers has for one of torchvision's."""
    kinds = {"conv": "convolution", "bn": "normalization"}
    name = re.sub(r"^(conv|bn)1\.", lambda m: f"embedder.embedder.{kinds[m[1]]}.", name)
    name = re.sub(
        r"^layer(\d)\.(\d+)\.downsample\.([01])",
        lambda m: (
            f"encoder.stages.{int(m[1]) - 1}.layers.{m[2]}.shortcut."
            f"{list(kinds.values())[int(m[3])]}"
        ),
        name,
    )
    name = re.sub(
        r"^layer(\d)\.(\d+)\.(conv|bn)(\d)",
        lambda m: (
            f"encoder.stages.{int(m[1]) - 1}.layers.{m[2]}.layer.{int(m[4]) - 1}.{kinds[m[3]]}"
        ),
        name,
    )
    return name.replace("fc.", "classifier.1.") if name.startswith("fc") else f"resnet.{name}"


CONFIG = {
    "architectures": ["ResNetForImageClassification"],
    "model_type": "resnet",
    "depths": [2, 2, 2, 2],
    "layer_type": "basic",
    "hidden_act": "relu",
}


@pytest.fixture
def folder(imagenet_state, tmp_path):
    """Of transformers' ResNet-18; the names are those of transformers 5.24, tried with it."""
    save_file(
        {to_transformers(name): values for name, values in imagenet_state.items()},
        tmp_path / "model.safetensors",
    )
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    return tmp_path


def test_transformers_folders_are_read(folder, imagenet_state, path):
    network = networks.find("resnet18")
    expected = weights.read(put(path, imagenet_state), network)
    for place in (folder, folder / "model.safetensors"):
        found = weights.find("resnet18", place)[1]
        assert (found.options, found.defaults) == (expected.options, expected.defaults)
        assert found.tensors.keys() == expected.tensors.keys()
        for key, tensor in expected.tensors.items():
            np.testing.assert_array_equal(found.tensors[key].read(), tensor.read())


@pytest.mark.parametrize("config", [CONFIG, {"architecture": "resnet18", "pretrained_cfg": {}}])
def test_other_projects_folders_as_networks_and_the_advice(folder, config):
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"not of zoo\.save's") as error:
        zoo.get(folder)
    advice = re.search(r"zoo\.get\(.*\)", str(error.value))[0]
    assert eval(advice, {"zoo": zoo}).output_shape == (None, 7)


def test_folders_that_hold_something_else(folder, imagenet_state):
    (folder / "config.json").write_text(json.dumps({**CONFIG, "hidden_act": "gelu"}))
    refused(folder, "hidden_act=gelu", "another network", network="resnet18")
    for other in (
        {"architecture": "resnet50t", "pretrained_cfg": {}},
        {**CONFIG, "depths": [1, 1, 1, 3]},
    ):
        (folder / "config.json").write_text(json.dumps(other))
        with pytest.raises(InputError, match="it is another network than those here"):
            zoo.get(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "vit"}))
    with pytest.raises(InputError, match=r"transformers' .vit.: it is another network"):
        zoo.get(folder)
    (folder / "model.safetensors").rename(folder / "other.safetensors")
    refused(folder, "is no folder of zoo.save's", "other.safetensors", network="resnet18")
    model = zoo.get("resnet18", weights=folder / "other.safetensors", num_classes=2)
    assert model.output_shape == (None, 2)
    hub = {"module": "keras_hub.src.models.resnet.resnet_backbone", "class_name": "ResNetBackbone"}
    (folder / "config.json").write_text(json.dumps(hub))
    refused(folder, "KerasHub's, of another network than its ResNets", network="resnet18")
    with pytest.raises(InputError, match="KerasHub's, of another network than its ResNets"):
        zoo.get(folder)


# torch's archives and errors, without torch


def test_archives_that_are_no_weights(tmp_path):
    for members, words in (
        (("m/data.pkl", "m/code/__torch__.py", "m/constants.pkl"), "TorchScript archive"),
        (("notes.txt",), "it holds notes.txt"),
    ):
        with zipfile.ZipFile(tmp_path / "w.pt", "w") as archive:
            for member in members:
                archive.writestr(member, b"x")
        refused(tmp_path / "w.pt", words)


class Module:
    """Stands for a network of the user's own."""


@pytest.mark.parametrize("zipped", [True, False])
def test_a_whole_model_is_told_without_torch(tmp_path, monkeypatch, zipped):
    monkeypatch.setitem(sys.modules, "torch", None)
    path = tmp_path / "w.pth"
    content = pickle.dumps(Module(), protocol=2)
    if zipped:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("w/data.pkl", content)
    else:
        before = b"".join(pickle.dumps(number, protocol=2) for number in (2**70, 1001, {}))
        path.write_bytes(before + content)
    message = refused(path, "whole pickled model", f"{__name__}.Module", "weights_only=False")
    assert "can be imported: import torch" in message


def test_torchs_errors_are_told_in_whole_sentences(tmp_path):
    error = (
        "Weights only load failed. You have \x1b[1mtwo options\x1b[0m. \n\tWeightsUnpickler error: "
        f"Something is wrong with{' a long name' * 40}, which 2.6 refuses. More to read."
    )
    told = pickles.problem(tmp_path / "w.pth", ValueError(error))
    assert told.endswith("a long name, which 2.6 refuses.")
    assert "\x1b" not in told


def test_numbers_in_half_precision(state, logits, path):
    import ml_dtypes

    for dtype in ("float16", ml_dtypes.bfloat16):
        halves = {name: values.astype(dtype) for name, values in state.items()}
        put(path, prefixed("module.", halves))
        read = formats.open_file(path).tensors["module.fc.weight"].read()
        np.testing.assert_array_equal(read, halves["fc.weight"].astype("float32"))
        found = np.asarray(zoo.get("resnet8", weights=path)(IMAGES))
        assert np.abs(found - logits).max() < 0.1 * np.abs(logits).max()


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
