"""What the README shows runs as written, and its table is what the models say."""

import importlib
import os
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resnet_keras import optimizers, pipelines, predict, train, zoo
from resnet_keras.classification import classifier
from resnet_keras.training import checkpoint

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def block(language, containing):
    (only,) = (
        text
        for text in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
        if containing in text
    )
    return only


def test_models_example():
    names: dict[str, Any] = {}
    exec(block("python", "zoo.backbone"), names)
    assert names["model"].output_shape == (None, 100)
    assert names["model"].name == "resnet34"
    assert set(names["features"].output) == {"conv3", "conv5"}


def test_a_network_of_ones_own(tmp_path):
    names: dict[str, Any] = {}
    try:
        exec(block("python", "zoo.register"), names)
        zoo.save(names["model"], tmp_path / "mine", preprocessing=zoo.Preprocessing(32, 32))
        assert zoo.get(tmp_path / "mine").output_shape == (None, 4)
        assert zoo.backbone("wide10").output["conv3"].shape[-1] == 32
    finally:
        zoo.NETWORKS.pop("wide10", None)


def test_a_notebook_goes_on_after_its_kernel_died(tmp_path, monkeypatch, capsys):
    class Died(BaseException):
        pass

    def die(*arguments, **options):
        write(*arguments, **options)
        raise Died

    monkeypatch.chdir(tmp_path)
    cell = block("python", "training.fit")
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
    """The README's code, on digits told apart as even and odd."""
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
    exec(block("python", "image_dataset_from_directory"), names)
    assert names["model"].output_shape == (None, 2)
    stated = re.search(r"reached an accuracy of (0\.\d+) or more", README)
    assert stated is not None
    assert names["model"].history.history["val_accuracy"][-1] >= float(stated.group(1))
    again = zoo.get("my_model")
    np.testing.assert_array_equal(again(images[:4]), names["model"](images[:4]))
    _, file = zoo.weights.find("my_model", None)
    assert file.class_names == ("even", "odd")
    assert predict.main(["predict", "--model=my_model", "my_images/odd"]) == 0
    assert "  odd\n" in capsys.readouterr().out


def load_in_a_new_process():
    """With the imports that the README names."""
    code = """
        import keras
        import numpy as np
        from resnet_keras import layers, metrics, optimizers
        model = keras.models.load_model("my_model.keras")
        assert isinstance(model.optimizer, optimizers.SGD)
        logits = model(np.load("images.npy"))
        np.testing.assert_allclose(logits, np.load("logits.npy"), rtol=1e-4, atol=1e-4)
        """
    assert "from resnet_keras import layers, metrics, optimizers" in README
    script = [sys.executable, "-c", textwrap.dedent(code)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(script, env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_fit_example():
    names: dict[str, Any] = {}
    exec(block("python", "compile_classifier"), names)
    assert names["model"].history.history["val_top1_error"][-1] < 0.9


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
    exec(block("python", "pipelines.View"), names)
    images, labels = next(names["train"].as_numpy_iterator())
    assert (images.shape, images.dtype, labels.shape) == ((32, 64, 64, 3), np.uint8, (32,))
    assert sum(len(labels) for _, labels in names["test"]) == 12


def test_public_weights_named_here_are_registered():
    named = block("python", 'weights="imagenet"')
    for model, tag in re.findall(r'zoo\.get\("(\w+)", weights="(\w+)"\)', named):
        assert zoo.entries.find(model, tag) is not None
    for cell in re.findall(r"^\| (`\w+_in1k`.*?|`\w+_cifar10`|`digits`) \|", README, re.MULTILINE):
        for tag in re.findall(r"`(\w+)`", cell):
            assert any(tag == registered for _, registered in zoo.ENTRIES)


def test_commands_parse():
    """Every command names tasks, flags and recipes that exist."""
    commands = re.findall(r"python -m resnet_keras\.(\w+) ([^\n|`]*)", README.replace("\\\n", " "))
    assert {name for name, _ in commands} == {
        *("train", "evaluate", "predict", "benchmark", "pipelines", "launch", "report"),
        "reproduce",
    }
    for name, text in commands:
        module = (
            "resnet_keras.pipelines.__main__" if name == "pipelines" else f"resnet_keras.{name}"
        )
        command = importlib.import_module(module)
        arguments = shlex.split(text)
        if name == "launch":
            place = arguments.index("--")
            train.shared_flags.parse(train.FLAGS, ["train", *arguments[place + 1 :]])
            arguments = arguments[:place]
        positional = name in ("predict", "report")
        if not arguments[0].startswith("-") and not positional:
            task = arguments.pop(0)
            assert task in command.TASKS
            positional = task == "responses"
        known = [a for a in arguments if not a.startswith("--flagfile")]  # of a run yet to be made
        train.shared_flags.parse(command.FLAGS, [name, *known], positional)


def test_files_that_are_named_are_there():
    for page in ("README.md", "CONTRIBUTING.md", ".ci/run"):
        for path in re.findall(
            r"\b(?:tests|zoo|resnet_keras|pipelines)/[\w/]+\.\w+", (ROOT / page).read_text()
        ):
            assert (ROOT / path).exists(), f"{page} names {path}"


@pytest.mark.slow
def test_table_of_networks():
    """The counts of the table are the models'; `python tests/test_readme.py --print` prints it."""
    shown = re.search(r"<!-- networks -->\n(.*?)<!-- /networks -->", README, re.DOTALL)
    assert shown is not None
    assert shown.group(1).strip() == network_table()


def network_table():
    rows = [
        "| network | data | shortcut | parameters | (paper) | multiply-adds | (paper) |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    for name in zoo.list_models():
        info = zoo.info(name)
        rows.append(
            f"| `{name}` | {info.dataset} | {info.shortcut or 'none'} | {info.parameters:,} | "
            f"{info.paper_parameters or ''} | {info.multiply_adds:,} | "
            f"{info.paper_multiply_adds or ''} |"
        )
    return "\n".join(rows)


if __name__ == "__main__":
    if "--print" in sys.argv:
        print(network_table())
        sys.exit()
    sys.exit(pytest.main([__file__]))
