"""Links, commands, flags and names in README.md and docs/ are real; the notebooks run."""

import ast
import importlib
import inspect
import json
import re
import shlex
import statistics
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np
import pytest
from documentation import API, DETECTING, FENCED, NOTEBOOKS, PAGES, ROOT, blocks, cells

from resnet_keras.commands import shared_flags
from resnet_keras.training import replicas

COMMANDS = ("train", "evaluate", "predict", "benchmark", "pipelines", "launch", "report")
COMMANDS = (*COMMANDS, "reproduce", "publish", "prune", "export")
ROOMS = ("detection", "localization", "segmentation")
COMMANDS = (*COMMANDS, *(f"{r}.{n}" for r in ROOMS for n in ("train", "evaluate", "predict")))
OTHERS = ("CONTRIBUTING.md", "RESULTS.md", "CHANGELOG.md")
MARKDOWN = {**PAGES, **API, **{name: (ROOT / name).read_text() for name in OTHERS}}


def without_code(text):
    return re.sub(r"`[^`\n]*`", "", FENCED.sub("", text))


def anchors(text):
    """The ids of a page's headings, as GitHub and mkdocs make them."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links():
    for page, text in MARKDOWN.items():
        for target in re.findall(r"\]\(([^)\s]*)\)", without_code(text)):
            yield page, target
    for notebook in NOTEBOOKS:
        for cell in cells("markdown", notebook):
            for target in re.findall(r"\]\(([^)\s]*)\)", cell):
                yield f"docs/{notebook.name}", target


def test_links_lead_to_files_and_headings():
    count = 0
    for page, target in links():
        count += 1
        address = urlparse(target)
        if address.scheme:
            assert address.scheme == "https", (page, target)
            assert re.fullmatch(r"[\w.-]+\.\w+", address.netloc), (page, target)
            continue
        path = (ROOT / page).parent / address.path if address.path else ROOT / page
        path = path.resolve()
        assert path.is_relative_to(ROOT.resolve()), (page, target)
        assert path.is_file(), f"{page} links to {target}, which is not there"
        if address.fragment:
            assert address.fragment in anchors(path.read_text()), (page, target)
    assert count > 50


def test_a_link_to_no_heading_would_be_seen():
    assert "experiments-run-here" in anchors(MARKDOWN["RESULTS.md"])
    assert "experiments-run-there" not in anchors(MARKDOWN["RESULTS.md"])


def test_the_site_lists_every_page():
    """`mkdocs build --strict` of CI says so too, where it is installed."""
    configuration = (ROOT / "mkdocs.yml").read_text()
    for page in {*PAGES, *API} - {"README.md"}:
        assert f": {page.removeprefix('docs/')}\n" in configuration


def resolve(dotted):
    """What a dotted name below resnet_keras is."""
    parts = dotted.split(".")
    found = importlib.import_module(parts[0])
    for place, part in enumerate(parts[1:], 1):
        if not hasattr(found, part):
            importlib.import_module(".".join(parts[: place + 1]))
        found = getattr(found, part)
    return found


def test_the_api_pages_name_what_is_there():
    for page, text in API.items():
        named = re.findall(r"^::: ([\w.]+)$", text, re.MULTILINE)
        assert named, page
        for name in named:
            assert resolve(name if name.startswith("resnet_keras.") else f"resnet_keras.{name}")


def dotted(node):
    """The text of a chain of names such as zoo.get, or None."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := dotted(node.value)):
        return f"{before}.{node.attr}"
    return None


def parameters(function):
    """The names of a function's parameters; None where it takes any."""
    try:
        found = inspect.signature(function).parameters
    except ValueError:  # of a class that is written in C
        return None
    return None if any(p.kind is p.VAR_KEYWORD for p in found.values()) else set(found)


@pytest.mark.parametrize("page", sorted({page for page, _ in blocks("python")}))
def test_code_names_functions_and_arguments_that_exist(page):
    tree = ast.parse("\n".join(code for other, code in blocks("python") if other == page))
    names: dict[str, Any] = {}
    imports = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
    exec(compile(ast.Module(imports, []), page, "exec"), names)
    for node in ast.walk(tree):
        name = dotted(node)
        if name is None or name.split(".")[0] not in names:
            continue
        found = names[name.split(".")[0]]
        for part in name.split(".")[1:]:
            assert hasattr(found, part), f"{page}: there is no {name}"
            found = getattr(found, part)
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = dotted(call.func)
        if name and name.split(".")[0] in names:
            given = {keyword.arg for keyword in call.keywords} - {None}
            taken = parameters(eval(name, names))
            assert taken is None or given <= taken, f"{page}: {name} takes no {given - taken}"


def spans():
    """(page, text) of blocks for the shell, with lines joined, and of code within sentences."""
    for page, text in PAGES.items():
        for language, code in FENCED.findall(text):
            if language == "sh":
                yield from ((page, line) for line in code.replace("\\\n", " ").splitlines())
        yield from ((page, span) for span in re.findall(r"`([^`\n]+)`", FENCED.sub("", text)))


def commands():
    """(page, command, its arguments) of each command of this package."""
    for page, text in spans():
        for name, rest in re.findall(
            r"(?:python -m resnet_keras[. ]|resnet-keras )([\w.]+\w)([^|&]*)", text
        ):
            yield page, name, rest


def module_of(name):
    path = "resnet_keras.pipelines.__main__" if name == "pipelines" else f"resnet_keras.{name}"
    return importlib.import_module(path)


def test_commands_parse():
    """Every command names tasks, flags and recipes that exist."""
    seen = set()
    for page, name, text in commands():
        if name == "models":
            continue
        assert name in COMMANDS, f"{page} names the command {name}"
        seen.add(name)
        arguments = shlex.split(text)
        if name == "launch":
            place = arguments.index("--")
            chosen = [a for a in arguments if a.startswith("--command=")]
            run = chosen[0].partition("=")[2] if chosen else "train"
            shared_flags.parse(module_of(run).FLAGS, [run, *arguments[place + 1 :]])
            arguments = arguments[:place]
        if name == "reproduce" and "--" in arguments:  # flags of train
            place = arguments.index("--")
            shared_flags.parse(module_of("train").FLAGS, ["train", *arguments[place + 1 :]])
            arguments = arguments[:place]
        positional = name in ("predict", "report", "publish", "export") or name.endswith(".predict")
        if arguments and not arguments[0].startswith("-") and not positional:
            task = arguments.pop(0)
            assert task in module_of(name).TASKS
            positional = task == "responses"
        known = [a for a in arguments if not a.startswith("--flagfile")]  # of a run yet to be made
        shared_flags.parse(module_of(name).FLAGS, [name, *known], positional)
    assert seen == set(COMMANDS)


def test_flags_that_sentences_name_exist():
    known = {name for command in COMMANDS for name in module_of(command).FLAGS}
    count = 0
    for page, span in spans():
        if flag := re.match(r"'?(--(\w+))", span):
            count += 1
            name = flag.group(2)
            real = name in known or name.removeprefix("no") in known
            assert real, f"{page} names {span}"
    assert count > 50


def test_clusters_of_the_examples_are_taken(monkeypatch):
    page = PAGES["docs/machines.md"]
    (exported,) = re.findall(r"export TF_CONFIG='(.*)'", page)
    (manifest,) = re.findall(r"TF_CONFIG\n +value: >-\n(.*?)\n +resources", page, re.DOTALL)
    for text in (exported, manifest.replace("$(INDEX)", "0")):
        monkeypatch.setenv("TF_CONFIG", " ".join(text.split()))
        assert replicas.workers() == (0, 2)


def test_the_two_commands_are_what_ci_takes_apart():
    (marked,) = re.findall(r"<!-- test -->\n```sh\n(.*)\n```\n<!-- /test -->", PAGES["README.md"])
    made, installed, tested = marked.split(" && ")
    assert (made, tested) == ("python3 -m venv .venv", ".venv/bin/pytest -n 2")
    assert f"{made} && {installed.replace('test', 'digits')} && " in PAGES["README.md"]


def test_files_that_are_named_are_there():
    for page in ("CONTRIBUTING.md", ".ci/run", *PAGES):
        for path in re.findall(
            r"\b(?:tests|zoo|resnet_keras|pipelines)/[\w/]+\.\w+", (ROOT / page).read_text()
        ):
            assert (ROOT / path).exists(), f"{page} names {path}"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_hold_no_outputs(notebook):
    for cell in json.loads(notebook.read_text())["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.slow
def test_the_notebook_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for cell in cells("code"):
        exec(cell, names)
    lines = capsys.readouterr().out
    assert "seen: [2 3 4 5 6 7 8 9]  true: [2 3 4 5 6 7 8 9]" in lines
    assert names["accuracy"] > 0.9
    assert "stopped at step 30" in lines
    assert "going on from the checkpoint of step 30" in lines
    assert [row["step"] for row in names["result"].rows] == [20, 40, 60]


def _iou(a, b):
    sides = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0)
    areas = [np.prod(box[2:] - box[:2]) for box in (a, b)]
    return sides.prod() / (sum(areas) - sides.prod())


@pytest.mark.slow
def test_the_detecting_notebook_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for cell in cells("code", DETECTING):
        exec(cell, names)
    assert "the same box: True" in capsys.readouterr().out
    assert (tmp_path / "found.png").read_bytes().startswith(b"\x89PNG")
    content = json.loads(Path("my_data/annotations/instances_val.json").read_text())
    labels = [annotation["category_id"] for annotation in content["annotations"]]
    files = sorted(Path("my_data/val").iterdir())
    shown = [names["tf"].io.decode_png(file.read_bytes()) for file in files]
    found = names["model"].predict(np.stack(shown), verbose=0)["labels"][:, 0]
    assert (found == labels).mean() > 0.7  # by chance, half
    answers = names["localizer"].predict(np.stack(shown), verbose=0)
    x, y, width, height = np.transpose([one["bbox"] for one in content["annotations"]])
    boxes = np.stack([x, y, x + width, y + height], axis=-1)
    hit = [_iou(a, b) > 0.5 for a, b in zip(answers["boxes"][:, 0], boxes, strict=True)]
    assert (hit & (answers["labels"][:, 0] == labels)).mean() > 0.7
    assert names["measured"]["miou"] > 0.5  # the ground alone is 0.3
    assert (tmp_path / "mask.png").read_bytes().startswith(b"\x89PNG")


def test_the_tables_of_smaller_networks_are_of_their_runs():
    page = (ROOT / "docs" / "smaller.md").read_text()
    facts = json.loads((ROOT / "docs" / "smaller.json").read_text())
    students = {run["student"] for run in facts["distillation"]["runs"]}
    assert len(students) == 2
    for student in students:
        cells = []
        for taught in (False, True):
            runs = facts["distillation"]["runs"]
            own = [r for r in runs if (r["student"], r["taught"]) == (student, taught)]
            assert [run["seed"] for run in own] == [0, 1, 2, 3, 4]
            cells += [f"{_spread(own)} %", ", ".join(f"{r['test_error_percent']:.2f}" for r in own)]
        name, *width = student.split(", ")
        first = ", ".join([f"`{name}`", *width])
        assert f"| {first} | {' | '.join(cells)} |" in page
    for share, rounds in ((0.3, 1), (0.5, 1), (0.5, 3)):
        runs = facts["pruning"]["runs"]
        own = [run for run in runs if (run["share"], run["rounds"]) == (share, rounds)]
        each = ", ".join(f"{run['test_error_percent']:.2f}" for run in own)
        assert re.search(rf"{re.escape(_spread(own))} %\s+\({each}\)", page), (share, rounds)
    table = page[page.index("| network | file |") :].partition("\n\n")[0].splitlines()[2:]
    network = ""
    for file, line in zip(facts["files"]["files"], table, strict=True):
        _, name, kind, error, size, time, _ = (cell.strip() for cell in line.split("|"))
        network = name.replace("`", "") or network
        assert (network, kind) == (file["network"], file["file"])
        assert error == f"{file['test_error_percent']:.2f} %"
        assert size == f"{file['bytes'] / 1000:,.0f}"
        assert time == f"{file['ms']:.2f}"


def _spread(runs):
    errors = [run["test_error_percent"] for run in runs]
    return f"{statistics.fmean(errors):.2f} ± {statistics.stdev(errors):.2f}"


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
