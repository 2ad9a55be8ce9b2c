"""Standard deviations of the layers' responses."""

import keras
import numpy as np
import pytest

from resnet_keras import pipelines, reproduce, train, zoo
from resnet_keras.errors import InputError
from resnet_keras.reproduction import measuring, responses

IMAGES = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 3), "uint8")


def test_every_3x3_convolution_responds_and_nothing_else():
    def count(name, **options):
        return len(responses.layers(zoo.get(name, **options)))

    assert count("plain20") == count("resnet20") == 19
    assert count("resnet20", shortcut="C") == 19  # projections are no responses
    assert count("resnet50") == 16  # neither the 7x7 stem nor the 1x1 of bottlenecks
    names = responses.layers(zoo.get("resnet8"))
    assert names[:3] == ["conv1_bn", "conv2_block1_1_bn", "conv2_block1_2_bn"]
    assert names[-1] == "conv4_block1_2_bn"


def test_deviations_are_of_all_values_after_batch_normalization():
    keras.utils.set_random_seed(0)
    model = zoo.get("resnet8", input_shape=(8, 8, 3))
    model.get_layer("conv1_bn").gamma.assign(np.linspace(0.5, 2, 16))
    model.get_layer("conv1_bn").beta.assign(np.linspace(-3, 3, 16))
    deviations = responses.standard_deviations(model, [IMAGES[:4], IMAGES[4:7], IMAGES[7:]])
    assert list(deviations) == responses.layers(model)
    for name in ("conv1_bn", "conv3_block1_2_bn"):
        layer = keras.Model(model.input, model.get_layer(name).output)
        expected = np.std(np.asarray(layer(IMAGES), "float64"))
        assert deviations[name] == pytest.approx(expected, rel=1e-5)


def test_the_command_measures_finished_runs(tmp_path, capsys):
    arguments = [
        *("--model=resnet8", "--dataset=digits", "--image_size=8", "--train_steps=2"),
        *("--eval_every=2", "--batch_size=8", "--notensorboard", "--strategy=one_device"),
    ]
    assert train.main(["train", *arguments, f"--workdir={tmp_path / 'runs' / 'one'}"]) == 0
    capsys.readouterr()
    assert reproduce.main(["reproduce", "responses", str(tmp_path / "runs")]) == 0
    out = capsys.readouterr().out
    folder = tmp_path / "runs" / "one"
    deviations = responses.read(folder)
    assert deviations is not None
    mean = sum(deviations.values()) / len(deviations)
    assert out == f"one: 7 layers, mean standard deviation {mean:.3f}\n"
    model = zoo.get("resnet8", weights=folder / "weights.safetensors")
    images, _ = pipelines.arrays("digits", "test", image_size=8)
    expected = responses.standard_deviations(model, [images])
    assert deviations == pytest.approx(expected, rel=1e-5)

    (folder / responses.FILE).write_text("[]")
    with pytest.raises(InputError, match="cannot be used: remove it"):
        responses.read(folder)
    (folder / "weights.safetensors").unlink()
    assert reproduce.main(["reproduce", "responses", str(folder)]) == 2
    assert "The run one is not finished" in capsys.readouterr().err


def test_runs_that_train_did_not_make_are_refused(tmp_path):
    (tmp_path / "run.flags").write_text("--steps=60\n")
    (tmp_path / "weights.weights.h5").write_bytes(b"")
    with pytest.raises(InputError, match=f"The run {tmp_path.name} is not of train"):
        measuring.measure("responses", [str(tmp_path)])


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
