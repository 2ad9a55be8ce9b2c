"""What is evaluated for Tables 2 to 5, and what is told of it."""

import json
from pathlib import Path

import pytest
import run_folders

from resnet_keras import evaluate
from resnet_keras.errors import InputError
from resnet_keras.reproduction import imagenet
from resnet_keras.reproduction.imagenet import Evaluation, Weights

TV = Weights("resnet34", "B", "tv_in1k", "tv_in1k")
OWN = Weights("resnet34", "B", "mine", "mine/weights.safetensors")
PLAIN = Weights("plain34", None, "mine", "plain/weights.safetensors")


def evaluation(protocol, *weights):
    return Evaluation(weights, protocol, (), Path("unused"))


def row(top1, top5):
    return {"top1_error": top1, "top5_error": top5}


def test_runs_are_known_by_their_flags(tmp_path):
    given = {"dataset": "imagenet2012"}
    run_folders.write(tmp_path / "a", model="resnet34", shortcut="C", **given)
    run_folders.write(tmp_path / "b", model="resnet50", **given)
    run_folders.write(tmp_path / "c", model="plain18", **given)
    run_folders.write(tmp_path / "d", model="resnet152", weights=False, **given)  # not finished
    run_folders.write(tmp_path / "e", model="resnet20", **given)
    run_folders.write(tmp_path / "f", model="/a/saved/network", **given)
    run_folders.write(tmp_path / "g", model="resnet50", dataset="folder")
    trained = imagenet.trained([str(tmp_path)], "imagenet2012")
    assert [weights[:3] for weights in trained] == [
        *(("resnet34", "C", "a"), ("resnet50", "B", "b"), ("plain18", None, "c")),
    ]
    assert trained[0].value == str(tmp_path / "a" / "weights.safetensors")
    with pytest.raises(InputError, match="no finished run on imagenet2012"):
        imagenet.trained([str(tmp_path / "e")], "imagenet2012")
    assert imagenet.trained([], "folder") == []


def test_public_weights_are_of_their_own_option():
    public = imagenet.registered(["imagenet"])
    assert [weights[:3] for weights in public] == [
        *(("resnet18", "B", "tv_in1k"), ("resnet34", "B", "tv_in1k")),
        *((f"resnet{depth}", "B", "keras_in1k") for depth in (50, 101, 152)),
    ]
    assert imagenet.registered(["imagenet", "tv_in1k"])[:5] == public  # each once
    with pytest.raises(InputError, match="'akamaster'"):
        imagenet.registered(["akamaster"])


def own_weights(folder, content=b"1"):
    """Files for `OWN` and `PLAIN`."""
    written = []
    for weights, name in ((OWN, "a,b"), (PLAIN, "plain")):
        path = folder / name / "weights.safetensors"
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(content)
        written.append(weights._replace(value=str(path)))
    return written


def evaluations(weights, folder, scale="paper", flags=("--dataset=folder",), **given):
    return imagenet.evaluations(weights, scale, folder, flags, **given)


def test_every_network_by_every_protocol_and_all_as_an_ensemble(tmp_path):
    own, plain = own_weights(tmp_path)
    listed = evaluations([TV, plain, own], tmp_path)
    assert [one.name.rpartition("-")[0] for one in listed] == [
        *("resnet34-B-ten_crop", "plain34-ten_crop", "resnet34-B-ten_crop"),
        *("resnet34-B-multi_scale", "plain34-multi_scale", "resnet34-B-multi_scale"),
        "ensemble-multi_scale",
    ]
    assert listed[-1].weights == (TV, own)
    assert len(evaluations([TV], tmp_path, "quick")) == 1
    for one in listed:
        evaluate.shared_flags.parse(evaluate.FLAGS, ["evaluate", *one.arguments])
        assert evaluate.FLAGS.protocol == one.protocol
        assert evaluate.FLAGS.dataset == "folder"
    assert evaluate.FLAGS.ensemble == ["resnet34=tv_in1k", f"resnet34={own.value}"]  # a comma in it


def test_what_was_measured_of_something_else_is_not_used(tmp_path):
    """Other flags, other bytes, other weights and other members have files of their own."""
    own, plain = own_weights(tmp_path)
    paths = [{e.path for e in evaluations([TV, own], tmp_path)}]
    paths.append({e.path for e in evaluations([TV, own], tmp_path, flags=["--resize=40"])})
    own_weights(tmp_path, b"2")
    again = {e.path for e in evaluations([TV, own], tmp_path)}
    assert len(again & paths[0]) == 2  # those of TV alone
    assert len(again - paths[0]) == 3
    (tmp_path / "resnet34.tv_in1k.safetensors").write_bytes(b"")
    brought = {e.path for e in evaluations([TV, own], tmp_path, weights_dir=str(tmp_path))}
    assert len(brought - again) == 3  # TV's two, and the ensemble
    assert not paths[0] & paths[1]
    more = {e.path for e in evaluations([TV, own, own._replace(source="twin")], tmp_path)}
    assert len(more & again) == 4  # all but the ensemble
    assert len({e.path for e in evaluations([own, plain], tmp_path)}) == 4


def test_tables_tell_what_was_measured_and_what_was_not():
    rows = {
        evaluation("ten_crop", TV): row(0.2476, 0.08),
        evaluation("ten_crop", OWN): row(0.25, 0.09),
        evaluation("ten_crop", Weights("resnet18", "B", "tv_in1k", "")): row(0.2822, 0.1),
        evaluation("ten_crop", PLAIN): None,  # it was asked for, and failed
        evaluation("multi_scale", TV, OWN): row(0.21, 0.0501),
    }
    ten, dense, ensemble = imagenet.tables(rows, "paper")
    assert [r for r in ten.rows if r[:2] == ("resnet34", "B")] == [
        ("resnet34", "B", "24.52", "7.46", "24.76", "8.00", "tv_in1k"),
        ("resnet34", "B", "24.52", "7.46", "25.00", "9.00", "mine"),
    ]
    assert ("plain18", "none", "27.94", None, *["not run"] * 3) in ten.rows
    assert ("plain34", "none", "28.54", "10.02", "not run", "not run", "mine") in ten.rows
    assert ("resnet18", "B", None, None, "28.22", "10.00", "tv_in1k") in ten.rows
    assert ("resnet152", "B", "19.38", "4.49", *["not run"] * 3) in dense.rows
    assert [r[1:] for r in ensemble.rows] == [(None, "3.57"), ("21.00", "5.01")]
    assert "resnet34 tv_in1k + resnet34 mine" in ensemble.rows[1][0]
    points = imagenet.points(rows, "paper")["10-crop (Tables 2 and 3)"]
    assert ("resnet34 B tv_in1k", 24.52, pytest.approx(24.76)) in points
    assert ("plain18", 27.94, None) in points
    (single, _) = imagenet.tables({}, "quick")
    assert single.rows[-1] == ("resnet152", "B", None, None, *["not run"] * 3)
    assert len(single.rows) == len(imagenet.NETWORKS)


@pytest.mark.parametrize("text", ["[]", "{}", "x", '[{"top1_error": 0.5}]'])
def test_what_evaluate_did_not_write_is_refused(tmp_path, text):
    path = tmp_path / "results.json"
    assert imagenet.read(path) is None
    path.write_text(json.dumps([row(0.25, 0.08)]))
    assert imagenet.read(path) == row(0.25, 0.08)
    path.write_text(text)
    with pytest.raises(InputError, match="is not what evaluate writes"):
        imagenet.read(path)


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
