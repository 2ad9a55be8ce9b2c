"""The pages that tell of networks and weights, made from data.

These are model cards, RESULTS.md, and the tables of README.md and docs/models.md, which stand
between marks. `python -m resnet_keras.zoo.pages` rewrites them in a checkout.
"""

import json
import re
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from resnet_keras.errors import InputError
from resnet_keras.files import write_atomically
from resnet_keras.tables import NOT_RUN, Table, markdown

from . import building, cards, entries, information, networks, paper
from .entries import ENTRIES
from .entry import FOLDER, RESULTS
from .families import resnets, vggs

EXPERIMENTS = FOLDER / "experiments"
# What a reader of an experiment's tables should know.
NOTES = {
    "degradation_digits": "All networks have the recipe that was made for ResNet-20; no other "
    "recipe or size of image was tried before the effect showed. The 36 runs of this experiment "
    "and of the shortcuts took 58 minutes on two cores of an AMD EPYC, on which tests ran beside "
    "them.",
    "degradation_fashion_mnist": "The paper's recipe in 2,400 steps of 64 images, 2.6 epochs; "
    "CIFAR-10 had 164. Depth costs the plain network 16 points, and the residual one 5: so here "
    "residual learning makes depth harmless only in part, and ResNet-56 is no better than "
    "ResNet-20, unlike in Table 6. Of a longer training this tells nothing. 32 and 44 layers have "
    "one seed; 110 were not run. The first two runs' minutes have hours in which they stood still.",
    "depth_fashion_mnist": "The runs of degradation. ResNet-20 is the best here, in 2.6 epochs; "
    "of 32 layers and more no order is seen.",
    "shortcuts_fashion_mnist": "Two seeds of B and C, three of A: projections help, as in Table 3 "
    "and unlike on digits; B and C are not told apart.",
    "responses_fashion_mnist": "The runs of degradation. At equal depth residual networks respond "
    "less, as in Fig. 7: by 7 % at 20 layers, and at 56 by three quarters, most of it in the "
    "plain network's first 20 layers. But deeper ResNets respond more than ResNet-20, unlike "
    "there.",
    "degradation_digits_weight_decay": "Is it the large weight decay of that recipe? With a tenth "
    "of it plain-56 trains better, and still far worse than plain-20, with every seed; the "
    "residual networks do not. So weight decay adds to the effect and is not its cause.",
    "detection_shapes": "Plain and residual networks of ten layers are alike, as the paper's are "
    "at this depth. Box refinement with voting costs 4 points of AP here and gains 1 of AP50: a "
    "box becomes the mean of those around it, which on shapes with sharp borders is less exact. "
    "Context alone, which the table adds to refinement, comes to 71.9 against 71.2. The ensemble "
    "is best, as there. The two runs of 2,500 steps with other seeds were not made.",
    "depth_digits": "Deeper is not better here: the means are within two of 360 images of each "
    "other.",
    "families_digits": "Half as many steps as the other experiments have, for all alike, and the "
    "recipe of ResNet-20. One error is 0.28 %, and with three seeds most cannot be told "
    "apart. What is seen: plain-56 does not learn, DenseNets and pre-activation networks do best "
    "of their size, and the ResNeXt, whose groups have four channels, is the worst of its. Speed "
    "and memory are of batches of 64 on 2 cores of an Intel Xeon with AVX-512, at rest.",
    "gradients_digits": "At points of a straight line from one image to another the gradients of "
    "deep plain networks have nothing in common, from 32 layers on, and those of residual networks "
    "resemble each other less with depth, too, but slowly, as Balduzzi et al. say. The paper holds "
    "that its plain networks' gradients do not vanish (Sec. 4.1), and before training they do not: "
    "they explode towards the first layers, by six orders of magnitude with 110 layers. After 100 "
    "steps with a learning rate of 0.1 those of plain-110 have vanished, and no others.",
    "landscape_digits": "A tenth of the recipe's weight decay, for plain-56 does not learn with "
    "the whole. Both networks of 20 layers, and ResNet-56, lie in a smooth bowl; the contours "
    "around plain-56 are bent, and its loss at the centre is hundreds of times as high. That is "
    "the contrast of Li et al. in a weaker form: no second minimum is seen, and with losses so "
    "unequal, the pictures say where training came to as much as why. One seed of each network, "
    "and one pair of directions.",
    "lesion_digits": "As Veit et al. say, without any block but the first few ResNet-56 errs no "
    "more than whole, and a plain network without one is lost. Unlike there, blocks in which "
    "features grow are as dispensable as others in ResNet-56; in ResNet-20 they are not. The "
    "runs are those of `families`, of 600 steps.",
    "normalization_digits": "No difference is seen between 32 and 2 images a replica, with three "
    "seeds and an error of 0.28 % for each of 360 images; Wu and He lose 10 points on ImageNet. "
    "Group normalization is as good, layer normalization worse with every seed. Frozen ones begin "
    "with the weights of digits; with a learning rate of 0.01 two of three such runs diverged.",
    "regularization_digits": "On a tenth of the training images, tested on the other nine. "
    "Training errors are of the steps themselves, so with dropping active. By the means ResNet-56 "
    "does in no setting better than ResNet-20, which label smoothing and four times the weight "
    "decay together help.",
    "responses_digits": "At equal depth residual networks respond less than plain ones, as in Fig. "
    "7: by 3 % at 20 layers, and by 15 % at 56, where the plain network had hardly learned. But "
    "ResNet-110 responds more than ResNet-56, unlike there. The gains of batch normalization begin "
    "at 1, are not decayed by this recipe, and change for 1,200 steps.",
    "shortcut_ratio_digits": "On a tenth of the training images, tested on the other nine. The "
    "more blocks have projections, the worse, and with 32 layers beyond the spread of the seeds: "
    "the opposite of Table 3's order, in which C is slightly the best.",
    "shortcuts_digits": "The order is not the paper's: here projections did not help, and option "
    "C, with one in every block, trained worst.",
}


def results() -> str:
    """RESULTS.md: the paper's figures, the publishers', and those measured here, by protocol."""
    rows = json.loads(RESULTS.read_text())
    parts = [
        "# Results",
        "Every error and mAP of the paper's tables for its networks and the VGG baselines beside\n"
        "them (but for the APs of single classes), every public weight's published number, and "
        "every\n"
        "number measured here. Errors in percent.\n\n"
        "Made by `python -m resnet_keras.zoo.pages` from `zoo/paper.py`, `zoo/families`,\n"
        "`zoo/results.json` and `zoo/experiments/`.",
        "## ImageNet, validation set",
        *_tables(
            _paper_errors("10-crop (Tables 2 and 3)", paper.TEN_CROP, rows),
            _paper_errors("Fully convolutional, five scales (Table 4)", paper.MULTI_SCALE, rows),
            Table(
                "Ensemble of six networks, test server (Table 5)",
                ("paper: top-5", "measured here"),
                [(paper.ENSEMBLE_TOP5, _measured_ensembles(rows))],
            ),
            _published("Single crop: public weights", "imagenet2012"),
            Table(*paper.REFERENCES),
        ),
        "## CIFAR-10, test set, single view",
        *_tables(_cifar10(rows), _published("Public weights", "cifar10")),
        "## Networks that followed",
        *_tables(_followed()),
        "## Object detection",
        "Mean average precisions in percent, PASCAL VOC's by its own metric. Baseline+++ has the "
        "three\nimprovements of Table 9. What was trained here on made images stands in "
        "docs/detection.md.",
        *_tables(
            _detection("PASCAL VOC (Tables 7, 10 and 11)", "VOC"),
            _detection("COCO (Tables 8 and 9)", "COCO"),
        ),
        "## Localization",
        "Errors on ImageNet in percent, by ILSVRC's measure. What was trained here on made images\n"
        "stands in docs/localization.md.",
        *_tables(_localization()),
        "## Weights that come with the package",
        "Measured on digits and Fashion-MNIST, which the paper does not have; each by the command\n"
        "below, of Fashion-MNIST with `--data_dir`.",
        markdown(Table("", _MEASURED, [_measured_row(row) for row in rows])),
        "\n".join(f"    {cards.command(row)}" for row in rows),
        "## Experiments run here",
        "Means ± sample standard deviations over seeds. Bands in figures span the seeds, but for\n"
        "normalization, whose bands and bars are standard deviations. Training\n"
        "errors are those of the iterations since the evaluation before the last, on augmented\n"
        "images. With `--workers=2`, each run has one of the two cores.",
        *(part for path in sorted(EXPERIMENTS.glob("*.json")) for part in experiment(path)),
        "## The paper's other numbers",
        "README.md gives parameters and multiply-adds as this package's networks have them.\n"
        "The paper gives no number for segmentation.",
        *_tables(_counts(), *(Table(*table) for table in paper.TABLES)),
    ]
    return "\n\n".join(parts) + "\n"


def _tables(*tables):
    return [part for table in tables for part in (f"### {table.title}", markdown(table))]


def _paper_errors(title, protocol, rows):
    lines = [
        (
            *(f"`{found.network}`", found.shortcut or "none"),
            *(found.top1, found.top5, found.place),
            _measured_by(rows, found.network, protocol, found.shortcut),
        )
        for found in paper.IMAGENET
        if found.protocol == protocol
    ]
    head = ("network", "option", "paper: top-1", "top-5", "place", "measured here: top-1")
    return Table(title, head, lines)


def _measured_by(rows, network, protocol, shortcut):
    """The top-1 errors of a network in results.json, with the weights' names."""
    own = [
        f"{100 * row['top1_error']:.2f} (`{row['weights']}`)"
        for row in rows
        if (row["model"], row["protocol"]) == (network, protocol)
        and row["dataset"] in ("imagenet2012", "cifar10")
        and ENTRIES[network, row["weights"]].options.get("shortcut") == shortcut
    ]
    return ", ".join(own) or NOT_RUN


def _measured_ensembles(rows):
    """The top-5 errors of ensembles in results.json, with their networks."""
    own = [
        f"{100 * row['top5_error']:.2f} (validation set, `{row['model']}`)"
        for row in rows
        if "+" in row["model"] and row["dataset"] == "imagenet2012"
    ]
    return ", ".join(own) or NOT_RUN


def _cifar10(rows):
    lines = []
    for network in networks.PACKAGED:
        if network.dataset == "cifar10":
            name = network.name
            found = paper.errors(name, network.shortcut, paper.SINGLE_VIEW)
            measured = _measured_by(rows, name, paper.SINGLE_VIEW, network.shortcut)
            lines.append((f"`{name}`", found and found.told, found and found.place, measured))
    head = ("network", "paper", "place", "measured here")
    return Table("The paper's networks (Table 6 and Fig. 6)", head, lines)


def _detection(title, benchmark):
    """The paper's detectors on a benchmark, of which none was measured here yet."""
    lines = [
        (
            *(found.network, found.system, found.trained, found.tested, found.ap50, found.ap),
            *(found.place, (found.recipe and f"`{found.recipe}`") or "none", NOT_RUN),
        )
        for found in paper.DETECTION
        if found.tested.startswith(benchmark)
    ]
    head = ("network", "system", "trained on", "tested on", "paper: mAP@.5", "mAP@[.5, .95]")
    columns = (*head, "place", "recipe", "measured here")
    if benchmark == "VOC":  # whose metric has one threshold
        return Table(title, _without(columns, 5), [_without(line, 5) for line in lines])
    return Table(title, columns, lines)


def _localization():
    """The paper's localizers, of which none was measured on ImageNet yet."""
    lines = [
        (*found[:-1], (found.recipe and f"`{found.recipe}`") or "none", NOT_RUN)
        for found in paper.LOCALIZATION
    ]
    head = ("method", "network", "testing", "paper: val, true class", "val, top-5", "test, top-5")
    columns = (*head, "place", "recipe", "measured here")
    return Table("ImageNet (Tables 13 and 14)", columns, lines)


def _without(cells, place):
    return cells[:place] + cells[place + 1 :]


def _published(title, dataset):
    head = ("network", "weights", "top-1", "top-5", "protocol", "published by", "measured here")
    lines = [
        (
            *(f"`{entry.model}`", f"`{entry.tag}`", *_figures(entry.published)),
            *("; ".join(cards.measured(entry)), entry.licence),
        )
        for entry in ENTRIES.values()
        if entry.dataset == dataset and not entry.packaged
    ]
    return Table(title, (*head, "licence"), lines)


def _figures(published):
    if published is None:
        return (None,) * 4
    errors = (published.top1_error, published.top5_error)
    shown = (None if error is None else f"{error:.2f}" for error in errors)
    return (*shown, published.protocol, published.source)


def _followed():
    """What the papers of the networks that followed give for them."""
    lines = [(f"`{row.name}`", row.paper_result, "not measured") for row in networks.PACKAGED]
    lines = [line for line in lines if line[1] is not None]
    title = "Networks that followed: errors in their own papers"
    return Table(title, ("network", "its paper or authors", "measured here"), lines)


def _counts():
    rows = [row for row in networks.PACKAGED if row.name in IN_README]
    lines = [(f"`{row.name}`", row.paper_parameters, row.paper_multiply_adds) for row in rows]
    return Table("Counts (Tables 1 and 6)", ("network", "parameters", "multiply-adds"), lines)


_MEASURED = ("network", "weights", "data", "protocol", "images", "top-1", "top-5", "versions")


def _measured_row(row):
    return (
        *(f"`{row['model']}`", f"`{row['weights']}`", f"{row['dataset']}/{row['split']}"),
        *(row["protocol"], f"{row['examples']:,}"),
        *(f"{100 * row[name]:.2f}" for name in ("top1_error", "top5_error")),
        _versions(row["versions"]),
    )


def _versions(versions):
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def experiment(path: Path) -> list[str]:
    """Paragraphs of RESULTS.md about an experiment, from the JSON that `reproduce` wrote."""
    found = json.loads(path.read_text())
    quick = "" if found["scale"] == "paper" else f", {found['scale']} runs"
    flags = f", {' '.join(found['flags'])}" if found["flags"] else ""
    title = f"{found['experiment']} on {found['dataset']}{quick}{flags}"
    tables = [Table(**table) for table in found["tables"]]
    parts = [
        f"### {title[0].upper()}{title[1:]}",
        f"![{title}](zoo/experiments/{path.stem}.png)",
        *([textwrap.fill(NOTES[path.stem], 100)] if path.stem in NOTES else []),
        *(part for table in tables for part in (f"{table.title}.", markdown(table))),
    ]
    if found["runs"]:
        runs = Table(**found["runs"])
        parts.append(f"<details><summary>{runs.title}</summary>\n\n{markdown(runs)}\n\n</details>")
    parts.append(f"    {found['command']}")
    return parts + ([f"With {_versions(found['versions'])}."] if found["versions"] else [])


# Those of the paper and the baseline before it; docs/models.md has all.
IN_README = {row.name for family in (resnets, vggs) for row in family.ROWS}


def models_table(found: Sequence[information.ModelInfo]) -> str:
    """README.md's table: what the paper's networks cost and what errors are known of them."""
    head = (
        *("network", "parameters", "multiply-adds", "paper's error", "published error"),
        *("measured error", "weights"),
    )
    shown = [info for info in found if info.name in IN_README]
    return markdown(Table("", head, [_model(info) for info in shown]))


def _model(info):
    shown = entries.find(info.name, "imagenet") or entries.find(info.name, "cifar10")
    published = shown and shown.published
    tags = [entry.tag for entry in info.weights if entry is shown or entry.packaged]
    counts = (f"{info.parameters:,}", f"{info.multiply_adds:,}")
    return (
        *(f"`{info.name}`", *counts, _paper_error(info)),
        f"{published.top1_error:.2f}" if published else "none",
        _measured_here(info),
        ", ".join(f"`{tag}`" for tag in tags) or "none",
    )


def _paper_error(info):
    """The paper's top-1 error, of the default option where it gives one."""
    protocol = paper.TEN_CROP if info.dataset == "imagenet" else paper.SINGLE_VIEW
    for shortcut in dict.fromkeys((info.shortcut, *paper.OPTIONS)):
        if found := paper.errors(info.name, shortcut, protocol):
            option = f" ({shortcut})" if protocol == paper.TEN_CROP and shortcut else ""
            return f"{found.top1}{option}"
    return "not given"


def _measured_here(info):
    """The top-1 errors of results.json, with their data set."""
    rows = [row for entry in info.weights for row in entry.measured]
    return (
        ", ".join(f"{100 * r['top1_error']:.2f} on {r['dataset']}" for r in rows) or "not measured"
    )


def counts_table(found: Sequence[information.ModelInfo]) -> str:
    """docs/models.md's table: options and counts beside the paper's."""
    head = ("network", "data", "shortcut", "parameters", "(paper)", "multiply-adds", "(paper)")
    lines = [
        (
            *(f"`{info.name}`", info.dataset, info.shortcut or "none"),
            *(f"{info.parameters:,}", info.paper_parameters),
            *(f"{info.multiply_adds:,}", info.paper_multiply_adds),
        )
        for info in found
    ]
    return markdown(Table("", head, lines))


# Pages with a table between marks, and what makes it.
TABLES = {"README.md": models_table, "docs/models.md": counts_table}
_MARKED = re.compile(r"(?<=<!-- networks -->\n).*?(?=<!-- /networks -->)", re.DOTALL)


def with_tables(root: Path) -> dict[str, str]:
    """The pages of `TABLES` by path, with their tables made anew; builds every network."""
    found = [information.info(row.name) for row in networks.PACKAGED]  # and no registered ones
    made = {}
    for path, table in TABLES.items():
        text, count = _MARKED.subn(lambda _, table=table: f"{table(found)}\n", _read(root, path))
        if count != 1:
            raise InputError(f"{path} has {count} tables between its marks, and not one.")
        made[path] = text
    return made


def _read(root, path):
    return (root / path).read_text()


def pages() -> dict[str, str]:
    """Every page that is generated as a whole, by its path in a checkout."""
    from resnet_keras.networks.counts import count_parameters

    made = {"RESULTS.md": results()}
    for entry in ENTRIES.values():
        if entry.recipe:
            text = cards.card(entry, count_parameters(building.get(entry.model, weights=entry.tag)))
            made[f"zoo/cards/{entry.model}_{entry.tag}.md"] = text
    return made


def main() -> None:
    """Writes the pages into the checkout that this file is in."""
    root = FOLDER.parent
    if not (root / "pyproject.toml").exists():
        raise InputError(f"{root} is no checkout of resnet_keras: there are no pages to write.")
    for path, text in {**pages(), **with_tables(root)}.items():
        write_atomically(root / path, text)
        print(path)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
