"""Times the training input pipeline against its limit and its peers, on one thread.

All read the same JPEG files, made here to be like ImageNet's: 500x375 pixels and about 119 kB.
All make 224x224 views of them: the shorter side is rescaled to a length from 256 to 480, a random
crop is cut and half of them are mirrored, brightness, contrast and saturation change by factors
from 0.6 to 1.4, and noise of deviation 0.1 is added along the principal components of ImageNet's
colours. `resnet_keras` and `opencv` hand over uint8, for the network normalizes; `tf.data` and
`pillow` float32, normalized, as is usual with them. `decode` is the limit of a pipeline that
decodes with TensorFlow: it does nothing but read the files and decode such windows.
"""

import functools
import gc
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from resnet_keras import errors, tuning
from resnet_keras.facts import IMAGENET_MEAN, IMAGENET_STD
from resnet_keras.pipelines import View, augment, encoded, folder, stream

from .rounds import medians, ratio, take_turns

WIDTH, HEIGHT = 500, 375
VIEW = View(colour_jitter=0.4)
OURS = "resnet_keras"
EXTRA = "benchmark"
STATM = Path("/proc/self/statm")

_LOW, _HIGH = VIEW.shorter_sides
_FACTORS = (1 - VIEW.colour_jitter, 1 + VIEW.colour_jitter)
_MEAN = np.array(IMAGENET_MEAN, np.float32)
_STD = np.array(IMAGENET_STD, np.float32)
# Maps standard normal draws to an offset of a pixel's RGB, in units of 0 to 255.
_PCA = np.float32(255 * VIEW.pca_noise) * np.array(
    np.array(augment.PCA_EIGENVECTORS) * augment.PCA_EIGENVALUES, np.float32
)
_WARM_UP, _SAMPLED_EVERY = 2000, 500  # images, when memory is measured
_WINDOWS = 4096  # different ones of the bare decoder


class Rate(NamedTuple):
    """Images per second of wall time and of the process's CPU time."""

    wall: float
    cpu: float


def compare(
    *,
    files: int,
    images: int,
    rounds: int,
    batch_size: int,
    peers: Sequence[str],
    memory_images: int = 0,
) -> dict[str, Any]:
    """Times our pipeline and its peers in turns, after an uncounted round.

    TensorFlow's threads are limited to one where it has not started work yet.

    Args:
        files: how many JPEGs are made.
        images: in a round of each, rounded up to whole batches.
        rounds: of each.
        batch_size: images in a batch.
        peers: whom to compare with, of `PEERS`.
        memory_images: over how many images our memory is watched; 0 leaves that out.

    Returns:
        A dict with the settings; under "rates" the medians of images per second of wall and CPU
        time for each contestant, ours first; under "ratio" ours over each peer's, the median of
        the rounds' ratios; and under "memory" what `watch_memory` returns.

    Raises:
        InputError: an unknown peer, or one whose package is not installed.
    """
    for peer in peers:
        if peer not in PEERS:
            raise errors.unknown("peer", peer, PEERS)
    makers = {OURS: ours, **{peer: PEERS[peer].make for peer in peers}}
    one_thread = limit_threads()
    batches = -(-images // batch_size)
    with tempfile.TemporaryDirectory() as directory:
        paths = make_files(directory, files)
        kilobytes = statistics.mean(os.path.getsize(path) for path in paths) / 1000
        pipelines = {name: make(paths, batch_size) for name, make in makers.items()}
        memory = None
        if memory_images:
            memory = watch_memory(pipelines[OURS], memory_images, batch_size)
        contest = {
            name: functools.partial(round_of, pipeline, batches, batch_size)
            for name, pipeline in pipelines.items()
        }
        take_turns(contest, 1)  # uncounted: compiles, fills buffers and caches
        rates = take_turns(contest, rounds)
    return {
        "task": "input",
        "tensorflow": tf.__version__,
        "cpu": tuning.processor()["name"],
        "cpus": os.cpu_count(),
        "one_thread": one_thread,
        "files": files,
        "size": [WIDTH, HEIGHT],
        "mean_kB": kilobytes,
        "batch_size": batch_size,
        "rounds": rounds,
        "images": batches * batch_size,
        "rates": {name: medians(rates[name]) for name in makers},
        "ratio": {peer: ratio(rates[OURS], rates[peer]) for peer in peers},
        "memory_images": memory_images,
        "memory": memory,
    }


def lines_of_rates(
    result: dict[str, Any], labels: Mapping[str, str], decimals: int = 0
) -> list[str]:
    """The rates of a result, each peer's beside how many times as fast this package is."""
    lines = [
        f"  {'':<34}{'images/s':>20}{'resnet_keras is':>20}",
        f"  {'':<34}{'wall':>10}{'CPU':>10}{'wall':>10}{'CPU':>10}",
    ]
    for name, rate in result["rates"].items():
        line = f"  {labels.get(name, name):<34}"
        line += "".join(f"{rate[clock]:>10.{decimals}f}" for clock in ("wall", "cpu"))
        if name != OURS:
            times = result["ratio"][name]
            line += f"{times['wall']:>9.2f}x{times['cpu']:>9.2f}x"
        lines.append(line)
    return lines


def report(result: dict[str, Any]) -> str:
    """The result as a table for people."""
    threads = "one thread" if result["one_thread"] else "threads NOT limited to one"
    lines = [
        f"input, {result['files']} JPEGs of {WIDTH}x{HEIGHT} and {result['mean_kB']:.1f} kB on "
        f"average, batch {result['batch_size']}, {threads}, {result['cpu']} ({result['cpus']} "
        f"CPUs), TensorFlow {result['tensorflow']}, median of {result['rounds']} rounds of "
        f"{result['images']} images",
        *lines_of_rates(result, {name: peer.label for name, peer in PEERS.items()}),
    ]
    if result["memory_images"]:
        lines.append(f"  resident memory: {_memory_sentence(result['memory'])}")
    return "\n".join(lines)


def limit_threads() -> bool:
    """Limits TensorFlow to one thread for all operations; says whether that was still possible."""
    try:
        tf.config.threading.set_inter_op_parallelism_threads(1)
        tf.config.threading.set_intra_op_parallelism_threads(1)
    except RuntimeError:  # TensorFlow has run something, and has its threads
        return False
    return True


def make_files(
    directory: str | os.PathLike, count: int, width: int = WIDTH, height: int = HEIGHT
) -> list[str]:
    """Writes `count` JPEGs of `picture`, always the same, and returns their paths.

    JPEG quality 95 and colour planes of half the size; 119 kB on average over 64 of 500x375.
    """
    generator = np.random.default_rng(0)
    paths = []
    for number in range(count):
        pixels = picture(generator, width, height)
        jpeg = tf.io.encode_jpeg(pixels, quality=95, chroma_downsampling=True)
        path = Path(directory, f"{number:05}.jpg")
        path.write_bytes(jpeg.numpy())
        paths.append(str(path))
    return paths


def picture(generator: np.random.Generator, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Draws a picture with the statistics of a photograph, uint8 (height, width, 3).

    It is a "dead leaves" picture, 120 shaded discs that cover each other, whose radii follow a
    power law (Lee, Mumford and Huang 2001); a texture in brightness whose amplitude is 1/frequency,
    a weak one in colour, and faint grain complete it.
    """
    image = _dead_leaves(generator, 120, width, height)
    image += 18 * _texture(generator, 1.0, width, height)[..., None]
    image += 6 * np.stack([_texture(generator, 1.2, width, height) for _ in range(3)], axis=-1)
    image += generator.normal(0, 2.5, (height, width, 1))
    return np.clip(np.round(image), 0, 255).astype(np.uint8)


def _dead_leaves(generator, discs, width, height):
    image = np.tile(generator.uniform(40, 215, 3), (height, width, 1))
    for _ in range(discs):
        radius = min(8 / generator.uniform(0.05, 1), 160) * (width / WIDTH)
        y, x = generator.uniform(0, height), generator.uniform(0, width)
        colour, shading = generator.uniform(20, 235, 3), generator.uniform(-25, 25, 3)
        rows, columns = _span(y, radius, height), _span(x, radius, width)
        down, right = np.mgrid[rows, columns] - np.array([y, x])[:, None, None]
        inside = down**2 + right**2 < radius**2
        image[rows, columns][inside] = colour + down[inside][:, None] / radius * shading
    return image


def _span(centre, radius, limit):
    return slice(max(int(centre - radius), 0), min(int(centre + radius) + 1, limit))


def _texture(generator, power, width, height):
    """Noise of mean 0 and deviation 1, (height, width), its amplitude 1 / frequency ** power."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = np.inf  # no mean
    spectrum = np.fft.rfft2(generator.normal(size=(height, width))) / frequency**power
    texture = np.fft.irfft2(spectrum, (height, width))
    return texture / texture.std()


def ours(paths: list[str], batch_size: int) -> Iterator[tf.Tensor]:
    """This package's pipeline: uint8 (batch, 224, 224, 3)."""
    source = folder.from_files(paths, [0] * len(paths), ("picture",))
    batches = encoded.training(source, stream.Chunks(batch_size), seed=0, view=VIEW)
    return iter(on_one_thread(batches.map(lambda images, labels: images)))


def bare_decode(paths: list[str], batch_size: int) -> Iterator[tf.Tensor]:
    """Reads and decodes windows as ours, and nothing else: int32 (batch,), their sizes."""
    shape = tf.constant([HEIGHT, WIDTH])
    # Drawn beforehand: they are no part of the limit.
    drawn, _ = encoded.draw_windows(tf.zeros([2], tf.int64), _WINDOWS, VIEW)
    rows = tf.data.Dataset.from_tensor_slices(drawn)
    windows = rows.map(lambda row: encoded.window_of(shape, row, VIEW))
    windows = windows.batch(_WINDOWS).get_single_element()

    def load(path, window):
        image = tf.io.decode_and_crop_jpeg(
            tf.io.read_file(path), window, channels=3, dct_method="INTEGER_ACCURATE"
        )
        return tf.size(image)

    examples = tf.data.Dataset.zip(
        tf.data.Dataset.from_tensor_slices(paths).repeat(),
        tf.data.Dataset.from_tensor_slices(windows).repeat(),
    )
    return iter(on_one_thread(examples.map(load).batch(batch_size)))


def straightforward(paths: list[str], batch_size: int) -> Iterator[tf.Tensor]:
    """What one writes first with tf.data and tf.image: float32 (batch, 224, 224, 3), normalized."""

    def load(path):
        image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        shorter = tf.random.uniform([], _LOW, _HIGH + 1, tf.int32)
        sides = tf.shape(image)[:2] * shorter // tf.reduce_min(tf.shape(image)[:2])
        image = tf.image.resize(image, sides)
        image = tf.image.random_crop(image, [VIEW.image_size, VIEW.image_size, 3])
        image = tf.image.random_flip_left_right(image)
        image = image * tf.random.uniform([], *_FACTORS)
        image = tf.image.random_contrast(image, *_FACTORS)
        image = tf.image.random_saturation(image, *_FACTORS)
        image = image + tf.linalg.matvec(_PCA, tf.random.normal([3]))
        return (tf.clip_by_value(image, 0.0, 255.0) - _MEAN) / _STD

    images = tf.data.Dataset.from_tensor_slices(paths).shuffle(len(paths)).repeat()
    images = images.map(load, num_parallel_calls=os.cpu_count())
    return iter(on_one_thread(images.batch(batch_size)))


def on_one_thread(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The data set, with a pool of one thread."""
    options = tf.data.Options()
    options.autotune.enabled = False
    options.threading.private_threadpool_size = 1
    options.threading.max_intra_op_parallelism = 1
    return dataset.with_options(options)


def pillow(paths: list[str], batch_size: int) -> Iterator[np.ndarray]:
    """Pillow, in torchvision's order: float32 (batch, 224, 224, 3), normalized."""
    image_module = errors.require("PIL.Image", EXTRA)
    enhance = errors.require("PIL.ImageEnhance", EXTRA)
    jitters = (enhance.Brightness, enhance.Contrast, enhance.Color)
    generator = np.random.default_rng(0)
    size = VIEW.image_size

    def load(path):
        image = image_module.open(path).convert("RGB")
        shorter = _shorter_side(generator)
        width, height = (side * shorter // min(image.size) for side in image.size)
        image = image.resize((width, height), image_module.Resampling.BILINEAR)
        left, top = generator.integers(width - size + 1), generator.integers(height - size + 1)
        image = image.crop((left, top, left + size, top + size))
        if generator.random() < 0.5:
            image = image.transpose(image_module.Transpose.FLIP_LEFT_RIGHT)
        for kind in generator.permutation(3):
            image = jitters[kind](image).enhance(generator.uniform(*_FACTORS))
        pixels = np.asarray(image, np.float32) / np.float32(255)  # as ToTensor
        pixels += _noise(generator) / 255
        return (pixels - _MEAN / 255) / (_STD / 255)

    return _batches(load, paths, generator, batch_size)


def opencv(paths: list[str], batch_size: int) -> Iterator[np.ndarray]:
    """OpenCV and NumPy: uint8 (batch, 224, 224, 3).

    The whole image is decoded, for OpenCV cannot decode a window; then the window is cut out and
    only that is resized, and its colours are changed in float32, one operation after the other.
    """
    cv2 = errors.require("cv2", EXTRA)
    cv2.setNumThreads(1)
    generator = np.random.default_rng(0)
    size = VIEW.image_size

    def grey(pixels):
        return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)

    def brightness(pixels, factor):
        return pixels * factor

    def contrast(pixels, factor):
        return pixels * factor + (1 - factor) * cv2.mean(grey(pixels))[0]

    def saturation(pixels, factor):
        greys = cv2.cvtColor(grey(pixels), cv2.COLOR_GRAY2RGB)
        return cv2.addWeighted(pixels, factor, greys, 1 - factor, 0)

    def load(path):
        image = cv2.imread(path)
        height, width = image.shape[:2]
        side = round(size * min(height, width) / _shorter_side(generator))
        top, left = generator.integers(height - side + 1), generator.integers(width - side + 1)
        window = image[top : top + side, left : left + side]
        window = cv2.cvtColor(cv2.resize(window, (size, size)), cv2.COLOR_BGR2RGB)  # bilinear
        if generator.random() < 0.5:
            window = cv2.flip(window, 1)
        pixels = window.astype(np.float32)
        for kind in generator.permutation(3):
            change = (brightness, contrast, saturation)[kind]
            pixels = change(pixels, np.float32(generator.uniform(*_FACTORS)))
        pixels += _noise(generator)
        return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)

    return _batches(load, paths, generator, batch_size)


def _shorter_side(generator):
    return int(generator.integers(_LOW, _HIGH + 1))


def _noise(generator):
    return _PCA @ generator.standard_normal(3, np.float32)


def _batches(load, paths, generator, batch_size):
    order = (path for _ in iter(int, 1) for path in generator.permutation(paths))
    while True:
        yield np.stack([load(str(next(order))) for _ in range(batch_size)])


class Peer(NamedTuple):
    """What the table calls a contestant, and what makes its endless batches."""

    label: str
    make: Callable[[list[str], int], Iterator[Any]]


PEERS = {
    "decode": Peer("bare window decode (the limit)", bare_decode),
    "tf.data": Peer("straightforward tf.data", straightforward),
    "pillow": Peer("Pillow, torchvision's order", pillow),
    "opencv": Peer("OpenCV", opencv),
}


def watch_memory(batches: Iterator[Any], images: int, batch_size: int) -> dict[str, float] | None:
    """Runs a pipeline and watches the process's resident memory.

    Args:
        batches: endless.
        images: how many are made, in whole batches, after a warm-up of 2,000 (or a tenth).
        batch_size: images in a batch.

    Returns:
        The number of images, and MiB at the start, at the end and the largest between, about every
        500 images; None on systems that do not tell.
    """
    if not STATM.exists():
        return None
    for _ in range(min(_WARM_UP, images // 10) // batch_size):
        next(batches)
    count, between = -(-images // batch_size), max(1, _SAMPLED_EVERY // batch_size)
    samples = [_resident_mib()]
    for number in range(1, count + 1):
        next(batches)
        if number % between == 0 or number == count:
            samples.append(_resident_mib())
    return {
        "images": count * batch_size,
        "start": samples[0],
        "end": samples[-1],
        "largest": max(samples),
    }


def _resident_mib():
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def _memory_sentence(memory):
    if memory is None:
        return "not measured, for this system has no /proc/self/statm"
    return (
        f"{memory['start']:.0f} MiB, after {memory['images']} more images {memory['end']:.0f} MiB, "
        f"at most {memory['largest']:.0f} MiB"
    )


def round_of(pipeline: Iterator[Any], batches: int, batch_size: int) -> Rate:
    """Times so many batches, from one moment with full buffers and idle threads to the next.

    A pipeline of tf.data works ahead as far as its buffers reach: at the end of a round it fills
    again what the beginning took from them, and that belongs to the round.
    """
    gc.collect()
    _idle_since()
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(batches):
        next(pipeline)
    end_wall, end_cpu = _idle_since()
    images = batches * batch_size
    return Rate(images / (end_wall - wall), images / (end_cpu - cpu))


def _idle_since(wait: float = 0.05, tick: float = 0.002) -> tuple[float, float]:
    """Waits until the process has done nothing for a while; returns when that began.

    Returns:
        That moment's wall clock and the process's CPU time, in seconds.
    """
    last = seen = time.perf_counter(), time.process_time()
    while last[0] - seen[0] < wait:
        time.sleep(tick)
        now = time.perf_counter(), time.process_time()
        if now[1] - last[1] > 0.3 * (now[0] - last[0]):  # looking at the clocks takes some, too
            seen = now
        last = now
    return seen
