"""Which files below a folder may be DICOM: told by how they begin, whatever they are called."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from voxhint.core.errors import BadFileError
from voxhint.files.dicom.headers import Plane, RejectedFile, read_planes
from voxhint.files.problems import reading

_HEAD = 132
_BARE = (b"\x08\x00", b"\x02\x00\x00\x00")
"""How a file begins that lacks the preamble: with group 0008, or with the group before it."""

_TABLES = ("DICOMDIR", "THUMBS.DB", "DESKTOP.INI")
"""What discs and file browsers leave beside slices."""


@dataclass(frozen=True, slots=True)
class Member:
    """What became of one file."""

    path: Path
    name: str
    """What messages call it."""

    planes: tuple[Plane, ...] = ()
    rejected: RejectedFile | None = None
    """Why a DICOM file holds no slice."""

    foreign: str = ""
    """What it is if it is no DICOM."""

    error: str = ""
    """Why it cannot be read."""


def files_below(root: Path) -> tuple[list[Path], list[OSError]]:
    """Return all files below a folder, through links, each folder once; hidden ones are left out.

    Args:
        root: Where to begin; a file is itself.

    Returns:
        The files, sorted, and the folders that may not be opened.
    """
    paths: list[Path] = [root] if root.is_file() else []
    shut: list[OSError] = []
    seen: set[str] = set()
    for folder, below, names in os.walk(root, onerror=shut.append, followlinks=True):
        place = os.path.realpath(folder)
        below[:] = [name for name in below if not name.startswith(".")]
        if place in seen:
            below.clear()
            continue
        seen.add(place)
        paths += [Path(folder) / name for name in names if _may_be_slice(name)]
    return sorted(paths), shut


def _may_be_slice(name: str) -> bool:
    return not name.startswith(".") and name.upper() not in _TABLES


def _foreign(path: Path) -> str:
    """Return what a file is that does not begin as DICOM does, or nothing."""
    if not path.is_file():  # a pipe would be waited for
        return "no DICOM"
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head[128:] == b"DICM" or head.startswith(_BARE):
        return ""
    return "no DICOM" if head else "empty"


def is_dicom(path: Path) -> bool:
    """Return whether a file begins as DICOM does."""
    return path.is_file() and not _foreign(path)


def _read_member(path: Path, name: str) -> Member:
    """Read the headers of a file, whatever it is.

    Returns:
        Its slices, or why it has none.
    """
    try:
        with reading(Path(name)):
            foreign = _foreign(path)
            found = () if foreign else read_planes(path, name)
    except BadFileError as error:
        return Member(path, name, error=str(error))
    if isinstance(found, RejectedFile):
        return Member(path, name, rejected=found)
    return Member(path, name, found, foreign=foreign)


def read_members(
    roots: Sequence[Path],
    call: Callable[[int, Path], str],
    hear: Callable[[int, int], None] = lambda _done, _all: None,
) -> tuple[list[Member], list[OSError]]:
    """Read the headers of every file below some folders.

    Args:
        roots: Where to begin.
        call: Returns what messages call a file, from its number and path.
        hear: Is told how many files of how many are read.

    Returns:
        What became of each file, and the folders that may not be opened.
    """
    found = [files_below(root) for root in roots]
    paths = [path for below, _ in found for path in below]
    told = []
    for number, path in enumerate(paths, 1):
        hear(number, len(paths))
        told.append(_read_member(path, call(number, path)))
    return told, [error for _, shut in found for error in shut]
