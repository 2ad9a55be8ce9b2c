"""The front command: a list of the others, and each by its name."""

import pytest

from resnet_keras import __main__ as front
from resnet_keras import __version__


def test_commands_are_listed_without_tensorflow(command):
    for name in ("", "--help", "help"):
        done = command("__main__", *filter(None, [name]), env={"PYTHONPROFILEIMPORTTIME": "1"})
        assert done.returncode == 0
        assert all(f"  {known} " in done.stdout for known in front.COMMANDS)
        assert not any(line.endswith(" tensorflow") for line in done.stderr.splitlines())


def test_each_command_is_there(capsys):
    for name in front.COMMANDS:
        if name != "models":
            assert front.main(["resnet-keras", name, "--help"]) == 0
            assert "--helpfull tells" in capsys.readouterr().out


def test_version(capsys):
    assert front.main(["resnet-keras", "--version"]) == 0
    assert capsys.readouterr().out == f"resnet_keras {__version__}\n"


def test_models_are_listed_and_told_of(capsys):
    assert front.main(["resnet-keras", "models"]) == 0
    assert "resnet18     tv_in1k, a1_in1k" in capsys.readouterr().out
    assert front.main(["resnet-keras", "models", "plain2*", "resnet20"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "plain20",
        "resnet20",
    ]
    assert front.main(["resnet-keras", "models", "resnet20"]) == 0
    assert "parameters     269,722" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trian"], "Unknown command 'trian'. Did you mean 'train'?"),
        (["models", "reznet50"], "Did you mean 'resnet50'?"),
        (["models", "--all"], "models takes names such as resnet50"),
        (["train", "--recipe=resnet20_digit"], "Did you mean 'resnet20_digits'?"),
    ],
)
def test_mistakes_get_a_sentence(arguments, words, capsys):
    assert front.main(["resnet-keras", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert words in line


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
