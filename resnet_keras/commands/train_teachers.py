"""What the flags of `resnet_keras.train` say of a teacher: found, chosen, and told."""

from typing import Any

from resnet_keras.classification import teachers
from resnet_keras.errors import InputError

from . import runs
from .train_flags import FLAGS

_AMOUNTS = ("distill", "temperature")
_ITS_OWN = ("teacher_weights", "teacher_checksum", *_AMOUNTS)


def choose_amounts() -> None:
    """Finds out how much a teacher says, where there is one and flags do not tell.

    Raises:
        InputError: there is no such share, or temperature.
    """
    if FLAGS.teacher is None:
        return
    if FLAGS.distill is None:
        FLAGS.distill = teachers.DISTILL
    if FLAGS.temperature is None:
        FLAGS.temperature = teachers.TEMPERATURE
    teachers.check_amounts(FLAGS.distill, FLAGS.temperature)


def idle() -> dict[str, str | bool]:
    """Flags that have no effect without a teacher, and why; False where there is one."""
    return dict.fromkeys(_ITS_OWN, FLAGS.teacher is None and "it belongs to --teacher")


def find() -> teachers.Teacher | None:
    """The network of --teacher, with its file's checksum as a flag; None without one.

    Raises:
        InputError: it is not there, is untrained, or its file is another one than the flag says.
    """
    if FLAGS.teacher is None:
        return None
    teacher = teachers.find(FLAGS.teacher, FLAGS.teacher_weights, FLAGS.weights_dir)
    if FLAGS.teacher_checksum not in (None, teacher.checksum):
        raise InputError(
            f"The teacher's file {teacher.file.path} has the checksum {teacher.checksum}, and not "
            f"--teacher_checksum={FLAGS.teacher_checksum}: give back the file that it was, or "
            "leave the flag out."
        )
    FLAGS.teacher_checksum = teacher.checksum
    return teacher


def provenance() -> dict[str, Any]:
    """Who taught, for the file of the weights; nothing without a teacher."""
    return runs.given(FLAGS, "teacher", *_ITS_OWN) if FLAGS.teacher else {}


def words() -> str:
    """Who teaches: ", taught by resnet56 (digits)"; "" without a teacher."""
    if FLAGS.teacher is None:
        return ""
    weights = f" ({FLAGS.teacher_weights})" if FLAGS.teacher_weights else ""
    return f", taught by {FLAGS.teacher}{weights}"
