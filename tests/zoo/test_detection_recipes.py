"""The recipes of detectors: what they say, and a step of each on mock data."""

import detection_recipe_texts
import pytest

from resnet_keras import zoo
from resnet_keras.detection import flags, settings, train
from resnet_keras.zoo import paper

TEXTS = detection_recipe_texts.texts()
NAMES = [*TEXTS, "fasterrcnn_resnet50_fpn_coco"]
SMALL = (
    "--scale=64,96",
    "--train_steps=1",
    "--eval_every=1",
    "--boundaries=",
    "--warmup_steps=0",
    "--strategy=one_device",
    "--notensorboard",
    "--batch_size=2",
    "--settings=proposals=16/8,proposals_before=64/32,roi_samples=8,rpn_samples=16",
)


def parsed(name):
    train.FLAGS.unparse_flags()
    train.shell.parse(train.FLAGS, ["train", f"--recipe={name}"])
    return train.FLAGS


def test_all_are_there():
    assert set(zoo.recipes.names("detection")) == {*NAMES, "fasterrcnn_shapes", "maskrcnn_shapes"}


@pytest.mark.parametrize("name", TEXTS)
def test_recipe_is_its_familys_but_for_what_differs(name):
    assert zoo.recipes.path(name, "detection").read_text() == TEXTS[name]


@pytest.mark.parametrize("name", NAMES)
def test_recipe_says_what_it_is(name):
    text = zoo.recipes.path(name, "detection").read_text()
    header = text[: text.index("\n--")]
    assert f"python -m resnet_keras.detection.train --recipe={name}" in header
    for word in ("arXiv 1512.03385", "Hardware", "Time: not", "This recipe: not measured"):
        assert word in header


@pytest.mark.parametrize("name", NAMES)
def test_flags_are_the_papers(name):
    values = parsed(name)
    flags.check_train(values)
    changes = flags.detector_changes(values)
    numbers = settings.settings(values.preset, values.neck, **changes)
    assert values.model == name.split("_")[1]
    data = name.split("_")[-1]
    if "fpn" in name:
        assert (values.preset, values.batch_size, values.learning_rate) == ("torchvision", 16, 0.02)
        return
    assert (flags.scale_of(values), values.neck, numbers.roi) == ((600, 1000), "c4", "max_pool")
    assert numbers.proposals == (2000, 300)
    assert (numbers.rpn_samples, numbers.roi_samples) == (256, 128)
    assert (values.learning_rate, values.momentum, values.weight_decay) == (0.001, 0.9, 5e-4)
    assert values.freeze == ("conv2" if "vgg16" in name else None)
    if data == "coco":
        assert (values.batch_size, values.train_steps, values.boundaries) == (8, 320000, ["240000"])
        assert numbers.anchor_sizes == ((64, 128, 256, 512),)
        assert numbers.roi_negative == (0, 0.5)
    else:
        assert numbers.anchor_sizes == ((128, 256, 512),)
        assert numbers.roi_negative == (0.1, 0.5)
        assert (values.eval_dataset or values.dataset) == "tfds/voc/2007"


def test_recipes_tell_the_papers_figures():
    told = {name: words for name, (_, _, words) in detection_recipe_texts.RECIPES.items()}
    for found in paper.DETECTION:
        if found.recipe:
            words = told[found.recipe]
            assert f"{found.ap50} %" in words
            assert found.ap is None or f"{found.ap} % AP (" in words


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """TFDS's rows of a few images, by the kind of the data set."""
    import object_files

    from resnet_keras.pipelines import annotations, voc

    root = object_files.write_voc(tmp_path_factory.mktemp("voc") / "mine")
    content = annotations.checked(*voc.read(root, "trainval"))
    return {kind: object_files.tfds_rows(content, kind) for kind in ("voc", "coco")}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Files of thin networks in the place of the recipes', with their weights."""
    folder, files = tmp_path_factory.mktemp("weights"), {}
    for model in ("resnet10_shapes", "vgg16_shapes"):
        network = zoo.get(model, num_classes=2, input_shape=(64, 64, 3))
        zoo.save(network, folder / model, class_names=["a", "b"])
        files[model] = folder / model / "model.safetensors"
    return files


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_recipe_runs_a_step(name, rows, weights, tmp_path, capsys):
    import tensorflow_datasets as tfds

    thin = "vgg16_shapes" if "vgg" in name else "resnet10_shapes"
    # Their 20 and 80 classes, of which the images have three.
    with tfds.testing.mock_data(
        num_examples=6, as_dataset_fn=rows["coco" if name.endswith("coco") else "voc"]
    ):
        status = train.main(
            [
                "train",
                f"--recipe={name}",
                f"--workdir={tmp_path / 'run'}",
                f"--model={thin}",
                f"--weights={weights[thin]}",
                *SMALL,
            ]
        )
    assert status == 0, capsys.readouterr().err
    assert "AP" in capsys.readouterr().out.splitlines()[-1]
    assert (tmp_path / "run" / "weights.keras").exists()


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
