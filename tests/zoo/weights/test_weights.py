"""Weight files: written, checked and loaded whole or not at all."""

import hashlib
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from resnet_keras import zoo
from resnet_keras.errors import InputError
from resnet_keras.zoo import networks, weights

assignment = weights.assignment

ROOT = Path(__file__).parents[3]
RESNET8 = networks.find("resnet8")
OPTIONS = {"num_classes": 4, "input_shape": (16, 16, 3), "shortcut": "B"}
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), "uint8")


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "w.safetensors"
    model = zoo.get("resnet8", mean=(1, 2, 3), std=(4, 5, 6), **OPTIONS)
    weights.save(path, model, training={"seed": 3})
    return path, model


def test_a_file_rebuilds_its_network(saved):
    path, model = saved
    loaded = zoo.get("resnet8", weights=path)
    assert loaded.output_shape == (None, 4)
    np.testing.assert_array_equal(loaded(IMAGES), model(IMAGES))
    assert weights.read(path, RESNET8).training == {"seed": 3}


def test_equal_models_make_equal_files(saved, tmp_path):
    path, model = saved
    again = tmp_path / "again.safetensors"
    weights.save(again, model, training={"seed": 3})
    assert again.read_bytes() == path.read_bytes()


def test_per_pixel_normalization_comes_back(tmp_path):
    mean = np.random.default_rng(0).uniform(0, 255, (16, 16, 3))
    model = zoo.get("resnet8", mean=mean, std=(1, 1, 1), **OPTIONS)
    weights.save(tmp_path / "w.safetensors", model)
    loaded = zoo.get("resnet8", weights=tmp_path / "w.safetensors")
    np.testing.assert_array_equal(loaded(IMAGES), model(IMAGES))


def test_float32_is_kept_under_mixed_precision(tmp_path):
    model = zoo.get("resnet8", dtype="mixed_bfloat16", **OPTIONS)
    weights.save(tmp_path / "w.safetensors", model)
    loaded = zoo.get("resnet8", weights=tmp_path / "w.safetensors")
    for one, other in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_registered_files_are_the_recorded_bytes():
    packaged = [entry for entry in zoo.ENTRIES.values() if entry.packaged]
    assert packaged
    for entry in packaged:
        content = (zoo.entry.FOLDER / "files" / entry.address).read_bytes()
        assert f"sha256:{hashlib.sha256(content).hexdigest()}" == entry.checksum
        assert entry.recipe in zoo.recipes.names()
        assert entry.measured


def test_results_are_of_registered_weights():
    rows = json.loads(zoo.entry.RESULTS.read_text())
    assert {(row["model"], row["weights"]) for row in rows} <= zoo.ENTRIES.keys()


def rewrite(path, change, metadata=None):
    old = weights.read(path, RESNET8)
    options = {key: old.options[key] for key in OPTIONS}
    made = {"model": old.model, "options": options, "training": {}}
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata=metadata or {"resnet_keras": json.dumps(made)})


def header(model, options):
    return {"resnet_keras": f'{{"model": "{model}", "options": {options}, "training": {{}}}}'}


@pytest.mark.parametrize(
    ("change", "metadata", "words"),
    [
        (lambda t: t.pop("conv1_conv/kernel"), {}, "lacks conv1_conv/kernel"),
        (lambda t: t.update(more=np.zeros(1)), {}, "has more"),
        (lambda t: t.update({"logits/bias": np.zeros(5)}), {}, "shape (5,)"),
        (lambda t: t.pop("normalization/mean"), {}, "normalization/mean"),
        (lambda t: None, {"resnet_keras": "{"}, "header"),
        (lambda t: None, {"resnet_keras": "[]"}, "header"),
        (
            lambda t: None,
            header("resnet8", '{"num_classes": 4, "x": 1}'),
            "header",
        ),
        (lambda t: None, {"resnet_keras": '{"model": "resnet8", "options": {}}'}, "header"),
        (
            lambda t: None,
            header("resnet14", '{"num_classes": 4}'),
            "of resnet14, not of resnet8",
        ),
        (
            lambda t: None,
            header("resnet99998", '{"num_classes": 4}'),
            "tensors for 99998 layers",
        ),
        (
            lambda t: None,
            header("resnet8", '{"num_classes": 1000000000}'),
            "1000000000 classes",
        ),
    ],
)
def test_files_that_do_not_fit(saved, change, metadata, words):
    path, _ = saved
    rewrite(path, change, metadata)
    with pytest.raises(InputError) as error:
        zoo.get("resnet8", weights=path)
    assert words in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.slow
def test_loading_takes_little_memory(tmp_path):
    """ResNet-50, in a process of its own: below 2.5 times the file, beyond Keras's own."""
    code = """
        import os, sys, threading, time
        import keras
        keras.ops.zeros(())
        from resnet_keras import resnet, zoo
        def resident():
            return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        before, done, most = resident(), False, 0
        def watch():
            global most
            while not done:
                most = max(most, resident())
                time.sleep(0.002)
        watcher = threading.Thread(target=watch)
        watcher.start()
        zoo.get("resnet50", weights=sys.argv[1])
        done = True
        watcher.join()
        print((max(most, resident()) - before) / os.path.getsize(sys.argv[1]))
        """
    if not os.path.exists("/proc/self/statm"):
        pytest.skip("resident memory is read from Linux's /proc")
    path = tmp_path / "w.safetensors"
    weights.save(path, zoo.get("resnet50"))
    script = [sys.executable, "-c", textwrap.dedent(code), str(path)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(script, env=env, check=True, capture_output=True, text=True)
    assert 1 < float(done.stdout) < 2.5


def test_nothing_is_loaded_from_a_file_that_does_not_fit(saved):
    path, model = saved
    before = model.get_weights()
    rewrite(path, lambda t: t.update({"logits/bias": np.zeros(5)}))
    with pytest.raises(InputError):
        assignment.assign(model, weights.read(path, RESNET8))
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
