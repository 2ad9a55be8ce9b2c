"""Looks at data sets, and makes batches for other hosts.

    python -m resnet_keras.pipelines check --dataset=folder --data_dir=/data/imagenet
    python -m resnet_keras.pipelines preview --dataset=digits --out=digits.png
    python -m resnet_keras.pipelines serve --port=5050

`check` tells whether a copy of a data set is whole, before a long build or run; its exit status is
1 if it is not. `preview` draws what the network sees, with labels. Both take, besides, data sets
with boxes: --dataset=coco or voc, folders in one of these formats, tfds/coco/YEAR, tfds/voc/YEAR
and shapes; and with --masks, for segmentation, the masks of coco, voc, shapes and people's own
folders. `serve` makes batches for hosts whose own processors are too slow, until it is
interrupted.
"""

import os
import socket
import sys
import threading
from collections.abc import Sequence

from resnet_keras import drawing, processes
from resnet_keras.commands import decoders, shared_flags, shell
from resnet_keras.commands.definitions import Group, new_flags
from resnet_keras.errors import InputError, unknown

from . import catalog, masks, objects

FLAGS = new_flags()
# Each task, and the groups of the flags that it has.
TASKS = {
    "check": ("Data", "Check"),
    "preview": ("Data", "View", "Preview"),
    "serve": ("Serve",),
}
PROBLEMS = 1

shared_flags.define_data_flags(FLAGS, None)
shared_flags.define_view_flags(FLAGS)

_checking = Group(FLAGS, "Check")
_checking.path(
    "archives",
    "Folder of ImageNet's archives. Without the flag, DATA_DIR/downloads/manual for imagenet2012.",
)
_data = Group(FLAGS, "Data")
_data.path("annotations", "JSON file of --dataset=coco. Without the flag, the one in DATA_DIR.")
_data.switch(
    "masks",
    False,
    "Take a data set's masks, for segmentation. Those of shapes, coco, voc, tfds/oxford_iiit_pet, "
    "or of folder: images/ and masks/ with files of the same names.",
)
_checking.switch("hashes", False, "Take the archives' MD5s. That reads 155 GB.")
_checking.choice(
    "expect",
    None,
    ["none", "imagenet"],
    "What the folder must hold: none or imagenet. Without the flag, ImageNet's classes and images "
    "where most of its class folders are there.",
)
_checking.switch("decode", True, "Decode all images, not only their headers.")
_checking.whole("limit", 0, "Examples of each split to read. 0 reads all.", 0)

_picture = Group(FLAGS, "Preview")
_picture.path("out", "PNG file to write.")
_picture.split("split", "Split whose images are shown.", "train")
_picture.whole("count", 32, "Images to show.", 1, 1000)
_picture.whole("seed", 0, "Seed of order and augmentation.", 0)
_picture.switch("augment", True, "Show images as in training. --noaugment: as in evaluation.")

_serving = Group(FLAGS, "Serve")
_serving.whole("port", 5050, "Port of the service.", 1, 65535)
_serving.text("host", None, "Name by which others reach this host. Without the flag, its own.")


def main(argv: Sequence[str] = sys.argv) -> int:
    """Runs the command line; returns its exit status."""
    task, rest = shell.split_task(argv)
    groups = TASKS.get(task or "")
    return shell.run(lambda: _main(task), FLAGS, rest, __doc__, task=task, groups=groups)


def _main(task: str | None) -> int:
    if task is None:
        raise InputError(f"Name what to do first: one of {', '.join(TASKS)}.")
    if task not in TASKS:
        raise unknown("task", task, TASKS)
    if task == "serve":
        return _serve()
    with decoders.quiet():
        return {"check": _check, "preview": _preview}[task]()


def _check() -> int:
    where = FLAGS.dataset or FLAGS.data_dir
    shell.announce(f"check {where}" if where else "check", file=sys.stderr)
    shell.start_tensorflow()
    from . import check

    dataset = FLAGS.dataset or check.dataset_in(FLAGS.data_dir, masks=FLAGS.masks)
    expected = check.EXPECTED[FLAGS.expect] if FLAGS.expect else check.expected_in(FLAGS.data_dir)
    problems = 0
    for finding in check.findings(
        dataset,
        FLAGS.data_dir,
        masks=FLAGS.masks,
        exif_orientation=bool(FLAGS.exif_orientation),
        annotations=FLAGS.annotations,
        archives_in=FLAGS.archives,
        hashes=FLAGS.hashes,
        expected=expected,
        decode=FLAGS.decode,
        limit=FLAGS.limit,
    ):
        text = shared_flags.in_flags(FLAGS, finding.text, ["exif_orientation"])
        text = text.encode(errors="backslashreplace").decode()  # names need not be UTF-8
        print(f"{finding.kind}: {text}", flush=True)
        problems += not finding.ok
    summary = {0: "No problems were", 1: "1 problem was"}.get(problems, f"{problems} problems were")
    where = f" in {FLAGS.data_dir}" if FLAGS.data_dir else ""
    print(f"{summary} found with {dataset}{where}.")
    return PROBLEMS if problems else 0


def _preview() -> int:
    if FLAGS.dataset is None:
        raise InputError("Give --dataset: " + FLAGS["dataset"].help)
    if FLAGS.out is None:
        raise InputError("Give --out=FILE.png, the picture to write.")
    drawing.check()
    if FLAGS.masks:
        masks.check_name(FLAGS.dataset)
    if FLAGS.masks or objects.has_objects(FLAGS.dataset):
        return _preview_scenes()
    in_memory = catalog.is_in_memory(FLAGS.dataset)
    view = shared_flags.view_of(FLAGS, in_memory=in_memory)
    small = shared_flags.small_view_of(FLAGS, in_memory=in_memory)
    catalog.check_padding(FLAGS.dataset, FLAGS.padding, small.get("flip"))
    catalog.check_names(
        FLAGS.dataset,
        (FLAGS.split,),
        data_dir=FLAGS.data_dir,
        image_size=FLAGS.image_size,
        exif_orientation=FLAGS.exif_orientation,
    )
    shell.announce(f"{FLAGS.dataset}/{FLAGS.split}")
    shell.start_tensorflow()
    from . import preview

    print(
        preview.write(
            FLAGS.out,
            FLAGS.dataset,
            FLAGS.split,
            FLAGS.count,
            seed=FLAGS.seed,
            view=view,
            image_size=FLAGS.image_size,
            augmented=FLAGS.augment,
            data_dir=FLAGS.data_dir,
            exif_orientation=FLAGS.exif_orientation,
            **small,
        )
    )
    return 0


def _preview_scenes() -> int:
    """Of images with boxes, or with masks."""
    shell.announce(f"{FLAGS.dataset}/{FLAGS.split}")
    shell.start_tensorflow()
    from . import preview

    write = preview.write_masks if FLAGS.masks else preview.write_objects
    print(
        write(
            FLAGS.out,
            FLAGS.dataset,
            FLAGS.split,
            FLAGS.count,
            seed=FLAGS.seed,
            augmented=FLAGS.augment,
            data_dir=FLAGS.data_dir,
            annotations=FLAGS.annotations,
            exif_orientation=bool(FLAGS.exif_orientation),
        )
    )
    return 0


def _serve() -> int:
    _check_port(FLAGS.port)
    shell.announce(f"a service at port {FLAGS.port}", file=sys.stderr)
    shell.start_tensorflow()
    from . import service

    server = service.Server(FLAGS.port, FLAGS.host or socket.gethostname())
    print(f"serving at {server.address}; interrupt to stop", flush=True)
    # In a thread of its own: joining is C++, and would keep an interrupt from this one.
    waiting = threading.Thread(target=server.join, daemon=True)
    waiting.start()
    try:
        waiting.join()
    except processes.Interrupted as stopped:
        print(stopped, file=sys.stderr, flush=True)
        os._exit(
            processes.status_of(stopped.signum)
        )  # taking the server down would wait for its clients to end
    return 0


def _check_port(port: int) -> None:
    """Refuses a port that is taken: gRPC would share it, and mix up two services' requests."""
    with socket.socket() as probe:
        # Lets the port of a service that just ended be taken, but not one that is listened to.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            raise InputError(f"Port {port} cannot be used: {error.strerror}.") from error


if __name__ == "__main__":
    processes.leave(main())
