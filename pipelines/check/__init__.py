"""Whether a copy of a data set is whole, told before a long build or run depends on it.

Each check returns findings; none of them downloads, builds or changes anything.
"""

from .archive import ARCHIVES, Archive, archives
from .boxes import boxes
from .examination import images
from .expected import EXPECTED, IMAGENET, Expected
from .finding import LISTED, Finding
from .folders import as_expected, class_folders
from .masks import label_masks
from .records import labels, prepared
from .report import IMAGENET2012, dataset_in, expected_in, findings
from .series import series

__all__ = [
    "ARCHIVES",
    "EXPECTED",
    "IMAGENET",
    "IMAGENET2012",
    "LISTED",
    "Archive",
    "Expected",
    "Finding",
    "archives",
    "as_expected",
    "boxes",
    "class_folders",
    "dataset_in",
    "expected_in",
    "findings",
    "images",
    "label_masks",
    "labels",
    "prepared",
    "series",
]
