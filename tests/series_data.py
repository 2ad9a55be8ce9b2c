"""Made time series that a network tells apart in a few steps, as UCR's archive has them."""

import numpy as np

LENGTH = 24
CLASSES = ("1", "2")


def made(examples, seed):
    """Sines of one period and of three, at any phase; float64 (examples, LENGTH), and classes."""
    draws = np.random.default_rng(seed)
    labels = np.arange(examples) % 2
    phases = draws.uniform(0, 2 * np.pi, (examples, 1))
    times = np.linspace(0, 2 * np.pi, LENGTH)
    values = np.sin((1 + 2 * labels[:, None]) * times + phases)
    return values + draws.normal(0, 0.1, values.shape), [CLASSES[label] for label in labels]


def write(folder, *, train, test):
    """Writes Toy_TRAIN.tsv and Toy_TEST.tsv, with so many series, into a folder; returns it."""
    for split, examples, seed in (("TRAIN", train, 0), ("TEST", test, 1)):
        lines = [
            "\t".join([label, *(f"{value:.6f}" for value in values)])
            for values, label in zip(*made(examples, seed), strict=True)
        ]
        (folder / f"Toy_{split}.tsv").write_text("\n".join(lines) + "\n")
    return folder
