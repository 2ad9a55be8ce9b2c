"""Times a network, or the input pipeline, against named peers, side by side in one run.

    python -m resnet_keras.benchmark train --model=resnet50 --batch_size=32 --dtype=mixed_bfloat16
    python -m resnet_keras.benchmark train --model=resnet1202 --image_size=32 --peer=none --remat
    python -m resnet_keras.benchmark predict --peer=keras.applications,onnxruntime,openvino,litert
    python -m resnet_keras.benchmark predict --model=resnet20 --image_size=16 --peer=resnet20_int8
    python -m resnet_keras.benchmark files --engines=keras,openvino --jpegs=200
    python -m resnet_keras.benchmark load --model=resnet50
    python -m resnet_keras.benchmark input
    python -m resnet_keras.benchmark input --dataset=photographs --size=3000,2000 --files=4
    python -m resnet_keras.benchmark input --dataset=coco --data_dir=FOLDER
    python -m resnet_keras.benchmark detection --step=inference --neck=fpn --height=800 --width=1088
    python -m resnet_keras.benchmark segmentation --step=training --head=deeplabv3

`train` times training steps, `predict` inference, `build` the construction of the model, `load`
that and the loading of its weights from a local file (ours safetensors, the peer's .weights.h5).
Peers are keras.applications; torch, with torchvision's network, eager and compiled; onnxruntime,
openvino and litert, which predict with this package's network as `export` writes it; and `untuned`,
this package without the settings of its commands. Each runs in a process of its own, as its users
run it, on all cores. A network that a peer of train, predict or build has not is timed without it.
Beside times and memory, `predict` tells the time from a process's start to its first answer, and
the size of the weights.

`files` times predictions from files to labels, on JPEGs that it makes: what `predict` does by each
of --engines, the usual loop around keras.applications, and the engines alone behind Pillow.

`input` times the input pipeline of training on one thread, on JPEGs that it makes itself. With
--dataset it is that of detection, of images with boxes: one's own (coco, voc) or photographs, which
are made. Its peers are plain tf.data (tf.data), the same with antialiasing (antialias), and a
decoder of whole images (decode).

`detection` times Faster R-CNN, whole and its dense parts (convolutions and the head), beside the
dense parts of torchvision's, which has RoIAlign and suppression free. `segmentation` times FCN or
DeepLabV3 beside torchvision's.

The contestants take turns, round by round, so that a machine whose speed drifts treats all alike;
the figures are medians over rounds, in wall time and in CPU time, and the ratio is the median of
the rounds' ratios. Works on every Keras backend, but for `input` and --remat, which are
TensorFlow's.
"""

import json
import sys
from collections.abc import Sequence

from . import zoo
from .benchmarks import detection, files, networks, segmentation
from .commands import shell
from .commands.definitions import Group, new_flags
from .errors import InputError, check_installed, unknown

FLAGS = new_flags()
TASKS = (*networks.MODEL_TASKS, "files", "input", "detection", "segmentation")
# Peers of the input pipeline, and the package that each needs of the extra `benchmark`.
INPUT_PEERS = {"decode": None, "tf.data": None, "pillow": "PIL", "opencv": "cv2"}
OBJECT_PEERS = {"decode": None, "tf.data": None, "antialias": None}

_run = Group(FLAGS, "Run")
_run.whole("rounds", 5, "Rounds of each contestant.", 1)
_run.whole(
    "batch_size",
    None,
    "Images in a batch. 32 by default, 2 for input with boxes and segmentation, 1 for detection.",
    1,
)
_run.switch("json", False, "Print the result as JSON.")

_model = Group(FLAGS, "Model")
_model.text("model", "resnet50", "Zoo network.")
_model.paths(
    "peer",
    f"Whom to compare with, or none. Some of {', '.join(networks.PEERS)}; by default "
    "keras.applications; for predict also folders that export wrote. For detection and "
    "segmentation there is torchvision, their default.",
)
_model.whole("steps", 3, "Batches in a round. build and load make one model in each.", 1)

_network = Group(FLAGS, "Network")
_network.whole("image_size", 224, "Side of the images in pixels.", 1)
_network.choice(
    "dtype",
    "float32",
    ["float32", "mixed_bfloat16", "mixed_float16"],
    "Precision, such as mixed_bfloat16. Weights and logits stay float32.",
)
_network.switch("jit_compile", None, "Compile with XLA. Without the flag, as Keras chooses.")

_files = Group(FLAGS, "Files")
_files.items(
    "engines",
    ["keras", "openvino", "onnxruntime"],
    "Engines of predict. Some of keras, openvino, onnxruntime and litert.",
)
_files.whole("jpegs", 1000, "JPEGs that each labels in a round. They are made.", 1)

Group(FLAGS, "Training").switch(
    "remat",
    False,
    "Compute blocks again for gradients. Each block keeps its input only, which saves memory; the "
    "peer does not.",
)

_input = Group(FLAGS, "Input")
_input.items(
    "peers",
    None,
    "Whom to compare with. Some of decode, tf.data, pillow and opencv, of which the last two need "
    "the extra benchmark; with --dataset some of decode, tf.data and antialias. All by default.",
)
_input.whole("files", 64, "JPEGs that are made. Of people's own images all are read.", 1)
_input.whole("images", 512, "Images in a round. They are made up to whole batches.", 1)
_input.whole(
    "memory_images",
    0,
    "Images while memory is watched. It is our pipeline's resident memory; 0 leaves it out.",
    0,
)

_objects = Group(FLAGS, "Input with boxes")
_objects.choice(
    "dataset",
    None,
    ["photographs", "coco", "voc"],
    "Images with boxes. photographs are made; coco and voc are one's own.",
)
_objects.path("data_dir", "The folder of coco or voc.")
_objects.text("split", None, "Split of coco or voc, train by default.")
_objects.items("size", None, "Width and height of photographs, 640,480 by default.")

_whole = Group(FLAGS, "Detection and segmentation")
_whole.choice("step", "inference", list(detection.TASKS), "What is timed.")
_whole.whole("height", 480, "Height of the images in pixels.", 1)
_whole.whole("width", 640, "Width of the images in pixels.", 1)

_detection = Group(FLAGS, "Detection")
_detection.choice(
    "neck",
    "fpn",
    ["fpn", "c4"],
    "What RoIs are taken of. fpn is torchvision's detector, c4 the paper's.",
)
_detection.whole("rois", None, "RoIs of an image for the head. By default as detectors have it.", 1)

_segmentation = Group(FLAGS, "Segmentation")
_segmentation.choice(
    "head", "deeplabv3", list(segmentation.HEADS), "Segmenter's head: fcn or deeplabv3."
)
_segmentation.whole(
    "output_stride", 8, "How many times smaller the last features are. torchvision has 8.", 1
)


def main(argv: Sequence[str] = sys.argv) -> int:
    """Runs the command line; returns its exit status."""
    task, rest = shell.split_task(argv)
    return shell.run(lambda: _main(task), FLAGS, rest, __doc__, task=task, groups=_groups(task))


def _groups(task):
    """Of the flags that a task has."""
    if task not in TASKS:
        return None
    if task == "input":
        return ("Input", "Input with boxes")
    if task == "files":
        return ("Model", "Network", "Files")
    if task in ("detection", "segmentation"):
        return ("Model", "Detection and segmentation", task.capitalize())
    return ("Model", "Network", "Training") if task == "train" else ("Model", "Network")


def _main(task: str | None) -> None:
    if task is None:
        raise InputError(f"Name what to time first: one of {', '.join(TASKS)}.")
    if task not in TASKS:
        raise unknown("task", task, TASKS)
    if task == "input":
        _time_input()
        return
    if task in ("detection", "segmentation"):
        _time_whole(task)
        return
    if task == "files":
        _time_files()
        return
    zoo.networks.find(FLAGS.model)
    shell.announce(f"{task} {FLAGS.model} beside its peers", file=sys.stderr)
    result = networks.compare(
        task,
        FLAGS.model,
        peers=_peers("keras.applications"),
        batch_size=FLAGS.batch_size or 32,
        image_size=FLAGS.image_size,
        dtype=FLAGS.dtype,
        steps=FLAGS.steps,
        rounds=FLAGS.rounds,
        jit_compile="auto" if FLAGS.jit_compile is None else FLAGS.jit_compile,
        remat=FLAGS.remat,
    )
    print(json.dumps(result, indent=2) if FLAGS.json else networks.report(result))


def _peers(default):
    names = FLAGS.peer or [default]
    return [name for name in names if name != "none"]


def _time_files() -> None:
    """Times predictions from files to labels."""
    for name in ("steps", "jit_compile"):
        if FLAGS[name].present:
            raise InputError(f"files has rounds of --jpegs images: leave --{name} out.")
    zoo.networks.find(FLAGS.model)
    everyone = ["keras.applications", *(engine for engine in FLAGS.engines if engine != "keras")]
    options = {
        "ours": FLAGS.engines,
        "peers": [name for name in FLAGS.peer or everyone if name != "none"],
        "dtype": FLAGS.dtype,
    }
    files.check(FLAGS.model, **options)
    shell.announce(f"{FLAGS.jpegs} JPEGs to labels by {FLAGS.model}", file=sys.stderr)
    result = files.compare(
        FLAGS.model,
        **options,
        files=FLAGS.jpegs,
        batch_size=FLAGS.batch_size or 32,
        image_size=FLAGS.image_size,
        rounds=FLAGS.rounds,
    )
    print(json.dumps(result, indent=2) if FLAGS.json else files.report(result))


def _time_whole(task: str) -> None:
    """Times detectors or segmenters, on whole images."""
    zoo.networks.find(FLAGS.model)
    if task == "detection":
        own = {"neck": FLAGS.neck, "rois": FLAGS.rois}
        timed, what = detection, "Faster R-CNN"
    else:
        own = {"head": FLAGS.head, "output_stride": FLAGS.output_stride}
        timed, what = segmentation, f"a {FLAGS.head} segmenter"
    shell.announce(f"{FLAGS.step} of {what} beside its peer", file=sys.stderr)
    result = timed.compare(
        FLAGS.step,
        FLAGS.model,
        peers=_peers("torchvision"),
        batch_size=FLAGS.batch_size or {"detection": 1, "segmentation": 2}[task],
        height=FLAGS.height,
        width=FLAGS.width,
        steps=FLAGS.steps,
        rounds=FLAGS.rounds,
        **own,
    )
    print(json.dumps(result, indent=2) if FLAGS.json else timed.report(result))


def _time_input() -> None:
    known = INPUT_PEERS if FLAGS.dataset is None else OBJECT_PEERS
    peers = [*known] if FLAGS.peers is None else FLAGS.peers
    for peer in peers:
        if peer not in known:
            raise unknown("peer", peer, known)
        if known[peer]:
            check_installed(known[peer], "benchmark")
    size = _object_flags()
    shell.announce("the input pipeline beside its peers", file=sys.stderr)
    shell.start_tensorflow()
    counts = {"files": FLAGS.files, "images": FLAGS.images, "rounds": FLAGS.rounds, "peers": peers}
    from .benchmarks import input as input_benchmark
    from .benchmarks import objects as object_benchmark

    if FLAGS.dataset is None:
        result = input_benchmark.compare(
            **counts, batch_size=FLAGS.batch_size or 32, memory_images=FLAGS.memory_images
        )
        text = input_benchmark.report(result)
    else:
        result = object_benchmark.compare(
            **counts,
            batch_size=FLAGS.batch_size or 2,
            dataset=FLAGS.dataset,
            data_dir=FLAGS.data_dir,
            split=FLAGS.split or "train",
            size=size,
        )
        text = object_benchmark.report(result)
    print(json.dumps(result, indent=2) if FLAGS.json else text)


def _object_flags() -> tuple[int, int]:
    """Checks the flags of images with boxes; returns the photographs' width and height."""
    made, own = FLAGS.dataset == "photographs", FLAGS.dataset in ("coco", "voc")
    if own and FLAGS.data_dir is None:
        raise InputError(f"--dataset={FLAGS.dataset} needs --data_dir=FOLDER.")
    if not own and (FLAGS.data_dir is not None or FLAGS.split is not None):
        raise InputError("--data_dir and --split are for --dataset=coco and --dataset=voc.")
    if not made and FLAGS.size is not None:
        raise InputError("--size is for --dataset=photographs.")
    if FLAGS.dataset is not None and FLAGS.memory_images:
        raise InputError("--memory_images is not for --dataset: leave it out.")
    size = [640, 480] if FLAGS.size is None else FLAGS.size
    try:
        width, height = (int(side) for side in size)
    except ValueError as error:
        raise InputError(f"--size is WIDTH,HEIGHT, not {','.join(size)}.") from error
    if min(width, height) < 32:
        raise InputError(f"--size must be 32,32 at least, not {width},{height}.")
    return width, height


if __name__ == "__main__":
    sys.exit(main())
