"""Measures detectors as the lines of the paper's Table 9 ask for it: `detection` has the lines."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from resnet_keras import __version__, zoo
from resnet_keras.commands import shell
from resnet_keras.files import write_atomically
from resnet_keras.pipelines import objects
from resnet_keras.tables import percent

from . import detection
from .detection import Measurement, Member
from .runs import Run

BATCH = 20


def measure(folder: Path, listed: Sequence[Measurement], begun: Mapping[Member, Run]) -> None:
    """Makes the measurements that are missing, and writes each as soon as it is made.

    Args:
        folder: of the runs' folders.
        listed: what is wanted; what is of a run that is not finished is left out.
        begun: of `detection.read`.

    Raises:
        InputError: a run's weights cannot be loaded.
    """
    before = detection.measured(folder, listed, begun)
    missing = {m: detection.facts(m, begun) for m in listed if m not in before}
    missing = {m: facts for m, facts in missing.items() if facts is not None}
    if missing:
        shell.announce(f"{len(missing)} measurement(s) of detectors")
        shell.start_tensorflow()
    for measurement, facts in missing.items():
        row = _measure([begun[member].weights for member in measurement.members], facts)
        write_atomically(detection.place(folder, facts), json.dumps(row, indent=1) + "\n")
        print(
            f"[{measurement.name}] AP {percent(row['ap'])}, AP50 {percent(row['ap50'])}",
            flush=True,
        )


def _measure(files: Sequence[Path | None], facts: Mapping[str, Any]) -> dict[str, Any]:
    import keras
    import tensorflow as tf

    from resnet_keras.detection import improve, loading, measuring, scores

    models = [loading.load(file) for file in files]
    for model in models:
        model.refine = facts["refine"]
    detector = models[0]
    if "scales" in facts or len(models) > 1:
        scales = {name: facts[name] for name in ("scales", "canonical_size") if name in facts}
        detector = improve.ensemble(models, **scales)
    source = objects.open_split(facts["dataset"], facts["split"])
    test = objects.evaluation_of(source, BATCH, scale=models[0].scale, device=None)
    truth, found = measuring.detections(detector, test)
    coco = scores.coco(truth, found, source.category_ids).values
    voc = {
        f"voc_{metric}": scores.voc(truth, found, len(source.class_names), metric=metric).mean
        for metric in scores.VOC_METRICS
    }
    return {
        **facts,
        "images": len(truth),
        **{name: coco[name] for name in ("ap", "ap50", "ap75")},
        **voc,
        **_counts(facts["network"], source.scale),
        "versions": {
            "resnet_keras": __version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
        },
    }


def _counts(network, sides):
    """The parameters and multiply-adds of a backbone, for an image of such sides."""
    from resnet_keras.detection import backbones  # noqa: F401  # adds its networks to the zoo
    from resnet_keras.networks.counts import count_multiply_adds, count_parameters

    backbone = zoo.backbone(network, input_shape=(*sides, 3))
    return {
        "parameters": count_parameters(backbone),
        "multiply_adds": count_multiply_adds(backbone),
    }
