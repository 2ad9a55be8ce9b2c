"""What a whole copy of a known data set holds."""

from typing import NamedTuple


class Expected(NamedTuple):
    """What a whole copy holds, by split: "val" is TFDS's "validation"."""

    name: str
    classes: int
    first: str
    last: str
    images: dict[str, int]
    per_class: dict[str, tuple[int, int]]


IMAGENET = Expected(
    name="ImageNet",
    classes=1000,
    first="n01440764",
    last="n15075141",
    images={"train": 1_281_167, "val": 50_000},
    per_class={"train": (732, 1300), "val": (50, 50)},
)
EXPECTED = {"none": None, "imagenet": IMAGENET}
