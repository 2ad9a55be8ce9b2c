"""Files of every format, whole, foreign, broken and malicious."""

import io
import json
import os
import pickle
import struct
import subprocess
import sys
import textwrap
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from safetensors.numpy import save as serialize
from written import without_names

from resnet_keras import zoo
from resnet_keras.errors import InputError
from resnet_keras.zoo import networks, weights

formats, layouts = weights.formats, weights.layouts

ROOT = Path(__file__).parents[3]
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
        weights.save(path, model)
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


@pytest.mark.filterwarnings("ignore:You are saving your model")
def test_a_compiled_and_trained_model_loads_too(tmp_path):
    """Its file has the optimizer's variables as well."""
    trained = zoo.get("resnet8", num_classes=4)
    trained.compile("adam", "mse")
    trained.fit(IMAGES, np.zeros((2, 4)), verbose=0)
    for name in ("w.weights.h5", "w.keras", "w.h5"):
        loaded = zoo.get("resnet8", weights=write(trained, tmp_path / name))
        np.testing.assert_array_equal(loaded(IMAGES), trained(IMAGES))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:You are saving your model")
def test_where_bottlenecks_stride_is_told_by_the_file_or_by_the_user(tmp_path):
    options = {"stride_in_1x1": False, "epsilon": 1e-3, "input_shape": (64, 64, 3)}
    model = zoo.get("resnet50", **options)
    images = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), "uint8")
    for name in ("w.keras", "w.h5"):
        model.save(tmp_path / name)
        loaded = zoo.get("resnet50", weights=tmp_path / name)
        assert loaded.input_shape == (None, 64, 64, 3)
        np.testing.assert_array_equal(loaded(images), model(images))
    path = tmp_path / "w.weights.h5"
    model.save_weights(path)
    rest = {"epsilon": 1e-3, "input_shape": (64, 64, 3)}  # which no .weights.h5 tells
    np.testing.assert_array_equal(zoo.get("resnet50", weights=path, **rest)(images), model(images))
    with pytest.raises(InputError, match="stride_in_1x1 belongs to the weights"):
        zoo.get("resnet50", weights=path, stride_in_1x1=True)
    without_names(path)
    refused(path, "give stride_in_1x1", "resnet50")
    loaded = zoo.get("resnet50", weights=path, **options)
    np.testing.assert_array_equal(loaded(images), model(images))
    with pytest.raises(InputError, match="epsilon belongs to the weights"):
        zoo.get("resnet50", weights=tmp_path / "w.keras", epsilon=1e-5)
    with pytest.raises(InputError, match="weights of resnet50, not of resnet101: ask for resnet50"):
        zoo.get("resnet101", weights=tmp_path / "w.keras")


@pytest.mark.parametrize(
    ("depth", "shortcut"),
    [
        *((8, s) for s in "ABC"),
        (18, "A"),
        *(
            pytest.param(*pair, marks=pytest.mark.slow)
            for pair in ((18, "B"), (50, "A"), (50, "C"))
        ),
    ],
)
def test_the_shortcut_is_told_by_the_tensors(depth, shortcut, tmp_path):
    model = zoo.get(f"resnet{depth}", shortcut=shortcut, num_classes=2)
    model.save_weights(tmp_path / "w.weights.h5")
    network = networks.find(f"resnet{depth}")
    file = weights.read(tmp_path / "w.weights.h5", network)
    assert (file.options["shortcut"], file.options["num_classes"]) == (shortcut, 2)


def test_a_mean_per_pixel_settles_the_input_shape(tmp_path):
    model = zoo.get("resnet8", mean=np.ones((16, 16, 3)), std=(1, 1, 1), input_shape=(16, 16, 3))
    model.save_weights(tmp_path / "w.weights.h5")
    loaded = zoo.get("resnet8", weights=tmp_path / "w.weights.h5")
    assert loaded.input_shape == (None, 16, 16, 3)
    np.testing.assert_array_equal(loaded(IMAGES[:, :16, :16]), model(IMAGES[:, :16, :16]))


def test_half_precision_models_become_float32(tmp_path):
    for dtype in ("float16", "bfloat16"):
        model = zoo.get("resnet8", dtype=dtype)
        model.save_weights(tmp_path / "w.weights.h5")
        loaded = zoo.get("resnet8", weights=tmp_path / "w.weights.h5")
        kernel = np.float32(model.get_layer("conv1_conv").kernel)
        np.testing.assert_array_equal(loaded.get_layer("conv1_conv").kernel, kernel)


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
    yield archive("[" + "[]," * 2**24 + "[]]", b""), "unpacks to more"
    yield archive("[" * 10**5, b""), "archive"
    yield archive("[]", b"\x89HDF\r\n\x1a\n"), "is no model"
    yield archive("{", b""), "archive"
    wide = {"conv1.weight": np.zeros((64, 3, 7, 7), "f4"), "fc.bias": np.zeros(10**5, "f4")}
    yield serialize(wide), "no head"
    own = {"normalization/mean": np.zeros(3, "f4"), "normalization/std": np.ones(3, "f4")}
    own |= {f"conv{n}": np.zeros(1, "f4") for n in range(60)}
    own |= {"logits/bias": np.zeros(10**6, "f4")}
    made = {"model": "resnet50", "options": {"num_classes": 10**6}, "training": {}}
    yield serialize(own, metadata={"resnet_keras": json.dumps(made)}), "1000000 classes"


def test_bombs_are_refused_in_bounded_memory(tmp_path, peak_memory):
    zoo.get("resnet50")  # what a first network brings along
    path = tmp_path / "w.bin"
    for content, words in bombs(tmp_path):
        path.write_bytes(content)
        del content
        grown = peak_memory(lambda words=words: refused(path, words, "resnet50"))
        assert grown < 150 * 2**20, words


def test_the_measure_of_memory_measures(peak_memory):
    assert 90 * 2**20 < peak_memory(lambda: np.ones(100 * 2**20, "uint8")) < 200 * 2**20


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


def test_a_header_that_begins_as_a_pickle_does(tmp_path):
    """The header's length, in the first bytes, may be any number."""

    def made(length):
        return serialize({"t": np.zeros(2, "f4")}, metadata={"note": "x" * length})

    short = int.from_bytes(made(0x10000)[:8], "little")
    content = made(0x10000 + 0x10280 - short)
    assert content[:3] == b"\x80\x02\x01"
    (tmp_path / "w.safetensors").write_bytes(content)
    assert formats.open_file(tmp_path / "w.safetensors").tensors["t"].shape == (2,)


def test_two_networks_in_one_file(tmp_path):
    tensors = {
        name: np.zeros((64, 3, 7, 7), "f4") for name in ("conv1.weight", "module.conv1.weight")
    }
    save_file(tensors, tmp_path / "w.safetensors")
    refused(
        tmp_path / "w.safetensors", "several networks, one without a prefix, module", "resnet18"
    )


def test_numbers_that_numpy_lacks(tmp_path):
    header = {"conv1.weight": {"dtype": "F8_E4M3", "shape": [8], "data_offsets": [0, 8]}}
    text = json.dumps(header).encode()
    (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(8))
    with pytest.raises(InputError, match=r"conv1\.weight"):
        formats.open_file(tmp_path / "w.safetensors").tensors["conv1.weight"].read()


@pytest.mark.parametrize(
    "options",
    [
        {"epsilon": "x"},
        {"epsilon": None},
        {"epsilon": -5.0},
        {"include_top": "no"},
        {"stride_in_1x1": True},
        {"shortcut": "Z"},
        {"input_shape": 3},
        {"input_shape": [32, 32, "3"]},
        {"num_classes": True},
        {"pooling": "min"},
        {"dtype": "complex64"},
    ],
)
def test_headers_with_options_that_are_none(model, tmp_path, options):
    path = write(model, tmp_path / "w.safetensors")
    made = {"model": "resnet8", "options": {"num_classes": 4, "shortcut": "C"}, "training": {}}
    weights.read(path, RESNET8)
    made["options"] |= options
    save_file(load_file(path), path, metadata={"resnet_keras": json.dumps(made)})
    refused(path, next(iter(options)))


@pytest.mark.parametrize(
    "more",
    [
        {"class_names": ["a", "b", "c"]},
        {"class_names": "abcd"},
        {"preprocessing": {"image_size": True, "resize": 32, "interpolation": "bilinear"}},
        {"preprocessing": {"image_size": 32, "resize": 10**9, "interpolation": "bilinear"}},
        {"preprocessing": {"image_size": 32, "resize": 32, "interpolation": "lanczos"}},
        {"preprocessing": [1]},
        {"training": 3},
    ],
)
def test_headers_that_say_what_cannot_be(model, tmp_path, more):
    path = write(model, tmp_path / "w.safetensors")
    made = {"model": "resnet8", "options": {"num_classes": 4, "shortcut": "C"}, "training": {}}
    header = {"resnet_keras": json.dumps({**made, **more})}
    save_file(load_file(path), path, metadata=header)
    refused(path, "header")


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


def test_an_old_torch_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(__version__="2.5.1+cpu"))
    path = tmp_path / "w.pth"
    path.write_bytes(pickle.dumps({}, protocol=2))
    refused(path, "2.6 or later")


# Fuzzing


def keras_applications_like(path):
    """A file with the structure of keras.applications', of a few tensors."""
    import h5py

    with h5py.File(path, "w") as file:
        for layer, tensors in {
            "conv1_conv": ("kernel", "bias"),
            "conv1_bn": ("moving_mean",),
        }.items():
            for tensor in tensors:
                shape = (3, 3, 3, 16) if tensor == "kernel" else (16,)
                file[f"{layer}/{layer}/{tensor}:0"] = np.ones(shape, "f4")
            file[layer].attrs["weight_names"] = [f"{layer}/{tensor}:0" for tensor in tensors]
        file.attrs["layer_names"] = ["conv1_conv", "conv1_bn"]


FUZZED = (
    "w.safetensors",
    "w.weights.h5",
    "w.keras",
    "w.h5",
    "torch.safetensors",
    "applications.h5",
)


@pytest.mark.filterwarnings("ignore:You are saving your model")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in ("w.weights.h5", "w.h5") else ())
        for name in FUZZED
    ],
)
def test_mutated_files_end_in_a_clear_error_or_in_numbers(model, tmp_path, peak_memory, name):
    """Bits flipped, bytes replaced, ends cut off: never another error, and little memory."""
    path = tmp_path / name
    if name.startswith("torch"):
        save_file({"conv1.weight": np.zeros((16, 3, 3, 3), "f4")}, path, metadata={"format": "pt"})
    elif name.startswith("applications"):
        keras_applications_like(path)
    else:
        write(model, path)
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    counts = {"errors": 0, "harmless": 0, "built": 0}

    def mutated():
        content = bytearray(whole)
        for _ in range(generator.integers(1, 5)):
            # Structure is at the beginning and the end, numbers between.
            reach = generator.choice([200, 4000, len(content)])
            place = int(generator.integers(min(reach, len(content))))
            content[place if generator.random() < 0.7 else -1 - place] = generator.integers(256)
        return content[: generator.integers(len(content))] if generator.random() < 0.1 else content

    def attempt():
        path.write_bytes(mutated())
        try:
            file = weights.read(path, RESNET8)
            assert all(np.isfinite(tensor.read()).all() for tensor in file.tensors.values())
            if counts["built"] < 8:
                counts["built"] += 1
                zoo.get("resnet8", weights=path)
        except InputError as error:
            counts["errors"] += str(path) in str(error)
        else:
            counts["harmless"] += 1

    tries = 8 if path.suffix in (".h5", ".keras") else 300  # those take a process each
    assert peak_memory(lambda: [attempt() for _ in range(tries)]) < 200 * 2**20
    assert counts["errors"] + counts["harmless"] == tries
    assert counts["errors"] >= tries // 20


def test_hdf5_is_read_in_bounded_memory(model, tmp_path):
    """Many mutations in one process with the bound of `formats`; the library alone takes 16 GB."""
    if not Path("/proc/self/status").exists():
        pytest.skip("peak memory is read from Linux's /proc")
    write(model, tmp_path / "w.weights.h5")
    keras_applications_like(tmp_path / "applications.h5")
    code = """
        import re, sys
        import numpy as np
        from resnet_keras.zoo.weights import hdf5
        generator, refused = np.random.default_rng(0), 0
        hdf5.limit_memory(hdf5.OWN_MEMORY)
        for source in sys.argv[1:3]:
            whole = open(source, "rb").read()
            for _ in range(150):
                content = bytearray(whole)
                for _ in range(generator.integers(1, 5)):
                    reach = generator.choice([200, 4000, len(content)])
                    place = int(generator.integers(min(reach, len(content))))
                    place = place if generator.random() < 0.7 else -1 - place
                    content[place] = generator.integers(256)
                open(sys.argv[3], "wb").write(content)
                try:
                    hdf5.read(sys.argv[3])
                except Exception:
                    refused += 1
        assert 40 < refused < 260, refused
        status = open("/proc/self/status").read()
        print(re.search(r"VmHWM:\\s+(\\d+)", status)[1])
        """
    files = [tmp_path / name for name in ("w.weights.h5", "applications.h5", "mutated.h5")]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    script = [sys.executable, "-c", textwrap.dedent(code), *map(str, files)]
    done = subprocess.run(script, env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 2**20  # KiB


def test_layouts_are_told_apart(model, tmp_path):
    own = formats.open_file(write(model, tmp_path / "w.safetensors")).tensors
    assert layouts.recognise(own) == layouts.OWN
    keras = formats.open_file(write(model, tmp_path / "w.weights.h5")).tensors
    assert layouts.recognise(keras) == layouts.KERAS
    assert layouts.recognise({}) is None


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
