"""BUILD, executed with stand-ins for Bazel's functions, against the files that are there."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def build():
    """Returns the targets of BUILD: (rule, name) to its arguments."""
    targets = {}

    def rule(kind):
        def declare(**arguments):
            assert (kind, arguments["name"]) not in targets
            targets[kind, arguments["name"]] = arguments

        return declare

    def glob(include, exclude=()):
        found = {
            str(path.relative_to(ROOT))
            for pattern in include
            if pattern != "**"
            for path in ROOT.glob(pattern)
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert found or include == ["**"], f"glob({include}) finds nothing"
        return sorted(found)

    names = {kind: rule(kind) for kind in ("py_library", "py_binary", "py_test")}
    source = (ROOT / "BUILD").read_text()
    exec(
        compile(source, "BUILD", "exec"),
        {
            **names,
            "load": lambda *args: None,
            "glob": glob,
            "exports_files": lambda files: [(ROOT / f).stat() for f in files],
            "requirement": lambda package: f"@pip//{package}",
        },
    )
    return targets


def test_sources_are_the_packages_files():
    library = build()["py_library", "resnet_keras"]
    expected = {
        str(path.relative_to(ROOT))
        for folder in ("resnet_keras", "pipelines", "zoo")
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
        and not {"__pycache__", "experiments"}.intersection(path.parts)
        and path.suffix != ".pyi"
    }
    assert set(library["srcs"]) | set(library["data"]) == expected


def test_every_command_line_and_test_file_has_a_target():
    targets = build()
    commands = {
        str(path.relative_to(ROOT))
        for folder in ("resnet_keras", "pipelines", "zoo")
        for path in (ROOT / folder).rglob("*.py")
        if '__name__ == "__main__"' in path.read_text()
    } - {"zoo/weights/hdf5.py"}  # run by formats.py there only
    assert {t["main"] for (kind, _), t in targets.items() if kind == "py_binary"} == commands
    tested = {t["main"] for (kind, _), t in targets.items() if kind == "py_test"}
    assert tested == {str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py")}


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("test_*.py")), ids=lambda p: p.stem)
def test_every_test_file_runs_its_tests_as_a_program(path):
    """Bazel runs the file; without this, py_test would run nothing and pass."""
    last = ast.parse(path.read_text()).body[-1]
    assert isinstance(last, ast.If)
    assert "pytest.main([__file__])" in ast.unparse(last)


def test_requirements_are_locked():
    lock = (ROOT / "requirements_lock.txt").read_text()
    assert "://" not in lock
    locked = {line.split("==")[0] for line in lock.splitlines() if "==" in line}
    used = {d for t in build().values() for d in t.get("deps", []) if d.startswith("@pip//")}
    assert {name.removeprefix("@pip//") for name in used} <= locked


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
