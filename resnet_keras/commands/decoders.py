"""Keeps what image decoders say by themselves from between a command's own lines; so oneDNN.

libjpeg writes a line to stderr for each broken image that it meets, without the image's name; the
commands name such images.
"""

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator

# How the lines of libjpeg (jerror.h) begin, and where TensorFlow's logs of its decoders come from.
_BEGINNINGS = (
    "Application transferred too",
    "Arithmetic table 0x",
    "Bogus ",
    "Component index ",
    "Corrupt JPEG data",
    "Empty JPEG image",
    "Empty input file",
    "Huffman table 0x",
    "Improper call to JPEG library",
    "Input file read error",
    "Inconsistent progression sequence",
    "Invalid JPEG file structure",
    "Invalid SOS parameters",
    "Invalid component ID",
    "Invalid crop request",
    "Invalid progressive parameters",
    "Maximum supported image dimension",
    "Not a JPEG file",
    "Premature end of",
    "Quantization table 0x",
    "Too many color components",
    "Unknown Adobe color transform",
    "Unsupported JPEG",
    "Unsupported color conversion",
    "Unsupported marker type",
    "Warning: unknown JFIF",
)
_PLACES = ("core/lib/jpeg/", "core/lib/png/", "core/lib/webp/")
# Said once on processors without AVX-512, as an error, of operations that have another kernel.
_HARMLESS = ("oneDNN supports DT_INT64 only on platforms with AVX-512. Falling back",)
_FILTER = f"""
import sys
begin = {[text.encode() for text in _BEGINNINGS]}
inside = {[text.encode() for text in (*_PLACES, *_HARMLESS)]}
warned = set()
for line in sys.stdin.buffer:
    if line in warned:
        continue
    if line.startswith(b"warning: "):
        warned.add(line)
    if not line.startswith(tuple(begin)) and not any(text in line for text in inside):
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
"""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Leaves out the lines that image decoders write to stderr; all others pass.

    Of equal warnings from TensorFlow's graphs the first passes: a run that begins to read its data
    anew, after it has tried them, would tell of the same image again.

    A process of its own looks at the lines, so that what a crash says last is not lost. What Python
    writes to `sys.stderr` goes past it.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _FILTER],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=kept,
        start_new_session=True,  # out of an interrupt's way, which the command may live through
    )
    assert process.stdin is not None
    os.dup2(process.stdin.fileno(), 2)
    process.stdin.close()
    own = sys.stderr
    if _descriptor(own) == 2:
        sys.stderr = open(kept, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    try:
        yield
    finally:
        sys.stderr.flush()
        sys.stderr = own
        os.dup2(kept, 2)
        with contextlib.suppress(subprocess.TimeoutExpired):  # a child may still write to it
            process.wait(timeout=5)
        os.close(kept)


def _descriptor(stream):
    try:
        return stream.fileno()
    except (AttributeError, io.UnsupportedOperation, ValueError):
        return None
