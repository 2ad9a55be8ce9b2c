"""A localizer's run that is killed ends in the same bits; replicas learn the same."""

import random
import signal
import sys

import numpy as np
import pytest
import torture

from resnet_keras.localization import loading

RUN = torture.Run(
    "localization.train",
    (
        "--recipe=localization_resnet10_shapes",
        "--train_split=train[:40]",
        "--eval_split=val[:80]",
        "--batch_size=4",
        "--eval_batch_size=4",
        "--train_steps=36",
        "--eval_every=12",
        "--checkpoint_every=4",
        "--notensorboard",
    ),
)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["localizer", "rcnn", "two_replicas"])
def test_kills_change_nothing(tmp_path, kind):
    run, moments = RUN, random.Random(0)
    if kind == "two_replicas":
        run = run._replace(flags=(*run.flags, "--logical_cpus=2"))
    if kind == "rcnn":
        torture.run_to_end(tmp_path / "first", run)
        changes = ("--recipe=rcnn_resnet10_shapes", f"--localizer={tmp_path / 'first'}")
        small = ("--side=16", "--proposals=4")
        run = run._replace(flags=(*changes, *run.flags[1:], *small))
    torture.run_to_end(tmp_path / "undisturbed", run)
    folder = tmp_path / "killed"
    assert torture.kill_in_evaluation(folder, run) == -signal.SIGKILL
    assert torture.kill_in_evaluation(folder, run, signal.SIGTERM) == torture.PREEMPTED
    assert torture.kill_somewhere(folder, moments, run, hurried=0) == -signal.SIGKILL
    torture.run_to_end(folder, run)
    assert torture.differences(tmp_path / "undisturbed", folder) == []
    assert "Traceback" not in (tmp_path / "log.txt").read_text()


@pytest.mark.slow
def test_two_replicas_learn_as_one(tmp_path):
    """With normalization over both; sums in another order round elsewhere."""
    few = (*RUN.flags, "--train_steps=4", "--eval_every=4", "--schedule=step", "--warmup_steps=0")
    few = (*few, "--learning_rate=0.001", "--sync_batch_norm")
    one, two = tmp_path / "one", tmp_path / "two"
    torture.run_to_end(one, RUN._replace(flags=few))
    torture.run_to_end(two, RUN._replace(flags=(*few, "--logical_cpus=2")))
    models = [loading.load(folder, "last") for folder in (one, two)]
    for here, there in zip(*(model.weights for model in models), strict=True):
        np.testing.assert_allclose(there, here, atol=1e-4, err_msg=here.path)


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
