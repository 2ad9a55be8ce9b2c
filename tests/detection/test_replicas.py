"""Detectors on one, two and four replicas, and on two machines, learn the same."""

import os
import re
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import test_launch
import torture

from resnet_keras import zoo
from resnet_keras.detection import backbones as backbones  # adds its networks to the zoo
from resnet_keras.detection import loading

CODE = """
    import os, sys
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    import numpy as np, tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 4)
    import detectors
    from resnet_keras import optimizers
    from resnet_keras.detection import statistics

    kind, dtype = sys.argv[1:3]
    options = {
        "c4": {},
        "fpn": {"neck": "fpn"},
        "convolutions": {"neck": "fpn", "box_head": "convolutions"},
    }[kind]

    def batches():
        # From none to eight objects in an image; of the first batch, none in any, and of the
        # second, only in the first replica's images. A fifth step would tell no more, and after
        # twenty, sums in another order have led to other samples on some processors.
        generator = np.random.default_rng(0)
        for step in range(4):
            count = generator.integers(0, 9, 8)
            count[{0: 0, 1: 2}.get(step, 8) :] = 0
            corner = generator.integers(0, 40, (8, 8, 2))
            boxes = np.concatenate([corner, corner + generator.integers(8, 24, (8, 8, 2))], -1)
            labels = generator.integers(0, detectors.CLASSES, (8, 8))
            real = np.arange(8) < count[:, None]
            yield detectors.images(8, seed=step), {
                "boxes": np.where(real[..., None], boxes, 0).astype("float32"),
                "labels": np.where(real, labels, -1).astype("int32"),
                "crowd": real & (generator.random((8, 8)) < 0.1),
                "key": generator.integers(0, 2**31, (8, 2)).astype("int32"),
            }

    steps = list(batches())
    x, y = tf.nest.map_structure(lambda *parts: np.stack(parts), *steps)
    data = tf.data.Dataset.from_tensor_slices((x, y))

    def run(replicas):
        devices = [device.name for device in tf.config.list_logical_devices("CPU")][:replicas]
        strategy = tf.distribute.MirroredStrategy(devices, tf.distribute.ReductionToOneDevice())
        with strategy.scope():
            model = detectors.detector(dtype=dtype, **options)
            for part in (model.neck, model.box_head):
                for layer in statistics.normalizations(part) if part is not None else ():
                    layer.synchronized = True
            model.compile(optimizers.SGD(0.003, momentum=0.9, clip_norm=1.0))
        frozen = [variable.numpy() for variable in model.backbone.non_trainable_variables]
        before = model.get_weights()
        history = model.fit(data, steps_per_epoch=4, verbose=0).history
        for variable, earlier in zip(model.backbone.non_trainable_variables, frozen, strict=True):
            np.testing.assert_array_equal(variable, earlier)
        moved = max(np.abs(a - b).max() for a, b in zip(model.get_weights(), before, strict=True))
        assert moved > 1e-3, moved
        return model.get_weights(), history

    weights, history = run(1)
    for replicas in (2, 4):
        others, other_history = run(replicas)
        worst = max(np.abs(a - b).max() for a, b in zip(weights, others, strict=True))
        print(kind, dtype, replicas, "replicas: weights apart by", worst, flush=True)
        assert worst < float(sys.argv[3]), worst
        for name, (value,) in history.items():
            np.testing.assert_allclose(other_history[name], value, rtol=float(sys.argv[4]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "dtype", "apart", "losses"),
    [
        ("c4", "float32", 2e-5, 1e-4),
        ("fpn", "float32", 2e-5, 1e-4),
        ("convolutions", "float32", 2e-5, 1e-4),
        ("c4", "mixed_bfloat16", 1e-2, 0.05),  # a sum in another order rounds elsewhere
    ],
)
def test_one_two_and_four_replicas_agree(kind, dtype, apart, losses):
    """Unequal numbers of objects, batches without any, clipping, frozen statistics."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CODE), kind, dtype, str(apart), str(losses)],
        check=False,
        cwd=torture.ROOT / "tests",
        env={**os.environ, "PYTHONPATH": str(torture.ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]


RUN = torture.Run(
    "detection.train",
    (
        *torture.DETECTOR,
        "--eval_split=val[:120]",
        "--train_steps=16",
        "--eval_every=8",
        "--notensorboard",
    ),
)


@pytest.mark.slow
def test_two_machines_train_as_one_and_stop_together_in_an_evaluation(tmp_path):
    one, two, stopped = (tmp_path / name for name in ("one", "two", "stopped"))
    file = tmp_path / "backbone.safetensors"
    zoo.weights.save(file, zoo.get("resnet10_shapes", num_classes=3))
    # Its statistics are frozen: those of a batch, summed in another order, would be apart by more.
    run = RUN._replace(flags=(*RUN.flags, f"--weights={file}"))

    def start(folder):
        return test_launch.launch(folder, run.flags, "--command=detection.train")

    process = start(two)
    output = test_launch.finished(process, timeout=600)
    assert process.returncode == 0, output
    assert re.search(r"^\[0\] step 16/16 ", output, re.MULTILINE)
    assert not re.search(r"^\[1\] step", output, re.MULTILINE)
    torture.run_to_end(one, run)
    weights = [loading.load(folder, "last").get_weights() for folder in (one, two)]
    for here, there in zip(*weights, strict=True):
        np.testing.assert_allclose(there, here, atol=1e-4)
    for here, there in zip(torture.rows(one), torture.rows(two), strict=True):
        np.testing.assert_allclose(float(there["loss"]), float(here["loss"]), rtol=1e-3)
        np.testing.assert_allclose(float(there["val_ap"]), float(here["val_ap"]), atol=1e-3)

    process = start(stopped)
    while not torture.in_evaluation(stopped, run):
        assert process.poll() is None, test_launch.finished(process)
        time.sleep(0.02)
    time.sleep(1.0)
    os.killpg(process.pid, signal.SIGTERM)
    output = test_launch.finished(process)
    assert process.returncode == torture.PREEMPTED, output
    assert output.count("stopped at step 8") == 2
    assert torture.in_evaluation(stopped, run)
    process = start(stopped)
    output = test_launch.finished(process, timeout=600)
    assert process.returncode == 0, output
    assert torture.differences(two, stopped) == []


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
