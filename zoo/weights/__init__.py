"""Weight files of every origin: found, checked, loaded into a network, and written."""

from . import (
    architecture,
    assignment,
    download,
    finding,
    foreign,
    formats,
    hdf5,
    layouts,
    pickles,
    provenance,
    publish,
    wrappers,
)
from .finding import WeightsFile, find, read, resolve, save

__all__ = [
    "WeightsFile",
    "architecture",
    "assignment",
    "download",
    "find",
    "finding",
    "foreign",
    "formats",
    "hdf5",
    "layouts",
    "pickles",
    "provenance",
    "publish",
    "read",
    "resolve",
    "save",
    "wrappers",
]
