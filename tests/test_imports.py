"""Imports point downward only, and nothing is imported before it is needed."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Each file may import files of its own rank or below; those of one rank only where listed.
RANKS = [
    ["__init__", "errors"],
    ["files", "tuning"],
    ["tables", "processes"],
    ["backends"],
    ["layers", "metrics"],
    ["resnet", "pipelines.augment"],
    ["zoo", "pipelines", "remat"],
    ["training"],
    ["optimizers", "runs"],
    ["figures"],
    ["classifier", "experiments", "imagenet_tables"],
    ["cli"],
    ["benchmark_input", "benchmark_peers"],
    ["benchmark_networks"],
    ["train", "evaluate", "benchmark", "report", "responses", "launch", "pipelines.__main__"],
    ["predict", "reproduce"],
]
# Inside a folder, from the ground.
TRAINING = [
    ["keras_patches", "schedules", "optimizers", "run_folder", "checkpoint"],
    ["replicas"],
    ["feed", "signals", "state", "environment"],
    ["callbacks"],
    ["checkpointing"],
    ["fitting"],
    ["__init__"],
]
WITHOUT_TENSORFLOW = [
    "resnet_keras/resnet.py",
    "resnet_keras/metrics.py",
    "resnet_keras/optimizers.py",
    "resnet_keras/training/__init__.py",
    "resnet_keras/training/optimizers.py",
    "resnet_keras/training/run_folder.py",
    "resnet_keras/training/schedules.py",
]
SOURCES = sorted(p for d in ("resnet_keras", "pipelines", "zoo") for p in (ROOT / d).rglob("*.py"))


def module(path):
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    if parts[0] == "resnet_keras" and len(parts) > 1:
        parts = parts[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def rank(name):
    for number, names in enumerate(RANKS):
        if name in names:
            return number
    return rank(name.rpartition(".")[0]) if "." in name else None


def internal(path):
    """Names of this package's modules that a file imports, anywhere in it."""
    package = module(path) if path.name == "__init__.py" else module(path).rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("resnet_keras."):
                    yield alias.name.removeprefix("resnet_keras.")
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
            yield full if rank(full) is not None and rank(full) != rank(source) else source or full


@pytest.mark.parametrize("path", SOURCES, ids=module)
def test_imports_point_downward(path):
    own = rank(module(path))
    assert own is not None, f"{path} has no rank: say in RANKS what it may import"
    for name in internal(path):
        if name == "__version__":
            continue
        assert rank(name) is not None, name
        same_house = name.split(".")[0] == module(path).split(".")[0]
        assert rank(name) < own or (same_house and rank(name) == own), (
            f"{module(path)} imports {name}"
        )


def test_training_imports_no_task_no_pipeline_and_nothing_in_a_circle():
    floors = {name: floor for floor, names in enumerate(TRAINING) for name in names}
    folder = ROOT / "resnet_keras/training"
    assert floors.keys() == {path.stem for path in folder.glob("*.py")}
    for path in folder.glob("*.py"):
        for name in internal(path):
            top, _, inside = name.partition(".")
            assert top not in ("pipelines", "zoo", "classifier"), f"{path} imports {name}"
            if top == "training" and inside and inside not in ("training",):
                assert floors[inside.split(".")[0]] < floors[path.stem], f"{path} imports {name}"


@pytest.mark.parametrize("name", [*WITHOUT_TENSORFLOW, "zoo"])
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
    tree = ast.parse((ROOT / "resnet_keras/layers.py").read_text())
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
