"""Networks with other projects' weights answer as those projects' own networks do.

keras.applications runs beside ours; torchvision's, timm's and akamaster's answers were recorded by
parity.py, to random weights and random batch statistics that both sides make by its rule.
"""

import json
import os
import subprocess
import sys
import textwrap
import zlib
from pathlib import Path

import numpy as np
import parity
import pytest
from safetensors.numpy import save_file

from resnet_keras import pipelines, zoo
from resnet_keras.zoo import entries

ROOT = Path(__file__).parent.parent.parent
RECORDED = json.loads(parity.NAMES.read_text())
LOGITS = np.load(parity.LOGITS)

# The layout of these is that of the others, and the deepest take half a minute.
SLOW = ("resnet34", "resnet101", "resnet152", "resnet32", "resnet44", "resnet110")
NETWORKS = [
    pytest.param(name, marks=pytest.mark.slow if name in SLOW else ())
    for name in (*parity.IMAGENET, *parity.CIFAR)
]


def difference(found, expected):
    """The largest difference, relative to the largest logit."""
    return np.abs(np.asarray(found) - expected).max() / np.abs(expected).max()


@pytest.fixture
def torch_file(tmp_path):
    """Writes a network's weights by the rule, as the hub's and converted files are laid out."""

    def write(name, prefix="", extra=True):
        tensors = {}
        for tensor, shape in RECORDED["tensors"][name]:
            tensors[prefix + tensor] = parity.torch_weights(tensor, tuple(shape))
            if extra and tensor.endswith("running_var"):
                counter = tensor.replace("running_var", "num_batches_tracked")
                tensors[prefix + counter] = np.array(7, "int64")
        path = tmp_path / f"{name}.safetensors"
        save_file(tensors, path, metadata={"format": "pt"})
        return path

    return write


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_of_torch_networks(name, torch_file):
    dataset = "cifar10" if name in parity.CIFAR else "imagenet"
    path = torch_file(name, prefix="module." if dataset == "cifar10" else "")
    model = zoo.get(name, weights=path, input_shape=(None, None, 3))
    for size in parity.SIZES[dataset]:
        images = parity.images(*size)
        expected = LOGITS[f"{name} {size[0]}x{size[1]}"]
        assert difference(model(images), expected) < 1e-4
        assert difference(model(images[:1]), expected[:1]) < 1e-4
        # What is compared depends on the image.
        assert difference(expected[:1], expected[1:]) > 1e-2


@pytest.mark.slow
def test_logits_on_jax(torch_file):
    """The zoo loads weights on Keras's JAX backend as well, without TensorFlow."""
    pytest.importorskip("jax")
    code = """
        import sys
        import numpy as np
        from resnet_keras import zoo
        model = zoo.get("resnet20", weights=sys.argv[1])
        assert "tensorflow" not in sys.modules
        np.save(sys.argv[3], model(np.load(sys.argv[2])))
        """
    path = torch_file("resnet20")
    images, logits = path.with_suffix(".images.npy"), path.with_suffix(".logits.npy")
    np.save(images, parity.images(32, 32))
    env = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(ROOT)}
    script = [sys.executable, "-c", textwrap.dedent(code), path, images, logits]
    done = subprocess.run(script, env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert difference(np.load(logits), LOGITS["resnet20 32x32"]) < 1e-4


def test_recorded_logits_tell_where_the_stride_is(torch_file):
    model = zoo.get("resnet50", weights=torch_file("resnet50"), stride_in_1x1=True)
    expected = LOGITS["resnet50 224x224"]
    assert difference(model(parity.images(224, 224)), expected) > 1e-2


def test_option_a_of_akamaster_is_renumbered_and_not_only_loaded(torch_file, monkeypatch):
    from resnet_keras.zoo import weights

    resnets = weights.resnets

    monkeypatch.setattr(resnets, "_zeros_behind", lambda tensors: tensors)
    model = zoo.get("resnet20", weights=torch_file("resnet20"))
    expected = LOGITS["resnet20 32x32"]
    assert difference(model(parity.images(32, 32)), expected) > 1e-2


@pytest.mark.parametrize(
    "depth", [50, *(pytest.param(depth, marks=pytest.mark.slow) for depth in (101, 152))]
)
def test_logits_of_keras_applications(depth, tmp_path, monkeypatch):
    """With biases, which its released files have; its own saving code writes the file."""
    import h5py
    import keras
    from keras.src.legacy.saving import legacy_h5_format

    source = getattr(keras.applications, f"ResNet{depth}")(
        weights=None, classifier_activation=None, input_shape=(None, None, 3), include_top=False
    )
    pooled = keras.layers.GlobalAveragePooling2D(name="avg_pool")(source.output)
    source = keras.Model(source.input, keras.layers.Dense(1000, name="probs")(pooled))
    for v in source.variables:
        shape = tuple(v.shape)
        fan_in = int(np.prod(shape[:-1])) if len(shape) > 1 else None
        v.assign(parity.weights(v.path, shape, fan_in))
    path = tmp_path / zoo.ENTRIES[f"resnet{depth}", "keras_in1k"].file_name
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, source)
    monkeypatch.setattr(entries, "ENTRIES", with_file(f"resnet{depth}", "keras_in1k", path))
    model = zoo.get(
        f"resnet{depth}", weights="imagenet", weights_dir=tmp_path, input_shape=(None, None, 3)
    )
    preprocess = keras.applications.resnet.preprocess_input
    for size in parity.SIZES["imagenet"]:
        images = parity.images(*size)
        expected = np.asarray(source(preprocess(images.astype("float32"))))
        assert difference(model(images), expected) < 1e-4
        assert difference(model(images[:1]), expected[:1]) < 1e-4
        assert difference(expected[:1], expected[1:]) > 1e-2


def with_file(model, tag, path):
    """The registry, with the checksum of a file of the test's own."""
    import hashlib

    entry = zoo.ENTRIES[model, tag]
    kind = entry.checksum.split(":")[0]
    digest = hashlib.new(kind, path.read_bytes()).hexdigest()
    return {**zoo.ENTRIES, (model, tag): entry._replace(checksum=f"{kind}:{digest}")}


@pytest.mark.parametrize(
    "tag",
    [
        pytest.param(tag, marks=pytest.mark.slow if tag in ("a1_in1k", "gluon_in1k") else ())
        for tag in parity.TRANSFORMS
    ],
)
def test_from_jpeg_to_logits(tag, torch_file, tmp_path):
    """The publishers' transforms are Pillow's, ours TensorFlow's: the pixels must be the same."""
    pytest.importorskip("PIL")
    content = parity.jpeg()
    assert zlib.crc32(content) == RECORDED["jpeg_crc32"], "Pillow writes other bytes: record anew"
    (tmp_path / "val" / "class").mkdir(parents=True)
    (tmp_path / "val" / "class" / "photograph.jpg").write_bytes(content)
    shown = zoo.ENTRIES["resnet50", tag].preprocessing
    dataset = pipelines.evaluation("folder", "val", 1, data_dir=tmp_path, **shown._asdict())
    ((images, _),) = list(dataset)
    model = zoo.get("resnet18", weights=torch_file("resnet18"))
    others = [LOGITS[f"jpeg {other}"] for other in parity.TRANSFORMS if other != tag]
    found, expected = np.asarray(model(images)), LOGITS[f"jpeg {tag}"]
    assert difference(found, expected) < 1e-4
    # Another entry's transform would show.
    assert min(difference(found, other) for other in others) > 5e-3


def test_entries_have_their_publishers_preprocessing():
    """As torchvision 0.28 and timm 1.0 have it: side before the crop = floor(size / crop_pct)."""
    for tag, crop_pct, interpolation in (
        ("tv_in1k", 0.875, "bilinear"),
        ("tv2_in1k", 0.965, "bilinear"),
        ("a1_in1k", 0.95, "bicubic"),
        ("a2_in1k", 0.95, "bicubic"),
        ("a3_in1k", 0.95, "bicubic"),
        ("gluon_in1k", 0.875, "bicubic"),
    ):
        expected = zoo.Preprocessing(224, int(224 / crop_pct), interpolation)
        assert zoo.ENTRIES["resnet50", tag].preprocessing == expected


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
