"""The pages that tell of weights, made from data: model cards and RESULTS.md.

`python -m resnet_keras.zoo.pages` rewrites them in a checkout.
"""

import json
import sys

from resnet_keras.errors import InputError
from resnet_keras.files import write_atomically

from . import entries, networks
from .entries import ENTRIES, WeightsEntry


def facts(entry: WeightsEntry) -> list[tuple[str, str]]:
    """What is known of registered weights, as labels and texts."""
    published = entry.published
    rows = [
        ("from", entry.origin),
        *([("published", _published(published))] if published else []),
        *(("measured", text) for text in _measured(entry)),
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
    rows += [("command", f"`{_command(row)}`") for row in entry.measured]
    call = f'zoo.get("{entry.model}", weights="{entry.tag}")'
    return page(f'{entry.model}, weights "{entry.tag}"', call, rows)


def results() -> str:
    """RESULTS.md: the paper's figures, the publishers', and those measured here."""
    lines = [
        "# Results",
        "",
        "Made by `python -m resnet_keras.zoo.pages` from `zoo/networks.py`, `zoo/entries.py` and",
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


def classes(names, count):
    if names is None:
        return f"{count} without names" if count else "none: features"
    shown = ", ".join(names[:3])
    return f"{len(names)}: {shown}{', ...' if len(names) > 3 else ''}"


def listed(options):
    return ", ".join(f"{key} {value}" for key, value in options.items() if value is not None)


def _numbers(values):
    return ", ".join(f"{value:g}" for value in values)


def page(title, call, rows):
    table = "\n".join(f"| {label} | {_cell(text)} |" for label, text in rows)
    return (
        f"# {title}\n\n    from resnet_keras import zoo\n    model = {call}\n\n"
        f"| | |\n|---|---|\n{table}\n"
    )


def _cell(text):
    return " ".join(str(text).split()).replace("|", "\\|")


def front_matter(licence):
    lines = ["library_name: keras", "pipeline_tag: image-classification", "tags: [resnet, keras]"]
    if licence:
        lines.insert(0, f"license: {json.dumps(licence.lower())}")
    return "\n".join(["---", *lines, "---", ""])


def pages() -> dict[str, str]:
    """Every generated page by its path in a checkout."""
    from resnet_keras.resnet import count_parameters

    from . import get

    made = {"RESULTS.md": results()}
    for entry in ENTRIES.values():
        if entry.recipe:
            text = card(entry, count_parameters(get(entry.model, weights=entry.tag)))
            made[f"zoo/cards/{entry.model}_{entry.tag}.md"] = text
    return made


def main() -> None:
    """Writes the pages into the checkout that this file is in."""
    root = entries.FOLDER.parent
    if not (root / "pyproject.toml").exists():
        raise InputError(f"{root} is no checkout of resnet_keras: there are no pages to write.")
    for path, text in pages().items():
        write_atomically(root / path, text)
        print(path)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
