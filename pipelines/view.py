"""What training sees of a photograph; plain data."""

from typing import TYPE_CHECKING, NamedTuple

from resnet_keras.errors import InputError

if TYPE_CHECKING:
    from . import modern


class View(NamedTuple):
    """What training sees of an image; the defaults are the paper's (Sec. 3.4).

    Attributes:
        image_size: side of the crop in pixels.
        scales: the shorter side is rescaled to a length drawn from [scales[0], scales[1]].
        min_area: instead, crops that hold between this share of the image and all of it, at
            ratios of width to height from 3/4 to 4/3 (Szegedy et al. 2015); 0 turns it off.
        flip: mirror half of the images.
        pca_noise: standard deviation, see `augment.random_colour`.
        colour_jitter: largest change, see `augment.random_colour`; 0.4 in fb.resnet.torch.
        rand_augment, random_erasing, mixup, cutmix: see `modern.Regularization`.
    """

    image_size: int = 224
    scales: tuple[int, int] = (256, 480)
    min_area: float = 0.0
    flip: bool = True
    pca_noise: float = 0.1
    colour_jitter: float = 0.0
    rand_augment: float = 0.0
    random_erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    def check(self) -> None:
        """Raises `InputError` for a view that cannot be."""
        low, high = self.scales
        if not 1 <= self.image_size <= low <= high:
            raise InputError(
                f"Scales {low} to {high} do not fit crops of side {self.image_size}: "
                "image_size <= smallest scale <= largest scale."
            )
        if not 0 <= self.min_area <= 1:
            raise InputError(f"min_area is a share of the image, 0 to 1, not {self.min_area}.")
        if self.pca_noise < 0 or not 0 <= self.colour_jitter <= 1:
            raise InputError("pca_noise must not be negative and colour_jitter be 0 to 1.")
        self.regularization.check()

    @property
    def regularization(self) -> "modern.Regularization":
        """What Keras's layers do to the image."""
        from . import modern

        return modern.Regularization(
            self.rand_augment, self.random_erasing, self.mixup, self.cutmix
        )
