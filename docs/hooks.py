"""What mkdocs adds to the pages of this folder: RESULTS.md and the figures of the experiments.

They lie outside docs/, where pages link to them as ../RESULTS.md, which a reader of the repository
can follow. On the site they stand beside the pages.
"""

from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent
OUTSIDE = ("RESULTS.md", "CHANGELOG.md", "CONTRIBUTING.md", "zoo/experiments/*.png")


def on_files(files, config):
    """Adds the files that lie outside docs/, under their paths in the repository."""
    for pattern in OUTSIDE:
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Leads links out of docs/ to where `on_files` has put their files."""
    return markdown if "/" in page.file.src_uri else markdown.replace("](../", "](")
