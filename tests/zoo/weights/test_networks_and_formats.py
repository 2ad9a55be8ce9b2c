"""Weights of each network in each format: the right logits, or a refusal that names the network."""

import functools
import re

import numpy as np
import pytest
import written

from resnet_keras import facts, zoo
from resnet_keras.errors import InputError
from resnet_keras.zoo import weights

formats = weights.formats

pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model")
SHAPE = (32, 32, 3)
IMAGES = np.random.default_rng(0).integers(0, 256, (2, *SHAPE), "uint8")
ALL = (*written.OWN, written.NUMBERED, written.TORCH)
SOME = ("w.safetensors", "w.h5", "w.weights.h5", written.TORCH)
REST = ("folder", "w.keras", written.NUMBERED)
CASES = [  # network, options, formats, other networks
    ("resnet8", {"shortcut": "A"}, (*written.OWN, written.NUMBERED), ("plain8", "resnet14")),
    ("resnet8", {"shortcut": "B"}, ALL, ("plain8", "plain20", "resnet18")),
    ("resnet8", {"shortcut": "C"}, ALL, ("plain8", "resnet14", "resnet50")),
    ("plain8", {}, ALL, ("resnet8", "plain14", "plain18")),
    ("plain20", {}, ALL, ("resnet20", "plain8", "resnet50")),
    ("plain18", {}, ("w.weights.h5",), ("resnet18", "plain34", "plain20", "resnet50")),
    ("resnet18", {"shortcut": "B"}, SOME, ("plain18", "resnet34", "resnet50", "resnet20")),
    (
        "resnet18",
        {"mean": facts.CAFFE_MEAN, "std": facts.CAFFE_STD, "epsilon": 1.001e-5},
        (written.KERAS_APPLICATIONS,),
        ("plain18", "resnet34", "resnet50"),
    ),
]
DEEP = [
    ("plain18", {}, ("folder", "w.h5", written.NUMBERED, written.TORCH), ("resnet18", "plain34")),
    ("resnet18", {"shortcut": "A"}, ("w.weights.h5", written.TORCH), ("plain18", "resnet34")),
    ("resnet18", {"shortcut": "C"}, ("w.weights.h5", written.TORCH), ("plain18", "resnet50")),
    ("resnet18", {"shortcut": "B"}, REST, ("plain18", "resnet34", "resnet50")),
    ("resnet34", {"shortcut": "B"}, SOME, ("plain34", "resnet18", "resnet50")),
    ("plain34", {}, REST, ("resnet34", "plain18", "resnet101")),
    *(
        (
            "resnet50",
            {"shortcut": shortcut, "stride_in_1x1": stride},
            kinds,
            ("resnet101", "plain34"),
        )
        for shortcut, stride, kinds in (
            ("A", True, SOME),
            ("B", False, ALL),
            ("B", True, REST),
            ("C", False, SOME),
        )
    ),
    (
        "resnet50",
        {"mean": facts.CAFFE_MEAN, "std": facts.CAFFE_STD, "epsilon": 1.001e-5},
        (written.KERAS_APPLICATIONS,),
        ("plain18", "resnet34", "resnet101", "resnet152", "resnet20"),
    ),
    ("resnet101", {}, ("w.weights.h5",), ("resnet50", "resnet152")),
]


@functools.cache
def network(name, options):
    return written.randomize(zoo.get(name, num_classes=5, input_shape=SHAPE, **dict(options)))


def listed(cases):
    return [
        pytest.param(name, options, kind, others, id=f"{name}{options.get('shortcut', '')}-{kind}")
        for name, options, kinds, others in cases
        for kind in kinds
    ]


def depth(name):
    return re.sub(r"\D", "", name)


def given_for(kind, options):
    """What no file of this kind tells."""
    if kind == written.TORCH:
        stride = {key: value for key, value in options.items() if key == "stride_in_1x1"}
        return {"mean": (125, 123, 114), "std": (63, 62, 67), **stride}
    if kind == written.NUMBERED:
        return {key: value for key, value in options.items() if key == "stride_in_1x1"}
    return {}


def check(name, options, kind, others, folder, monkeypatch):
    built = {**options, **given_for(kind, options)}
    model = network(name, tuple(built.items()))
    path = written.write(model, folder, kind)
    monkeypatch.setattr(formats, "open_file", functools.cache(formats.open_file))
    given = {"input_shape": SHAPE, **given_for(kind, options)}
    loaded = zoo.get(name, weights=path, **given)
    written.equal(loaded(IMAGES), model(IMAGES))
    assert loaded.name == name
    untold = kind == written.TORCH and (name.startswith("plain") or options["shortcut"] == "A")
    for other in others:
        if untold and depth(other) == depth(name):
            assert zoo.get(other, weights=path).name == other  # the same tensors
            continue
        with pytest.raises(InputError) as error:
            zoo.get(other, weights=path)
        message = str(error.value)
        assert str(path) in message
        if kind == written.NUMBERED:  # its depth cannot be told
            if depth(other) == depth(name):
                assert f"of a {'plain' if name.startswith('plain') else 'residual'}" in message
            continue
        advice = re.search(rf"holds weights of .*, not of {other}(: ask for .*)?\.$", message)
        assert advice, message
        assert name in advice[0].partition(", not of ")[0]
        if advice[1] and not untold:
            assert advice[1] == f": ask for {name}"  # which was done above


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options", "kind", "others"), listed(CASES))
def test_weights_of_the_network_and_of_others(name, options, kind, others, tmp_path, monkeypatch):
    check(name, options, kind, others, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.large
@pytest.mark.parametrize(("name", "options", "kind", "others"), listed(DEEP))
def test_weights_of_deep_networks(name, options, kind, others, tmp_path, monkeypatch):
    check(name, options, kind, others, tmp_path, monkeypatch)


def test_another_shortcut_than_the_files_is_refused(tmp_path):
    model = network("resnet8", (("shortcut", "B"),))
    for kind in ALL:
        path = written.write(model, tmp_path, kind)
        with pytest.raises(InputError, match="shortcut belongs to the weights"):
            zoo.get("resnet8", weights=path, shortcut="C")


def test_a_network_that_is_not_here_is_described(tmp_path):
    """Such as timm's ResNet-10 and ResNet-26."""
    from safetensors.numpy import save_file

    tensors = {"conv1.weight": np.zeros((64, 3, 7, 7), "f4")}
    for stage in range(1, 5):
        tensors[f"layer{stage}.0.conv1.weight"] = np.zeros((64, 64, 3, 3), "f4")
    save_file(tensors, tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=r"of a network of 1, 1, 1, 1 basic blocks, not of resnet"):
        zoo.get("resnet18", weights=tmp_path / "w.safetensors")


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
