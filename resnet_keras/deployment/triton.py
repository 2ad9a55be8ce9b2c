"""ONNX files as models of NVIDIA's Triton: their configuration and their place in a repository.

    triton.write(exported.read("resnet50_onnx"), "models")
    tritonserver --model-repository=$PWD/models

A repository has a folder for each model: config.pbtxt, labels.txt where the classes have names, and
1/model.onnx, 1 being the version. Imports no TensorFlow. Fields are those of Triton's
docs/user_guide/model_configuration.md.
"""

import json
import os
import shutil
import tempfile
from pathlib import Path

from resnet_keras.errors import InputError
from resnet_keras.files import PART, check_local, make_folder, unwritable

from .exported import CLASSIFICATION, LABELS, Exported, Tensor

CONFIG, VERSION = "config.pbtxt", "1"
MAX_BATCH_SIZE = 32  # images that dynamic batching puts together at most
_TYPES = {
    "bool": "TYPE_BOOL",
    "float16": "TYPE_FP16",
    "float32": "TYPE_FP32",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
    "uint8": "TYPE_UINT8",
}


def config(exported: Exported, name: str | None = None) -> str:
    """Returns the text of config.pbtxt for an ONNX file.

    Where the file takes any number of images, Triton puts requests that wait together into batches
    of up to `MAX_BATCH_SIZE`. Otherwise each request holds a whole batch.

    Args:
        exported: an export with format "onnx".
        name: the model's, which is its folder's; that of the exported folder without.

    Raises:
        InputError: it is no ONNX file.
    """
    if exported.format != "onnx":
        raise InputError(
            f"{exported.path} is of format {exported.format}, and Triton is given ONNX here: "
            "export with format=onnx."
        )
    batched = exported.batch_size is None
    labelled = exported.task == CLASSIFICATION and exported.class_names is not None
    labels = [f"label_filename: {json.dumps(LABELS)}"] if labelled else []
    # For clients; Triton knows it of single images only.
    layout = ["format: FORMAT_NHWC"] if batched and not exported.takes_series else []
    parts = [
        f"name: {json.dumps(name or exported.folder.name, ensure_ascii=False)}",
        'platform: "onnxruntime_onnx"',
        f"max_batch_size: {MAX_BATCH_SIZE if batched else 0}",
        _tensor("input", exported.input, batched, layout),
        *(_tensor("output", output, batched, labels) for output in exported.outputs),
        *(["dynamic_batching { }"] if batched else []),
    ]
    return "\n".join(parts) + "\n"


def _tensor(kind: str, tensor: Tensor, batched: bool, others: list[str]) -> str:
    sides = ["-1" if side is None else str(side) for side in tensor.shape[batched:]]
    lines = [
        f"name: {json.dumps(tensor.name)}",
        f"data_type: {_TYPES[tensor.dtype]}",
        # A number for each image has no sides, and Triton wants one.
        f"dims: [ {', '.join(sides or ['1'])} ]",
        *([] if sides else ["reshape { shape: [ ] }"]),
        *others,
    ]
    return "\n".join([f"{kind} {{", *(f"  {line}" for line in lines), "}"])


def free(repository: str | os.PathLike, name: str) -> Path:
    """The place of a model in a repository; `InputError` where there is something already."""
    check_local(repository)
    place = Path(repository).expanduser() / name
    if place.exists() or place.is_symlink():
        raise InputError(
            f"There is something at {place} already: give another repository, or another name."
        )
    return place


def write(exported: Exported, repository: str | os.PathLike, name: str | None = None) -> Path:
    """Copies an ONNX file into a model repository, with its configuration and labels.

    Args:
        exported: as for `config`.
        repository: the folder with all models; made if it is not there.
        name: as for `config`.

    Returns:
        The model's folder, `repository`/`name`.

    Raises:
        InputError: as `config`; something is there already, or it cannot be written to.
    """
    text = config(exported, name)
    place = free(repository, name or exported.folder.name)
    aside = Path(tempfile.mkdtemp(PART, f".{place.name}.", make_folder(place.parent)))
    try:
        whole = aside / place.name
        (whole / VERSION).mkdir(parents=True)
        for file in exported.sizes:
            shutil.copyfile(exported.folder / file, whole / VERSION / file)
        if "label_filename" in text:
            shutil.copyfile(exported.folder / LABELS, whole / LABELS)
        (whole / CONFIG).write_text(text, encoding="utf-8")
        whole.rename(place)
    except OSError as error:
        raise unwritable(place, error) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return place
