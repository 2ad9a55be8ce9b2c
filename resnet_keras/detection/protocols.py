"""How detectors are tested: at one scale, or by the paper's multi-scale testing; plain data."""

from collections.abc import Sequence
from typing import NamedTuple

from resnet_keras.errors import InputError

SINGLE, PAPER_MULTI_SCALE = "single", "paper_multi_scale"
PROTOCOLS = (SINGLE, PAPER_MULTI_SCALE)
SCALES = (200, 400, 600, 800, 1000)  # shorter sides in pixels: the paper's, appendix B
LONGEST = 1000 / 600  # the longer side of an image is at most so many shorter sides of its scale
TRAINED = 600  # the shorter side at which the paper's detectors are trained
CANONICAL = 224  # of 1504.06066: square root of the pixels of a RoI that lies between two scales


class Pyramid(NamedTuple):
    """The scales of `improve.multi_scale`; its arguments."""

    scales: tuple[int, ...]
    proposal_scales: tuple[int, ...]
    canonical_size: float


def pyramid(trained: int, scales: Sequence[int] = ()) -> Pyramid:
    """The paper's pyramid, as it is for a detector of another scale.

    Args:
        trained: shorter side of the images that the detector was trained on, in pixels. 600 has the
            paper's own pyramid.
        scales: shorter sides in pixels; those of the paper times `trained` / 600 without.

    Returns:
        Scales, of which that nearest to `trained` makes proposals.

    Raises:
        InputError: see `check_scales`.
    """
    times = trained / TRAINED
    scales = tuple(scales) or tuple(max(1, round(times * scale)) for scale in SCALES)
    check_scales(scales)
    nearest = min(scales, key=lambda scale: abs(scale - trained))
    return Pyramid(scales, (nearest,), times * CANONICAL)


def check_scales(scales: Sequence[int]) -> None:
    """Raises `InputError` where scales are fewer than two, or do not ascend."""
    if len(scales) < 2 or list(scales) != sorted(set(scales)) or scales[0] < 1:
        raise InputError(f"scales must be two or more ascending sides in pixels, not {scales!r}.")


def check_classes(names: Sequence[Sequence[str] | None]) -> None:
    """Raises `InputError` where the models of an ensemble have other classes, or another order."""
    known = [tuple(some) for some in names if some is not None]
    for other in known[1:]:
        if other != known[0]:
            raise InputError(
                f"The models of an ensemble must have the same classes in the same order, not "
                f"{', '.join(known[0][:8])}, and {', '.join(other[:8])}."
            )
