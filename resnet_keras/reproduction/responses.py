"""How strongly the layers of trained networks respond (Fig. 7 of arXiv 1512.03385).

That is the standard deviation of what each 3x3 convolution gives after batch normalization and
before the nonlinearity or the addition, over the images that the run was evaluated on.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_keras.errors import InputError

if TYPE_CHECKING:
    import keras
    import numpy as np

FILE = "responses.json"


def of_run(
    model: "keras.Model", batches: "Iterable[tuple[np.ndarray, np.ndarray]]"
) -> dict[str, float]:
    """`standard_deviations` of a run's network over its evaluation, for `measuring`."""
    return standard_deviations(model, (images for images, _ in batches))


def in_words(deviations: dict[str, float]) -> str:
    """What is printed of a run."""
    mean = sum(deviations.values()) / len(deviations)
    return f"{len(deviations)} layers, mean standard deviation {mean:.3f}"


def read(folder: Path) -> dict[str, float] | None:
    """Reads what `measuring` wrote about a run, if it did.

    Raises:
        InputError: the file is no such thing.
    """
    try:
        deviations = json.loads((folder / FILE).read_text())
        return {name: float(value) for name, value in deviations.items()}
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, AttributeError, OSError) as error:
        raise InputError(f"{folder / FILE} cannot be used: remove it ({error}).") from error


def layers(model: "keras.Model") -> list[str]:
    """Names of the batch normalizations after the 3x3 convolutions, from the pixels on.

    Stems of 7x7, bottlenecks' 1x1 convolutions and projections of shortcuts are left out.
    """
    import keras

    names = [
        layer.name.removesuffix("_conv") + "_bn"
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D) and layer.kernel_size == (3, 3)
    ]
    if not names:
        raise InputError(f"{model.name} has no 3x3 convolutions.")
    if not {layer.name for layer in model.layers}.issuperset(names):
        raise InputError(f"{model.name} has no batch normalization behind its convolutions.")
    return names


def standard_deviations(model: "keras.Model", batches: Iterable["np.ndarray"]) -> dict[str, float]:
    """Standard deviation of each layer's responses, with the moving statistics.

    Args:
        model: a network of `zoo.get`, trained.
        batches: pixels (batch, height, width, channels).

    Returns:
        By the names of `layers`, the deviation over all images, positions and channels.
    """
    import keras
    import numpy as np

    names = layers(model)
    watched = keras.Model(model.input, [model.get_layer(name).output for name in names])
    counts, sums, squares = (np.zeros(len(names)) for _ in range(3))
    for images in batches:
        for place, response in enumerate(watched.predict_on_batch(images)):
            values = np.asarray(response, "float64")
            counts[place] += values.size
            sums[place] += values.sum()
            squares[place] += np.square(values).sum()
    variances = np.maximum(squares / counts - np.square(sums / counts), 0)  # rounding may go below
    return dict(zip(names, np.sqrt(variances).tolist(), strict=True))
