"""What image decoders say is left out of a command's stderr."""

import os
import sys

import pytest

from resnet_keras.commands import decoders


def test_lines_of_decoders_and_repeated_warnings_are_left_out(capfd):
    with decoders.quiet():
        for line in (
            "Corrupt JPEG data: premature end of data segment",
            "warning: cannot decode a.jpg",
            "2026-01-01: E tensorflow/core/lib/jpeg/jpeg_mem.cc:323] Premature end",
            "E0000 00:00:1 7 util.cc:1] oneDNN supports DT_INT64 only on platforms with AVX-512. "
            "Falling back to the default Eigen-based implementation if present.",
            "warning: cannot decode a.jpg",
            "E0000 00:00:1 7 util.cc:1] oneDNN has another error",
            "F a fatal error\nF a fatal error",
        ):
            os.write(2, f"{line}\n".encode())
        print("of Python", file=sys.stderr)
    print("afterwards", file=sys.stderr)
    said = capfd.readouterr().err.splitlines()
    assert sorted(said[:-1]) == [
        "E0000 00:00:1 7 util.cc:1] oneDNN has another error",
        *("F a fatal error", "F a fatal error", "of Python", "warning: cannot decode a.jpg"),
    ]
    assert said[-1] == "afterwards"


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
