"""Measures of trained networks, which `reproduce NAME RUN...` writes beside their weights."""

import json
from collections.abc import Sequence

from resnet_keras import pipelines, zoo
from resnet_keras.commands import shell
from resnet_keras.errors import InputError
from resnet_keras.files import write_atomically

from . import landscape, lesion, responses, runs

# Each has FILE, of_run(model, batches), in_words(result) and read(folder). What takes long has
# of_run(model, batches, folder=...), which keeps what is there.
MEASURES = {"responses": responses, "lesion": lesion, "landscape": landscape}
LONG = ("landscape",)
BATCH = 50


def measure(name: str, folders: Sequence[str], data_dir: str | None = None) -> None:
    """Measures finished runs, writes each one's file, and prints a line for each.

    Args:
        name: a key of `MEASURES`.
        folders: of runs of `train`, or folders of such runs.
        data_dir: the folder of the data now; the runs' own without.

    Raises:
        InputError: a folder holds no run, one that is not finished, or one that is not of `train`;
            or the network is of a kind that cannot be measured so.
    """
    split = getattr(MEASURES[name], "SPLIT", "eval_split")
    finished = runs.read(runs.find(folders))
    for run in finished:
        if not run.finished:
            raise InputError(f"The run {run.name} is not finished: it has no {runs.WEIGHTS}.")
        if not {"model", "dataset", split} <= run.flags.keys():
            raise InputError(f"The run {run.name} is not of train, which says how to measure it.")
    shell.start_tensorflow()
    for run in finished:
        folder = run.weights.parent
        kept = {"folder": folder} if name in LONG else {}
        result = MEASURES[name].of_run(*_network_and_batches(run, split, data_dir), **kept)
        place = folder / MEASURES[name].FILE
        write_atomically(place, json.dumps(result, indent=1) + "\n")
        print(f"{run.name}: {MEASURES[name].in_words(result)}", flush=True)


def _network_and_batches(run, split, data_dir):
    model = zoo.get(run.flags["model"], weights=run.weights)
    dataset, data_dir = run.flags["dataset"], data_dir or run.flags.get("data_dir")
    resizable = pipelines.info(dataset, data_dir).resizable
    batches = pipelines.evaluation(
        dataset,
        run.flags[split],
        BATCH,
        image_size=model.input_shape[1] if resizable else None,
        data_dir=data_dir,
        exif_orientation=runs.switch(run.flags.get("exif_orientation")),
        device=None,  # `predict_on_batch` moves what it needs
    )
    return model, batches.as_numpy_iterator()
