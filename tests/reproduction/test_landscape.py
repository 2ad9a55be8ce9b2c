"""The loss on a plane through a network's weights."""

import json
import sys

import keras
import numpy as np
import pytest

from resnet_keras import train, zoo
from resnet_keras.errors import InputError
from resnet_keras.reproduction import landscape, measuring, surfaces

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), "uint8")
LABELS = np.arange(12) % 10
BATCHES = [(IMAGES[:7], LABELS[:7]), (IMAGES[7:], LABELS[7:])]


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(landscape, "POINTS", 3)
    keras.utils.set_random_seed(0)
    return zoo.get("resnet8", input_shape=(16, 16, 3))


def cross_entropy(model):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return float(loss(LABELS, model(IMAGES)))


def test_numbers(small):
    """At each point the loss of a network with these weights; afterwards it has its own."""
    before = [np.array(v) for v in small.weights]
    result = landscape.of_run(small, BATCHES)
    for v, values in zip(small.weights, before, strict=True):
        np.testing.assert_array_equal(np.array(v), values)
    assert (result["images"], result["distances"]) == (12, [-1.0, 0.0, 1.0])
    assert landscape.at_centre(result) == pytest.approx(cross_entropy(small), rel=1e-5)
    draws = np.random.default_rng(landscape.SEED)
    kernels = [v for v in small.trainable_variables if v.path.endswith("/kernel")]
    first, second = ([landscape._direction(np.array(v), draws) for v in kernels] for _ in range(2))
    for v, d, e in zip(kernels, first, second, strict=True):
        v.assign(np.array(v) + d - e)
    assert result["loss"][2][0] == pytest.approx(cross_entropy(small), rel=1e-4)


def test_directions_are_as_long_as_the_networks_own_filters():
    kernel = np.random.default_rng(1).normal(size=(3, 3, 4, 8)) * np.arange(8)
    direction = landscape._direction(kernel, np.random.default_rng(2))
    lengths = [np.sqrt((k**2).sum((0, 1, 2))) for k in (kernel, direction)]
    np.testing.assert_allclose(*lengths, rtol=1e-6)


def test_a_stopped_measurement_goes_on(small, tmp_path, monkeypatch):
    whole = landscape.of_run(small, BATCHES)
    calls, loss = [], landscape._loss

    def stopped(*arguments):
        calls.append(0)
        if len(calls) == 5:  # in the second row
            raise KeyboardInterrupt
        return loss(*arguments)

    monkeypatch.setattr(landscape, "_loss", stopped)
    with pytest.raises(KeyboardInterrupt):
        landscape.of_run(small, BATCHES, folder=tmp_path)
    assert len(json.loads((tmp_path / landscape.PART).read_text())["rows"]) == 1
    assert landscape.of_run(small, BATCHES, folder=tmp_path) == whole
    assert len(calls) == 5 + 6  # the first row was there
    assert not (tmp_path / landscape.PART).exists()
    assert landscape.read(tmp_path) is None  # `measuring` writes it


def test_rows_of_other_weights_are_not_taken(small, tmp_path):
    rows = [[1.0, 2.0, 3.0]] * 2
    part = tmp_path / landscape.PART
    part.write_text(json.dumps({"identity": "another network", "rows": rows}))
    assert landscape.of_run(small, BATCHES, folder=tmp_path) == landscape.of_run(small, BATCHES)
    part.write_text("{")
    with pytest.raises(InputError, match="remove it"):
        landscape.of_run(small, BATCHES, folder=tmp_path)


def bowl(points=9, losses=None):
    distances = np.linspace(-1, 1, points).tolist()
    loss = [[np.exp(a * a + b * b) for b in distances] for a in distances]
    return {"images": 12, "distances": distances, "loss": losses or loss}


def test_what_is_told_of_it():
    found = bowl()
    assert landscape.at_centre(found) == 1
    assert landscape.at_distance(found, 1) == pytest.approx(np.e, rel=0.1)
    assert landscape.minima(found) == 1
    rough = np.array(found["loss"])
    rough[2, 2] = 0.5
    assert landscape.minima(bowl(losses=rough.tolist())) == 2


@pytest.mark.parametrize("text", ["{", "{}", json.dumps({**bowl(), "distances": [0.0]})])
def test_other_files_are_refused(text, tmp_path):
    (tmp_path / landscape.FILE).write_text(text)
    with pytest.raises(InputError, match="remove it"):
        landscape.read(tmp_path)


def test_what_was_not_measured_is_said():
    grouped = {"plain20-landscape": [], "resnet20-landscape": []}
    table = surfaces.table(grouped, {"resnet20-landscape": [bowl()]})
    assert table.rows[0][3:] == ("not run",) * 4
    assert (table.rows[1][3], table.rows[1][6]) == ("1", "1")
    assert [float(text) for text in table.rows[1][4:6]] == pytest.approx([1.28, 2.72], rel=0.1)
    figure = surfaces.draw(grouped, {"resnet20-landscape": [bowl()]}, "digits")
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert texts == ["not measured"]
    surfaces.draw(grouped, {}, "digits")


@pytest.mark.slow
def test_a_run_is_measured_on_its_training_images(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(landscape, "POINTS", 3)
    run = tmp_path / "run"
    flags = ("--recipe=resnet20_digits", "--model=resnet8", "--train_steps=2", "--warmup_steps=0")
    assert train.main(["train", *flags, f"--workdir={run}"]) == 0
    measuring.measure("landscape", [str(run)])
    found = landscape.read(run)
    assert found["images"] == landscape.IMAGES  # more than the test split has
    assert "training loss" in capsys.readouterr().out


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
