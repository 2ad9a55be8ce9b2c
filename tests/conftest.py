"""What all tests share: quiet TensorFlow on two logical CPUs, and commands as users run them."""

import contextlib
import ctypes
import gc
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from resnet_keras import tune_cpu

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["KERAS_BACKEND"] = "tensorflow"
tune_cpu()  # as the commands do
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # bits and logical CPUs are what is tested

ROOT = Path(__file__).parent.parent


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Skips what oneDNN cannot do where it is held to older instructions than TensorFlow sees."""
    try:
        return (yield)
    except Exception as error:
        limited = "ONEDNN_MAX_CPU_ISA" in os.environ
        if limited and "could not create a primitive descriptor" in str(error):
            pytest.skip("oneDNN has no bfloat16 under ONEDNN_MAX_CPU_ISA")
        raise


@pytest.fixture(autouse=True, scope="module")
def _freed_memory():
    """Forgets the module's models: together they would fill a small machine."""
    yield
    if "keras" in sys.modules:
        sys.modules["keras"].utils.clear_session()


@pytest.fixture(autouse=True, scope="module")
def _default_determinism():
    """Takes back what commands that run in this process ask of TensorFlow for all that follows.

    Under op determinism other tests' streams are rewritten, with lines in the log that they count.
    """
    yield
    if "tensorflow" in sys.modules:
        from tensorflow.python.framework import config  # the public module can only turn it on

        config.disable_op_determinism()


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


@pytest.fixture
def run_on_jax():
    """Runs Python code in a process of its own, with Keras on JAX; fails with what it said."""
    pytest.importorskip("jax")

    def run(code, *arguments):
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
            check=False,
            env={**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def peak_memory():
    """Bytes by which resident memory rises while a function runs, at its peak.

    Linux resets its high-water mark on demand; elsewhere the test is skipped.
    """
    resets = Path("/proc/self/clear_refs")
    if not resets.exists():
        pytest.skip("peak memory is read from Linux's /proc")

    def resident(name):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return 1024 * int(line.split()[1])
        raise AssertionError(name)

    def measure(function):
        # Memory that was freed and kept would be taken again, and the rise not be seen.
        with contextlib.suppress(AttributeError):  # glibc's own
            ctypes.CDLL(None).malloc_trim(0)
        resets.write_text("5")
        before = resident("VmRSS")
        function()
        return resident("VmHWM") - before

    return measure


@pytest.fixture(scope="session")
def photographs(tmp_path_factory):
    """A folder of class folders: JPEGs of two kinds that a network tells apart, in odd sizes.

    "stripes" run across or down, "discs" lie on a plain ground; 24 of each in train/, 6 in val/.
    """
    import numpy as np
    import tensorflow as tf

    root = tmp_path_factory.mktemp("photographs")
    generator = np.random.default_rng(0)
    for number in range(60):
        split, kind = ("val" if number >= 48 else "train"), ("discs", "stripes")[number % 2]
        height, width = generator.integers(70, 130, 2)
        rows, columns = np.mgrid[:height, :width]
        if kind == "stripes":
            shape = (rows if number % 4 == 1 else columns) // generator.integers(4, 8) % 2
        else:
            middle, radius = generator.uniform(0.3, 0.7, 2), generator.uniform(15, 30)
            shape = np.hypot(rows - middle[0] * height, columns - middle[1] * width) < radius
        ground, ink = generator.uniform(0, 255, (2, 3))
        image = np.where(shape[..., None] > 0, ink, ground) + generator.normal(0, 5, (1, 1, 3))
        folder = root / split / kind
        folder.mkdir(parents=True, exist_ok=True)
        jpeg = tf.io.encode_jpeg(np.clip(image, 0, 255).astype("uint8"), quality=95).numpy()
        (folder / f"{number:02}.jpg").write_bytes(jpeg)
    return root


def pytest_configure(config):
    """Splits the CPU and takes what is imported for good out of Python's search for garbage."""
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        return  # with -n, its workers run the tests
    # Before anything uses a device: the CPU can be split only then.
    from resnet_keras.commands.shell import captured_stderr

    with captured_stderr():
        import keras  # noqa: F401
        import tensorflow as tf

        half = tf.config.LogicalDeviceConfiguration()
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [half, half])
        tf.config.list_logical_devices()
    gc.collect()
    gc.freeze()
