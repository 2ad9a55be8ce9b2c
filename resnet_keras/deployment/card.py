"""README.md of an exported folder: what it holds, and a few lines that predict with it."""

from resnet_keras.files import readable

from .exported import CLASSIFICATION, LABELS, Exported
from .formats import FORMATS

_IMAGE = ("image", "RGB pixels in 0 to 255")
_SERIES = ("series", "numbers as they were measured")
_ANSWER = {
    CLASSIFICATION: "print({name}, float(logits[0].max()))",
    "detection": 'print(found["boxes"][0], found["scores"][0], found["labels"][0])',
}
_RUN = {
    "litert": (
        "from ai_edge_litert.interpreter import Interpreter",
        'run = Interpreter("{file}").get_signature_runner()',
        "found = run({input}={value})",
    ),
    "onnx": (
        "import onnxruntime",
        'session = onnxruntime.InferenceSession("{file}")',
        "names = [output.name for output in session.get_outputs()]",
        'found = dict(zip(names, session.run(names, {{"{input}": {value}}})))',
    ),
    "openvino": (
        "import openvino",
        'precision = {{"INFERENCE_PRECISION_HINT": "f32"}}  # or it may compute in bfloat16',
        'model = openvino.Core().compile_model("{file}", "CPU", precision)',
        'found = model({{"{input}": {value}}})',
    ),
    "savedmodel": (
        "import tensorflow as tf",
        'model = tf.saved_model.load("{file}")  # keep it: it holds the weights',
        'found = model.signatures["serving_default"]({input}=tf.constant({value}))',
    ),
}

_SCALE = "trained with a shorter side of {}, and a longer side of {} at most"
_SIGNATURES = (
    "`serving_default` as above; `serving_float` for float32 pixels; `image_bytes` for encoded "
    "images, to classes, probabilities and labels"
)


def page(found: Exported, licence: str | None) -> str:
    """The card, as Markdown.

    Args:
        found: what was written.
        licence: of the weights, where it is known.
    """
    table = "\n".join(f"| {label} | {text} |" for label, text in rows(found, licence))
    title = f"{found.network}, {FORMATS[found.format].title}"
    return readable(
        f"# {title}\n\n| | |\n|---|---|\n{table}\n\n## Predict\n\nRun in this folder:\n\n"
        f"```python\n{code(found)}\n```\n"
    )


def rows(found: Exported, licence: str | None) -> list[tuple[str, str]]:
    """What the card says, as labels and texts."""
    calibration = found.calibration
    return [
        ("network", found.network),
        ("weights", found.weights or "its own"),
        ("licence", licence or "not given"),
        ("format", FORMATS[found.format].title),
        ("quantized", found.quantize),
        ("size", ", ".join(f"{name} {size:,} bytes" for name, size in found.sizes.items())),
        ("input", f"{_shape(found.input)}, {_taken(found)[1]}"),
        ("output", "; ".join(map(_shape, found.outputs))),
        *([("signatures", _SIGNATURES)] if _takes_files(found) else []),
        ("classes", str(found.num_classes)),
        *([("images", str(found.preprocessing))] if found.preprocessing else []),
        *([("images", _SCALE.format(*found.scale))] if found.scale else []),
        ("difference", in_words(found)),
        *(
            [("calibration", f"{calibration['images']:,} images of {calibration['origin']}")]
            if calibration
            else []
        ),
        ("made with", ", ".join(f"{name} {v}" for name, v in found.versions.items())),
    ]


def _taken(found):
    """What a program calls the input, and what it is."""
    return _SERIES if found.takes_series else _IMAGE


def _takes_files(found):
    return found.format == "savedmodel" and found.preprocessing is not None


def in_words(found: Exported) -> str:
    """How far the file's answers are from the network's."""
    difference = found.difference
    if found.task != CLASSIFICATION:
        return (
            f"{difference['same']} of {difference['objects']} objects in {difference['images']} of "
            f"{difference['origin']} are found again, their corners to "
            f"{difference['largest']:.1e} pixels and their scores to {difference['scores']:.1e}"
        )
    where = f"of {difference['images']} of {difference['origin']}"
    return (
        f"logits differ by {difference['largest']:.1e} of the largest at most; "
        f"{difference['same_class']} {where} have the network's class"
    )


def _shape(tensor):
    sides = ", ".join("any" if side is None else str(side) for side in tensor.shape)
    return f"`{tensor.name}` {tensor.dtype} ({sides})"


def code(found: Exported) -> str:
    """A program that predicts with the file, in its runtime and numpy alone."""
    shape = tuple(side or default for side, default in _sides(found))
    value, what = _taken(found)
    given = f'{value} = np.zeros({shape}, "{found.input.dtype}")  # {what}'
    if found.preprocessing is not None:
        given += f":\n# {found.preprocessing}"
    first, *run = _RUN[found.format]
    values = {"file": found.path.name, "input": found.input.name, "value": value}
    name = "int(logits[0].argmax())"
    labels = []
    if found.class_names is not None and found.task == CLASSIFICATION:
        labels = [f'labels = open("{LABELS}", encoding="utf-8").read().splitlines()']
        name = f"labels[{name}]"
    logits = ['logits = np.asarray(found["logits"])'] if found.task == CLASSIFICATION else []
    return "\n".join(
        [
            "import numpy as np",
            first,
            "",
            *labels,
            given,
            *(line.format(**values) for line in run),
            *logits,
            _ANSWER[found.task].format(name=name),
        ]
    )


def _sides(found):
    """A fixed side of the input, or one that shows it, for each axis."""
    if found.takes_series:
        return zip(found.input.shape, (1, 128, 1), strict=True)
    shown = found.preprocessing.image_size if found.preprocessing else 640
    return zip(found.input.shape, (1, shown, shown, 3), strict=True)
