"""How batches of encoded images are shared out among hosts; imports no TensorFlow."""

from resnet_keras.errors import InputError

CHUNK = 16  # positions that are decoded, and whose draws are made, together


def check_shares(batch_size: int, shares: int, parts: int = 1, name: str | None = None) -> None:
    """Raises `InputError` where the shares of a batch are not whole chunks.

    Args:
        batch_size: images in a batch.
        shares: equal ones, of which each host takes one.
        parts: in which each batch is delivered; each of them is shared out.
        name: what the caller calls `batch_size`, for the message.
    """
    multiple = shares * CHUNK * parts
    if batch_size % multiple:
        larger = -(-batch_size // multiple) * multiple
        batch, such = (f"{name}={batch_size}", f"{name}={larger}") if name else (batch_size, larger)
        raise InputError(
            f"A batch of {batch} cannot be shared out: make it a multiple of {multiple}, such as "
            f"{such}, {CHUNK} for each share."
        )
