"""--help: a line for each flag, by groups; --helpfull: all of it."""

import importlib
import re

import pytest

from resnet_keras.commands import help
from resnet_keras.commands.definitions import all_flags, group_of, in_order

COMMANDS = (
    *(
        "train",
        "evaluate",
        "predict",
        "report",
        "reproduce",
        "benchmark",
        "launch",
        "publish",
        "prune",
        "export",
    ),
    "pipelines.__main__",
)
TASKS = {
    ("benchmark", "input"): ("--peers", "--peer "),
    ("benchmark", "predict"): ("--peer ", "--remat"),
    ("pipelines.__main__", "check"): ("--archives", "--port"),
    ("pipelines.__main__", "preview"): ("--mixup", "--archives"),
    ("pipelines.__main__", "serve"): ("--port", "--dataset"),
    ("reproduce", "depth"): ("--seeds", "--trained"),
    ("reproduce", "imagenet"): ("--trained", "--seeds"),
    ("reproduce", "detection"): ("--seeds", "--depths"),
}


def module(name):
    return importlib.import_module(f"resnet_keras.{name}")


@pytest.mark.parametrize("name", COMMANDS)
def test_each_flag_has_a_group_and_a_line_that_fits(name, capsys):
    values = module(name).FLAGS
    assert module(name).main([name, "--help"]) == 0
    said = capsys.readouterr().out
    for flag in all_flags(values):
        if flag.name in ("help", "helpfull"):
            continue
        assert group_of(flag), flag.name
        assert help.line(flag) in said.splitlines()
        assert len(help.line(flag)) <= help.WIDTH, help.line(flag)


@pytest.mark.parametrize("name", COMMANDS)
def test_helps_are_sentences_that_stand_alone(name, capsys):
    values = module(name).FLAGS
    assert module(name).main([name, "--helpfull"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    for flag in all_flags(values):
        assert re.match(r"[A-Z]|digits", flag.help), flag.help
        assert not re.match(r"(Of|See|As|For|With|Instead)\b", flag.help), flag.help
        assert flag.help.endswith("."), flag.help
        if flag.name not in ("help", "helpfull"):
            assert " ".join(flag.help.split()) in said


def test_the_groups_of_train():
    flags = [flag for flag in in_order(module("train").FLAGS) if group_of(flag)]
    assert flags[0].name == "recipe"
    assert list(dict.fromkeys(group_of(flag) for flag in flags)) == [
        *("Run", "Model", "Data", "View", "Optimizer", "Regularization", "Teacher"),
        *("Speed", "Devices"),
    ]


@pytest.mark.parametrize(("name", "task"), TASKS)
def test_the_help_of_a_task_has_its_flags_only(name, task, capsys):
    own, foreign = TASKS[name, task]
    assert module(name).main([name, task, "--help"]) == 0
    said = capsys.readouterr().out
    assert f"  {own}" in said
    assert f"  {foreign}" not in said
    assert "  --flagfile" in said


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
