"""What option `maxout` of the networks may be; imports no Keras."""

import numbers
from typing import Any

from resnet_keras.errors import InputError


def check(pieces: Any, *, pooled: bool = True) -> None:
    """Raises `InputError` for a `maxout` that no network has, or that stands behind no features.

    Args:
        pieces: linear maps of which the maximum is taken; None for no such layer.
        pooled: whether there is a head of pooled features.
    """
    if pieces is None:
        return
    whole = isinstance(pieces, numbers.Integral) and not isinstance(pieces, bool)
    if not whole or pieces < 2:
        raise InputError(
            "maxout is the number of linear maps of which a maximum is taken, a whole number of 2 "
            f"or more; it cannot be {pieces!r}."
        )
    if not pooled:
        raise InputError(
            f"maxout stands between pooled features and logits, and this network has no such head: "
            f"leave maxout={pieces!r} out."
        )
