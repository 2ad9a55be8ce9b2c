"""What README.md and docs/ show runs as written, and their tables are what the models say."""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from documentation import PAGES, ROOT, block, blocks

from resnet_keras import export, optimizers, pipelines, predict, zoo
from resnet_keras.classification import classifier
from resnet_keras.training import checkpoint
from resnet_keras.zoo import pages

# By a part of each block, those that are run below; what needs a download is not.
MODELS = 'endpoints=("conv3"'
REGISTERED = "zoo.register("
NOTEBOOK = 'workdir="runs/mine"'
FINE_TUNING = "image_dataset_from_directory"
LOADING = "load_model"
FIT = "model.fit(train, steps_per_epoch=60"
PHOTOGRAPHS = "pipelines.View("
BRIGHTNESS = "def brightness"
RECIPE = "recipe.streams("
LOCALIZER = "localization.Localizer("
DEPLOYED = "deployment.open_runtime("
ENGINE = "engines.open_engine("
# In tests/deployment/test_serving.py.
SERVED, SERVED_OPTIONS, REQUEST = 'load("resnet50_served/1")', '"digits/1"', "request.json"
TEACHER = "distilled(student"
SHORT = ('print(zoo.info("resnet20"))', "tune_cpu()", 'zoo.get("resnet1d"')
PRUNING = "pruning.prune("
RUN = (
    MODELS,
    REGISTERED,
    NOTEBOOK,
    FINE_TUNING,
    LOADING,
    FIT,
    PHOTOGRAPHS,
    BRIGHTNESS,
    RECIPE,
    LOCALIZER,
    PRUNING,
    DEPLOYED,
    ENGINE,
    SERVED,
    SERVED_OPTIONS,
    REQUEST,
    TEACHER,
)
DOWNLOADS = ('weights="imagenet"', 'weights="coco"', 'weights="coco_voc"', 'weights="model_final_')


def test_every_block_is_run_but_for_downloads():
    for page, code in blocks("python"):
        downloads = any(part in code for part in DOWNLOADS)
        known = downloads + sum(part in code for part in (*RUN, *SHORT))
        assert known == 1, f"{page}: {code}"


@pytest.mark.parametrize("part", SHORT)
def test_short_examples(part):
    exec(block("python", part), {})


def test_models_example():
    names: dict[str, Any] = {}
    exec(block("python", MODELS), names)
    assert names["model"].output_shape == (None, 100)
    assert names["model"].name == "resnet34"
    assert set(names["features"].output) == {"conv3", "conv5"}


def test_localizer_example():
    names: dict[str, Any] = {}
    exec(block("python", LOCALIZER), names)
    assert (names["model"].crop, names["model"].num_classes) == (224, 20)


def test_pruning_example(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(block("python", PRUNING), names)
    assert zoo.get("pruned").count_params() < names["model"].count_params()


def test_deployment_example(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert export.main(["export", "resnet20", "--weights=digits", "--format=litert"]) == 0
    capsys.readouterr()
    exec(block("python", DEPLOYED), {})
    assert capsys.readouterr().out.strip().isdigit()


def test_engine_example(tmp_path, monkeypatch):
    pytest.importorskip("openvino")
    monkeypatch.setenv("RESNET_KERAS_HOME", str(tmp_path))
    names: dict[str, Any] = {"images": np.zeros((2, 16, 16, 3), "uint8")}
    exec(block("python", ENGINE), names)
    assert names["logits"].shape == (2, 10)
    assert [*(tmp_path / "engines").glob("resnet20-16-*/model.xml")]


def test_a_network_of_ones_own(tmp_path):
    names: dict[str, Any] = {}
    try:
        exec(block("python", REGISTERED), names)
        zoo.save(names["model"], tmp_path / "mine", preprocessing=zoo.Preprocessing(32, 32))
        assert zoo.get(tmp_path / "mine").output_shape == (None, 4)
        assert zoo.backbone("wide10").output["conv3"].shape[-1] == 32
    finally:
        zoo.NETWORKS.pop("wide10", None)


@pytest.mark.slow
def test_a_notebook_goes_on_after_its_kernel_died(tmp_path, monkeypatch, capsys):
    class Died(BaseException):
        pass

    def die(*arguments, **options):
        write(*arguments, **options)
        raise Died

    monkeypatch.chdir(tmp_path)
    cell = block("python", NOTEBOOK)
    write = checkpoint.write
    monkeypatch.setattr(checkpoint, "write", die)
    with pytest.raises(Died):
        exec(cell, {})
    monkeypatch.setattr(checkpoint, "write", write)
    capsys.readouterr()
    names: dict[str, Any] = {}
    exec(cell, names)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "going on from the checkpoint of step 20"
    result = names["result"]
    assert [row["step"] for row in result.rows] == [20, 40, 60]
    assert result.rows[-1]["accuracy"] > 0.5
    assert result.weights == Path("runs/mine/weights.weights.h5")
    exec("training.check_stream(train)", names)


def test_fine_tuning_example_learns_a_folder_of_images(tmp_path, monkeypatch, capsys):
    """The page's code, on digits told apart as even and odd."""
    import keras
    import tensorflow as tf

    images, labels = pipelines.arrays("digits", "test", image_size=16)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = tmp_path / "my_images" / ("odd" if label % 2 else "even")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.png").write_bytes(tf.io.encode_png(image).numpy())
    monkeypatch.chdir(tmp_path)
    keras.utils.set_random_seed(0)
    names: dict[str, Any] = {}
    exec(block("python", FINE_TUNING), names)
    assert names["model"].output_shape == (None, 2)
    stated = re.search(r"an accuracy of (0\.\d+) or more", PAGES["docs/fine-tuning.md"])
    assert stated is not None
    assert names["model"].history.history["val_accuracy"][-1] >= float(stated.group(1))
    again = zoo.get("my_model")
    np.testing.assert_array_equal(again(images[:4]), names["model"](images[:4]))
    _, file = zoo.weights.find("my_model", None)
    assert file.class_names == ("even", "odd")
    assert predict.main(["predict", "--model=my_model", "my_images/odd"]) == 0
    assert "  odd\n" in capsys.readouterr().out


def load_in_a_new_process():
    """As the page says."""
    code = """
        import numpy as np
        assert isinstance(model.optimizer, optimizers.SGD)
        logits = model(np.load("images.npy"))
        np.testing.assert_allclose(logits, np.load("logits.npy"), rtol=1e-4, atol=1e-4)
        """
    script = [sys.executable, "-c", block("python", LOADING) + textwrap.dedent(code)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(script, env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_fit_example():
    names: dict[str, Any] = {}
    exec(block("python", FIT), names)
    assert names["model"].history.history["val_top1_error"][-1] < 0.9


@pytest.mark.slow
def test_distillation_example(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(block("python", TEACHER), names)
    history = names["model"].history.history
    assert history["val_distillation"][-1] > 0
    assert history["val_top1_error"][-1] < 0.9
    images, _ = pipelines.arrays("digits", "test", image_size=16)
    again = zoo.get("my_student")
    assert again.name == "resnet8"
    np.testing.assert_array_equal(again(images[:4]), names["student"](images[:4]))


@pytest.mark.slow
def test_what_keras_saved_loads_in_a_new_process(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = zoo.get("resnet20", weights="digits")
    classifier.compile_classifier(model, optimizers.SGD(0.1))
    images, labels = pipelines.arrays("digits", "test", image_size=16)
    model.train_on_batch(images[:4], labels[:4])
    model.save("my_model.keras")
    np.save("images.npy", images[:4])
    np.save("logits.npy", model(images[:4]))
    load_in_a_new_process()


def test_photographs_example(photographs, tmp_path, monkeypatch):
    (tmp_path / "my_images").symlink_to(photographs)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(block("python", PHOTOGRAPHS), names)
    images, labels = next(names["train"].as_numpy_iterator())
    assert (images.shape, images.dtype, labels.shape) == ((32, 64, 64, 3), np.uint8, (32,))
    assert sum(len(labels) for _, labels in names["test"]) == 12


def test_a_task_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(block("python", BRIGHTNESS), names)
    rows = names["result"].rows
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert Path("runs/brightness/best.weights.h5").exists()


@pytest.mark.slow
def test_the_recipe_as_functions(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(block("python", RECIPE), names)
    assert names["result"].rows[-1]["top1_error"] < 0.7


def test_public_weights_named_here_are_registered():
    named = "".join(code for _, code in blocks("python") if DOWNLOADS[0] in code)
    for model, tag in re.findall(r'zoo\.get\("(\w+)", weights="(\w+)"\)', named):
        assert zoo.entries.find(model, tag) is not None
    table = re.findall(
        r"^\| (`\w+_in1k`.*?|`\w+_cifar10`|`digits`|`fashion_mnist`) \|",
        PAGES["docs/weights.md"],
        re.MULTILINE,
    )
    named = {tag for cell in table for tag in re.findall(r"`(\w+)`", cell)}
    assert named == {tag for _, tag in zoo.ENTRIES}


@pytest.mark.slow
def test_tables_of_networks():
    for path, text in pages.with_tables(ROOT).items():
        assert text == PAGES[path], f"{path} is not what the models say: {pages.__name__}"


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
