"""`training.optimizers` and `training.schedules` by their short name."""

from .training.optimizers import SGD
from .training.schedules import (
    CosineDecay,
    DivideOnPlateau,
    PolynomialDecay,
    StepDecay,
    WarmUpUntilBelow,
)

__all__ = [
    "SGD",
    "CosineDecay",
    "DivideOnPlateau",
    "PolynomialDecay",
    "StepDecay",
    "WarmUpUntilBelow",
]
