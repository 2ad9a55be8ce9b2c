"""A wheel, installed and used outside the checkout; the sdist; pkgutil."""

import os
import subprocess
import sys
import tarfile
import textwrap
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    return folder


def test_wheel_holds_the_package_and_its_data(built):
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in (
        "resnet_keras/zoo/__init__.py",
        "resnet_keras/zoo/results.json",
        "resnet_keras/zoo/files/resnet20_digits.safetensors",
        "resnet_keras/zoo/cards/resnet20_digits.md",
        "resnet_keras/zoo/recipes/resnet110_cifar10.flags",
        "resnet_keras/pipelines/stream.py",
        "resnet_keras/py.typed",
        "resnet_keras/train.py",
    ):
        assert name in names
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"resnet_keras"}
    assert not [name for name in names if name.endswith((".pyi", ".pyc"))]


def test_sdist_builds_the_same_wheel(built, tmp_path):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "w")]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    (again,), (wheel,) = (tmp_path / "w").glob("*.whl"), built.glob("*.whl")
    assert zipfile.ZipFile(again).namelist() == zipfile.ZipFile(wheel).namelist()


def test_installed_wheel_works_outside_the_checkout(built, tmp_path):
    """Installed into a folder of its own, ahead of the checkout that this environment may hold."""
    (wheel,) = built.glob("*.whl")
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)  # what pip does with a pure wheel, without network
    env = {**os.environ, "PYTHONPATH": str(site)}
    code = """
        import os, runpy, sys
        import resnet_keras, resnet_keras.pipelines.stream
        from resnet_keras import zoo
        site = os.environ["PYTHONPATH"]
        assert zoo.__file__.startswith(site), zoo.__file__
        assert resnet_keras.pipelines.__file__.startswith(site)
        model = zoo.get("resnet20", weights="digits")
        assert model.output_shape == (None, 10)
        small = ["--train_steps=1", "--warmup_steps=0", "--workdir=run"]
        sys.argv = ["train", "--recipe=resnet20_digits", *small]
        runpy.run_module("resnet_keras.train", run_name="__main__", alter_sys=True)
        """
    script = [sys.executable, "-P", "-c", textwrap.dedent(code)]
    done = subprocess.run(
        script, cwd=tmp_path, env=env, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "weights.safetensors").exists()


@pytest.mark.slow
def test_walking_the_packages_ends():
    """The checkout's root is on the package's path, which could lead back to the package."""
    code = """
        import itertools, pkgutil, resnet_keras
        walked = pkgutil.walk_packages(resnet_keras.__path__, "resnet_keras.", lambda name: None)
        names = [found.name for found in itertools.islice(walked, 2000)]
        assert len(names) < 2000
        assert {"resnet_keras.zoo.weights", "resnet_keras.pipelines.stream"} <= set(names)
        """
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    script = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(script, env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
