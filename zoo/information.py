"""What the zoo has: lists of networks and weights, and what is known of each."""

import fnmatch
import html
from collections.abc import Mapping
from typing import Any, NamedTuple

from . import building, cards, entries, networks, recipes
from .entries import ENTRIES
from .entry import WeightsEntry
from .networks import NETWORKS


class ModelInfo(NamedTuple):
    """What `info` returns; `print` and notebooks show it as a table.

    `parameters` counts trainable values, `multiply_adds` those of one image of `input_shape`
    through convolutions and dense layers; both are counted on the model, the `paper_` figures are
    the paper's own words.
    """

    name: str
    dataset: str
    shortcut: str | None
    options: Mapping[str, Any]
    input_shape: tuple[int, ...]
    num_classes: int
    parameters: int
    multiply_adds: int
    paper_parameters: str | None
    paper_multiply_adds: str | None
    paper_error: str | None
    weights: tuple[WeightsEntry, ...]

    def __str__(self) -> str:
        lines = [self.name, *(f"  {label:<14} {value}" for label, value in self._rows())]
        for entry in self.weights:
            lines.append(f"\n  {_heading(entry)}")
            lines += [f"    {label:<12} {value}" for label, value in cards.facts(entry)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """A table for notebooks; what is known of each set of weights unfolds."""
        parts = [f"<strong>{html.escape(self.name)}</strong>", _table(self._rows())]
        for entry in self.weights:
            heading = html.escape(_heading(entry))
            content = _table(cards.facts(entry))
            parts.append(f"<details><summary>{heading}</summary>{content}</details>")
        return "".join(parts)

    def _rows(self):
        return [
            ("data set", f"{self.dataset}, {self.num_classes} classes"),
            ("input", _input(self.input_shape)),
            ("options", cards.listed(self.options) or "none of its own"),
            ("parameters", f"{self.parameters:,}{_paper(self.paper_parameters)}"),
            ("multiply-adds", f"{self.multiply_adds:,}{_paper(self.paper_multiply_adds)}"),
            ("paper's error", self.paper_error or "not given"),
            ("weights", ", ".join(entry.tag for entry in self.weights) or "none registered"),
        ]


def list_models(pattern: str = "*", *, pretrained: bool = False) -> list[str]:
    """Returns the names of the networks, in the paper's order.

    Args:
        pattern: shell wildcards, such as "resnet*".
        pretrained: only networks with registered weights.
    """
    trained = {model for model, _ in ENTRIES}
    return [
        name
        for name in NETWORKS
        if fnmatch.fnmatchcase(name, pattern) and (name in trained or not pretrained)
    ]


def list_weights(pattern: str = "*") -> list[tuple[str, str]]:
    """Returns (network, tag) of the registered weights of the networks that fit `pattern`."""
    return [key for key in ENTRIES if fnmatch.fnmatchcase(key[0], pattern)]


def list_recipes(pattern: str = "*") -> list[str]:
    """Returns the names of the packaged recipes, `python -m resnet_keras.train --recipe=NAME`."""
    return [name for name in recipes.names() if fnmatch.fnmatchcase(name, pattern)]


def info(name: str) -> ModelInfo:
    """Builds the network and returns its counts, beside the paper's, and its weights.

    Raises:
        InputError: unknown name.
    """
    from resnet_keras.networks.counts import count_multiply_adds, count_parameters

    network = networks.find(name)
    model = building.build(network, None)
    return ModelInfo(
        name=network.name,
        dataset=network.dataset,
        shortcut=network.shortcut,
        options=network.options,
        input_shape=model.input_shape[1:],
        num_classes=model.output_shape[-1],
        parameters=count_parameters(model),
        multiply_adds=count_multiply_adds(model),
        paper_parameters=network.paper_parameters,
        paper_multiply_adds=network.paper_multiply_adds,
        paper_error=network.paper_error,
        weights=tuple(entries.of_model(network.name)),
    )


def _input(shape):
    if len(shape) == 2:  # (length, channels)
        return f"series of {shape[0]} steps x {shape[1]} channel(s), or of another length"
    return " x ".join(map(str, shape)) + " RGB pixels, 0 to 255"


def _paper(figure):
    return f"  (paper: {figure})" if figure else ""


def _table(rows):
    lines = [
        f"<tr><th>{html.escape(label)}</th><td>{html.escape(str(value))}</td></tr>"
        for label, value in rows
    ]
    return f"<table>{''.join(lines)}</table>"


def _heading(entry):
    names = [alias for (model, alias), tag in entries.DEFAULTS.items() if model == entry.model]
    default = [alias for alias in names if entries.find(entry.model, alias) == entry]
    return f"weights={entry.tag!r}" + "".join(f", also {alias!r}" for alias in default)
