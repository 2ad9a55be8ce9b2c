"""Files of every format, whole, foreign, broken and malicious."""

import io
import json
import pickle
import resource
import struct
import sys
import types
import zipfile

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from resnet_keras import zoo
from resnet_keras.errors import InputError
from resnet_keras.zoo import formats, layouts, networks, weights

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), "uint8")
RESNET8 = networks.find("resnet8")


@pytest.fixture(scope="module")
def model():
    """A network whose options a file must settle, with statistics that are not the initial ones."""
    import keras

    keras.utils.set_random_seed(0)
    model = zoo.get("resnet8", num_classes=4, shortcut="C", mean=(9, 8, 7), std=(60, 61, 62))
    generator = np.random.default_rng(0)
    for v in model.variables:
        if "moving" in v.path:
            v.assign(generator.uniform(0.5, 1.5, v.shape))
    return model


def write(model, path):
    """Saves a model in the format of its suffix."""
    if path.suffix == ".safetensors":
        weights.save(path, model, name="resnet8", options={"shortcut": "C"})
    elif path.name.endswith(".weights.h5"):
        model.save_weights(path)
    else:
        model.save(path)
    return path


FORMATS = ("w.safetensors", "w.weights.h5", "w.keras", "w.h5")


@pytest.mark.filterwarnings("ignore:You are saving your model")
@pytest.mark.parametrize("name", FORMATS)
def test_this_packages_networks_load_from_every_format(model, tmp_path, name):
    path = write(model, tmp_path / name)
    loaded = zoo.get("resnet8", weights=path)
    np.testing.assert_array_equal(loaded(IMAGES), model(IMAGES))
    other = zoo.get("resnet8", weights=path, num_classes=7)
    assert other.output_shape == (None, 7)
    np.testing.assert_array_equal(
        other.get_layer("conv4_block1_2_bn").moving_variance,
        model.get_layer("conv4_block1_2_bn").moving_variance,
    )


def test_a_compiled_and_trained_model_loads_too(tmp_path):
    """Its file has the optimizer's variables as well."""
    trained = zoo.get("resnet8", num_classes=4)
    trained.compile("adam", "mse")
    trained.fit(IMAGES, np.zeros((2, 4)), verbose=0)
    for name in ("w.weights.h5", "w.keras"):
        loaded = zoo.get("resnet8", weights=write(trained, tmp_path / name))
        np.testing.assert_array_equal(loaded(IMAGES), trained(IMAGES))


def test_a_keras_file_says_where_bottlenecks_stride_and_their_epsilon(tmp_path):
    options = {"stride_in_1x1": False, "epsilon": 1e-3, "input_shape": (64, 64, 3)}
    model = zoo.get("resnet50", **options)
    model.save(tmp_path / "w.keras")
    loaded = zoo.get("resnet50", weights=tmp_path / "w.keras")
    assert loaded.input_shape == (None, 64, 64, 3)
    images = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), "uint8")
    np.testing.assert_array_equal(loaded(images), model(images))
    with pytest.raises(InputError, match="epsilon belongs to the weights"):
        zoo.get("resnet50", weights=tmp_path / "w.keras", epsilon=1e-5)
    with pytest.raises(InputError, match="another network, not of resnet101"):
        zoo.get("resnet101", weights=tmp_path / "w.keras")


@pytest.mark.parametrize("shortcut", ["A", "B", "C"])
@pytest.mark.parametrize("depth", [8, 18, 50])
def test_the_shortcut_is_told_by_the_tensors(depth, shortcut, tmp_path):
    model = zoo.get(f"resnet{depth}", shortcut=shortcut, num_classes=2)
    model.save_weights(tmp_path / "w.weights.h5")
    network = networks.find(f"resnet{depth}")
    file = weights.read(tmp_path / "w.weights.h5", network)
    assert (file.options["shortcut"], file.options["num_classes"]) == (shortcut, 2)


def test_half_precision_becomes_float32(tmp_path):
    import ml_dtypes

    values = np.linspace(-1, 1, 8, dtype="float32")
    for dtype in ("float16", "float64", ml_dtypes.bfloat16):
        save_file({"t": values.astype(dtype)}, tmp_path / "w.safetensors")
        read = formats.open_file(tmp_path / "w.safetensors").tensors["t"].read()
        assert read.dtype == np.float32
        np.testing.assert_array_equal(read, values.astype(dtype).astype("float32"))


# Files that do not fit


def refused(path, words, network="resnet8", **given):
    with pytest.raises(InputError) as error:
        zoo.get(network, weights=path, **given)
    message = str(error.value)
    assert words in message
    assert str(path) in message
    return message


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00" * 4, b"\xff" * 64, b"GIF89a" + b"\x00" * 64, struct.pack("<Q", 8) + b"not json"],
)
def test_what_is_no_weights_file(tmp_path, content):
    (tmp_path / "w.safetensors").write_bytes(content)
    refused(tmp_path / "w.safetensors", "no weights file")


def bombs(tmp_path):
    """Files whose headers claim far more than they hold."""
    giant = json.dumps({"t": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}})
    yield struct.pack("<Q", 2**62) + b"{" + b"\x00" * 64, "claims"
    yield struct.pack("<Q", formats.MAX_HEADER + 1) + b"{" * (formats.MAX_HEADER + 9), "claims"
    yield struct.pack("<Q", len(giant)) + giant.encode() + b"\x00" * 64, "safetensors"

    import h5py

    def hdf5(**options):
        content = io.BytesIO()
        with h5py.File(content, "w") as file:
            file.create_dataset("conv1_conv/kernel", dtype="f4", **options)
        return content.getvalue()

    yield hdf5(shape=(10**6, 10**6), chunks=(1000, 1000)), "incomplete"
    yield hdf5(data=np.zeros((4000, 4000), "f4"), compression="gzip"), "compressed"
    yield hdf5(shape=(10**6,), external=[("/etc/hostname", 0, 4 * 10**6)]), "another file"

    def archive(config, content):
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("config.json", config)
            file.writestr("model.weights.h5", content)
        return target.getvalue()

    yield archive("{}", b"\x00" * 2**28), "unpacks to more"
    yield archive("[]", b"\x89HDF\r\n\x1a\n"), "no model"
    yield archive("{", b""), "keras file"


def test_bombs_are_refused_in_bounded_memory(tmp_path):
    path = tmp_path / "w.bin"
    for content, words in bombs(tmp_path):
        path.write_bytes(content)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        refused(path, words)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < 200 * 1024, words  # KiB


def test_links_out_of_a_file_are_not_followed(tmp_path):
    import h5py

    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["kernel"] = np.zeros((3, 3, 3, 16), "f4")
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["conv1_conv/kernel"] = h5py.ExternalLink("other.h5", "/kernel")
    refused(tmp_path / "w.h5", "no weights of a layout")


@pytest.mark.parametrize("name", ["w.safetensors", "w.weights.h5"])
def test_missing_extra_misshapen_and_broken_tensors(model, tmp_path, name):
    import h5py

    path = tmp_path / name

    def changed(change):
        write(model, path)
        if path.suffix == ".h5":
            with h5py.File(path, "a") as file:
                change(file["layers"], "dense/vars/0", "conv2d/vars/0", "batch_normalization/vars/")
        else:
            tensors = load_file(path)
            with open(path, "rb") as file:
                size = int.from_bytes(file.read(8), "little")
                metadata = json.loads(file.read(size))["__metadata__"]
            change(tensors, "logits/kernel", "conv1_conv/kernel", "conv1_bn/")
            save_file(tensors, path, metadata=metadata)

    def put(tensors, key, values):
        if key in tensors:
            del tensors[key]
        tensors[key] = values

    changed(lambda tensors, dense, conv, bn: tensors.pop(conv))
    refused(path, "lacks conv1_conv/kernel")
    changed(lambda tensors, dense, conv, bn: put(tensors, f"{bn}9", np.zeros(3, "f4")))
    refused(path, "which the model lacks")
    changed(lambda tensors, dense, conv, bn: put(tensors, conv, np.zeros((3, 3, 3, 9), "f4")))
    refused(path, "has shape (3, 3, 3, 9)")
    for value in (np.nan, np.inf):
        kernel = np.full((3, 3, 3, 16), value, "f4")
        changed(lambda tensors, dense, conv, bn, kernel=kernel: put(tensors, conv, kernel))
        refused(path, "not finite")
    changed(lambda tensors, dense, conv, bn: put(tensors, conv, np.zeros((3, 3, 3, 16), "i4")))
    refused(path, "conv1_conv/kernel")


def test_torch_files_for_another_network_or_task(tmp_path):
    tensors = {"conv1.weight": np.zeros((64, 3, 7, 7), "f4"), "bn1.weight": np.ones(64, "f4")}
    save_file(tensors, tmp_path / "w.safetensors")
    refused(tmp_path / "w.safetensors", "has no head", "resnet18")
    refused(tmp_path / "w.safetensors", "lacks", "resnet18", num_classes=2)
    save_file({"visual.conv1": np.zeros(1, "f4")}, tmp_path / "w.safetensors")
    refused(tmp_path / "w.safetensors", "no weights of a layout", "resnet18")


# Pickles


class Bomb:
    """Unpickled, it would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def malicious(tmp_path):
    old = pickle.dumps({"state_dict": Bomb(tmp_path / "ran")}, protocol=2)
    new = io.BytesIO()
    with zipfile.ZipFile(new, "w") as file:
        file.writestr("archive/data.pkl", old)
        file.writestr("archive/version", "3")
    return old, new.getvalue()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_pickles_are_not_run(tmp_path, monkeypatch, suffix):
    """With torch and without."""
    for content in malicious(tmp_path):
        path = tmp_path / f"w{suffix}"
        path.write_bytes(content)
        refused(path, str(path))
        monkeypatch.setitem(sys.modules, "torch", None)
        message = refused(path, "torch.load")
        assert "weights_only=True" in message
        assert "save_file" in message
        assert "resnet_keras[torch]" in message
        monkeypatch.undo()
    assert not (tmp_path / "ran").exists()


def test_the_conversion_that_the_error_shows_is_python(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    path = tmp_path / "w.pth"
    path.write_bytes(pickle.dumps({}, protocol=2))
    message = refused(path, "convert it")
    code = message.split("installed: ")[1].removesuffix(".")
    written = {}
    fake = types.SimpleNamespace(load=lambda file, weights_only: {"state_dict": {}})
    saver = types.SimpleNamespace(
        torch=types.SimpleNamespace(save_file=lambda tensors, target: written.update({target: 1}))
    )
    exec(code, {"torch": fake, "safetensors": saver})
    assert written == {str(tmp_path / "w.safetensors"): 1}


def test_an_old_torch_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(__version__="2.5.1+cpu"))
    path = tmp_path / "w.pth"
    path.write_bytes(pickle.dumps({}, protocol=2))
    refused(path, "2.6 or later")


# Fuzzing


@pytest.mark.parametrize("name", ["w.safetensors", "w.weights.h5", "w.keras", "torch.safetensors"])
def test_mutated_files_end_in_a_clear_error_or_in_numbers(model, tmp_path, name):
    """Bits flipped, bytes replaced, ends cut off: never another error, and little memory."""
    path = tmp_path / name
    if name.startswith("torch"):
        save_file({"conv1.weight": np.zeros((16, 3, 3, 3), "f4")}, path, metadata={"format": "pt"})
    else:
        write(model, path)
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    errors = harmless = 0
    for _ in range(300):
        content = bytearray(whole)
        for _ in range(generator.integers(1, 5)):
            # Structure is at the beginning and the end, numbers between.
            reach = generator.choice([200, 4000, len(content)])
            place = int(generator.integers(min(reach, len(content))))
            content[place if generator.random() < 0.7 else -1 - place] = generator.integers(256)
        if generator.random() < 0.1:
            content = content[: generator.integers(len(content))]
        path.write_bytes(content)
        try:
            file = weights.read(path, RESNET8)
            assert all(np.isfinite(tensor.read()).all() for tensor in file.tensors.values())
        except InputError as error:
            errors += str(path) in str(error)
        else:
            harmless += 1
    assert errors + harmless == 300
    assert errors > 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024


def test_layouts_are_told_apart(model, tmp_path):
    own = formats.open_file(write(model, tmp_path / "w.safetensors")).tensors
    assert layouts.recognise(own) == layouts.OWN
    keras = formats.open_file(write(model, tmp_path / "w.weights.h5")).tensors
    assert layouts.recognise(keras) == layouts.KERAS
    assert layouts.recognise({}) is None


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
