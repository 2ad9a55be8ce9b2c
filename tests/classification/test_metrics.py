"""Top-1 and top-5 error."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from resnet_keras.classification.metrics import CrossEntropy, cross_entropy, top1_error, top5_error

MEASURES = (cross_entropy, top1_error, top5_error)
LOGITS = np.eye(3, dtype="float32")
# Of three classes: negative, too large, not whole, no number, and in other shapes and types.
INVALID = [
    np.array([0, -1, 2]),
    np.array([0, 7, 2], "uint8"),
    np.array([0, 3, 2], "int64"),
    np.array([[0], [-2], [1]], "int32"),
    np.array([0, 1.5, 2], "float32"),
    np.array([0, np.nan, 2], "float32"),
]


def test_against_sorting():
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(200, 12)).astype("float32")
    labels = generator.integers(0, 12, 200)
    ranked = np.argsort(-logits, axis=1)
    np.testing.assert_array_equal(top1_error(labels, logits), ranked[:, 0] != labels)
    expected = [label not in row[:5] for label, row in zip(labels, ranked, strict=True)]
    np.testing.assert_array_equal(top5_error(labels[:, None], logits), expected)


def test_ties_and_nan_are_errors():
    logits = np.array([[1, 1, 0], [np.nan] * 3, [0, 2, 1]], "float32")
    np.testing.assert_array_equal(top1_error(np.array([0, 1, 1]), logits), [1, 1, 0])
    np.testing.assert_array_equal(top5_error(np.array([0, 1, 1]), logits), [0, 1, 0])


def untrained(**compiled):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    model.compile(keras.optimizers.SGD(0.1), loss=CrossEntropy(), **compiled)
    return model


@pytest.mark.parametrize("labels", INVALID, ids=str)
@pytest.mark.parametrize("measure", MEASURES)
def test_a_label_that_is_no_class_is_named(measure, labels):
    label = str(labels.ravel()[1])
    with pytest.raises(tf.errors.InvalidArgumentError, match="none of the classes 0 to") as error:
        measure(labels, LOGITS)
    assert f"[{label}]" in str(error.value)
    assert "[2]" in str(error.value)


@pytest.mark.parametrize("labels", INVALID, ids=str)
@pytest.mark.parametrize("measure", MEASURES)
def test_under_xla_such_a_label_makes_its_measure_nan_and_no_other(measure, labels):
    compiled = tf.function(measure, jit_compile=True)
    np.testing.assert_array_equal(np.isnan(compiled(labels, LOGITS)), [False, True, False])


@pytest.mark.parametrize("compiled", [{}, {"weighted_metrics": [top1_error]}])
def test_fit_and_evaluate_name_the_label(compiled):
    model, labels = untrained(**compiled), np.array([0, 7, 2])
    for run in (model.fit, model.evaluate):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[label\] \[7\]"):
            run(LOGITS, labels, verbose=0)


def test_fit_under_xla_reports_no_loss_of_zero():
    history = untrained(jit_compile=True).fit(LOGITS, np.array([-1, -1, 7]), verbose=0).history
    assert np.isnan(history["loss"][0])


def test_there_may_be_more_classes_than_the_labels_type_holds():
    logits = np.eye(300, dtype="float32")[:2] * 50
    np.testing.assert_array_equal(top1_error(np.array([0, 255], "uint8"), logits), [0, 1])


def test_float_labels_of_the_classes_are_labels():
    for labels in (np.array([0, 2, 1], "float32"), np.array([[0], [2], [1]], "float64")):
        for measure in MEASURES:
            whole = labels.astype("int32").ravel()
            np.testing.assert_array_equal(measure(labels, LOGITS), measure(whole, LOGITS))


@pytest.mark.slow
def test_on_jax_such_a_label_is_printed(run_on_jax):
    run_on_jax("""
        import contextlib, io, jax, keras, numpy as np
        from resnet_keras.metrics import CrossEntropy, cross_entropy, top1_error
        logits, labels = np.eye(3, dtype="float32"), np.array([0, -1, 7])
        for measure in (cross_entropy, top1_error):
            for run in (measure, jax.jit(measure)):
                assert np.isnan(run(labels, logits)).tolist() == [False, True, True]
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
        model.compile(keras.optimizers.SGD(0.1), CrossEntropy(), metrics=[top1_error])
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            history = model.fit(logits, labels, shuffle=False, verbose=0).history
            jax.effects_barrier()
        assert np.isnan(history["loss"][0]), history
        assert "label -1 is none of the classes 0 to 2" in said.getvalue(), said.getvalue()
        """)


def test_keras_averages_it_over_unequal_batches():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Identity()])
    model.compile(loss="sparse_categorical_crossentropy", metrics=[top1_error])
    logits = np.eye(3)[[0, 1, 2, 0, 1]]
    labels = np.array([0, 1, 2, 1, 0])
    result = model.evaluate(logits, labels, batch_size=3, verbose=0, return_dict=True)
    assert result["top1_error"] == pytest.approx(2 / 5)


def test_label_smoothing_spreads_a_share_over_all_classes():
    """Szegedy et al. 2015, Sec. 7: the label's probability is 1 - e + e / K, the others' e / K."""
    logits = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    labels = np.array([0, 3, 1, 2, 2])
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    target = np.full((5, 4), 0.2 / 4)
    target[np.arange(5), labels] += 0.8
    expected = -(target * logs).sum(axis=1).mean()
    for given in (labels, np.eye(4, dtype="float32")[labels]):
        assert float(CrossEntropy(0.2)(given, logits)) == pytest.approx(expected, rel=1e-5)
        plain = float(np.mean(cross_entropy(given, logits)))  # what is logged
        assert plain == pytest.approx(-logs[np.arange(5), labels].mean(), rel=1e-5)


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
