"""Whether the files of a data set of series can be read, and what they hold."""

import os
from collections import Counter
from collections.abc import Iterator

from resnet_keras.errors import InputError

from .. import ucr
from .finding import Finding, many


def series(data_dir: str | os.PathLike | None) -> Iterator[Finding]:
    """Checks the training and test series of "ucr".

    Raises:
        InputError: there is no such folder, or no data set in it.
    """
    paths = ucr.files(data_dir)
    try:
        problem = ucr.problem(data_dir)
    except InputError as error:
        yield Finding(False, str(error).rstrip("."))
        return
    splits = {
        "train": (problem.train, problem.train_labels),
        "test": (problem.test, problem.test_labels),
    }
    for split, (values, labels) in splits.items():
        examples, length, channels = values.shape
        counts = Counter(dict.fromkeys(problem.class_names, 0))
        counts.update(problem.class_names[label] for label in labels)
        (most, largest), *_, (least, smallest) = counts.most_common()
        yield Finding(
            True,
            f"{split}: {examples:,} series of {many(length, 'step')} in "
            f"{many(channels, 'channel')} and {many(len(counts), 'class')}: at least "
            f"{smallest:,} ({least}), at most {largest:,} ({most})",
        )
    known = {one.tobytes() for one in problem.train}
    twice = sum(one.tobytes() in known for one in problem.test)
    if twice:
        text = f"{twice:,} of the test series are training series too"
        yield Finding(True, f"{text} ({paths[-1]})", warns=True)
