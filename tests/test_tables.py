"""Tables as text."""

import pytest

from resnet_keras.tables import NOT_RUN, Table, markdown, percent, spread


def test_errors_are_told_in_percent():
    assert percent(0.0875) == "8.75"
    assert percent(None) == NOT_RUN


def test_mean_and_sample_standard_deviation():
    assert spread([]) == NOT_RUN
    assert spread([0.0643]) == "6.43"
    # By hand: mean 2, deviations -1, 0 and 1, variance 2 / (3 - 1).
    assert spread([0.01, 0.02, 0.03]) == "2.00 ± 1.00"


def test_markdown_sets_numbers_to_the_right():
    table = Table(
        "t", ("network", "error", "note"), [("a|b", "8.75", None), ("c", NOT_RUN, "x\ny")]
    )
    assert markdown(table).splitlines() == [
        "| network | error | note |",
        "|---|---:|---|",
        "| a\\|b | 8.75 | not given |",
        "| c | not run | x y |",
    ]
    assert markdown(Table("t", ("a", "b"), [])) == "| a | b |\n|---|---|"


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
