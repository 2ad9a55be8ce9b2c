"""Networks without some of their blocks."""

import keras
import numpy as np
import pytest
from keras import ops

from resnet_keras import reproduce, train, zoo
from resnet_keras.errors import InputError
from resnet_keras.reproduction import lesion, lesions

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), "uint8")
BATCHES = [(IMAGES[:7], None), (IMAGES[7:], None)]


def network(name, **options):
    """A network whose answers depend on all of it."""
    keras.utils.set_random_seed(0)
    model = zoo.get(name, input_shape=(16, 16, 3), **options)
    draws = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization) or hasattr(layer, "moving_mean"):
            layer.beta.assign(draws.normal(0, 0.5, layer.beta.shape))
            layer.moving_mean.assign(draws.normal(0, 0.5, layer.beta.shape))
    return model


def shortcut(model, name, features):
    """What the shortcut of a block leads to its end."""
    if any(layer.name == f"{name}_0_conv" for layer in model.layers):
        features = model.get_layer(f"{name}_0_conv")(features)
        features = model.get_layer(f"{name}_0_bn")(features)
    after = model.get_layer(f"{name}_out")
    return features if isinstance(after, keras.layers.Add) else ops.relu(features)


def labelled(model):
    """The batches, labelled with what the network answers, so that it makes no error."""
    return [(images, np.argmax(model(images), -1)) for images, _ in BATCHES]


def without(model, *names):
    """The logits of the network in which the last variables of some blocks are 0."""
    for name in names:
        for variable in lesion._branch(model, name):
            variable.assign(ops.zeros_like(variable))
    return ops.convert_to_numpy(model(IMAGES))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "count"),
    [
        ("resnet14", {}, 6),
        ("resnet14", {"shortcut": "C"}, 6),
        ("preact_resnet14", {}, 6),
        ("preact_resnet29", {}, 9),  # bottlenecks
        ("wrn16_1", {}, 6),
        ("seresnet14", {}, 6),
        ("resnext20_4x4d", {}, 6),
        ("resnet14", {"stochastic_depth": 0.5}, 6),
    ],
)
def test_a_residual_network_keeps_its_shortcuts(name, options, count):
    model = network(name, **options)
    before = [ops.convert_to_numpy(variable) for variable in model.weights]
    whole = lesion.parts(model)
    assert len(whole.blocks) == count
    assert all(block.deletable for block in whole.blocks)
    features = whole.stem.predict_on_batch(IMAGES)
    logits = whole.head.predict_on_batch(lesion._run(whole.blocks, features, ()))
    np.testing.assert_allclose(logits, model(IMAGES), rtol=1e-4, atol=1e-4)
    second = whole.blocks[1]
    inputs = whole.blocks[0].network.predict_on_batch(features)
    left = lesion._run([second], inputs, {second.name})
    np.testing.assert_allclose(left, shortcut(model, second.name, inputs), rtol=1e-4, atol=1e-4)
    deleted = [whole.blocks[1].name, whole.blocks[-1].name]
    logits = whole.head.predict_on_batch(lesion._run(whole.blocks, features, deleted))
    for variable, values in zip(model.weights, before, strict=True):  # as they were
        np.testing.assert_array_equal(variable, values)
    np.testing.assert_allclose(logits, without(model, *deleted), rtol=1e-4, atol=1e-4)


def test_each_block_is_counted_alone_and_among_several():
    model = network("resnet20")
    batches = labelled(model)
    result = lesion.of_run(model, batches)
    assert (result["examples"], result["error"]) == (12, 0)
    assert result["grows"] == ["conv3_block1", "conv4_block1"]
    assert [len(errors) for errors in result["several"].values()] == [10] * 4  # 2, 3, 5 and 8 of 9
    labels = np.concatenate([labels for _, labels in batches])
    for name in ("conv2_block1", "conv3_block1", "conv4_block3"):
        kept = [ops.convert_to_numpy(v) for v in lesion._branch(model, name)]
        assert result["single"][name] == np.mean(without(model, name).argmax(-1) != labels)
        for variable, values in zip(lesion._branch(model, name), kept, strict=True):
            variable.assign(values)


def test_of_a_plain_network_a_block_is_left_out():
    model = network("plain20")
    whole = lesion.parts(model)
    assert [b.name for b in whole.blocks if not b.deletable] == ["conv3_block1", "conv4_block1"]
    result = lesion.of_run(model, labelled(model))
    assert result["single"]["conv3_block1"] is None
    assert len(lesion.errors(result)) == 7
    shorter = network("plain20")  # of equal weights: the block is made to hand on what it sees
    one = np.zeros((3, 3, 16, 16))
    one[1, 1] = np.eye(16)
    for number in (1, 2):
        shorter.get_layer(f"conv2_block2_{number}_conv").kernel.assign(one)
        layer = shorter.get_layer(f"conv2_block2_{number}_bn")
        layer.moving_mean.assign(np.zeros(16))
        layer.beta.assign(np.zeros(16))
        layer.gamma.assign(np.sqrt(np.ones(16) + layer.epsilon))
    features = whole.stem.predict_on_batch(IMAGES)
    left = whole.head.predict_on_batch(lesion._run(whole.blocks, features, {"conv2_block2"}))
    np.testing.assert_allclose(left, shorter(IMAGES), rtol=1e-3, atol=1e-3)


def test_networks_of_which_nothing_can_be_deleted_are_refused():
    with pytest.raises(InputError, match="no block that what follows could go on without"):
        lesion.parts(zoo.get("densenet_bc40_12"))


@pytest.mark.slow
def test_the_command_writes_the_table_and_the_figure(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    short = ["--image_size=8", "--train_steps=2", "--eval_every=2", "--batch_size=8"]
    short += ["--warmup_steps=0"]
    rest = [*short, "--notensorboard", "--strategy=one_device"]
    folder = tmp_path / "reproduced" / "digits_paper" / "runs"
    for network in ("resnet20", "plain20"):
        run = [f"--recipe={network}_digits", "--seed=0", *rest]
        assert train.main(["train", *run, f"--workdir={folder / f'{network}-seed0'}"]) == 0
        assert reproduce.main(["reproduce", "lesion", str(folder / f"{network}-seed0")]) == 0
    said = capsys.readouterr().out
    assert "resnet20-seed0: error " in said
    assert "without one block " in said
    arguments = ["lesion", "--depths=20", "--seeds=0", "--norun", "--", *rest]
    assert reproduce.main(["reproduce", *arguments]) == 0
    out = capsys.readouterr().out
    result = lesion.read(folder / "plain20-seed0")
    assert result is not None
    assert f"| plain20 | 7 of 9 | {100 * result['error']:.2f} |" in out
    picture = tmp_path / "reproduced" / "lesion_digits_depths20_seeds0.png"
    assert picture.read_bytes()[1:4] == b"PNG"
    (folder / "plain20-seed0" / lesion.FILE).write_text('{"error": 1}')
    assert reproduce.main(["reproduce", *arguments]) == 2
    assert "lesion.json cannot be used: remove it" in capsys.readouterr().err


def test_the_figure_shows_every_block_and_what_is_missing():
    one = {
        "examples": 360,
        "error": 0.01,
        "single": {"conv2_block1": 0.02, "conv3_block1": 0.3, "conv3_block2": 0.04},
        "grows": ["conv3_block1"],
        "several": {"2": [0.5] * 10},
    }
    two = {**one, "error": 0.03, "single": dict.fromkeys(one["single"], 0.1)}
    grouped = {"resnet8": [], "plain8": []}
    left, right = lesions.draw(grouped, {"resnet8": [one, two]}, "digits").axes
    means = left.get_lines()[0]
    assert list(means.get_xdata()) == [0, 0.5, 1]
    assert list(means.get_ydata()) == pytest.approx([6, 20, 7])
    (growing,) = left.get_lines()[1:]
    assert list(growing.get_xdata()) == [0.5]
    assert list(right.get_lines()[0].get_xdata()) == [0, 1, 2]
    assert list(right.get_lines()[0].get_ydata()) == pytest.approx([2, 11, 50])
    texts = [text.get_text() for text in right.get_legend().get_texts()]
    assert texts == ["resnet8, 2 runs", "plain8: not measured", "360 examples: one is 0.28 %"]
    table = lesions.table(grouped, {"resnet8": [one, two]})
    assert table.rows[0][1:6] == ("3 of 3", "2.00 ± 1.41", "7.00 ± 4.24", "20.00 ± 14.14", "20.00")
    assert set(table.rows[1][1:5]) == {"not run"}


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
