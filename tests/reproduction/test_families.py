"""The families beside each other: their runs, their speeds, the table and the figure."""

import json

import pytest
import run_folders
from run_folders import COLUMNS, line

from resnet_keras.benchmarks import networks
from resnet_keras.errors import InputError
from resnet_keras.reproduction import course, experiments, families, results
from resnet_keras.reproduction.jobs import Machine

TIMED = {"wall": 0.5, "cpu": 0.8, "peak_memory_gib": 0.75}


def timed(task, network, batch_size, **_):
    """What `networks.compare` returns, in part."""
    ours = {"gflop": 2 * 10_138_240 * batch_size / 1e9}
    return {
        "processor": {"name": "a processor"},
        "batch_size": batch_size,
        "contestants": {networks.OURS: ours},
        "timings": {networks.OURS: {**TIMED, "wall": 0.5 if task == "train" else 0.1}},
    }


def write(folder, ends):
    for name, (training, test) in ends.items():
        metrics = "\r\n".join([COLUMNS, line(1200, training, test), ""])
        run_folders.write(folder / name, metrics, True, {"parameters": 269722}, train_steps=1200)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(networks, "compare", timed)
    ends = {
        "resnet20-seed0": (0.001, 0.005),
        "resnet20-seed1": (0.0, 0.015),
        "densenet22_12-seed0": (0.0, 0.01),
    }
    write(tmp_path, ends)
    families.time(tmp_path, ["resnet20", "resnet20"], "digits")
    return tmp_path


def test_each_is_trained_by_the_recipe_of_resnet20():
    members = experiments.members("families", "digits", (20, 56), (0,))
    groups = [member.group for member in members]
    assert groups[1] == "resnet20"
    assert len(groups) == len(set(groups)) == 15
    for dataset in experiments.DATASETS:  # CIFAR-10 has a recipe of DenseNet's paper, too
        arguments = {
            m.group: experiments.arguments(m, "families", dataset, "paper") for m in members
        }
        assert arguments["densenet40_12"][:2] == [
            f"--recipe=resnet20_{dataset}",
            "--model=densenet40_12",
        ]
        assert arguments["plain56"][0] == f"--recipe=plain56_{dataset}"  # shares degradation's runs
    with pytest.raises(InputError, match="families has the depths 20 and 56, not 32"):
        experiments.members("families", "digits", (32,), (0,))


def test_the_table_has_errors_costs_and_speeds(folder):
    members = experiments.members("families", "digits", (20,), (0, 1))
    found = results.of_members("families", "digits", "paper", folder, members)
    (table,) = found.tables
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["resnet20"] == (
        *("269,722", "10,138,240", "0.05 ± 0.07", "1.00 ± 0.71", "0.50, 1.50"),
        *("128", "640", "0.75"),
    )
    assert rows["densenet22_12"][2:] == ("0.00", "1.00", "1.00", *["not run"] * 3)
    assert set(rows["wrn16_1"]) == {"not run"}
    assert found.more["speed"]["resnet20"]["train_cpu_seconds_per_image"] == 0.8 / 64
    assert found.more["speed"]["wrn16_1"] is None
    json.dumps(found.more)
    (axes,) = found.figure.axes
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels[1] == "resnet20\n10M"
    dots = [list(curve.get_ydata()) for curve in axes.get_lines()]
    assert pytest.approx([0.5, 1.5]) in dots
    assert [text.get_text() for text in axes.texts].count("not\nrun") == 6


def test_speeds_are_measured_once_and_other_files_are_refused(folder, monkeypatch):
    monkeypatch.setattr(networks, "compare", None)
    families.time(folder, ["resnet20"], "digits")
    (folder / "resnet20-speed.json").write_text('{"train": 1}')
    with pytest.raises(InputError, match=r"resnet20-speed.json is not what reproduce families"):
        families.read(folder, "resnet20")


def test_nothing_is_timed_where_nothing_is_run(folder, monkeypatch):
    monkeypatch.setattr(networks, "compare", None)
    machine = Machine(run=False)
    order = course.Order("families", "digits", "paper", folder, (), None, machine)
    status, found = course.train(order, (20,), (0, 1), lambda workdir, arguments: ())
    assert status == 0
    assert found is not None


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
