"""What the paper leaves open: networks that are trained in several settings, one factor at a time.

`normalization` asks what batch normalization needs of the batch (Wu and He, arXiv 1803.08494),
`shortcut_ratio` how many projections are worth their cost (Table 3 has A, B and C), and
`regularization` what lets depth pay where there are few images (Sec. 4.2 of the paper: "we use no
maxout/dropout"; "combining with stronger regularization may improve results"). `landscape` looks at
the loss around what was found, see `landscape`. Imports no TensorFlow.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from resnet_keras.tables import NOT_RUN, Table, percent, spread

from . import runs
from .monitor import TEST, TRAINING
from .runs import Run

LANDSCAPE, NORMALIZATION = "landscape", "normalization"
SHORTCUT_RATIO, REGULARIZATION = "shortcut_ratio", "regularization"


class Setting(NamedTuple):
    """How networks are trained.

    Attributes:
        name: as the group of its runs has it.
        words: in tables and figures.
        flags: of `train`.
        place: along the axis of a figure; None where it stands beside.
    """

    name: str
    words: str
    flags: tuple[str, ...] = ()
    place: float | None = None

    @property
    def weights(self) -> str | None:
        """The tag of those it starts from, if it does."""
        values = [flag.partition("=")[2] for flag in self.flags if flag.startswith("--weights=")]
        return values[0] if values else None


class Study(NamedTuple):
    """An experiment on settings.

    Attributes:
        kinds: of networks, such as "plain".
        depths: of networks, by scale.
        seeds: by scale.
        settings: in which each network is trained.
        shared: flags of `train` in all settings, by data set; its recipe's without.
        own: settings that a data set has besides.
    """

    kinds: tuple[str, ...]
    depths: Mapping[str, tuple[int, ...]]
    seeds: Mapping[str, tuple[int, ...]]
    settings: tuple[Setting, ...]
    shared: Mapping[str, tuple[str, ...]] = {}
    own: Mapping[str, tuple[Setting, ...]] = {}

    def settings_of(self, dataset: str) -> tuple[Setting, ...]:
        """The settings on a data set."""
        return (*self.settings, *self.own.get(dataset, ()))


GLOBAL_BATCH = 32  # images of a step of `normalization`
_FEW = ("--train_split=trainval[:10%]", "--eval_split=trainval[10%:]")  # 144 and 1,293 digits
_SHORT = ("--train_steps=300", "--eval_every=100", "--checkpoint_every=300")
_ON_FEW = {
    "digits": (*_FEW, *_SHORT),
    "cifar10": (
        *("--train_split=trainval[:1000]", "--train_steps=6400", "--boundaries=3200,4800"),
        "--eval_every=400",
    ),
    "fashion_mnist": ("--train_split=trainval[:1000]",),
}


def _replicas(images, norm_layer="batch"):
    count = GLOBAL_BATCH // images
    return (f"--norm_layer={norm_layer}", f"--logical_cpus={count}")


STUDIES = {
    LANDSCAPE: Study(
        kinds=("plain", "resnet"),
        depths={"paper": (20, 56), "quick": (20,)},
        seeds={"paper": (0,), "quick": (0,)},
        settings=(Setting("landscape", "trained for its landscape"),),
        # By the recipe of digits plain-56 does not learn: a tenth of its decay, for all.
        shared={"digits": ("--weight_decay=5e-4",)},
    ),
    NORMALIZATION: Study(
        kinds=("resnet",),
        depths={"paper": (20,), "quick": (20,)},
        seeds={"paper": (0, 1, 2), "quick": (0,)},
        settings=(
            *(
                Setting(f"batch{n}", f"batch, {n} images a replica", _replicas(n), n)
                for n in (32, 8, 4, 2)
            ),
            # Of any size: over all replicas it is the batch's, and 16 on a CPU take hours.
            Setting("synchronized8", "synchronized batch", _replicas(8, "synchronized"), 8),
            Setting("group", "group", ("--norm_layer=group",)),
            Setting("layer", "layer", ("--norm_layer=layer",)),
        ),
        own={
            "digits": (
                Setting(
                    "frozen",
                    "frozen, from trained weights, learning rate 0.001",
                    ("--norm_layer=frozen", "--weights=digits", "--learning_rate=0.001"),
                ),
            )
        },
        shared={
            "digits": (
                *(f"--batch_size={GLOBAL_BATCH}", "--train_steps=400", "--eval_every=100"),
                "--checkpoint_every=400",
            ),
            "cifar10": (f"--batch_size={GLOBAL_BATCH}",),
            "fashion_mnist": (f"--batch_size={GLOBAL_BATCH}",),
        },
    ),
    SHORTCUT_RATIO: Study(
        kinds=("resnet",),
        depths={"paper": (20, 32), "quick": (20,)},
        seeds={"paper": (0, 1, 2, 3, 4), "quick": (0,)},
        settings=(
            Setting("none", "none (A)", ("--shortcut=A",), 0.0),
            Setting("growing", "growing blocks (B)", ("--shortcut=B",)),
            Setting("quarter", "first quarter", ("--shortcut=A", "--projections=0.25"), 0.25),
            Setting("half", "first half", ("--shortcut=A", "--projections=0.5"), 0.5),
            Setting("all", "all blocks (C)", ("--shortcut=C",), 1.0),
        ),
        shared=_ON_FEW,
    ),
    REGULARIZATION: Study(
        kinds=("resnet",),
        depths={"paper": (20, 56), "quick": (20,)},
        seeds={"paper": (0, 1, 2), "quick": (0,)},
        settings=(
            Setting("recipe", "as the recipe"),
            Setting("dropout", "dropout 0.5 before the logits", ("--dropout=0.5",)),
            Setting("block_dropout", "dropout 0.2 in blocks", ("--block_dropout=0.2",)),
            Setting("stochastic_depth", "stochastic depth 0.5", ("--stochastic_depth=0.5",)),
            Setting("label_smoothing", "label smoothing 0.1", ("--label_smoothing=0.1",)),
            Setting("maxout", "maxout of 2 before the logits", ("--maxout=2",)),
        ),
        own={
            "digits": (
                Setting("decay5e-4", "weight decay 5e-4, a tenth", ("--weight_decay=5e-4",)),
                Setting("decay2e-2", "weight decay 2e-2, fourfold", ("--weight_decay=2e-2",)),
                # The best two of the above at 20 layers.
                Setting(
                    "smoothing_decay",
                    "label smoothing 0.1, weight decay 2e-2",
                    ("--label_smoothing=0.1", "--weight_decay=2e-2"),
                ),
            ),
            **dict.fromkeys(
                ("cifar10", "fashion_mnist"),
                (
                    Setting("decay1e-5", "weight decay 1e-5, a tenth", ("--weight_decay=1e-5",)),
                    Setting("decay4e-4", "weight decay 4e-4, fourfold", ("--weight_decay=4e-4",)),
                ),
            ),
        },
        shared=_ON_FEW,
    ),
}


def table(study: str, dataset: str, grouped: Mapping[str, Sequence[Run]]) -> Table:
    """Training and test errors of each network in each setting.

    Args:
        study: its name.
        dataset: on which.
        grouped: runs by network and setting, as "resnet20-group".
    """
    words = {setting.name: setting.words for setting in STUDIES[study].settings_of(dataset)}
    rows = []
    for group, some in grouped.items():
        network, _, setting = group.partition("-")
        test, training = runs.final(some, TEST), runs.final(some, TRAINING)
        single = ", ".join(map(percent, test)) or NOT_RUN
        rows.append((network, words[setting], _count(some), spread(training), spread(test), single))
    head = ("network", "setting", "parameters", "training error", "test error")
    title = f"{study.replace('_', ' ').capitalize()}: error in %"
    return Table(title, (*head, "test error of each run"), rows)


def _count(some):
    known = {run.environment["parameters"] for run in some if "parameters" in run.environment}
    return "/".join(f"{int(count):,}" for count in sorted(known)) or NOT_RUN


def mean_and_deviation(errors: Sequence[float]) -> tuple[float, float]:
    """Of errors; no deviation of a single one."""
    return statistics.fmean(errors), statistics.stdev(errors) if len(errors) > 1 else 0.0
