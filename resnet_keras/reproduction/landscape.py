"""The loss around a trained network's weights, on a plane through them (Li et al. 2018).

Li, Xu, Taylor, Studer and Goldstein, *Visualizing the Loss Landscape of Neural Nets*, arXiv
1712.09913, Sec. 4: two random directions of the weights, each filter of which is scaled to the norm
of the network's own filter, so that networks can be compared. Biases and batch normalization stay
as they are. The loss is that of training images, without augmentation, as a network predicts.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_keras.errors import InputError
from resnet_keras.files import write_atomically

if TYPE_CHECKING:
    import keras
    import numpy as np

FILE, PART = "landscape.json", "landscape.part.json"
SPLIT = "train_split"  # the flag of a run that says of which images
IMAGES = 480
POINTS, REACH = 25, 1.0  # along each side of the plane, from -REACH to REACH
SEED = 0  # of the directions, which networks of one depth and kind share


def of_run(
    model: "keras.Model",
    batches: "Iterable[tuple[np.ndarray, np.ndarray]]",
    *,
    folder: Path | None = None,
) -> dict[str, Any]:
    """Computes the loss at `POINTS` x `POINTS` points around a network's weights.

    Args:
        model: of `zoo.get`, trained; it has its weights again afterwards.
        batches: (pixels, labels) of training images, of which the first `IMAGES` are seen.
        folder: that keeps the rows that are there, so that a stopped measurement goes on.

    Returns:
        "images"; "distances" along both directions, in norms of the filters; "loss", the mean cross
        entropy of each point, a row for each distance along the first direction.

    Raises:
        InputError: what was kept cannot be used.
    """
    import numpy as np

    pixels, labels = _first(batches)
    kernels = [v for v in model.trainable_variables if v.path.endswith("/kernel")]
    centre = [np.array(v) for v in kernels]
    draws = np.random.default_rng(SEED)
    first, second = ([_direction(w, draws) for w in centre] for _ in range(2))
    distances = np.linspace(-REACH, REACH, POINTS).tolist()
    identity = _identity(model, pixels)
    rows = _kept(folder, identity)
    try:
        for distance in distances[len(rows) :]:
            row = []
            for other in distances:
                for v, w, d, e in zip(kernels, centre, first, second, strict=True):
                    v.assign(w + distance * d + other * e)
                row.append(_loss(model, pixels, labels))
            rows.append(row)
            if folder is not None:
                text = json.dumps({"identity": identity, "rows": rows})
                write_atomically(folder / PART, text)
    finally:
        for v, w in zip(kernels, centre, strict=True):
            v.assign(w)
    if folder is not None:
        (folder / PART).unlink(missing_ok=True)
    return {"images": len(labels), "distances": distances, "loss": rows}


def _first(batches):
    import numpy as np

    pixels, labels, count = [], [], 0
    for images, classes in batches:
        pixels.append(images)
        labels.append(classes)
        count += len(classes)
        if count >= IMAGES:
            break
    return np.concatenate(pixels)[:IMAGES], np.concatenate(labels)[:IMAGES]


def _direction(kernel, draws):
    """A random direction, each filter of it as long as the kernel's own."""
    import numpy as np

    axes = tuple(range(kernel.ndim - 1))  # the last one counts filters
    direction = draws.normal(size=kernel.shape)
    lengths = np.sqrt((direction**2).sum(axes))
    return (direction * np.sqrt((kernel**2).sum(axes)) / lengths).astype(kernel.dtype)


def _loss(model, pixels, labels):
    """The mean cross entropy; that of float32's largest number where it overflows."""
    import numpy as np

    logits = np.asarray(model.predict_on_batch(pixels), "float64")
    largest = logits.max(-1, keepdims=True)
    sums = np.log(np.exp(logits - largest).sum(-1)) + largest[:, 0]
    mean = float(np.mean(sums - logits[np.arange(len(labels)), labels]))
    return mean if math.isfinite(mean) else float(np.finfo("float32").max)


def _identity(model, pixels):
    """Of what was measured: other weights or images are begun anew."""
    import numpy as np

    digest = hashlib.sha256(np.ascontiguousarray(pixels).tobytes())
    for v in model.weights:
        digest.update(np.array(v).tobytes())
    return f"{digest.hexdigest()[:16]}, {POINTS} points to {REACH}, seed {SEED}"


def _kept(folder, identity) -> list[list[float]]:
    """The rows of a measurement that was stopped."""
    if folder is None:
        return []
    try:
        kept = json.loads((folder / PART).read_text())
        rows = kept["rows"] if kept["identity"] == identity else []
        return [list(map(float, row)) for row in rows]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise InputError(f"{folder / PART} cannot be used: remove it ({error}).") from error


def in_words(result: dict[str, Any]) -> str:
    """What is printed of a run."""
    centre, ring = at_centre(result), at_distance(result, REACH)
    return f"training loss {centre:.3g}, at a distance of {REACH:g} {ring:.3g} (geometric mean)"


def at_centre(result: dict[str, Any]) -> float:
    """The loss of the network itself."""
    middle = len(result["distances"]) // 2
    return result["loss"][middle][middle]


def at_distance(result: dict[str, Any], distance: float) -> float:
    """The geometric mean of the loss on the circle of a radius, at the points next to it."""
    distances = result["distances"]
    width = (distances[1] - distances[0]) / 2
    logs = [
        math.log(max(loss, 1e-12))
        for a, row in zip(distances, result["loss"], strict=True)
        for b, loss in zip(distances, row, strict=True)
        if abs(math.hypot(a, b) - distance) <= width
    ]
    return math.exp(sum(logs) / len(logs))


def minima(result: dict[str, Any]) -> int:
    """How many points have a lower loss than the eight around them: 1 where it is one bowl."""
    rows: Sequence[Sequence[float]] = result["loss"]
    inside = range(1, len(rows) - 1)
    around = [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1) if a or b]
    return sum(
        all(rows[i][j] < rows[i + a][j + b] for a, b in around) for i in inside for j in inside
    )


def read(folder: Path) -> dict[str, Any] | None:
    """Reads what `measuring` wrote about a run, if it did.

    Raises:
        InputError: the file is no such thing.
    """
    try:
        result = json.loads((folder / FILE).read_text())
        sides = {len(result["loss"]), len(result["distances"]), *map(len, result["loss"])}
        if len(sides) != 1 or not at_distance(result, REACH) > 0:
            raise ValueError("numbers are missing")
        return result
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise InputError(f"{folder / FILE} cannot be used: remove it ({error}).") from error
