"""The pages of the documentation, for the tests that read, resolve and run them."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}
API = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in sorted((ROOT / "docs" / "api").glob("*.md"))
}
NOTEBOOKS = sorted((ROOT / "docs").glob("*.ipynb"))
NOTEBOOK = ROOT / "docs" / "quickstart.ipynb"
DETECTING = ROOT / "docs" / "detecting.ipynb"
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(language: str) -> list[tuple[str, str]]:
    """(page, text) of each block of code in a language."""
    return [
        (page, code)
        for page, text in PAGES.items()
        for name, code in FENCED.findall(text)
        if name == language
    ]


def block(language: str, containing: str) -> str:
    """The only block with this in it."""
    (only,) = (code for _, code in blocks(language) if containing in code)
    return only


def cells(kind: str, notebook: Path = NOTEBOOK) -> list[str]:
    """A notebook's cells of a kind, "code" or "markdown"."""
    found = json.loads(notebook.read_text())["cells"]
    return ["".join(cell["source"]) for cell in found if cell["cell_type"] == kind]
