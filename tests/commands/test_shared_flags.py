"""What the library says with arguments, a command says with its flags."""

import ast
import re
from pathlib import Path

import pytest

from resnet_keras import train
from resnet_keras.classification import classifier
from resnet_keras.commands import shared_flags
from resnet_keras.errors import InputError
from resnet_keras.pipelines import __main__ as pipelines_command
from resnet_keras.pipelines import splits

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Give data_dir=FOLDER, which", "Give --data_dir=FOLDER, which"),
        ('`boundaries` belong to schedule="step".', "--boundaries belong to --schedule=step."),
        ("take boundaries=[3, 40] or boundaries=[].", "take --boundaries=3,40 or --boundaries=."),
        ("take scales=(256, 480), not mixup='a'.", "take --scales=256,480, not --mixup=a."),
        (
            "weight_decay must be decay=0.1, ema=0.99.",
            "--weight_decay must be decay=0.1, --ema=0.99.",
        ),
        ("out of memory: `seed` and `sklearn`", "out of memory: --seed and `sklearn`"),
        ("image_size.png a/image_size --image_size", "image_size.png a/image_size --image_size"),
        ("with exif_orientation=True", "with --exif_orientation"),
        ("with exif_orientation=False", "with --noexif_orientation"),
        ("num_classes=3 and weights=None", "num_classes=3 and weights=None"),  # no flag takes them
        ("my dataset=foo.jpg, ratio:seed=3", "my dataset=foo.jpg, ratio:seed=3"),  # files
        ("dataset=a/b and seed=1.", "dataset=a/b and --seed=1."),
        ("--seed=1 '--seed=2' /tmp/seed=3", "--seed=1 '--seed=2' /tmp/seed=3"),
        (f"No val. {splits.HOLD_OUT}", f"No val. {shared_flags.HOLD_OUT}"),
    ],
)
def test_arguments_are_told_as_flags(text, expected):
    assert shared_flags.in_flags(train.FLAGS, text) == expected
    if "schedule" in text:
        text = text.replace("`", "")
        assert shared_flags.in_flags(pipelines_command.FLAGS, text) == text


@pytest.mark.parametrize("room", ["pipelines", "resnet_keras/classification"])
def test_messages_below_the_commands_name_no_flags(room):
    for path in (ROOT / room).rglob("*.py"):
        if path.name == "__main__.py":
            continue
        nodes = list(ast.walk(ast.parse(path.read_text())))
        docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        for node in nodes:
            if isinstance(node, ast.Constant) and id(node) not in docstrings:
                text = re.sub(r"`python -m [^`]*`", "", str(node.value))  # whole commands
                assert not re.search(r"--[a-z]", text), f"{path}:{node.lineno}"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"schedule": "cosine", "boundaries": [5]}, '`boundaries` belong to schedule="step"'),
        ({"schedule": "plateau", "warmup_until_error": 0.8}, 'with schedule="plateau"'),
    ],
)
def test_schedules_that_contradict(arguments, words):
    with pytest.raises(InputError, match=words):
        classifier.make_optimizer(learning_rate=0.1, train_steps=9, **arguments)


def test_a_mean_per_pixel_of_photographs():
    with pytest.raises(InputError, match='take normalization="channel"'):
        classifier.model_options("imagenet2012", "train", normalization="pixel")


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
