"""A detector's run that breaks off ends in the bits of one that does not."""

import random
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torture

CODE = """
    import os, sys
    from pathlib import Path
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    import detectors
    import keras, numpy as np, tensorflow as tf
    from resnet_keras import optimizers, training

    form, folder = sys.argv[1], Path(sys.argv[2])
    if form == "auto":
        tf.config.experimental.enable_op_determinism()

    def train(start_step):
        def batch(step):
            seed = tf.stack([step, 0])
            pixels = tf.random.stateless_uniform([2, 64, 96, 3], seed, 0, 256, tf.int32)
            corner = tf.random.stateless_uniform([2, 3, 2], seed, 0, 40, tf.int32)
            side = tf.random.stateless_uniform([2, 3, 2], seed, 8, 24, tf.int32)
            labels = tf.random.stateless_uniform([2, 3], seed, 0, detectors.CLASSES, tf.int32)
            boxes = tf.cast(tf.concat([corner, corner + side], -1), tf.float32)
            key = tf.stack([[step, 1], [step, 2]])
            return tf.cast(pixels, tf.uint8), {"boxes": boxes, "labels": labels, "key": key}

        steps = tf.data.Dataset.counter(start_step)
        return steps.map(lambda step: batch(tf.cast(step, tf.int32)))

    class Broken(Exception):
        pass

    class Break(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.model.optimizer.iterations == 7:
                raise Broken

    def run(name, callbacks=()):
        model = detectors.detector(roi_form=form)
        model.compile(optimizers.SGD(0.001, momentum=0.9))
        test = train(1000).take(1)
        options = {"steps": 10, "eval_every": 5, "checkpoint_every": 2, "progress": False}
        training.fit(
            model, train, test, workdir=folder / name, callbacks=list(callbacks), **options
        )
        return model.get_weights(), (folder / name / "metrics.csv").read_text().splitlines()

    weights, rows = run("undisturbed")
    try:
        run("broken", [Break()])
    except Broken:
        print("broke off")
    again, rows_again = run("broken")
    for one, two in zip(weights, again, strict=True):
        np.testing.assert_array_equal(one, two)
    names = rows[0].split(",")
    measured = [place for place, name in enumerate(names) if "loss" in name]
    assert len(measured) >= 10, names
    for one, two in zip(rows, rows_again, strict=True):
        one, two = one.split(","), two.split(",")
        assert [one[place] for place in measured] == [two[place] for place in measured]
    print("equal")
"""


@pytest.mark.slow
@pytest.mark.parametrize("form", ["auto", "matmul"])
def test_a_run_that_broke_off_ends_in_the_same_bits(tmp_path, form):
    """With TensorFlow's determinism, and, for GPUs, in the form that does without."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CODE), form, str(tmp_path)],
        check=False,
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split("\n")[-3:-1] == ["broke off", "equal"]


# An evaluation of some seconds, in bfloat16: what is trained and kept is float32 all the same.
RUN = torture.Run(
    "detection.train",
    (*torture.DETECTOR, "--eval_split=val[:80]", "--dtype=mixed_bfloat16", "--notensorboard"),
)


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("--logical_cpus=2", "--roi_form=matmul", "--masks")])
def test_kills_in_training_and_in_evaluations_change_nothing(tmp_path, more):
    """torture.py kills more."""
    run, moments = RUN._replace(flags=(*RUN.flags, *more)), random.Random(0)
    torture.run_to_end(tmp_path / "undisturbed", run)
    folder = tmp_path / "killed"
    assert torture.kill_in_evaluation(folder, run) == -signal.SIGKILL
    assert torture.in_evaluation(folder, run)
    assert torture.kill_in_evaluation(folder, run, signal.SIGTERM) == torture.PREEMPTED
    assert torture.in_evaluation(folder, run)  # which did not come to its end before
    assert torture.kill_somewhere(folder, moments, run, hurried=0) == -signal.SIGKILL
    torture.run_to_end(folder, run)
    assert torture.differences(tmp_path / "undisturbed", folder) == []
    assert "Traceback" not in (tmp_path / "log.txt").read_text()


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
