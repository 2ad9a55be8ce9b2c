"""The paper's experiments on CIFAR-10, and on digits: which networks are trained, what is told.

An experiment is a list of `Member`s, each a run of `train` by a packaged recipe; the tables are
made of what their folders hold, the paper's numbers beside. Imports no TensorFlow.
"""

import re
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from resnet_keras import zoo
from resnet_keras.errors import InputError
from resnet_keras.tables import NOT_RUN, Table, percent, spread
from resnet_keras.zoo import paper

from . import families, runs, studies
from .monitor import TEST, TRAINING
from .runs import Run

DATASETS = ("digits", "cifar10", "fashion_mnist")
SCALES = ("paper", "quick")
EXPERIMENTS = (
    *("degradation", "shortcuts", "responses", "depth", families.EXPERIMENT, "lesion"),
    *studies.STUDIES,
)
# Layers of the deepest plain network: of Fig. 7; and of those that learn anything.
_DEEPEST_PLAIN = {"responses": 56, "lesion": 20}

_DEPTHS = {
    "paper": {
        "degradation": (20, 32, 44, 56, 110),  # Fig. 6
        "shortcuts": (56,),
        "responses": (20, 56, 110),  # Fig. 7
        "depth": (20, 32, 44, 56, 110),  # Table 6; 1202 where it is asked for
        families.EXPERIMENT: tuple(families.BY_DEPTH),
        "lesion": (20, 56, 110),
    },
    "quick": {
        "degradation": (20, 56),
        "shortcuts": (20,),
        "responses": (20, 56),
        "depth": (20, 56),
        families.EXPERIMENT: (20,),
        "lesion": (20, 56),
    },
}
# Of full length, where it would take days here.
_SMALLER_DEPTHS = {
    "fashion_mnist": {
        "degradation": (20, 32, 44, 56),
        "shortcuts": (20,),
        "responses": (20, 56),
        "depth": (20, 32, 44, 56),
        "lesion": (20, 56),
    }
}
# How many images there are, by data set and split.
_IMAGES = {
    "digits": {"trainval": 1437, "test": 360, "trainval[:10%]": 144, "trainval[10%:]": 1293},
    "cifar10": {"trainval": 50_000, "test": 10_000, "trainval[:1000]": 1000},
    "fashion_mnist": {"trainval": 60_000, "test": 10_000, "trainval[:1000]": 1000},
}
_SEEDS = {"paper": (0, 1, 2), "quick": (0,)}
# What is shorter in quick runs, which show how an experiment goes and not what it gives.
_FLAGS = {
    ("cifar10", "quick"): ("--train_steps=6400", "--boundaries=3200,4800", "--eval_every=400"),
    ("digits", "quick"): ("--train_steps=300",),
    ("fashion_mnist", "quick"): ("--train_steps=300", "--boundaries=150,225"),
}


class Member(NamedTuple):
    """A run of an experiment; `shortcut` is None for the network's own option.

    `setting` is one of a study, None of other experiments.
    """

    network: str
    shortcut: str | None
    seed: int
    setting: str | None = None

    @property
    def group(self) -> str:
        """What the runs of all seeds are called."""
        return "-".join(filter(None, (self.network, self.shortcut, self.setting)))

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.group}-seed{self.seed}"


def depths(experiment: str, dataset: str, scale: str) -> tuple[int, ...]:
    """The depths that an experiment has by default."""
    if experiment in studies.STUDIES:
        return studies.STUDIES[experiment].depths[scale]
    smaller = _SMALLER_DEPTHS.get(dataset, {}) if scale == "paper" else {}
    return smaller.get(experiment, _DEPTHS[scale][experiment])


def seeds(experiment: str, scale: str) -> tuple[int, ...]:
    """The seeds that an experiment has by default."""
    study = studies.STUDIES.get(experiment)
    return (study.seeds if study else _SEEDS)[scale]


def images(dataset: str, some: Sequence[Run]) -> str:
    """Says on what runs were trained and tested; how many images, where it is a usual split."""
    trained = "/".join(sorted({run.flags.get("train_split", "trainval") for run in some}))
    known = _IMAGES.get(dataset, {})
    counts = [f"{known[s]:,}" if s in known else s for s in (trained, runs.eval_split(some))]
    return f"Training images: {counts[0]}. Test images: {counts[1]}."


def members(
    experiment: str, dataset: str, depths: Sequence[int], seeds: Sequence[int]
) -> list[Member]:
    """Lists the runs of an experiment, all networks of one seed after those of another.

    Raises:
        InputError: there is no network of a depth, or no weights that a setting starts from.
    """
    kinds = [kind for depth in depths for kind in _networks(experiment, depth)]
    for network, _ in kinds:
        if zoo.networks.find(network).dataset != "cifar10":
            raise InputError(f"{network} is a network for ImageNet: depths are 20, 32, 44, ...")
    study = studies.STUDIES.get(experiment)
    settings = [s.name for s in study.settings_of(dataset)] if study else [None]
    for network, _ in kinds:
        for setting in study.settings_of(dataset) if study else ():
            if setting.weights and (network, setting.weights) not in zoo.ENTRIES:
                raise InputError(
                    f"{network} has no weights {setting.weights}, from which {experiment} "
                    f"trains it once ({setting.words}): leave its depth out."
                )
    return [Member(*kind, seed, s) for seed in seeds for kind in kinds for s in settings]


def _networks(experiment, depth):
    """(network, shortcut) of each network of one depth."""
    if experiment == families.EXPERIMENT:
        return [(network, None) for network in families.beside(depth)]
    if experiment in studies.STUDIES:
        return [(f"{kind}{depth}", None) for kind in studies.STUDIES[experiment].kinds]
    plain, residual = (f"plain{depth}", None), (f"resnet{depth}", None)
    if experiment == "shortcuts":
        return [residual, *((f"resnet{depth}", option) for option in ("B", "C"))]
    if experiment == "depth" or depth > _DEEPEST_PLAIN.get(experiment, depth):
        return [residual]
    return [plain, residual]


def arguments(member: Member, experiment: str, dataset: str, scale: str) -> list[str]:
    """The flags with which `train` makes a member of an experiment.

    Raises:
        InputError: the depth has no recipe.
    """
    recipe, model = f"{member.network}_{dataset}", []
    if member.network in families.FOLLOWING:  # whatever recipe they have of their own
        recipe, model = f"{families.RECIPE}_{dataset}", [f"--model={member.network}"]
    if recipe not in zoo.recipes.names():
        kind = member.network.rstrip("0123456789")
        matches = (re.fullmatch(rf"{kind}(\d+)_{dataset}", name) for name in zoo.recipes.names())
        known = sorted(int(match[1]) for match in matches if match)
        raise InputError(
            f"There is no recipe for {member.network} on {dataset}: it has "
            f"{', '.join(map(str, known))} layers."
        )
    return [
        f"--recipe={recipe}",
        *model,
        *([f"--shortcut={member.shortcut}"] if member.shortcut else []),
        f"--seed={member.seed}",
        *_of_setting(member, experiment, dataset),
        *_FLAGS.get((dataset, scale), ()),
    ]


def _of_setting(member, experiment, dataset):
    study = studies.STUDIES.get(experiment)
    if study is None:
        return ()
    (setting,) = (s for s in study.settings_of(dataset) if s.name == member.setting)
    return (*study.shared.get(dataset, ()), *setting.flags)


def read(
    folder: Path, members: Sequence[Member], failed: Collection[str] = ()
) -> dict[Member, Run]:
    """Reads the runs of the members that have begun.

    Args:
        folder: of the members' folders.
        members: to look for.
        failed: names of those that were just seen to fail, begun or not.

    Raises:
        InputError: a file cannot be read, or is not what `train` writes.
    """
    return runs.of_members(folder, members, failed, (TRAINING, TEST), "train")


def groups(members: Sequence[Any], begun: Mapping[Any, Run]) -> dict[str, list[Run]]:
    """The runs of each network by the name of its group; an empty list for one not begun.

    Args:
        members: all runs, `Member`s of this module or of `detection`.
        begun: those that have.
    """
    grouped: dict[str, list[Run]] = {member.group: [] for member in members}
    for member in members:
        if member in begun:
            grouped[member.group].append(begun[member])
    return grouped


def layers_of(group: str) -> int:
    """How many layers the network of a group has, such as 56 of "resnet56-B"."""
    return int(re.sub(r"\D", "", group.split("-")[0]))


def degradation(grouped: Mapping[str, list[Run]]) -> list[Table]:
    """Plain beside residual networks of several depths (Fig. 6)."""
    rows = []
    for kind in ("plain", "resnet"):
        for group in grouped:
            if group.startswith(kind):
                rows.append((group, _paper(group), *_errors(grouped[group])))
    title = "Plain and residual networks: error in %"
    return [Table(title, ("network", "paper, CIFAR-10", *_ERRORS), rows)]


def shortcuts(grouped: Mapping[str, list[Run]]) -> list[Table]:
    """Options A, B and C (Table 3)."""
    rows = []
    for group, some in grouped.items():
        network, _, option = group.partition("-")
        theirs = paper.errors("resnet34", option or "A", paper.TEN_CROP)
        errors = f"{theirs.top1} / {theirs.top5}" if theirs else None
        rows.append((network, option or "A", _parameters(some), errors, *_errors(some)))
    head = ("network", "option", "parameters", "paper: ResNet-34, ImageNet, top-1 / top-5")
    return [Table("Shortcut options: error in %", (*head, *_ERRORS), rows)]


def paper_shortcuts() -> dict[str, float]:
    """The paper's top-1 error in % of ResNet-34 on ImageNet, by option (Table 3)."""
    theirs = {o: paper.errors("resnet34", o, paper.TEN_CROP) for o in paper.OPTIONS}
    return {option: float(errors.top1) for option, errors in theirs.items() if errors}


def depth(grouped: Mapping[str, list[Run]], dataset: str) -> list[Table]:
    """Residual networks of several depths (Table 6); ResNet-1202 is told of, run or not."""
    rows = []
    for group, some in {**grouped, "resnet1202": grouped.get("resnet1202", [])}.items():
        errors = runs.final(some, TEST)
        own = [_public(group)] if dataset == "cifar10" else []
        best = percent(min(errors, default=None))
        rows.append((group, _paper_parameters(group), _paper(group), *own, *_errors(some), best))
    public = ["akamaster's weights"] if dataset == "cifar10" else []
    head = ("network", "paper: parameters", "paper, CIFAR-10", *public, *_ERRORS, "best")
    return [Table("Residual networks by depth: error in %", head, rows)]


def responses(
    grouped: Mapping[str, list[Run]], deviations: Mapping[str, Sequence[Mapping[str, float]]]
) -> list[Table]:
    """Standard deviations of the layers' responses (Fig. 7).

    Args:
        grouped: as of `groups`.
        deviations: of `responses.standard_deviations`, for each run of a group.
    """
    rows = []
    for group, some in grouped.items():
        by_run = [list(layers.values()) for layers in deviations.get(group, ())]
        figures = [(statistics.fmean(s), statistics.median(s), max(s)) for s in by_run]
        means = [statistics.fmean(column) for column in zip(*figures, strict=True)]
        texts = [f"{mean:.3f}" for mean in means] or [NOT_RUN] * 3
        single = ", ".join(f"{mean:.3f}" for mean, _, _ in figures) or NOT_RUN
        count = str(len(by_run[0])) if by_run else NOT_RUN
        rows.append((group, count, "curves only", *texts, single, _errors(some)[1]))
    head = ("network", "3x3 layers", "paper", "mean", "median", "largest")
    title = "Standard deviations of layer responses, over the layers"
    return [Table(title, (*head, "mean of each run", "test error in %"), rows)]


def all_runs(members: Sequence[Member], begun: Mapping[Member, Run]) -> Table:
    """Every run, whatever came of it."""
    rows = []
    for member in members:
        run = begun.get(member)
        figures = [NOT_RUN] * 4
        if run and run.rows:
            last = run.rows[-1]
            errors = percent(last[TRAINING]), percent(last[TEST])
            figures = [f"{last['step']:,}", *errors, f"{last['seconds'] / 60:.1f}"]
        rows.append((member.name, runs.state(run) if run else NOT_RUN, *figures))
    head = ("run", "state", "steps", "training error", "test error", "minutes of training")
    return Table("All runs: error in %", head, rows)


def versions(some: Iterable[Run]) -> dict[str, str]:
    """What runs were made with."""
    names = ("resnet_keras", "tensorflow", "keras", "python", "device", "cpus")
    return joined([{n: r.environment[n] for n in names if n in r.environment} for r in some])


def joined(versions: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The values of each name, where they differ with a slash between them."""
    names = dict.fromkeys(name for facts in versions for name in facts)
    return {n: "/".join(sorted({str(facts[n]) for facts in versions if n in facts})) for n in names}


def curves(begun: Mapping[Member, Run]) -> dict[str, dict[str, list[float]]]:
    """The training and test errors of each run."""
    columns = {"steps": "step", "training": TRAINING, "test": TEST}
    return {
        member.name: {name: [row[column] for row in run.rows] for name, column in columns.items()}
        for member, run in begun.items()
    }


def others(dataset: str) -> dict[str, dict[int, float]]:
    """Test errors in % by depth on the same data set, by who gives them."""
    if dataset != "cifar10":
        return {}
    theirs = {f.network: f.top1 for f in paper.CIFAR10 if f.network.startswith("resnet")}
    public = {
        entry.model: entry.published.top1_error
        for entry in zoo.ENTRIES.values()
        if entry.dataset == dataset and entry.published
    }
    return {
        name: {
            zoo.networks.find(network).arguments["depth"]: float(e) for network, e in errors.items()
        }
        for name, errors in (("paper", theirs), ("akamaster's weights", public))
    }


_ERRORS = ("training error", "test error", "test error of each run")


def _errors(some):
    """The texts of `_ERRORS`."""
    test = runs.final(some, TEST)
    single = ", ".join(map(percent, test)) or NOT_RUN
    return spread(runs.final(some, TRAINING)), spread(test), single


def _paper(network):
    theirs = paper.errors(network, zoo.networks.find(network).shortcut, paper.SINGLE_VIEW)
    return theirs and theirs.told


def _paper_parameters(network):
    return zoo.networks.find(network).paper_parameters


def _parameters(some):
    known = {run.environment["parameters"] for run in some if "parameters" in run.environment}
    return "/".join(f"{int(count):,}" for count in sorted(known)) or NOT_RUN


def _public(network):
    entry = zoo.ENTRIES.get((network, "akamaster_cifar10"))
    return f"{entry.published.top1_error:.2f}" if entry else None
