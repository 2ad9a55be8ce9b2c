"""What the commands that predict have in common: a model looks at image files, one by one."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from resnet_keras import zoo
from resnet_keras.errors import InputError

Answer = TypeVar("Answer")


def answered(
    paths: Sequence[str],
    look: Callable[[str], Answer],
    *,
    as_json: bool,
) -> Iterator[tuple[str, Answer]]:
    """Each path with what `look` says of it.

    Files that cannot be decoded are named at the end, and with `as_json` in a line of their own,
    too. Another error ends the command at once, and names the file and those.

    Args:
        paths: of image files.
        look: takes a path.
        as_json: whether the command prints JSON.

    Raises:
        InputError: at the end, if there were such files; of another error, at once.
    """
    from resnet_keras.pipelines import decode  # TensorFlow, which is there by now

    broken = []
    for path in paths:
        try:
            answer = look(path)
        except decode.Undecodable as error:
            broken.append(path)
            if as_json:
                print(json.dumps({"image": path, "error": str(error)}), flush=True)
            continue
        except InputError as error:
            others = f" {zoo.prediction.undecodable(broken, len(paths))}" if broken else ""
            raise InputError(f"{path}: {error}{others}") from error
        yield path, answer
    if broken:
        raise InputError(zoo.prediction.undecodable(broken, len(paths)))
