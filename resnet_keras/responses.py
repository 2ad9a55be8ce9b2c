"""How strongly the layers of a network respond (Sec. 4.2, Fig. 7 of arXiv 1512.03385)."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras
    import numpy as np


def layers(model: "keras.Model") -> list[str]:
    """Names of the batch normalizations after the 3x3 convolutions, from the pixels on.

    Their outputs, before the nonlinearity or the addition, are the responses of Fig. 7; stems of
    7x7, bottlenecks' 1x1 convolutions and projections of shortcuts are none.
    """
    import keras

    return [
        layer.name.removesuffix("_conv") + "_bn"
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D) and layer.kernel_size == (3, 3)
    ]


def standard_deviations(model: "keras.Model", batches: Iterable["np.ndarray"]) -> dict[str, float]:
    """Standard deviation of each layer's responses, with the moving statistics.

    Args:
        model: a network of `zoo.get`, trained.
        batches: pixels (batch, height, width, channels), several times gone through never.

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
    variances = squares / counts - np.square(sums / counts)
    return dict(zip(names, np.sqrt(variances).tolist(), strict=True))
