"""Gradients of networks before training, by depth."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from resnet_keras import reproduce, zoo
from resnet_keras.errors import InputError
from resnet_keras.reproduction import gradients, shattering

IMAGES = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3), "uint8")
LABELS = np.arange(24) % 10


def test_autocorrelation_of_series_that_are_known():
    draws = np.random.default_rng(0)
    noise = draws.normal(size=(500, 40))
    found = gradients._autocorrelation(noise)
    assert found[0] == pytest.approx(1)
    assert np.abs(found[1:]).max() < 0.05
    walk = np.cumsum(noise, axis=0)  # each step changes little of it
    assert gradients._autocorrelation(walk)[1] > 0.98
    turns = np.cos(np.arange(500) * np.pi / 8)[:, None] * np.ones((1, 3))
    assert gradients._autocorrelation(turns)[[8, 16]] == pytest.approx([-1, 1], abs=0.02)
    assert gradients._autocorrelation(np.ones((20, 3))) == pytest.approx(1)


def test_a_linear_network_has_one_gradient_everywhere():
    pixels = keras.Input((8, 8, 3))
    model = keras.Model(pixels, keras.layers.Dense(10)(keras.layers.Flatten()(pixels)))
    assert gradients.autocorrelation(model, IMAGES) == pytest.approx([1] * (gradients.LAGS + 1))


def test_norms_are_those_of_the_loss_in_training():
    keras.utils.set_random_seed(0)
    model = zoo.get("resnet8", input_shape=(8, 8, 3))
    norms = gradients.kernel_norms(model, IMAGES, LABELS)
    assert [*norms][:2] == ["conv1_conv", "conv2_block1_1_conv"]
    assert [*norms][-1] == "logits"
    with tf.GradientTape() as tape:
        logits = model(IMAGES, training=True)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(LABELS, logits)
    kernel = model.get_layer("conv2_block1_1_conv").kernel.value
    expected = np.linalg.norm(tape.gradient(loss, kernel))
    assert norms["conv2_block1_1_conv"] == pytest.approx(expected, rel=1e-4)


def test_points_see_the_statistics_of_the_images():
    keras.utils.set_random_seed(0)
    model = zoo.get("plain8", input_shape=(8, 8, 3))
    logits = model(IMAGES, training=True)
    watched = gradients._with_statistics_of(model, IMAGES)
    np.testing.assert_allclose(watched(IMAGES, training=False), logits, rtol=1e-2, atol=1e-2)
    assert model.get_layer("conv1_bn").momentum > 0


@pytest.mark.slow
def test_the_command_measures_once_and_draws(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gradients, "LINES", 2)
    monkeypatch.setattr(gradients, "STEPS", 4)
    arguments = ["reproduce", "gradients", "--depths=8", "--seeds=0,1"]
    assert reproduce.main(arguments) == 0
    out = capsys.readouterr().out
    folder = tmp_path / "reproduced" / "digits_paper" / "gradients"
    result = gradients.read(folder, gradients.Start("resnet8", 1))
    assert result is not None
    assert f"[resnet8-seed1] autocorrelation {result['autocorrelation'][1]:.2f} at a lag" in out
    assert out.count("| plain8 | 2 |") == 2
    assert result["trained"]["steps"] == 4
    assert "Gradients after 4 steps" in out
    assert result["trained"]["norms"] != result["norms"]
    assert 0 < result["trained"]["loss"] < 3
    written = json.loads(
        (tmp_path / "reproduced/gradients_digits_depths8_seeds0-1.json").read_text()
    )
    assert len(written["gradients"]) == 4
    monkeypatch.setattr(gradients, "autocorrelation", None)
    assert reproduce.main(arguments) == 0
    assert "[resnet8" not in capsys.readouterr().out
    (folder / "plain8-seed0.json").write_text('{"autocorrelation": [1], "norms": {}}')
    assert reproduce.main(arguments) == 2
    assert "plain8-seed0.json cannot be used: remove it" in capsys.readouterr().err


def test_other_data_do_not_pass_for_what_was_measured(tmp_path, capsys, monkeypatch):
    """The files of a user are known by what they hold."""
    rows = np.random.default_rng(0).integers(0, 256, (160, 16, 16), "uint8")
    labels = np.arange(160) % 10
    arrays = {"x_train": rows, "y_train": labels, "x_test": rows, "y_test": labels}
    start = gradients.Start("plain8", 0)
    measured = {"autocorrelation": [1.0] * (gradients.LAGS + 1), "norms": {"a": 1.0}}
    trained = {**measured, "loss": 0.5, "steps": gradients.STEPS}
    result = {**measured, "trained": trained, "data": ["one", "123"]}
    (tmp_path / "plain8-seed0.json").write_text(json.dumps(result))
    np.savez(tmp_path / "two.npz", **arrays)
    with pytest.raises(InputError, match=r"plain8-seed0\.json is of other data, one: name another"):
        gradients.measure(tmp_path, [start], "arrays", str(tmp_path / "two.npz"))
    assert gradients.read(tmp_path, start) == result
    del result["trained"]  # an older version's, which is measured again, of the same data
    (tmp_path / "plain8-seed0.json").write_text(json.dumps(result))
    assert gradients.read(tmp_path, start) is None
    with pytest.raises(InputError, match=r"plain8-seed0\.json is of other data, one: name another"):
        gradients.measure(tmp_path, [start], "arrays", str(tmp_path / "two.npz"))
    for broken in ({**measured, "steps": 1}, {**trained, "loss": None}):
        (tmp_path / "plain8-seed0.json").write_text(json.dumps({**result, "trained": broken}))
        with pytest.raises(InputError, match="cannot be used: remove it"):
            gradients.read(tmp_path, start)


def test_what_was_not_run_is_told():
    for table in shattering.tables(["plain8", "resnet8"], {}):
        assert {cell for row in table.rows for cell in row[1:]} == {"not run"}
    one = {"autocorrelation": [1, 0.5, 0.4, 0.3, 0.2], "norms": {"a_conv": 4.0, "b_conv": 1.0}}
    two = {"autocorrelation": [1, 0.7, 0.4, 0.3, 0.2], "norms": {"a_conv": 9.0, "b_conv": 1.0}}
    both = [{**one, "trained": {**two, "loss": 0.5}}, {**two, "trained": {**two, "loss": 2.0}}]
    before, after = shattering.tables(["plain8"], {"plain8": both})
    assert before.rows == [("plain8", "2", "0.60 ± 0.14", "0.20 ± 0.00", "6", "1", "6")]
    assert after.rows == [("plain8", "2", "0.70 ± 0.00", "0.20 ± 0.00", "9", "1", "9", "1")]
    drawn = shattering.draw(["plain8", "resnet8"], {"plain8": both}, "digits").axes
    left, middle, right = drawn
    assert list(left.get_lines()[0].get_ydata()) == pytest.approx([1, 0.6, 0.4, 0.3, 0.2])
    assert list(middle.get_lines()[0].get_ydata()) == pytest.approx([6, 1])
    assert list(right.get_lines()[0].get_ydata()) == pytest.approx([9, 1])
    texts = [text.get_text() for text in middle.get_legend().get_texts()]
    assert texts == ["plain8, 2 seed(s)", "resnet8: not run"]


def test_files_that_were_not_written_are_none(tmp_path):
    assert gradients.read(tmp_path, gradients.Start("plain8", 0)) is None
    with pytest.raises(InputError, match="6n\\+2"):
        gradients.starts((9,), (), "paper")


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
