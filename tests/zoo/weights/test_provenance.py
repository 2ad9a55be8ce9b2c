"""How images are shown to a network: every source of it, through both commands."""

import functools
import hashlib
import json
import os
import re

import numpy as np
import pytest
import torch_names
from safetensors.numpy import save_file

from resnet_keras import evaluate, predict, zoo
from resnet_keras.errors import InputError
from resnet_keras.zoo import entries, networks, weights

layouts, provenance = weights.layouts, weights.provenance

Preprocessing = zoo.Preprocessing
A1 = entries.ENTRIES["resnet18", "a1_in1k"]
PAPER = Preprocessing()
TIMM = {
    "architecture": "resnet18",
    "num_classes": 2,
    "label_names": ["discs", "stripes"],
    "pretrained_cfg": {
        "tag": "mine",
        "input_size": [3, 160, 160],
        "crop_pct": 0.9,
        "crop_mode": "center",
        "interpolation": "bicubic",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.25, 0.5, 0.5],
    },
}


@pytest.fixture(scope="module")
def model():
    return zoo.get("resnet18", num_classes=2, input_shape=(32, 32, 3))


@pytest.fixture(scope="module")
def torch_file(model, tmp_path_factory):
    """The network in torchvision's layout, with two classes."""
    generator = np.random.default_rng(0)
    tensors = {
        name: generator.uniform(0.01, 0.02, shape).astype("float32")
        for layer in model.layers
        for name, shape in torch_names.tensors(layer)
    }
    path = tmp_path_factory.mktemp("torch") / "weights.safetensors"
    save_file(tensors, path)
    return path


def beside(folder, config):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))


def linked(target, path):
    path.parent.mkdir(exist_ok=True)
    os.link(target, path)
    return path


def by_name(torch_file, model, folder, monkeypatch):
    return linked(torch_file, folder / A1.file_name)


def by_folder(torch_file, model, folder, monkeypatch):
    return linked(torch_file, folder / "resnet18.a1_in1k" / "model.safetensors")


def by_hash(torch_file, model, folder, monkeypatch):
    digits = hashlib.sha256(torch_file.read_bytes()).hexdigest()[:8]
    monkeypatch.setitem(provenance._TORCHVISION, f"x-{digits}", ("resnet18", "a1_in1k"))
    return torch_file


def by_timm(torch_file, model, folder, monkeypatch):
    beside(folder / "timm", TIMM)
    return linked(torch_file, folder / "timm" / "model.safetensors")


def by_header(torch_file, model, folder, monkeypatch):
    path = folder / "own.safetensors"
    shown = Preprocessing(32, 40, "bicubic", antialias=False)
    zoo.weights.save(path, model, preprocessing=shown)
    return path


def by_folder_of_save(torch_file, model, folder, monkeypatch):
    zoo.save(
        model,
        folder / "saved",
        preprocessing=Preprocessing.stretched(32),
        class_names=["discs", "stripes"],
    )
    return folder / "saved"


def by_nothing(torch_file, model, folder, monkeypatch):
    return torch_file


def unlabelled_header(torch_file, model, folder, monkeypatch):
    path = folder / "own.safetensors"
    zoo.weights.save(path, model)
    return path


@functools.cache
def stand_in():
    """Takes the place of networks where their answers do not matter; traced once for all."""
    import keras

    pixels = keras.Input((32, 32, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(pixels)
    return keras.Model(pixels, keras.layers.Dense(2)(pooled))


def run(command, path, photographs, folder, monkeypatch, *more):
    """A command's status, and the preprocessing that it showed images by."""
    seen = []
    monkeypatch.setattr(zoo, "build", lambda *_, **__: stand_in())
    saved = path.is_dir()
    arguments = [
        *([f"--model={path}"] if saved else ["--model=resnet18", f"--weights={path}"]),
        "--image_size=32",
        *more,
    ]
    # Images are shown by no graph, of which each of these would take seconds to trace.
    if command == "predict":

        def spy(*_, preprocessing, **__):
            seen.append(preprocessing)
            return iter(())

        monkeypatch.setattr(zoo.prediction, "of_files", spy)
        status = predict.main(["predict", *arguments, str(photographs / "val" / "discs")])
    else:

        def spy_of_evaluation(*_, image_size, resize, interpolation, crops, **named):
            modes = {key: named[key] for key in ("crop_mode", "antialias") if key in named}
            seen.append(Preprocessing(image_size, resize, interpolation, **modes))
            views = (10,) if crops == "ten" else ()
            return [(np.zeros((12, *views, image_size, image_size, 3), "uint8"), np.zeros(12, int))]

        monkeypatch.setattr(evaluate.pipelines, "evaluation", spy_of_evaluation)
        data = ("--dataset=folder", f"--data_dir={photographs}")
        status = evaluate.main(["evaluate", *arguments, *data])
    return status, seen[0] if seen else None


SOURCES = [
    (by_name, A1.preprocessing.at(32), ()),
    (by_folder, A1.preprocessing.at(32), ()),
    (by_hash, A1.preprocessing.at(32), ()),
    (by_timm, Preprocessing(32, round(32 * 177 / 160), "bicubic"), ()),
    (by_header, Preprocessing(32, 40, "bicubic", antialias=False), ()),
    (by_folder_of_save, Preprocessing.stretched(32), ()),
    (by_nothing, PAPER.at(32), ()),
    (unlabelled_header, Preprocessing(32, 32), ()),
    (by_name, Preprocessing(32, 36), ("--resize=36", "--interpolation=bilinear")),
    (by_nothing, Preprocessing(32, 50, "bicubic"), ("--resize=50", "--interpolation=bicubic")),
    (by_nothing, Preprocessing.stretched(32), ("--crop=stretch",)),
    (by_folder_of_save, Preprocessing.stretched(32, "bicubic"), ("--interpolation=bicubic",)),
    (by_folder_of_save, Preprocessing(32, 36), ("--crop=centre", "--resize=36")),
    (by_timm, Preprocessing.stretched(32, "bicubic"), ("--crop=stretch",)),
]


@pytest.mark.parametrize("command", ["predict", "evaluate"])
@pytest.mark.parametrize(("source", "expected", "more"), SOURCES)
def test_commands_show_images_as_the_source_says(
    command, source, expected, more, torch_file, model, photographs, tmp_path, monkeypatch, capsys
):
    path = source(torch_file, model, tmp_path, monkeypatch)
    capsys.readouterr()
    status, shown = run(command, path, photographs, tmp_path, monkeypatch, *more)
    said = capsys.readouterr().err
    assert status == 0, said
    assert shown == expected
    if source in (by_nothing, unlabelled_header) and not more:
        assert said == (
            f"warning: {path} does not say how images were shown to it: assumed {expected}; say "
            "otherwise with --image_size, --resize, --interpolation and --crop.\n"
        )
    else:
        assert said == ""


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_flags_that_do_not_fit(command, torch_file, photographs, tmp_path, monkeypatch, capsys):
    status, _ = run(command, torch_file, photographs, tmp_path, monkeypatch, "--resize=20")
    assert status == 2
    words = "Crops of side 32 (--image_size) do not fit a shorter side of 20 (--resize)"
    assert words in capsys.readouterr().err
    status, _ = run(command, torch_file, photographs, tmp_path, monkeypatch, "--crop=left")
    assert status == 2


def test_protocols_of_crops_refuse_stretched_images(
    torch_file, model, photographs, tmp_path, monkeypatch, capsys
):
    saved = by_folder_of_save(torch_file, model, tmp_path, monkeypatch)

    def measure(*more):
        status, _ = run("evaluate", saved, photographs, tmp_path, monkeypatch, *more)
        return status, capsys.readouterr().err

    for protocol in ("ten_crop", "multi_scale"):
        status, said = measure(f"--protocol={protocol}")
        assert status == 2
        assert said == (
            f"error: {protocol} is of images in their proportions, and resnet18 was made for "
            "stretched ones: take --protocol=single_crop, or say --crop=centre.\n"
        )
    assert measure("--protocol=single_crop") == (0, "")
    assert measure("--protocol=ten_crop", "--crop=centre") == (0, "")


NAMES = [
    ("resnet50-11ad3fa6.pth", layouts.TORCH, "resnet50", "tv2_in1k"),
    ("resnet50-11ad3fa6.safetensors", layouts.TORCH, "resnet50", "tv2_in1k"),
    ("resnet18-f37072fd.pth", layouts.TORCH, "resnet18", "tv_in1k"),
    ("resnet152-f82ba261.pth", layouts.TORCH, "resnet152", "tv2_in1k"),
    ("resnet50.a1_in1k.safetensors", layouts.TORCH, "resnet50", "a1_in1k"),
    ("resnet50.a1_in1k/model.safetensors", layouts.TORCH, "resnet50", "a1_in1k"),
    ("resnet50.a1_in1k/pytorch_model.bin", layouts.TORCH, "resnet50", "a1_in1k"),
    (
        "models--timm--resnet50.a1_in1k/snapshots/0123/model.safetensors",
        *(layouts.TORCH, "resnet50", "a1_in1k"),
    ),
    ("resnet20-12fca82f.th", layouts.TORCH, "resnet20", "akamaster_cifar10"),
    (
        "resnet50_weights_tf_dim_ordering_tf_kernels.h5",
        *(layouts.KERAS_APPLICATIONS, "resnet50", "keras_in1k"),
    ),
    (
        "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        *(layouts.KERAS_APPLICATIONS, "resnet50", "keras_in1k"),
    ),
    # Of another network, in another layout, and of a name that says nothing.
    ("resnet50-11ad3fa6.pth", layouts.TORCH, "resnet101", None),
    ("resnet50-11ad3fa6.h5", layouts.KERAS_APPLICATIONS, "resnet50", None),
    ("resnet20_digits.safetensors", layouts.OWN, "resnet20", None),
    ("mine/model.safetensors", layouts.TORCH, "resnet50", None),
    ("snapshots/model.safetensors", layouts.TORCH, "resnet50", None),
]


@pytest.mark.parametrize(("name", "layout", "network", "tag"), NAMES)
def test_names_of_registered_files(name, layout, network, tag, tmp_path):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"whatever")
    entry = provenance.registered(path, layout, networks.find(network))
    assert (entry and entry.tag) == tag


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_hashes_of_registered_files(kind, tmp_path, monkeypatch):
    path = tmp_path / "renamed.h5"
    path.write_bytes(b"whatever")
    digits = hashlib.new(kind, b"whatever").hexdigest()
    key = ("resnet50", "keras_in1k")
    network = networks.find("resnet50")
    assert provenance.registered(path, layouts.KERAS_APPLICATIONS, network) is None
    changed = entries.ENTRIES[key]._replace(checksum=f"{kind}:{digits}")
    monkeypatch.setitem(entries.ENTRIES, key, changed)
    assert provenance.registered(path, layouts.KERAS_APPLICATIONS, network) == changed


def test_every_entry_is_known_by_the_name_of_its_file(tmp_path):
    for entry in entries.ENTRIES.values():
        path = tmp_path / entry.file_name
        path.write_bytes(b"")
        known = provenance.registered(path, entry.layout, networks.find(entry.model))
        assert known == (None if entry.packaged else entry)


def test_a_copy_of_packaged_weights_is_known_by_its_hash(tmp_path):
    packaged = zoo.entry.FOLDER / "files" / "resnet20_digits.safetensors"
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(packaged.read_bytes())
    _, file = zoo.weights.find("resnet20", copy)
    _, expected = zoo.weights.find("resnet20", "digits")
    assert file.entry == expected.entry
    assert (file.options.keys(), file.class_names) == (
        expected.options.keys(),
        expected.class_names,
    )


def test_an_entry_brings_options_and_names_where_the_head_is_its_own(model, torch_file, tmp_path):
    """The file has two classes, to which the names of a thousand do not belong."""
    _, file = zoo.weights.find("resnet18", linked(torch_file, tmp_path / A1.file_name))
    assert file.entry == A1
    assert file.class_names is None
    assert file.options["epsilon"] == 1e-5
    with pytest.raises(InputError, match="epsilon belongs to the weights"):
        zoo.get("resnet18", weights=file.path, epsilon=1e-3)
    whole = zoo.weights.finding._registered(file._replace(options={"num_classes": 1000}), A1)
    assert whole.class_names == A1.class_names


def timm(torch_file, folder, **changes):
    config = {**TIMM, "pretrained_cfg": {**TIMM["pretrained_cfg"], **changes}}
    beside(folder, config)
    path = folder / "model.safetensors"
    if not path.exists():
        linked(torch_file, path)
    return zoo.weights.find("resnet18", path)[1]


def test_timm_configs(torch_file, tmp_path):
    file = timm(torch_file, tmp_path / "a")
    assert file.preprocessing == Preprocessing(160, 177, "bicubic")
    assert file.class_names == ("discs", "stripes")
    assert file.options["mean"] == (127.5, 127.5, 127.5)
    assert file.options["std"] == (63.75, 127.5, 127.5)
    assert file.assumed == ""
    built = zoo.get("resnet18", weights=file.path, input_shape=(32, 32, 3))
    np.testing.assert_allclose(built.get_layer("normalization").std, (63.75, 127.5, 127.5))
    # The colours of ImageNet are those of torchvision's files without a config.
    colours = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    file = timm(torch_file, tmp_path / "a", **colours)
    assert (file.options["mean"], file.options["std"]) == (A1.mean, A1.std)
    # timm floors what it resizes to, and a squash is a square that may be cropped.
    file = timm(torch_file, tmp_path / "a", input_size=[3, 224, 224], crop_pct=0.95)
    assert file.preprocessing == A1.preprocessing
    file = timm(torch_file, tmp_path / "a", crop_mode="squash", crop_pct=1.0)
    assert file.preprocessing == Preprocessing(160, 160, "bicubic", crop_mode="stretch")
    # What a config says goes before what the folder's name does.
    file = timm(torch_file, tmp_path / "resnet18.a1_in1k", crop_pct=0.8)
    assert file.preprocessing == Preprocessing(160, 200, "bicubic")
    assert file.entry == A1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"crop_mode": "border"}, "crop_mode 'border'"),
        ({"interpolation": "lanczos"}, "interpolation 'lanczos'"),
        ({"input_size": [3, 160, 192]}, "input_size 160 x 192"),
    ],
)
def test_timm_configs_that_cannot_be_had_are_named(changes, words, torch_file, tmp_path):
    file = timm(torch_file, tmp_path / "timm", **changes)
    assert file.assumed == f"has {words} in its config.json, which cannot be had here"
    assert file.preprocessing == Preprocessing(160, 177, "bicubic")


@pytest.mark.parametrize(
    "changes",
    [
        {"crop_pct": 0},
        {"crop_pct": "1"},
        {"crop_pct": 1e-300},
        {"crop_pct": float("nan")},
        {"input_size": 224},
        {"input_size": [3, 0, 0]},
        {"input_size": [3, True, 5]},
        {"mean": [0.5]},
        {"mean": [123.7, 116.3, 103.5]},
        {"std": [0, 1, 1]},
        {"mean": None},
        {"crop_mode": ["center"]},
    ],
)
def test_timm_configs_that_are_broken(changes, torch_file, tmp_path):
    with pytest.raises(InputError, match=r"pretrained_cfg that cannot be used .*move it away"):
        timm(torch_file, tmp_path / "timm", **changes)


def test_other_configs_beside_weights(torch_file, tmp_path):
    path = linked(torch_file, tmp_path / "model.safetensors")
    for other in ({"model_type": "resnet"}, [1], {"pretrained_cfg": 3}):
        beside(tmp_path, other)
        assert zoo.weights.find("resnet18", path)[1].assumed == provenance.UNSAID
    beside(tmp_path, "{")
    with pytest.raises(InputError, match=r"config\.json, beside model\.safetensors") as error:
        zoo.weights.find("resnet18", path)
    assert re.search("mend it or move it away", str(error.value))
    (tmp_path / "config.json").rename(tmp_path / "away.json")
    assert zoo.weights.find("resnet18", path)[1].assumed == provenance.UNSAID


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
