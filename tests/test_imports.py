"""Imports point downward only, nothing in a circle, and nothing is imported before it is needed."""

import ast
import functools
import graphlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# A room imports from rooms on lower floors, and from itself.
FLOORS = [
    [
        "__init__",
        "errors",
        "facts",
        "files",
        "hosts",
        "processes",
        "tables",
        "tuning",
        "backends",
        "drawing",
    ],
    ["networks", "pipelines"],
    ["training", "zoo"],
    ["detection.backbones", "detection.statistics"],  # which segmentation has, too
    ["classification", "detection", "segmentation"],
    ["localization", "deployment"],
    ["commands"],
    ["benchmarks", "detection.flags", "segmentation.flags"],
    ["reproduction", "localization.flags"],
    [
        "train",
        "evaluate",
        "predict",
        "prune",
        "publish",
        "export",
        "benchmark",
        "report",
        "launch",
        "pipelines.__main__",
        "detection.train",
        "detection.evaluate",
        "detection.predict",
        "segmentation.train",
        "segmentation.evaluate",
        "segmentation.predict",
    ],
    ["localization.train", "localization.evaluate", "localization.predict"],
    ["reproduce"],
    ["__main__"],
    ["layers", "metrics", "optimizers", "resnet", "responses"],  # thin names, for users only
]
FOLDERS = ("resnet_keras", "pipelines", "zoo")
WITHOUT_TENSORFLOW = [
    "resnet_keras/networks/resnet.py",
    "resnet_keras/classification/metrics.py",
    "resnet_keras/deployment/__init__.py",
    "resnet_keras/deployment/exported.py",
    "resnet_keras/deployment/pruning.py",
    "resnet_keras/detection/__init__.py",
    "resnet_keras/detection/anchors.py",
    "resnet_keras/detection/losses.py",
    "resnet_keras/detection/matching.py",
    "resnet_keras/localization/__init__.py",
    "resnet_keras/localization/heads.py",
    "resnet_keras/segmentation/__init__.py",
    "resnet_keras/segmentation/scores.py",
    "resnet_keras/training/__init__.py",
    "resnet_keras/training/optimizers.py",
    "resnet_keras/training/run_folder.py",
    "resnet_keras/training/schedules.py",
    "zoo",
]


def name_of(path):
    """`training.fitting` of resnet_keras/training/fitting.py; a folder's own name is its facade."""
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    if parts[0] == "resnet_keras":
        parts = parts[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


PATHS = {name_of(path): path for d in FOLDERS for path in sorted((ROOT / d).rglob("*.py"))}


def floor_of(name):
    """The number of a module's floor, by the module itself or its room."""
    for candidate in (name, name.split(".")[0]):
        for number, rooms in enumerate(FLOORS):
            if candidate in rooms:
                return number
    raise AssertionError(f"{name} is on no floor: say in FLOORS what it may import")


def room_of(name):
    """The ground is one room; each command is its own."""
    if name in FLOORS[0]:
        return "ground"
    return name if floor_of(name) > floor_of("reproduction") else name.split(".")[0]


@functools.cache
def imported(name):
    """Modules of this package that a module imports, anywhere in it."""
    path = PATHS[name]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    package = package.removeprefix("__init__")
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            modules |= {n.removeprefix("resnet_keras.") for n in names if n.startswith("resnet_ke")}
        if not isinstance(node, ast.ImportFrom):
            continue
        if node.level:
            base = package.split(".") if package else []
            base = base[: len(base) - node.level + 1]
            source = ".".join([*base, *([node.module] if node.module else [])])
        elif (node.module or "").split(".")[0] == "resnet_keras":
            source = ".".join(node.module.split(".")[1:])
        else:
            continue
        for alias in node.names:
            full = f"{source}.{alias.name}".strip(".")
            modules.add(full if full in PATHS else source or "__init__")
    return modules


@pytest.mark.parametrize("name", PATHS)
def test_imports_point_downward(name):
    for other in imported(name):
        assert other in PATHS, other
        if room_of(other) != room_of(name):
            assert floor_of(other) < floor_of(name), f"{name} imports {other}"


def test_training_imports_no_task_and_no_pipeline():
    names = [name for name in PATHS if room_of(name) == "training"]
    assert len(names) > 10
    for name in names:
        rooms = {room_of(other) for other in imported(name)}
        assert rooms <= {"ground", "training"}, f"{name} imports {rooms}"


def test_nothing_imports_in_a_circle():
    graphlib.TopologicalSorter({name: imported(name) for name in PATHS}).prepare()


@pytest.mark.parametrize("name", PATHS)
def test_facades_are_for_the_outside(name):
    """A folder's `__init__` collects what is in it for others; inside, modules are imported."""
    inside = [other for other in imported(name) if name.startswith(f"{other}.")]
    assert not inside, f"{name} imports {inside}, whose part it is"


@pytest.mark.parametrize("name", WITHOUT_TENSORFLOW)
def test_networks_and_zoo_do_not_import_tensorflow(name):
    paths = (ROOT / name).rglob("*.py") if (ROOT / name).is_dir() else [ROOT / name]
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            # Under TYPE_CHECKING nothing is imported; zoo names keras there, for annotations.
            assert not any(n.split(".")[0] == "tensorflow" for n in names), path


def test_layers_import_tensorflow_only_where_its_backend_runs():
    """In the fused path, and where random draws ask for the replicas."""
    tree = ast.parse((ROOT / "resnet_keras/networks/layers.py").read_text())
    functions = [
        function.name
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import) and node.names[0].name == "tensorflow"
    ]
    assert sorted(functions) == ["_fused", "_kernel_applies", "_replicas"]
    names = [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names]
    names += [n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    assert sum(name.split(".")[0] == "tensorflow" for name in names) == 3


def test_pipelines_build_no_model():
    """Keras's image augmentation layers, in one module, are all they take from Keras."""
    for path in (ROOT / "pipelines").rglob("*.py"):
        if path.name == "modern.py":
            assert "keras.Model" not in path.read_text()
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not any(name.split(".")[0] == "keras" for name in names), path


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
