"""Looks at data sets, and makes batches for other hosts.

    python -m resnet_keras.pipelines check --dataset=folder --data_dir=/data/imagenet
    python -m resnet_keras.pipelines preview --dataset=digits --out=digits.png
    python -m resnet_keras.pipelines serve --port=5050

`check` tells whether a copy of a data set is whole, before a long build or run; its exit status is
1 if it is not. `preview` draws what the network sees, with labels. `serve` makes batches for hosts
whose own processors are too slow, until it is interrupted.
"""

import os
import socket
import sys
import threading
from collections.abc import Sequence

from absl import flags

from resnet_keras.commands import decoders, shared_flags, shell
from resnet_keras.errors import InputError

FLAGS = shared_flags.new_flags()
TASKS = ("check", "preview", "serve")
PROBLEMS = 1

shared_flags.define_data_flags(FLAGS, None)
shared_flags.define_view_flags(FLAGS)
shared_flags.define_path(
    FLAGS,
    "archives",
    "check: folder of ImageNet's archives; DATA_DIR/downloads/manual for imagenet2012 without.",
)
flags.DEFINE_bool(
    "hashes", False, "check: take the archives' MD5s; reads 155 GB.", flag_values=FLAGS
)
flags.DEFINE_enum(
    "expect",
    None,
    ["none", "imagenet"],
    "check: what it must hold. Without, ImageNet's classes and images where most of its class "
    "folders are there.",
    flag_values=FLAGS,
)
flags.DEFINE_bool(
    "decode", True, "check: decode all images, not only their headers.", flag_values=FLAGS
)
flags.DEFINE_integer(
    "limit", 0, "check: read only so many examples of each split; 0 for all.", 0, flag_values=FLAGS
)
shared_flags.define_split_flag(FLAGS, "split", "preview: whose images to show.", default="train")
shared_flags.define_path(FLAGS, "out", "preview: the PNG file to write.")
flags.DEFINE_integer("count", 32, "preview: how many images.", 1, 1000, flag_values=FLAGS)
flags.DEFINE_integer("seed", 0, "preview: of order and augmentation.", 0, flag_values=FLAGS)
flags.DEFINE_bool(
    "augment",
    True,
    "preview: --noaugment shows the same images as evaluation sees them.",
    flag_values=FLAGS,
)
flags.DEFINE_integer("port", 5050, "serve: port of the service.", 1, 65535, flag_values=FLAGS)
flags.DEFINE_string(
    "host",
    None,
    "serve: name by which other hosts reach this one; its own without.",
    flag_values=FLAGS,
)


def main(argv: Sequence[str] = sys.argv) -> int:
    """Runs the command line; returns its exit status."""
    task, rest = shell.split_task(argv)
    return shell.run(lambda: _main(task), FLAGS, rest, __doc__)


def _main(task: str | None) -> int:
    if task not in TASKS:
        raise InputError(f"Name what to do first: one of {', '.join(TASKS)}.")
    if task == "serve":
        return _serve()
    with decoders.quiet():
        return {"check": _check, "preview": _preview}[task]()


def _check() -> int:
    shell.start_tensorflow()
    from . import check

    dataset = FLAGS.dataset or check.dataset_in(FLAGS.data_dir)
    expected = check.EXPECTED[FLAGS.expect] if FLAGS.expect else check.expected_in(FLAGS.data_dir)
    problems = 0
    for finding in check.findings(
        dataset,
        FLAGS.data_dir,
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
    shell.start_tensorflow()
    from . import preview
    from .catalog import info

    print(
        preview.write(
            FLAGS.out,
            FLAGS.dataset,
            FLAGS.split,
            FLAGS.count,
            seed=FLAGS.seed,
            view=shared_flags.view_of(
                FLAGS, in_memory=info(FLAGS.dataset, FLAGS.data_dir).in_memory
            ),
            image_size=FLAGS.image_size,
            augmented=FLAGS.augment,
            data_dir=FLAGS.data_dir,
            exif_orientation=FLAGS.exif_orientation,
        )
    )
    return 0


def _serve() -> int:
    _check_port(FLAGS.port)
    shell.start_tensorflow()
    from . import service

    server = service.Server(FLAGS.port, FLAGS.host or socket.gethostname())
    print(f"serving at {server.address}; interrupt to stop", flush=True)
    # In a thread of its own: joining is C++, and would keep an interrupt from this one.
    waiting = threading.Thread(target=server.join, daemon=True)
    waiting.start()
    try:
        waiting.join()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr, flush=True)
        os._exit(shell.INTERRUPTED)  # taking the server down would wait for its clients to end
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
    sys.exit(main())
