"""Networks written for others to load, and the pages that tell of weights, made from data.

python -m resnet_keras.zoo.publish     # rewrites zoo/cards/*.md and RESULTS.md in a checkout
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from resnet_keras.errors import InputError
from resnet_keras.files import make_folder, write_atomically

from . import entries, networks
from . import weights as weights_files
from .entries import ENTRIES, Preprocessing, WeightsEntry

if TYPE_CHECKING:
    import keras

CARD = "README.md"
_MEMORY = "_zoo_weights"  # the attribute of a model that has its `Origin`


class Origin(NamedTuple):
    """What a model remembers of the weights it was built with."""

    preprocessing: Preprocessing
    class_names: tuple[str, ...] | None
    licence: str | None
    source: str
    training: dict[str, Any]


def remember(model: "keras.Model", file, *, class_names: tuple[str, ...] | None) -> None:
    """Lets `save` know the weights that a model began with."""
    side = model.input_shape[1]
    preprocessing = file.preprocessing if side is None else file.preprocessing.at(side)
    entry = file.entry
    source = f"{entry.model} {entry.tag}: {entry.origin}" if entry else Path(file.path).name
    origin = Origin(
        preprocessing, class_names, entry.licence if entry else None, source, file.training
    )
    # Past Keras, which would track it as a part of the model and save it.
    object.__setattr__(model, _MEMORY, origin)


def save(
    model: "keras.Model",
    folder: str | os.PathLike,
    *,
    preprocessing: Preprocessing | None = None,
    class_names: Sequence[str] | None = None,
    licence: str | None = None,
    training: Mapping[str, Any] | None = None,
) -> None:
    """Writes a network for others: `zoo.get(folder)` reads it back.

    The folder receives model.safetensors, config.json (network, options, preprocessing, class
    names) and README.md, a model card as the Hugging Face hub reads it. What is not given is taken
    from the weights that the model was built with, if they know it.

    Args:
        model: of `zoo.get`, trained further or not. (`model.save` writes any other.)
        folder: made if it is not there.
        preprocessing: how images are shown to it.
        class_names: in the order of the logits.
        licence: of the weights, an SPDX name.
        training: how they were made, for the record; anything JSON can hold.

    Raises:
        InputError: not a network of the zoo, names that do not fit its classes, or a folder that
            cannot be written to.
    """
    name, options = _described(model)
    origin: Origin | None = getattr(model, _MEMORY, None)
    shown = preprocessing or (origin.preprocessing if origin else None)
    shown = shown or weights_files.guessed(options["input_shape"])
    names = class_names or (origin.class_names if origin else None)
    if names is not None and len(names) != options.get("num_classes"):
        raise InputError(
            f"{len(names)} class_names do not fit {model.name}: it has "
            f"{options.get('num_classes', 'no')} classes."
        )
    made = weights_files.describe(
        name,
        options,
        training=training or (origin.training if origin else None),
        preprocessing=shown,
        class_names=names,
    )
    rows = [
        ("network", f"{name}, {_count(model):,} parameters"),
        ("options", _listed(options)),
        ("input", "RGB pixels in [0, 255], normalized by the network"),
        ("images", str(shown)),
        ("classes", _classes(names, options.get("num_classes"))),
        *([("began as", origin.source)] if origin else []),
        *([("training", _listed(made["training"]))] if made["training"] else []),
        ("accuracy", "not measured"),
        ("licence", licence or (origin.licence if origin else None) or "not given"),
    ]
    folder = make_folder(folder)
    write_atomically(folder / weights_files.TENSORS, weights_files.to_bytes(model, made))
    write_atomically(
        folder / CARD,
        _front_matter(licence or (origin and origin.licence))
        + _page(name, 'zoo.get("FOLDER")', rows),
    )
    write_atomically(folder / weights_files.CONFIG, json.dumps(made, indent=2) + "\n")


def _described(model) -> tuple[str, dict[str, Any]]:
    """A network's name and what it was built with; `InputError` where it is none of the zoo's."""
    from resnet_keras import resnet

    try:
        layers = {layer.name: (type(layer).__name__, layer.get_config()) for layer in model.layers}
        options = resnet.describe(layers)
        depth = options.pop("depth")
        name = f"{'plain' if options['shortcut'] is None else 'resnet'}{depth}"
        normalization = model.get_layer("normalization")
        build = resnet.resnet if networks.find(name).dataset == "imagenet" else resnet.cifar_resnet
        twin = build(
            depth,
            mean=normalization.initial_mean,
            std=normalization.initial_std,
            **options,
        )
    except (KeyError, AttributeError, ValueError) as error:
        raise _no_network(model) from error
    if _outline(twin) != _outline(model):
        raise _no_network(model)
    return name, options


def _outline(model):
    layers = [(layer.name, type(layer).__name__) for layer in model.layers]
    return layers, [(v.path, tuple(v.shape)) for v in model.variables]


def _no_network(model):
    return InputError(
        f"{getattr(model, 'name', model)!r} is not a network as zoo.get builds them: keep it with "
        "model.save."
    )


def facts(entry: WeightsEntry) -> list[tuple[str, str]]:
    """What is known of registered weights, as labels and texts."""
    published = entry.published
    rows = [
        ("from", entry.origin),
        *([("published", _published(published))] if published else []),
        *(("measured", text) for text in _measured(entry)),
        ("images", str(entry.preprocessing)),
        ("classes", _classes(entry.class_names, None)),
        ("options", _listed(entry.options)),
    ]
    if entry.mean is not None:
        rows.append(("pixels", f"mean {_numbers(entry.mean)}, std {_numbers(entry.std)} (RGB)"))
    checksum = "SHA-256 as the hub gives it" if entry.checksum == "hub" else entry.checksum
    return [
        *rows,
        ("licence", entry.licence),
        ("file", f"{entry.file_name}, {checksum}"),
        ("address", "comes with the package" if entry.packaged else entry.address),
    ]


def card(entry: WeightsEntry, parameters: int) -> str:
    """The model card of weights that were trained here."""
    rows = [("network", f"{entry.model}, {parameters:,} parameters"), *facts(entry)]
    rows.append(("recipe", f"`python -m resnet_keras.train --recipe={entry.recipe}`"))
    rows += [("command", f"`{_command(row)}`") for row in entry.measured]
    call = f'zoo.get("{entry.model}", weights="{entry.tag}")'
    page = _page(f'{entry.model}, weights "{entry.tag}"', call, rows)
    return f"{page}\n{entry.notes}\n" if entry.notes else page


def results() -> str:
    """RESULTS.md: the paper's figures, the publishers', and those measured here."""
    lines = [
        "# Results",
        "",
        "Made by `python -m resnet_keras.zoo.publish` from `zoo/networks.py`, `zoo/entries.py` and",
        "`zoo/results.json`. Errors in percent.",
        "",
        "## The paper's networks",
        "",
        "| network | paper |",
        "|---|---|",
    ]
    lines += [
        f"| `{network.name}` | {network.paper_error or 'not given'} |"
        for network in networks.NETWORKS.values()
    ]
    lines += [
        "",
        "## Public weights",
        "",
        "| network | weights | top-1 | top-5 | protocol | published by | measured here | licence |",
        "|---|---|---:|---:|---|---|---|---|",
    ]
    lines += [_public_row(entry) for entry in ENTRIES.values() if entry.published]
    lines += [
        "",
        "## Measured here",
        "",
        "| network | weights | data | protocol | images | top-1 | top-5 | versions |",
        "|---|---|---|---|---:|---:|---:|---|",
    ]
    rows = json.loads(entries.RESULTS.read_text())
    lines += [_measured_row(row) for row in rows]
    lines += ["", "Commands:", "", *(f"    {_command(row)}" for row in rows)]
    return "\n".join(lines) + "\n"


def _public_row(entry):
    found = entry.published
    top5 = "not given" if found.top5_error is None else f"{found.top5_error:.2f}"
    measured = "; ".join(_measured(entry))
    return (
        f"| `{entry.model}` | `{entry.tag}` | {found.top1_error:.2f} | {top5} | {found.protocol} | "
        f"{found.source} | {measured} | {entry.licence} |"
    )


def _measured_row(row):
    versions = ", ".join(f"{name} {version}" for name, version in row["versions"].items())
    return (
        f"| `{row['model']}` | `{row['weights']}` | {row['dataset']}/{row['split']} | "
        f"{row['protocol']} | {row['examples']:,} | {100 * row['top1_error']:.2f} | "
        f"{100 * row['top5_error']:.2f} | {versions} |"
    )


def _command(row):
    flags = {key: row[key] for key in ("model", "weights", "dataset", "split", "protocol")}
    if flags["protocol"] == "single view":  # of data sets that have no other
        del flags["protocol"]
    return " ".join(
        ["python -m resnet_keras.evaluate", *(f"--{key}={value}" for key, value in flags.items())]
    )


def _published(found):
    top5 = "" if found.top5_error is None else f", {found.top5_error:.2f} % top-5"
    return f"{found.top1_error:.2f} % top-1{top5} error ({found.protocol}; {found.source})"


def _measured(entry):
    return [
        f"{100 * row['top1_error']:.2f} % top-1, {100 * row['top5_error']:.2f} % top-5 error on "
        f"{row['dataset']}/{row['split']} ({row['examples']:,} images, {row['protocol']})"
        for row in entry.measured
    ] or ["not measured"]


def _classes(names, count):
    if names is None:
        return f"{count} without names" if count else "none: features"
    shown = ", ".join(names[:3])
    return f"{len(names)}: {shown}{', ...' if len(names) > 3 else ''}"


def _listed(options):
    return ", ".join(f"{key} {value}" for key, value in options.items() if value is not None)


def _numbers(values):
    return ", ".join(f"{value:g}" for value in values)


def _count(model):
    return sum(math.prod(v.shape) for v in model.trainable_variables)


def _page(title, call, rows):
    table = "\n".join(f"| {label} | {text} |" for label, text in rows)
    return (
        f"# {title}\n\n    from resnet_keras import zoo\n    model = {call}\n\n"
        f"| | |\n|---|---|\n{table}\n"
    )


def _front_matter(licence):
    lines = ["library_name: keras", "pipeline_tag: image-classification", "tags: [resnet, keras]"]
    if licence:
        lines.insert(0, f"license: {licence.lower()}")
    return "\n".join(["---", *lines, "---", ""])


def pages() -> dict[str, str]:
    """Every generated page by its path in a checkout."""
    from . import get

    made = {"RESULTS.md": results()}
    for entry in ENTRIES.values():
        if entry.recipe:
            text = card(entry, _count(get(entry.model, weights=entry.tag)))
            made[f"zoo/cards/{entry.model}_{entry.tag}.md"] = text
    return made


if __name__ == "__main__":
    for path, text in pages().items():
        write_atomically(entries.FOLDER.parent / path, text)
