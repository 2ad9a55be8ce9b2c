"""Reads IDX, the format of MNIST's files (LeCun, Cortes and Burges, http://yann.lecun.com/exdb/mnist).

A file is two zero bytes, the type, the number of dimensions, the sizes (big-endian), the values; or
all that through gzip. Imports no TensorFlow.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from resnet_keras.errors import InputError

UINT8 = 0x08  # the only type that MNIST and its kin have
_GZIP = b"\x1f\x8b"


def read(path: Path) -> np.ndarray:
    """Reads an IDX file of bytes, gzipped or not.

    Returns:
        uint8, of the shape that the file tells.

    Raises:
        InputError: it cannot be read, is no IDX file of bytes, or is cut short.
    """
    try:
        content = path.read_bytes()
        if content.startswith(_GZIP):
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read: {error}.") from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != UINT8 or not content[3]:
        raise InputError(f"{path} is no IDX file of bytes, such as MNIST's.")
    dimensions = content[3]
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise InputError(f"{path} ends within its header.")
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    if len(content) - start != math.prod(shape):
        raise InputError(
            f"{path} has {len(content) - start} bytes after its header, which tells of "
            f"{' x '.join(map(str, shape))}: it is not whole."
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
