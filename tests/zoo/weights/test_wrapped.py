"""The wrappings that training scripts put around weights come off of every family's networks."""

import sys
import warnings

import densenet_parity
import numpy as np
import preact_parity
import pytest
import variant_parity
import vgg_parity
from safetensors.numpy import save_file

from resnet_keras import zoo
from resnet_keras.errors import InputError

KINDS = {  # network: the record of its tensors, their name there, and the head's
    "resnetv2_50": (preact_parity.RECORD, "thin resnetv2_50", "head.fc"),
    "densenet121": (densenet_parity.RECORD, "thin densenet121", "classifier"),
    "vgg16": (vgg_parity.RECORD, "thin vgg16", "classifier.6"),
    "vgg16_bn": (vgg_parity.RECORD, "thin vgg16_bn", "classifier.6"),
    "seresnet18": (variant_parity.RECORD, "seresnet18", "fc"),
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    """A network's name, its tensors as they are published, and what is read of them."""
    record, recorded, head = KINDS[request.param]
    return request.param, record.torch_weights(recorded), head


@pytest.fixture(scope="module")
def plain(kind, tmp_path_factory):
    name, tensors, _ = kind
    path = tmp_path_factory.mktemp("plain") / "w.safetensors"
    return values(name, put(path, tensors))


def put(path, tensors):
    save_file({key: np.ascontiguousarray(value) for key, value in tensors.items()}, path)
    return path


def values(name, path):
    file = zoo.weights.read(path, zoo.networks.find(name))
    return {key: tensor.read() for key, tensor in file.tensors.items()}


def same(found, expected):
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)


def prefixed(prefix, tensors):
    return {f"{prefix}{key}": value for key, value in tensors.items()}


def with_head(kind, place, prefix=""):
    """The network's tensors with a linear layer for its head, at another place."""
    _, tensors, head = kind
    body = {key: value for key, value in tensors.items() if not key.startswith(f"{head}.")}
    weight = tensors[f"{head}.weight"]
    matrix = weight.reshape(weight.shape[:2])  # timm's is a convolution
    return prefixed(prefix, body) | {
        f"{place}.weight": matrix,
        f"{place}.bias": tensors[f"{head}.bias"],
    }


@pytest.mark.parametrize(
    "prefix", ["module.", "anything.encoder_q.", "state_dict.model._orig_mod."]
)
def test_prefixes(kind, plain, prefix, tmp_path):
    name, tensors, _ = kind
    beside = {"optimizer.state.0.exp_avg": np.zeros(3, "f4"), "epochs.num_batches_tracked": [7.0]}
    path = put(tmp_path / "w.safetensors", prefixed(prefix, tensors) | beside)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same(values(name, path), plain)


@pytest.mark.parametrize(
    ("place", "prefix"),
    [
        ("{head}.0", ""),
        ("{head}.1", "model."),
        ("classifier", "backbone."),
        ("head", "model.backbone."),
        ("model.classifier.1", "model.backbone."),
    ],
)
def test_a_head_of_one_linear_layer(kind, plain, place, prefix, tmp_path):
    """In a Sequential, or beside the network."""
    name, _, head = kind
    inside = "{head}" in place
    place = (prefix if inside else "") + place.format(head=head)
    same(values(name, put(tmp_path / "w.safetensors", with_head(kind, place, prefix))), plain)


@pytest.mark.parametrize(
    ("weights", "averages"),
    [("model.", "model_ema.module."), ("", "ema."), ("net.backbone.", "ema.backbone.")],
)
def test_the_average_is_taken_and_said(kind, plain, weights, averages, tmp_path):
    name, tensors, _ = kind
    other = {key: value + 1 for key, value in tensors.items()}
    path = put(tmp_path / "w.safetensors", prefixed(weights, other) | prefixed(averages, tensors))
    with pytest.warns(UserWarning, match=f"averaged ones, {averages}") as told:
        same(values(name, path), plain)
    assert len(told) == 1


def test_by_a_users_way(kind, plain, tmp_path):
    """A checkpoint of a user's module with a backbone and a classifier, and its average."""
    name, _, _ = kind
    tensors = with_head(kind, "classifier.1", "backbone.")
    other = {key: value + 1 for key, value in tensors.items()}
    path = put(tmp_path / "w.safetensors", prefixed("model.", other) | prefixed("ema.", tensors))
    with pytest.warns(UserWarning, match="averaged") as told:
        model = zoo.get(name, weights=path)
    assert [warning.filename for warning in told] == [__file__]
    found = {v.path: np.asarray(v) for v in model.weights if "normalization/" not in v.path}
    same(found, plain)


def test_other_heads_are_left_out(kind, tmp_path):
    """With a warning, for a new one."""
    name, tensors, head = kind
    two = {f"{head}.0.weight": np.ones((9, 8), "f4"), f"{head}.2.weight": np.ones((5, 9), "f4")}
    body = {key: value for key, value in tensors.items() if not key.startswith(f"{head}.")}
    path = put(tmp_path / "w.safetensors", prefixed("model.", body | two))
    with pytest.raises(InputError, match=r"no head that can be read.*give num_classes=N"):
        zoo.get(name, weights=path)
    with pytest.warns(UserWarning, match=r"head in .* cannot be read") as told:
        model = zoo.get(name, weights=path, num_classes=3)
    assert model.output_shape == (None, 3)
    assert [warning.filename for warning in told] == [__file__]


def test_of_several_networks_none_is_taken(kind, tmp_path):
    name, tensors, _ = kind
    both = prefixed("student.", tensors) | prefixed("teacher.", tensors)
    with pytest.raises(InputError, match=r"several networks, student\.\*, teacher\.\*: save the"):
        zoo.get(name, weights=put(tmp_path / "w.safetensors", both))


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
