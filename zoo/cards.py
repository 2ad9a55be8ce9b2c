"""What is known of weights, as labels and texts; model cards as the Hugging Face hub reads them."""

import json

from .entry import WeightsEntry


def facts(entry: WeightsEntry) -> list[tuple[str, str]]:
    """What is known of registered weights, as labels and texts."""
    published = entry.published
    rows = [
        ("from", entry.origin),
        *([("published", _published_text(published))] if published else []),
        *(("measured", text) for text in measured(entry)),
        ("images", str(entry.preprocessing)),
        ("classes", classes(entry.class_names, None)),
        ("options", listed(entry.options)),
    ]
    if entry.mean is not None:
        rows.append(("pixels", f"mean {_numbers(entry.mean)}, std {_numbers(entry.std)} (RGB)"))
    checksum = (
        "SHA-256 as the hub states it with the file" if entry.checksum == "hub" else entry.checksum
    )
    return [
        *rows,
        ("licence", entry.licence),
        ("file", f"{entry.file_name}, {checksum}"),
        ("address", "comes with the package" if entry.packaged else entry.address),
        *([("note", entry.notes)] if entry.notes else []),
    ]


def card(entry: WeightsEntry, parameters: int) -> str:
    """The model card of weights that were trained here."""
    rows = [("network", f"{entry.model}, {parameters:,} parameters"), *facts(entry)]
    rows.append(("recipe", f"`python -m resnet_keras.train --recipe={entry.recipe}`"))
    rows += [("command", f"`{command(row)}`") for row in entry.measured]
    call = f'zoo.get("{entry.model}", weights="{entry.tag}")'
    return page(f'{entry.model}, weights "{entry.tag}"', call, rows)


def command(row):
    """The command that measures a row of results.json."""
    flags = {key: row[key] for key in ("model", "weights", "dataset", "split", "protocol")}
    if flags["protocol"] == "single view":  # of data sets that have no other
        del flags["protocol"]
    return " ".join(
        ["python -m resnet_keras.evaluate", *(f"--{key}={value}" for key, value in flags.items())]
    )


def _published_text(found):
    top5 = "" if found.top5_error is None else f", {found.top5_error:.2f} % top-5"
    return f"{found.top1_error:.2f} % top-1{top5} error ({found.protocol}; {found.source})"


def measured(entry):
    """What was measured of registered weights, in words."""
    return [
        f"{100 * row['top1_error']:.2f} % top-1, {100 * row['top5_error']:.2f} % top-5 error on "
        f"{row['dataset']}/{row['split']} ({row['examples']:,} images, {row['protocol']})"
        for row in entry.measured
    ] or ["not measured"]


def classes(names, count):
    """The classes of a network, in words."""
    if names is None:
        return f"{count} without names" if count else "none: features"
    shown = ", ".join(names[:3])
    return f"{len(names)}: {shown}{', ...' if len(names) > 3 else ''}"


def listed(options):
    """Options by name, in words."""
    return ", ".join(f"{key} {value}" for key, value in options.items() if value is not None)


def _numbers(values):
    return ", ".join(f"{value:g}" for value in values)


def page(title, call, rows):
    """A model card: a title, the call that loads the network, and a table."""
    table = "\n".join(f"| {label} | {_cell(text)} |" for label, text in rows)
    return (
        f"# {title}\n\n    from resnet_keras import zoo\n    model = {call}\n\n"
        f"| | |\n|---|---|\n{table}\n"
    )


def _cell(text):
    return " ".join(str(text).split()).replace("|", "\\|")


def front_matter(licence, *, images=True):
    """What the Hugging Face hub reads at the top of a card; it has no task for series' classes."""
    task = ["pipeline_tag: image-classification"] if images else []
    lines = ["library_name: keras", *task, "tags: [resnet, keras]"]
    if licence:
        lines.insert(0, f"license: {json.dumps(licence.lower())}")
    return "\n".join(["---", *lines, "---", ""])
