"""An opened file of weights, of whatever format and origin."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from resnet_keras.errors import InputError
from resnet_keras.facts import INTERPOLATIONS

from ..entry import CROP_MODES, MAX_SIDE, Preprocessing, WeightsEntry
from . import formats
from .provenance import is_whole


class WeightsFile(NamedTuple):
    """An opened and checked file; its tensors are read when they are assigned.

    Attributes:
        path: of the file.
        layout: one of `layouts`.
        model: the network's name.
        options: arguments of `zoo.get` that the file or its entry settles.
        defaults: those that it leaves open, as its project has them.
        tensors: by this package's names, or by Keras's numbers where the file has no names.
        preprocessing: how images are shown to the network.
        class_names: in the order of the logits, if they are known.
        training: how the weights were made, as far as the file says.
        entry: the registered one, if it is.
        assumed: why `preprocessing` is a guess, in words that go on after the file's name; empty
            where the file or its entry says it.
    """

    path: Path
    layout: str
    model: str
    options: dict[str, Any]
    defaults: dict[str, Any]
    tensors: dict[str, formats.Tensor]
    preprocessing: Preprocessing
    class_names: tuple[str, ...] | None
    training: dict[str, Any]
    entry: WeightsEntry | None = None
    assumed: str = ""

    @property
    def headless(self) -> bool:
        return self.options.get("include_top") is False

    def shown(self, image_size: int | None = None) -> Preprocessing:
        """How images are shown at a size; without one, at that which the network was built for.

        Raises:
            InputError: it was built for images that are not square.
        """
        height, width = (self.options.get("input_shape") or (None, None))[:2]
        if image_size is None and height != width:
            raise InputError(
                f"{self.path} was built for images of {height} x {width} pixels, and here they are "
                "shown as squares: give their side as image_size, or call the network itself."
            )
        built_for = height
        return self.preprocessing.at(image_size or built_for or self.preprocessing.image_size)


def check_preprocessing(preprocessing: Preprocessing) -> Preprocessing:
    """Returns it; `ValueError` where images cannot be shown so."""
    size, resize, interpolation, crop_mode, antialias = preprocessing
    if not (is_whole(size) and is_whole(resize) and 1 <= size <= resize <= MAX_SIDE):
        raise ValueError(f"a crop of {size!r} from a shorter side of {resize!r}")
    if interpolation not in INTERPOLATIONS:
        raise ValueError(f"interpolation {interpolation!r}")
    if crop_mode not in CROP_MODES:
        raise ValueError(f"crop_mode {crop_mode!r}, which is 'centre' or 'stretch'")
    if not isinstance(antialias, bool):
        raise ValueError(f"antialias {antialias!r}, which is True or False")
    return preprocessing


def guessed(input_shape: Sequence[int | None] | None) -> Preprocessing:
    """The paper's 1-crop test at the network's own size; of small images, the whole."""
    side, width = input_shape[:2] if input_shape else (None, None)
    if side is None or side != width:
        return Preprocessing()
    return Preprocessing(side, side) if side < 64 else Preprocessing().at(side)
