"""What is evaluated for Tables 2 to 5, and what is told of it."""

import json
import os

import pytest
import run_folders

from resnet_keras import evaluate, imagenet_tables
from resnet_keras.errors import InputError
from resnet_keras.imagenet_tables import Evaluation, Weights

TV = Weights("resnet34", "B", "tv_in1k", "tv_in1k")
OWN = Weights("resnet34", "B", "mine", "mine/weights.safetensors")
PLAIN = Weights("plain34", None, "mine", "plain/weights.safetensors")


def row(top1, top5):
    return {"top1_error": top1, "top5_error": top5}


def test_runs_are_known_by_their_flags(tmp_path):
    run_folders.write(tmp_path / "a", model="resnet34", shortcut="C")
    run_folders.write(tmp_path / "b", model="resnet50")
    run_folders.write(tmp_path / "c", model="plain18")
    run_folders.write(tmp_path / "d", model="resnet152", weights=False)  # not finished
    run_folders.write(tmp_path / "e", model="resnet20")
    found = imagenet_tables.trained([str(tmp_path)])
    assert [weights[:3] for weights in found] == [
        *(("resnet34", "C", "a"), ("resnet50", "B", "b"), ("plain18", None, "c")),
    ]
    assert found[0].value == str(tmp_path / "a" / "weights.safetensors")
    with pytest.raises(InputError, match="no finished run"):
        imagenet_tables.trained([str(tmp_path / "e")])
    assert imagenet_tables.trained([]) == []


def test_public_weights_are_of_their_own_option():
    found = imagenet_tables.registered(["imagenet"])
    assert [weights[:3] for weights in found] == [
        *(("resnet18", "B", "tv_in1k"), ("resnet34", "B", "tv_in1k")),
        *((f"resnet{depth}", "B", "keras_in1k") for depth in (50, 101, 152)),
    ]
    with pytest.raises(InputError, match="'akamaster'"):
        imagenet_tables.registered(["akamaster"])


def test_every_network_by_every_protocol_and_all_as_an_ensemble():
    each = imagenet_tables.evaluations([TV, PLAIN, OWN], "paper")
    assert [evaluation.name for evaluation in each] == [
        *("resnet34-B-tv_in1k-ten_crop", "plain34-mine-ten_crop", "resnet34-B-mine-ten_crop"),
        *("resnet34-B-tv_in1k-multi_scale", "plain34-mine-multi_scale"),
        *("resnet34-B-mine-multi_scale", "ensemble-multi_scale"),
    ]
    assert each[-1].weights == (TV, OWN)
    assert len(imagenet_tables.evaluations([TV], "quick")) == 1
    for evaluation in each:
        evaluate.cli.parse(evaluate.FLAGS, ["evaluate", *imagenet_tables.arguments(evaluation)])
        assert evaluate.FLAGS.protocol == evaluation.protocol
    assert evaluate.FLAGS.ensemble == [
        *("resnet34=tv_in1k", "resnet34=mine/weights.safetensors"),
    ]


def test_tables_tell_what_was_measured_and_what_was_not():
    found = {
        Evaluation((TV,), "ten_crop"): row(0.2476, 0.08),
        Evaluation((OWN,), "ten_crop"): row(0.25, 0.09),
        Evaluation((Weights("resnet18", "B", "tv_in1k", ""),), "ten_crop"): row(0.2822, 0.1),
        Evaluation((TV, OWN), "multi_scale"): row(0.21, 0.0501),
    }
    ten, dense, ensemble = imagenet_tables.tables(found, "paper")
    rows = [r for r in ten.rows if r[:2] == ("resnet34", "B")]
    assert rows == [
        ("resnet34", "B", "24.52", "7.46", "24.76", "8.00", "tv_in1k"),
        ("resnet34", "B", "24.52", "7.46", "25.00", "9.00", "mine"),
    ]
    assert ("plain18", "none", "27.94", None, *["not run"] * 3) in ten.rows
    assert ("resnet18", "B", None, None, "28.22", "10.00", "tv_in1k") in ten.rows
    assert ("resnet152", "B", "19.38", "4.49", *["not run"] * 3) in dense.rows
    assert [r[1:] for r in ensemble.rows] == [(None, "3.57"), ("21.00", "5.01")]
    assert "resnet34 tv_in1k + resnet34 mine" in ensemble.rows[1][0]
    points = imagenet_tables.points(found, "paper")["10-crop (Tables 2 and 3)"]
    assert ("resnet34 B tv_in1k", 24.52, pytest.approx(24.76)) in points
    assert ("plain18", 27.94, None) in points
    (single, _) = imagenet_tables.tables({}, "quick")
    assert single.rows[-1] == ("resnet152", "B", None, None, *["not run"] * 3)
    assert len(single.rows) == len(imagenet_tables.NETWORKS)


def test_a_measurement_of_older_weights_is_made_again(tmp_path):
    weights, path = tmp_path / "weights.safetensors", tmp_path / "results.json"
    weights.write_bytes(b"")
    evaluation = Evaluation((OWN._replace(value=str(weights)),), "ten_crop")
    assert imagenet_tables.read(path, evaluation) is None
    path.write_text(json.dumps([row(0.25, 0.08)]))
    assert imagenet_tables.read(path, evaluation) == row(0.25, 0.08)
    os.utime(path, (1, 1))
    assert imagenet_tables.read(path, evaluation) is None
    os.utime(path)
    path.write_text("[]")
    with pytest.raises(InputError, match="is not what evaluate writes"):
        imagenet_tables.read(path, evaluation)


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
