"""Trains any compiled Keras model so that it can be killed and goes on to the same bits.

    from resnet_keras import training
    training.fit(model, train, test, workdir="runs/mine", steps=1000, eval_every=100)

Importing this package imports neither TensorFlow nor Keras.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .fitting import Result as Result
    from .fitting import fit as fit
    from .signals import Preempted as Preempted
    from .streams import check_stream as check_stream

_PLACES = {
    "Preempted": "signals",
    "Result": "fitting",
    "check_stream": "streams",
    "fit": "fitting",
}


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PLACES])
