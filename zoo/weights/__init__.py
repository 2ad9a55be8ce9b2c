"""Weight files of every origin: found, checked, loaded into a network, and written."""

from . import (
    architecture,
    assignment,
    download,
    file,
    finding,
    foreign,
    formats,
    hdf5,
    layouts,
    own,
    pickles,
    provenance,
    publish,
    record,
    resnets,
    wrappers,
)
from .file import WeightsFile
from .finding import find, read, resolve
from .own import save

__all__ = [
    "WeightsFile",
    "architecture",
    "assignment",
    "download",
    "file",
    "find",
    "finding",
    "foreign",
    "formats",
    "hdf5",
    "layouts",
    "own",
    "pickles",
    "provenance",
    "publish",
    "read",
    "record",
    "resnets",
    "resolve",
    "save",
    "wrappers",
]
