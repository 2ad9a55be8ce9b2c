"""What images show: their most probable classes, told by a network of the zoo.

for guesses in zoo.predict(model, ["cat.jpg", "dog.png"]):
    print(guesses[0].name, guesses[0].probability)
"""

import itertools
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from resnet_keras.errors import InputError

from .entry import Preprocessing
from .weights import publish, record
from .weights.file import guessed

if TYPE_CHECKING:
    import keras
    import numpy as np


class Guess(NamedTuple):
    """A class that an image may show."""

    label: int
    name: str
    probability: float


class Prediction(NamedTuple):
    """What a network says of an image file.

    `image` is what it saw, uint8 (height, width, 3); `guesses` the most probable classes first,
    None where the file could not be decoded.
    """

    path: str
    image: "np.ndarray"
    guesses: list[Guess] | None


def predict(
    model: "keras.Model",
    images: Any,
    *,
    top: int = 5,
    preprocessing: Preprocessing | None = None,
    class_names: Sequence[str] | None = None,
    batch_size: int = 32,
) -> list[list[Guess]]:
    """Predicts the classes of image files, or of images or series in memory.

    Images of any size are resized and cropped as the weights' own test does it. That and the names
    of the classes a network remembers from the weights that `zoo.get` loaded; where it does not,
    for its head is new or it comes from `keras.models.load_model`, a warning says what is assumed.

    Args:
        model: of `zoo.get`, with a head.
        images: a path or several, of JPEG, PNG or WebP files; or an array or several, (height,
            width, 3) or a batch of such, of RGB pixels in [0, 255], uint8 or float. For a network
            for series, arrays (length, channels) or a batch of such.
        top: how many classes to name; all, where there are fewer.
        preprocessing: how images are shown to the network, instead of what it remembers.
        class_names: in the order of the logits, instead of those that it remembers.
        batch_size: images at once.

    Returns:
        For each image its most probable classes, the first first: (label, name, probability). A
        class without a name is "class 3".

    Raises:
        InputError: no images, what is no image, files that cannot be decoded, or a model that does
            not tell classes.
    """
    options = _options(model)
    if top < 1 or batch_size < 1:
        raise InputError(f"top and batch_size must be positive, not {top} and {batch_size}.")
    if len(options["input_shape"]) == 2:
        if preprocessing is not None:
            raise InputError(f"{model.name} takes series: preprocessing is for images.")
        names = _names(model, class_names, options)
        values = _series(images, f"series for {model.name}", options["input_shape"])
        return [*of_series(model, values, class_names=names, top=top, batch_size=batch_size)]
    channels, shown, names = _shown(model, preprocessing, class_names, options)
    items = _items(images)
    are_paths = {isinstance(item, str | os.PathLike) for item in items}
    if not items:
        raise InputError("There are no images to predict: the list is empty.")
    if len(are_paths) > 1:
        raise InputError("Images are all paths or all arrays, not some of each.")
    if are_paths == {False}:
        return _of_arrays(model, items, channels, shown, names, top, batch_size)
    if channels != 3:
        raise InputError(
            f"{model.name} takes images of {channels} channel(s), and files are read as RGB: give "
            "arrays."
        )
    paths = [_file(item) for item in items]
    predictions = [
        *of_files(
            model, paths, preprocessing=shown, class_names=names, top=top, batch_size=batch_size
        )
    ]
    broken = [one.path for one in predictions if one.guesses is None]
    if broken:
        raise InputError(undecodable(broken, len(paths)))
    return [one.guesses for one in predictions if one.guesses is not None]


def of_files(
    model: "keras.Model",
    paths: Sequence[str],
    *,
    preprocessing: Preprocessing,
    class_names: Sequence[str] | None = None,
    top: int = 5,
    batch_size: int = 32,
    exif_orientation: bool | None = None,
) -> Iterator[Prediction]:
    """Predicts the classes of image files, batch by batch.

    Args:
        model: pixels to logits, for crops of `preprocessing.image_size`: a network, or anything
            that has its `predict_on_batch`.
        paths: of JPEG, PNG and WebP files.
        preprocessing: how they are shown to it.
        class_names: in the order of the logits; without, classes go by their numbers.
        top: how many classes to name.
        batch_size: images at once.
        exif_orientation: whether JPEGs are turned upright as their EXIF says; as `preprocessing`
            has it without.
    """
    from resnet_keras.pipelines import views

    turned = preprocessing.heeds_exif if exif_orientation is None else exif_orientation
    shown = {**preprocessing._asdict(), "exif_orientation": turned}
    names = iter(paths)
    for images, readable in views.batches(paths, batch_size, **shown):
        guesses = _guesses(model.predict_on_batch(images), class_names, top)
        for image, good, likely in zip(images, readable, guesses, strict=True):
            yield Prediction(next(names), image, likely if good else None)


def of_series(
    model: "keras.Model",
    values: "np.ndarray",
    *,
    class_names: Sequence[str] | None = None,
    top: int = 5,
    batch_size: int = 32,
) -> Iterator[list[Guess]]:
    """Predicts the classes of series, batch by batch.

    Args:
        model: series to logits.
        values: float32 (examples, length, channels).
        class_names, top, batch_size: as of `of_files`.
    """
    for start in range(0, len(values), batch_size):
        logits = model.predict_on_batch(values[start : start + batch_size])
        yield from _guesses(logits, class_names, top)


def check_series(shape: Sequence[int], built_for: Sequence[int | None], what: str) -> None:
    """Raises `InputError` for series that a network does not take.

    Args:
        shape: (length, channels) of the series.
        built_for: the same of the network, whose length may be None.
        what: the series are called.
    """
    if shape[1] != built_for[1] or built_for[0] not in (None, shape[0]):
        length = "any length" if built_for[0] is None else f"length {built_for[0]}"
        raise InputError(
            f"The {what} are of shape {tuple(shape)} (length, channels), and the network takes "
            f"{length} and {built_for[1]} channel(s)."
        )


def undecodable(paths: Sequence[str], count: int) -> str:
    """Names the files, of `count`, that cannot be decoded, in a sentence."""
    from resnet_keras.pipelines import listing

    names = ", ".join(os.fsencode(path).decode(errors="replace") for path in paths[:10])
    return (
        f"{len(paths)} of {count} images cannot be decoded as {listing.FORMATS}: {names}"
        f"{', ...' if len(paths) > 10 else ''}."
    )


def _of_arrays(model, arrays, channels, shown, names, top, batch_size):
    import numpy as np

    from resnet_keras.pipelines import encoded

    checked = [_pixels(array, number, channels) for number, array in enumerate(arrays)]
    views = encoded.views(checked, **shown._asdict())
    guesses = []
    for start in range(0, len(checked), batch_size):
        batch = np.stack([*itertools.islice(views, min(batch_size, len(checked) - start))])
        guesses += _guesses(model.predict_on_batch(batch), names, top)
    return guesses


def _guesses(logits, names, top):
    """The most probable classes of each row of logits."""
    import numpy as np

    logits = np.asarray(logits, "float64")
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares /= shares.sum(axis=-1, keepdims=True)
    return [
        [
            Guess(int(n), str(names[n]) if names else f"class {n}", float(share[n]))
            for n in np.argsort(-share, kind="stable")[:top]
        ]
        for share in shares
    ]


def _series(series, what, built_for):
    """Series in memory as float32 (examples, length, channels)."""
    import numpy as np

    from resnet_keras.pipelines import series_files

    if isinstance(series, str | os.PathLike):
        raise InputError(
            f"A network for series takes arrays, not the path {series}: read the file with "
            "pipelines.series_files.read, and give its values."
        )
    given = series if hasattr(series, "shape") else [*series]
    if len(given) == 0:
        raise InputError("There are no series to predict: the list is empty.")
    try:
        array = np.asarray(given)
    except ValueError as error:
        raise InputError(f"The {what} must have one length and so many channels each.") from error
    if array.ndim == 2 and hasattr(series, "shape"):
        array = array[None]
    if array.ndim != 3:
        raise InputError(
            f"The {what} are arrays (length, channels) or batches of such, not {array.shape}."
        )
    values = series_files.checked(array, what)
    check_series(values.shape[1:], built_for, what)
    return values


def _options(model):
    """What a model was built with; `InputError` where it does not tell classes."""
    name = getattr(model, "name", model)
    try:
        _, options = record.of(model)
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{name!r} is not a network as zoo.get builds them: call it itself."
        ) from error
    if model.layers[-1].name != "logits":
        what = "ends at its features" if not options["include_top"] else "goes on after its logits"
        raise InputError(f"{name} {what} and does not tell classes: give a network of zoo.get.")
    return options


def _names(model, class_names, options):
    """The names of a model's classes, or None."""
    name, origin = model.name, publish.recall(model)
    names = class_names if class_names is not None else (origin.class_names if origin else None)
    if names is not None and len(names) != options["num_classes"]:
        raise InputError(
            f"{len(names)} class_names do not fit {name}: it has {options['num_classes']} classes."
        )
    return names


def _shown(model, preprocessing, class_names, options):
    """A model's channels, how images are shown to it, and its classes' names or None."""
    name = model.name
    height, width, channels = options["input_shape"]
    origin = publish.recall(model)
    names = _names(model, class_names, options)
    if height != width:
        raise InputError(
            f"{name} was built for images of {height} x {width} pixels, and here they are shown "
            "as squares: call the network itself."
        )
    shown = preprocessing or (origin.preprocessing if origin else guessed(options["input_shape"]))
    if height is not None and shown.image_size != height:
        raise InputError(
            f"preprocessing shows images of side {shown.image_size}, and {name} was built for "
            f"{height}: give preprocessing.at({height})."
        )
    unsaid = publish.unsaid(origin, preprocessing is not None, names is not None, options)
    if unsaid:
        warnings.warn(publish.advice("zoo.predict", name, shown, *unsaid), stacklevel=3)
    return channels, shown, names


def _items(images) -> list:
    """Single images, arrays or paths."""
    import numpy as np

    if isinstance(images, str | os.PathLike):
        return [images]
    if isinstance(images, Iterable) and not hasattr(images, "shape"):
        return [*images]
    array = np.asarray(images)
    return [array] if array.ndim == 3 else [*array] if array.ndim else [images]


def _file(path):
    if os.path.isfile(path):
        return os.fspath(path)
    if os.path.isdir(path):
        raise InputError(
            f'{path} is a folder: name its images, as sorted(Path("{path}").iterdir()).'
        )
    raise InputError(f"There is no image {path}.")


def _pixels(image, number, channels):
    """An image in memory as uint8; `InputError` where it is none."""
    import numpy as np

    pixels = np.asarray(image)
    if pixels.ndim != 3 or pixels.shape[-1] != channels or not pixels.size:
        raise InputError(
            f"Images are arrays (height, width, {channels}) or batches of such, and number "
            f"{number} is of shape {pixels.shape}."
        )
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype.kind not in "iuf" and "float" not in pixels.dtype.name:
        raise InputError(f"Pixels are numbers, and those of image {number} are {pixels.dtype}.")
    values = pixels.astype("float32")
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 255):  # nor where they are no numbers
        raise InputError(
            f"Pixels are in [0, 255], and those of image {number} run from {low:g} to {high:g}."
        )
    if pixels.dtype.kind != "i" and 0 < high <= 1:
        raise InputError(
            f"Pixels are in [0, 255], and those of image {number} in [0, 1]: multiply them by 255."
        )
    return np.rint(values).astype("uint8")
