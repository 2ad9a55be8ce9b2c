"""`networks.layers` by its short name."""

from .networks.layers import (
    BatchNormalization,
    Dropout,
    FrozenBatchNormalization,
    Maxout,
    PixelNormalization,
    StochasticDepth,
    Subsampling,
    ZeroPaddedShortcut,
)

__all__ = [
    "BatchNormalization",
    "Dropout",
    "FrozenBatchNormalization",
    "Maxout",
    "PixelNormalization",
    "StochasticDepth",
    "Subsampling",
    "ZeroPaddedShortcut",
]
