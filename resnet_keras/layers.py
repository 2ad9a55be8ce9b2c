"""`networks.layers` by its short name."""

from .networks.layers import (
    BatchNormalization,
    Dropout,
    PixelNormalization,
    StochasticDepth,
    Subsampling,
    ZeroPaddedShortcut,
)

__all__ = [
    "BatchNormalization",
    "Dropout",
    "PixelNormalization",
    "StochasticDepth",
    "Subsampling",
    "ZeroPaddedShortcut",
]
