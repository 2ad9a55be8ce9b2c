"""What a user's type checker says of the code on the pages."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from documentation import blocks

ROOT = Path(__file__).parent.parent
WRONG = """
from resnet_keras import training, zoo

zoo.get("resnet50", num_classes="ten")
training.fit(steps="many")
"""


def errors(folder, package):
    """Lines of mypy on the scripts in a folder, which see the package in another one."""
    command = [sys.executable, "-m", "mypy", "--ignore-missing-imports", "--cache-dir=cache"]
    scripts = sorted(path.name for path in folder.glob("*.py"))
    env = {**os.environ, "MYPYPATH": str(package)}
    done = subprocess.run(
        [*command, *scripts], cwd=folder, env=env, check=False, capture_output=True, text=True
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    lines = done.stdout.splitlines()
    return [line for line in lines if line.startswith(tuple(scripts)) and ": error: " in line]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["checkout", "wheel"])
def test_mypy_has_nothing_to_say_of_the_pages(tmp_path, kind):
    """With zoo and pipelines beside the package, found by stubs, and inside of it."""
    package = ROOT
    if kind == "wheel":
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
        subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
        (wheel,) = tmp_path.glob("*.whl")
        package = tmp_path / "site"
        zipfile.ZipFile(wheel).extractall(package)
    folder = tmp_path / "user"
    folder.mkdir()
    scripts: dict[str, str] = {}
    for page, code in blocks("python"):
        scripts[page] = f"{scripts.get(page, '')}\n{code}"
    for page, code in scripts.items():
        (folder / f"page_{re.sub(r'[^a-z]', '_', page.lower())}.py").write_text(code)
    (folder / "wrong.py").write_text(WRONG)
    found = errors(folder, package)
    assert [line for line in found if line.startswith("page_")] == []
    wrong = [line.split(":")[1] for line in found if line.startswith("wrong")]
    assert set(wrong) == {"4", "5"}  # so types are seen


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
