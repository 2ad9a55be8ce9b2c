"""What people are told of the measure by which a run is judged."""

import pytest

from resnet_keras.reproduction.monitor import Monitor, monitor_of


def test_runs_that_do_not_say_it_are_judged_by_the_least_error():
    assert monitor_of({}) == Monitor("val_top1_error", "min")
    assert monitor_of({"monitor": "val_iou", "direction": "max"}) == Monitor("val_iou", "max")


@pytest.mark.parametrize(
    ("column", "name", "value", "text"),
    [
        ("val_top1_error", "test error", 0.25, "25.00%"),
        ("val_top5_error", "test top5_error", 0.25, "25.00%"),
        ("val_mean_io_u", "test mean_io_u", 0.25, "0.25"),
        ("val_mean_squared_error", "test mean_squared_error", 12345.678, "1.235e+04"),
        ("loss", "loss", 0.123456, "0.1235"),
    ],
)
def test_only_errors_of_classifiers_are_told_in_percent(column, name, value, text):
    monitor = Monitor(column, "min")
    assert (monitor.named("test"), monitor.form.format(value)) == (name, text)
    assert monitor.is_evaluated == column.startswith("val_")


def test_the_best_value_comes_first():
    values = [0.5, 0.1, 0.9]
    assert sorted(values, key=Monitor("loss", "min").order) == [0.1, 0.5, 0.9]
    assert sorted(values, key=Monitor("val_iou", "max").order) == [0.9, 0.5, 0.1]


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
