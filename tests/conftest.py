"""What all tests share: quiet TensorFlow on two logical CPUs, and commands run as users run them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # bits and logical CPUs are what is tested

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True, scope="module")
def _freed_memory():
    """Forgets the module's models: together they would fill a small machine."""
    yield
    import keras

    keras.utils.clear_session()


@pytest.fixture
def mirrored():
    """A MirroredStrategy with two replicas."""
    import tensorflow as tf

    devices = [device.name for device in tf.config.list_logical_devices("CPU")]
    return tf.distribute.MirroredStrategy(devices, tf.distribute.ReductionToOneDevice())


@pytest.fixture
def command():
    """Runs `python -m resnet_keras.NAME ARGS` in a process of its own.

    Returns the finished process. The checkout is on the path, as when run from its root.
    """

    def run(name, *arguments, cwd=None, env=None, timeout=300):
        return subprocess.run(
            [sys.executable, "-m", f"resnet_keras.{name}", *map(str, arguments)],
            check=False,
            cwd=cwd or ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run


def pytest_configure(config):
    # Before anything uses a device: the CPU can be split only then.
    from resnet_keras.cli import captured_stderr

    with captured_stderr():
        import tensorflow as tf

        half = tf.config.LogicalDeviceConfiguration()
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [half, half])
        tf.config.list_logical_devices()
