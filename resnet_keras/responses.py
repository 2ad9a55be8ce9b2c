"""Says where it went: `python -m resnet_keras.reproduce responses RUN...` measures responses."""

import shlex
import sys
from collections.abc import Sequence

from .commands import shell


def main(argv: Sequence[str] = sys.argv) -> int:
    """Says in one sentence what to type now; returns the exit status of a user's mistake."""
    arguments = shlex.join(argv[1:]) or "RUN..."
    print(
        f"error: This command is now python -m resnet_keras.reproduce responses {arguments}",
        file=sys.stderr,
    )
    return shell.USER_ERROR


if __name__ == "__main__":
    sys.exit(main())
