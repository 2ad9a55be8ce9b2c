"""Writes a network of the zoo for other runtimes, in a process of its own, and tells where.

`networks` starts `python -m resnet_keras.benchmarks.exporter SPEC`, with a `Spec` as JSON, before
the contestants that run the files; see `contestants`.
"""

import functools
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from resnet_keras import zoo
from resnet_keras.commands import shell
from resnet_keras.deployment import formats

from . import contestants


class Spec(NamedTuple):
    """What is to be written: an untrained network for batches of one size, in each format."""

    model: str
    batch_size: int
    image_size: int
    formats: Sequence[str]
    folder: str


def main(argv: Sequence[str] = sys.argv) -> int:
    """Writes the files, tells the folders, and waits until stdin ends."""
    spec = Spec(**json.loads(argv[1]))
    return contestants.serve(functools.partial(_make, spec))


def _make(spec: Spec) -> tuple[Callable[[], Any], dict[str, Any]]:
    """The folder of each format.

    Raises:
        InputError: a package is not installed, or a format does not take the network.
    """
    for format in spec.formats:
        formats.check(format, formats.NONE)
    shell.start_tensorflow()
    import keras

    from resnet_keras.deployment import calibration, exporting

    keras.utils.set_random_seed(0)
    side = spec.image_size
    model = zoo.get(spec.model, input_shape=(side, side, 3))
    compared = calibration.made_up((side, side), 2)
    folders = {}
    for format in spec.formats:
        folders[format] = os.path.join(spec.folder, format)
        exporting.export(
            model,
            folders[format],
            format=format,
            about=exporting.About(spec.model, None, zoo.Preprocessing(side, side)),
            compared=compared,
            batch_size=spec.batch_size,
        )
    return lambda: None, {"folders": folders}


if __name__ == "__main__":
    sys.exit(main())
