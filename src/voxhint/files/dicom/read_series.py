"""A folder of DICOM files as one image: one series, one stack, or a refusal that says why."""

import re
from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from voxhint.core.errors import BadFileError
from voxhint.core.grid import Grid
from voxhint.files.channel_units import odd_header
from voxhint.files.dicom.find_files import Member, files_below, read_members
from voxhint.files.dicom.headers import CAPTURE, RejectedFile
from voxhint.files.dicom.sort_slices import FEWEST, SliceGroup, sort_planes, unlike
from voxhint.files.dicom.stack import Stack, build_stack, read_stack
from voxhint.files.dicom.value_warnings import odd_slices
from voxhint.files.problems import reading

_NOTES = (".txt", ".md", ".xml", ".json", ".csv", ".html", ".pdf", ".png", ".jpg")
_SORT = (
    "keep the files of one in the folder, or make a case of each with voxhint import dicom FOLDER "
    "--out STUDY"
)
_CALLED = {"CT": ("ct",), "MR": ("mr", "mri"), "PT": ("pt", "pet")}
"""How channels of a modality are called."""

_TOLD = 4
_HEAD = 512
_LOWEST = 9  # the first character that text has: a tabulator


def _require_readable(members: Sequence[Member]) -> None:
    """Refuse a folder in which a slice may be damaged, or its place lost.

    Raises:
        BadFileError: There is one.
    """
    suffixes = {member.path.suffix for member in members if member.planes}
    for member in members:
        finding = ""
        if member.error:
            raise BadFileError(member.error)
        if member.rejected and member.rejected.mend:
            finding = f"is {member.rejected.why}; {member.rejected.mend}"
        elif member.foreign and _like_slices(member.path, suffixes):
            finding = (
                f"is {member.foreign}, and is called like the slices; copy it again, or remove it"
            )
        if finding:
            msg = f"{member.name}: {finding}"
            raise BadFileError(msg)


def _like_slices(path: Path, suffixes: Container[str]) -> bool:
    """Return whether a file is called like the slices; without a suffix, text is told apart."""
    if path.suffix not in suffixes or not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(_HEAD)
    return bool(path.suffix) or not head or min(head) < _LOWEST


def _without_captures(members: Sequence[Member]) -> list[Member]:
    """Return members whose captures are no slices where others are: dose reports, screenshots."""
    kinds = {_is_capture(member) for member in members if member.planes}
    return list(members) if len(kinds) < len((True, False)) else list(map(_no_capture, members))


def _is_capture(member: Member) -> bool:
    return any(CAPTURE in plane.kind for plane in member.planes)


def _no_capture(member: Member) -> Member:
    if not _is_capture(member):
        return member
    plane = member.planes[0]
    rejected = RejectedFile(plane.modality, f"no slice ({plane.kind})")
    return replace(member, planes=(), rejected=rejected)


def _beside(members: Sequence[Member]) -> str:
    """Return what lies beside the slices of a folder, or nothing."""
    beside = Counter(
        member.rejected.why if member.rejected else member.foreign
        for member in members
        if not member.planes and member.path.suffix.lower() not in _NOTES
    )
    return ", ".join(f"{count} {why}" for why, count in sorted(beside.items()))


def _differences(groups: Sequence[SliceGroup]) -> str:
    """Return in what the stacks of a folder differ."""
    told = []
    for kind, values in unlike(groups).items():
        known = list(dict.fromkeys(value for value in values if not value.startswith("no. ")))
        more = ", ..." if len(known) > _TOLD else ""
        told.append(f"{kind} ({', '.join(known[:_TOLD])}{more})" if known else kind)
    return ", ".join(told) or "when they were made"


def _stack(folder: Path) -> Stack:
    """Return the one stack of a folder.

    Raises:
        BadFileError: There is none, or several.
    """
    members, shut = read_members([folder], lambda _, path: path.relative_to(folder).as_posix())
    if shut:
        msg = f"{len(shut)} folders in it may not be opened; allow reading them"
        raise BadFileError(msg)
    _require_readable(members)
    members = _without_captures(members)
    planes = [plane for member in members for plane in member.planes]
    beside = _beside(members)
    if len(planes) < FEWEST:
        others = f" ({beside})" if beside else ""
        msg = (
            f"holds {len(planes)} DICOM slices with a place among {len(members)} files{others}; "
            f"give a folder of one series of CT, MR or PT slices, at least {FEWEST}"
        )
        raise BadFileError(msg)
    slices = _only(sort_planes(planes))
    stack = build_stack(slices.planes)
    told = (f"holds files that are left out ({beside}); remove them",) if beside else ()
    return replace(stack, warnings=(*told, *slices.warnings, *stack.warnings))


def _only(groups: Sequence[SliceGroup]) -> SliceGroup:
    """Return the one stack of a folder.

    Raises:
        BadFileError: There are several, or it cannot be built.
    """
    if len(groups) > 1:
        told = [f"{len(slices.planes)} of {_size(slices)}" for slices in groups[:_TOLD]]
        more = ", ..." if len(groups) > _TOLD else ""
        msg = (
            f"holds {len(groups)} stacks of slices ({', '.join(told)}{more}) that differ in "
            f"{_differences(groups)}; {_SORT}"
        )
        raise BadFileError(msg)
    (slices,) = groups
    if slices.flaw:
        raise BadFileError(slices.flaw)
    return slices


def _size(slices: SliceGroup) -> str:
    columns, rows = slices.planes[0].size
    return f"{columns} x {rows}"


_Print = tuple[tuple[str, int, int, int], ...]


def _fingerprint(folder: Path) -> _Print:
    """Return what changes where a file of a folder does."""
    prints = []
    for path in files_below(folder)[0]:
        if path.exists():
            state = path.stat()
            prints.append((str(path), state.st_size, state.st_mtime_ns, state.st_ctime_ns))
    return tuple(prints)


@lru_cache(maxsize=8)
def _opened(folder: Path, _print: _Print) -> Stack:
    """Return the stack of a folder, whose headers are parsed once while it stays as it is."""
    return _stack(folder)


def open_series(folder: Path) -> Stack:
    """Return where a DICOM series lies, and what is odd about it, from its headers.

    Pixels are read only of slices that lie in one place, to see whether they are copies.

    Args:
        folder: Holds the files of one series, frames each or all in one, in whatever folders.

    Returns:
        The stack, whose voxels `read_stack` reads.

    Raises:
        BadFileError: They make no single stack, or none that is safe to read.
    """
    with reading(folder):
        try:
            return _opened(folder, _fingerprint(folder))
        except BadFileError as error:
            msg = f"{folder.name}: {error}"
            raise BadFileError(msg) from error


def series_notes(
    folder: Path, voxels: Float32[np.ndarray, "i j k"], *, channel: str = ""
) -> tuple[str, ...]:
    """Return what is odd about the values of a series.

    Args:
        folder: Holds the files of one series.
        voxels: Its values.
        channel: What the study calls it.

    Returns:
        Each as "finding; advice".
    """
    plane = open_series(folder).planes[0]
    modality = plane.modality
    words = set(re.split("[^a-z]+", channel.lower()))
    others = {word for kind, names in _CALLED.items() if kind != modality for word in names}
    notes = odd_slices(voxels)
    if modality in _CALLED and words & others and not words & set(_CALLED[modality]):
        told = f"headers say {modality} where the channel is called '{channel}'"
        return (*notes, f"{told}; check that the channels are not swapped")
    return (*notes, *odd_header(modality, plane.traits["RescaleType"], channel))


def read_series(folder: Path) -> tuple[Float32[np.ndarray, "i j k"], Grid]:
    """Read a DICOM series.

    Args:
        folder: Holds the files of one series.

    Returns:
        The voxels in the stored unit after rescaling, and where they lie.
    """
    with reading(folder):
        stack = open_series(folder)
        return read_stack(stack), stack.grid
