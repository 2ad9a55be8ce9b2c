"""What training sees of a photograph; plain data."""

from typing import TYPE_CHECKING, NamedTuple

from resnet_keras.errors import InputError, unknown
from resnet_keras.facts import INTERPOLATIONS

CROP_MODES = ("centre", "stretch")


class _Fields(NamedTuple):
    image_size: int = 224
    scales: tuple[int, int] | None = None
    min_area: float = 0.0
    flip: bool = True
    pca_noise: float = 0.1
    colour_jitter: float = 0.0
    rand_augment: float = 0.0
    random_erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0


class View(_Fields):
    """What training sees of an image; the defaults are the paper's (Sec. 3.4).

    Attributes:
        image_size: side of the crop in pixels.
        scales: the shorter side is rescaled to a length drawn from [scales[0], scales[1]]; None
            takes the paper's 256 and 480, in proportion for crops of another size than 224.
        min_area: instead, crops that hold between this share of the image and all of it, at
            ratios of width to height from 3/4 to 4/3 (Szegedy et al. 2015); 0 turns it off.
        flip: mirror half of the images.
        pca_noise: standard deviation, see `augment.draw_colour`.
        colour_jitter: largest change, see `augment.draw_colour`; 0.4 in fb.resnet.torch.
        rand_augment: `factor` of `keras.layers.RandAugment`, which applies two operations; it
            takes milliseconds for an image, many times what all else does.
        random_erasing: share of images from which a rectangle is erased.
        mixup, cutmix: alpha of the Beta(alpha, alpha) that shares are drawn from, at most 1 for
            `keras.layers.CutMix`; with both, each chunk takes one of them.
    """

    __slots__ = ()

    if not TYPE_CHECKING:  # which knows the fields by their types

        def __new__(cls, *values, **fields):
            for name in fields:
                if name not in cls._fields:
                    raise unknown("field of View", name, cls._fields)
            return super().__new__(cls, *values, **fields)

    @property
    def shorter_sides(self) -> tuple[int, int]:
        """The smallest and the largest length of the shorter side before the crop."""
        return self.scales or (test_side(self.image_size), round(self.image_size * 480 / 224))

    def check(self) -> None:
        """Raises `InputError` for a view that cannot be."""
        low, high = self.shorter_sides
        if self.image_size < 1:
            raise InputError(f"image_size must be positive, not {self.image_size}.")
        if not self.min_area and not self.image_size <= low <= high:
            fitting = tuple(max(self.image_size, scale) for scale in sorted((low, high)))
            raise InputError(
                f"Scales {low} to {high} do not fit crops of side {self.image_size}: "
                f"image_size <= smallest scale <= largest scale, such as scales={fitting}."
            )
        if not 0 <= self.min_area <= 1:
            raise InputError(f"min_area is a share of the image, 0 to 1, not {self.min_area}.")
        if self.pca_noise < 0 or not 0 <= self.colour_jitter <= 1:
            raise InputError("pca_noise must not be negative and colour_jitter be 0 to 1.")
        if not (0 <= self.rand_augment <= 1 and 0 <= self.random_erasing <= 1):
            raise InputError("rand_augment and random_erasing are 0 to 1.")
        if self.mixup < 0 or not 0 <= self.cutmix <= 1:
            raise InputError("`mixup` must not be negative and `cutmix` be 0 to 1.")


def test_side(image_size: int) -> int:
    """Length of the shorter side before the crop in tests: 256 for 224 (Sec. 3.4)."""
    return round(image_size * 256 / 224)


def check_shown(image_size: int, resize: int, interpolation: str, crop_mode: str) -> None:
    """Raises `InputError` where there is no such view of images."""
    if interpolation not in INTERPOLATIONS:
        raise unknown("interpolation", interpolation, INTERPOLATIONS)
    if crop_mode not in CROP_MODES:
        raise unknown("crop_mode", crop_mode, CROP_MODES)
    if not 1 <= image_size <= resize:
        raise InputError(f"Crops of side {image_size} do not fit a shorter side of {resize}.")
