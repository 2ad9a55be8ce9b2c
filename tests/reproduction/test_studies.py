"""Studies of networks in several settings: which runs they have, and what is told of them."""

import sys

import pytest
import run_folders
from run_folders import COLUMNS, line

from resnet_keras import zoo
from resnet_keras.errors import InputError
from resnet_keras.networks.counts import count_multiply_adds
from resnet_keras.reproduction import experiments, results, settings, studies
from resnet_keras.reproduction.studies import STUDIES

TRAINED = [name for name in STUDIES if name != studies.LANDSCAPE]


def members_of(study, dataset="digits", seeds=(0, 1)):
    depths = experiments.depths(study, dataset, "paper")
    return experiments.members(study, dataset, depths, seeds)


def write(folder, members, error=0.05):
    for n, member in enumerate(members):
        metrics = "\r\n".join([COLUMNS, line(100, 0.8, 0.9), line(400, 0.01, error + n / 1e3), ""])
        environment = {"parameters": 269722 + n, "cpus": 2}
        run_folders.write(folder / member.name, metrics, True, environment)


@pytest.mark.parametrize("study", STUDIES)
def test_each_setting_has_runs_of_its_own(study):
    members = members_of(study)
    assert len({member.name for member in members}) == len(members)
    flags = [tuple(experiments.arguments(m, study, "digits", "paper")) for m in members]
    assert len(set(flags)) == len(flags)
    assert {m.setting for m in members} == {s.name for s in STUDIES[study].settings_of("digits")}


@pytest.mark.parametrize("dataset", experiments.DATASETS)
def test_runs_of_one_name_are_the_same(dataset):
    """All experiments share a folder."""
    flags = {}
    for name in experiments.EXPERIMENTS:
        depths = experiments.depths(name, dataset, "paper")
        for member in experiments.members(name, dataset, depths, (0,)):
            own = experiments.arguments(member, name, dataset, "paper")
            assert flags.setdefault(member.name, own) == own, (name, member.name)


def test_images_a_replica():
    """The same images in every step, over more and more replicas."""
    for setting in STUDIES[studies.NORMALIZATION].settings_of("cifar10"):
        if setting.place:
            (flag,) = (f for f in setting.flags if f.startswith("--logical_cpus="))
            assert int(flag.partition("=")[2]) * setting.place == studies.GLOBAL_BATCH


def test_depths_without_the_weights_of_a_setting_are_refused_at_once():
    with pytest.raises(InputError, match="resnet44 has no weights digits, from which"):
        experiments.members(studies.NORMALIZATION, "digits", (20, 44), (0,))
    assert experiments.members(studies.NORMALIZATION, "cifar10", (20, 44), (0,))


@pytest.mark.parametrize("study", TRAINED)
def test_what_came_of_it(study, tmp_path):
    members = members_of(study)
    write(tmp_path, members)
    found = results.of_members(study, "digits", "paper", tmp_path, members)
    table = found.tables[0]
    assert len(table.rows) == len(members) // 2
    assert all("±" in row[4] and row[5].count(",") == 1 for row in table.rows)
    legends = [legend for axes in found.figure.axes if (legend := axes.get_legend())]
    texts = [text.get_text() for legend in legends for text in legend.get_texts()]
    assert texts
    assert all("2 seed(s)" in text or text == "training error, mean" for text in texts)


@pytest.mark.parametrize("study", TRAINED)
def test_what_was_not_run_is_said(study, tmp_path):
    members = members_of(study)
    found = results.of_members(study, "digits", "paper", tmp_path, members)
    assert all("not run" in row for row in found.tables[0].rows)
    texts = [text.get_text() for axes in found.figure.axes for text in axes.texts]
    assert "not run" in texts


@pytest.mark.parametrize(
    ("split", "words"),
    [
        (None, "Training images: 144. Test images: 360."),
        ("trainval[10%:]", "Training images: 144. Test images: 1,293."),
        ("val", "Training images: 144. Test images: val."),
    ],
)
def test_figures_say_what_they_are_of(split, words, tmp_path):
    members = members_of(studies.REGULARIZATION)
    write(tmp_path, members)
    for member in members:
        with open(tmp_path / member.name / "run.flags", "a") as file:
            file.write("--train_split=trainval[:10%]\n")
            file.write(f"--eval_split={split}\n" if split else "")
    found = results.of_members(studies.REGULARIZATION, "digits", "paper", tmp_path, members)
    bars = "Bars: mean and sample standard deviation."
    assert f"Seeds: 0, 1. {words} {bars}" in [text.get_text() for text in found.figure.texts]


def test_depths_are_not_mixed(tmp_path):
    members = experiments.members(studies.NORMALIZATION, "digits", (20, 56), (0, 1))
    write(tmp_path, members)
    found = results.of_members(studies.NORMALIZATION, "digits", "paper", tmp_path, members)
    assert len(found.figure.axes) == 2
    for axes in found.figure.axes:
        texts = [text.get_text() for text in axes.get_legend().get_texts()]
        assert all("2 seed(s)" in text for text in texts)


@pytest.mark.parametrize("depth", [20, pytest.param(32, marks=pytest.mark.slow)])
def test_costs_are_those_of_the_networks(depth):
    options = {"none": ("A", 0), "growing": ("B", 0), "all": ("C", 0)}
    options |= {"quarter": ("A", 0.25), "half": ("A", 0.5)}
    for setting in STUDIES[studies.SHORTCUT_RATIO].settings:
        shortcut, share = options[setting.name]
        more = {"projections": share} if share else {}
        model = zoo.get(f"resnet{depth}", shortcut=shortcut, **more)
        assert settings.multiply_adds(depth, setting) == count_multiply_adds(model)


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
