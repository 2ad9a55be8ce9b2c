"""Which runs an experiment is made of, and what its tables say of them."""

import pytest
import run_folders
from run_folders import COLUMNS, line

from resnet_keras import train
from resnet_keras.errors import InputError
from resnet_keras.reproduction import experiments
from resnet_keras.reproduction.experiments import Member

ALL = [
    (experiment, dataset, scale)
    for experiment in experiments.EXPERIMENTS
    for dataset in experiments.DATASETS
    for scale in experiments.SCALES
]


def members_of(experiment, dataset="digits", scale="paper", **given):
    chosen = {
        "depths": experiments.depths(experiment, dataset, scale),
        "seeds": experiments.seeds(experiment, scale),
    }
    return experiments.members(experiment, dataset, **{**chosen, **given})


def write(folder, ends, steps=1200, finished=True):
    """A run for each name; `ends` are the training and test errors of its last evaluation."""
    for name, (training, test) in ends.items():
        metrics = "\r\n".join([COLUMNS, line(60, 0.8, 0.9), line(steps, training, test), ""])
        environment = {"parameters": 269722, "keras": "3.15.1", "cpus": 2}
        run_folders.write(folder / name, metrics, finished, environment, train_steps=1200)


def read(folder, members):
    begun = experiments.read(folder, members)
    return begun, experiments.groups(members, begun)


@pytest.mark.parametrize(("experiment", "dataset", "scale"), ALL)
def test_every_member_has_flags_that_train_takes(experiment, dataset, scale):
    for member in members_of(experiment, dataset, scale):
        arguments = experiments.arguments(member, experiment, dataset, scale)
        train.shared_flags.parse(train.FLAGS, ["train", *arguments])
        assert member.network == train.FLAGS.model
        assert (train.FLAGS.dataset, train.FLAGS.seed) == (dataset, member.seed)
        assert member.setting or train.FLAGS.shortcut == member.shortcut
        boundaries = [int(step) for step in train.FLAGS.boundaries]
        assert max(boundaries, default=0) < train.FLAGS.train_steps
        assert train.FLAGS.train_steps % train.FLAGS.eval_every == 0


def test_the_papers_runs():
    names = [member.name for member in members_of("degradation", seeds=(0,))]
    assert names[:4] == ["plain20-seed0", "resnet20-seed0", "plain32-seed0", "resnet32-seed0"]
    assert len(names) == 10
    assert [m.name for m in members_of("shortcuts", depths=(20,), seeds=(3,))] == [
        *("resnet20-seed3", "resnet20-B-seed3", "resnet20-C-seed3")
    ]
    groups = {member.group for member in members_of("responses")}
    assert groups == {"plain20", "plain56", "resnet20", "resnet56", "resnet110"}  # Fig. 7
    assert {member.group for member in members_of("depth", depths=(1202,))} == {"resnet1202"}
    seeds = [member.seed for member in members_of("depth")]
    assert seeds == sorted(seeds)  # a whole picture of one seed first
    assert len(set(seeds)) == 3


def test_depths_without_a_recipe_or_of_other_networks_are_refused():
    with pytest.raises(InputError, match="no recipe for resnet26 on digits"):
        experiments.arguments(Member("resnet26", None, 0), "depth", "digits", "paper")
    with pytest.raises(InputError, match="is a network for ImageNet"):
        experiments.members("degradation", "digits", (34,), (0,))
    with pytest.raises(InputError, match="6n\\+2"):
        experiments.members("depth", "digits", (21,), (0,))


def test_degradation_tells_every_run_beside_the_paper(tmp_path):
    members = members_of("degradation", depths=(20, 56), seeds=(0, 1, 2))
    ends = {
        "plain20-seed0": (0.01, 0.02),
        "plain20-seed1": (0.02, 0.03),
        "plain20-seed2": (0.03, 0.04),
        "resnet20-seed0": (0.001, 0.0),
    }
    write(tmp_path, ends)
    write(tmp_path, {"plain56-seed0": (0.5, 0.6)}, steps=600, finished=False)
    run_folders.write(tmp_path / "plain56-seed1", None, weights=False)
    begun, grouped = read(tmp_path, members)
    (table,) = experiments.degradation(grouped)
    assert table.columns == (
        *("network", "paper, CIFAR-10", "training error", "test error", "test error of each run"),
    )
    assert table.rows == [
        ("plain20", "about 9", "2.00 ± 1.00", "3.00 ± 1.00", "2.00, 3.00, 4.00"),
        ("plain56", "about 13", "not run", "not run", "not run"),  # it is not at its end
        ("resnet20", "8.75", "0.10", "0.00", "0.00"),
        ("resnet56", "6.97", "not run", "not run", "not run"),
    ]
    rows = {row[0]: row[1:] for row in experiments.all_runs(members, begun).rows}
    assert len(rows) == len(members)
    assert rows["plain20-seed1"] == ("finished", "1,200", "2.00", "3.00", "2.0")
    assert rows["plain56-seed0"][:4] == (
        "in progress at step 600 of 1,200",
        "600",
        "50.00",
        "60.00",
    )
    assert rows["plain56-seed1"] == ("not started", *["not run"] * 4)
    assert set(rows["resnet56-seed2"]) == {"not run"}


def test_shortcuts_stand_beside_table_3(tmp_path):
    members = members_of("shortcuts", depths=(20,), seeds=(0,))
    write(tmp_path, {"resnet20-seed0": (0.0, 0.02), "resnet20-C-seed0": (0.0, 0.01)})
    (table,) = experiments.shortcuts(read(tmp_path, members)[1])
    assert [row[:5] for row in table.rows] == [
        ("resnet20", "A", "269,722", "25.03 / 7.76", "0.00"),
        ("resnet20", "B", "not run", "24.52 / 7.46", "not run"),
        ("resnet20", "C", "269,722", "24.19 / 7.40", "0.00"),
    ]
    assert experiments.paper_shortcuts() == {"A": 25.03, "B": 24.52, "C": 24.19}


def test_depth_stands_beside_table_6(tmp_path):
    members = members_of("depth", depths=(20, 110), seeds=(0, 1))
    write(tmp_path, {"resnet20-seed0": (0.0, 0.08), "resnet20-seed1": (0.0, 0.09)})
    grouped = read(tmp_path, members)[1]
    (table,) = experiments.depth(grouped, "digits")
    assert table.rows[0] == (
        *("resnet20", "0.27M", "8.75", "0.00 ± 0.00", "8.50 ± 0.71", "8.00, 9.00", "8.00"),
    )
    assert table.rows[1][:3] == ("resnet110", "1.7M", "6.43 (best of 5; 6.61 +- 0.16)")
    assert table.rows[-1] == ("resnet1202", "19.4M", "7.93", *["not run"] * 4)
    (table,) = experiments.depth(grouped, "cifar10")
    assert table.columns[3] == "akamaster's weights"
    assert [row[3] for row in table.rows] == ["8.27", "6.32", "6.18"]
    others = experiments.others("cifar10")
    assert others["paper"] == {20: 8.75, 32: 7.51, 44: 7.17, 56: 6.97, 110: 6.43, 1202: 7.93}
    assert others["akamaster's weights"][56] == 6.61
    assert experiments.others("digits") == {}


def test_responses_are_averaged_over_layers_and_runs(tmp_path):
    members = members_of("responses", depths=(20,), seeds=(0, 1))
    write(tmp_path, {"plain20-seed0": (0.0, 0.08), "plain20-seed1": (0.0, 0.09)})
    deviations = {"plain20": [{"a": 1.0, "b": 2.0, "c": 6.0}, {"a": 1.0, "b": 4.0, "c": 4.0}]}
    (table,) = experiments.responses(read(tmp_path, members)[1], deviations)
    assert table.rows == [
        ("plain20", "3", "curves only", "3.000", "3.000", "5.000", "3.000, 3.000", "8.50 ± 0.71"),
        ("resnet20", *["not run"], "curves only", *["not run"] * 5),
    ]


def test_runs_without_errors_are_refused(tmp_path):
    (member,) = members_of("depth", depths=(20,), seeds=(0,))
    given = {"monitor": "val_loss", "direction": "min"}
    run_folders.write(tmp_path / member.name, "step,val_loss\n1,0.5\n", environment=given)
    with pytest.raises(
        InputError, match=r"has no top1_error in metrics.csv: it is no run of train"
    ):
        experiments.read(tmp_path, [member])


def test_failures_are_told(tmp_path):
    members = members_of("depth", depths=(20,), seeds=(0, 1, 2))
    write(tmp_path, {"resnet20-seed0": (0.5, 0.6), "resnet20-seed2": (0, 0.1)}, 600, False)
    failed = {"resnet20-seed0", "resnet20-seed1"}  # the latter before it had a folder
    begun = experiments.read(tmp_path, members, failed)
    states = [row[1] for row in experiments.all_runs(members, begun).rows]
    assert states == [
        "failed after step 600 of 1,200",
        "failed before an evaluation",
        "in progress at step 600 of 1,200",
    ]


def test_versions_and_curves_are_kept(tmp_path):
    members = members_of("depth", depths=(20,), seeds=(0, 1))
    write(tmp_path, {"resnet20-seed0": (0.01, 0.08)})
    begun, _ = read(tmp_path, members)
    assert experiments.versions(begun.values()) == {"keras": "3.15.1", "cpus": "2"}
    assert experiments.joined([{"keras": "3.15.1"}, {"keras": "3.16.0"}, {}]) == {
        "keras": "3.15.1/3.16.0"
    }
    assert experiments.curves(begun) == {
        "resnet20-seed0": {"steps": [60, 1200], "training": [0.8, 0.01], "test": [0.9, 0.08]}
    }


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
