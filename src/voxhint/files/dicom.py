"""A folder of DICOM files as one image: one series, one stack, or a refusal that says why."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from voxhint.core.errors import BadFileError
from voxhint.core.grid import Grid
from voxhint.files.dicom_headers import Aside, Plane, read_planes
from voxhint.files.dicom_sort import FEWEST, Pile, sort_planes
from voxhint.files.dicom_stack import Stack, build_stack, read_stack
from voxhint.files.problems import reading

_NOTES = (".txt", ".md", ".xml", ".json", ".csv", ".html", ".pdf", ".png", ".jpg")
_SORT = "keep one in the folder, or sort them with voxhint import dicom"
_TOLD = 4


def _members(folder: Path) -> tuple[list[Plane], tuple[str, ...]]:
    """Return every slice in a folder, and a warning about what is set aside.

    Raises:
        BadFileError: A slice is damaged, or its place is lost.
    """
    planes: list[Plane] = []
    beside: Counter[str] = Counter()
    for path in sorted(folder.iterdir()):
        note = path.name.startswith(".") or path.suffix.lower() in _NOTES
        if note or path.name == "DICOMDIR" or not path.is_file():
            continue
        found = read_planes(path, path.name)
        if not isinstance(found, Aside):
            planes += found
        elif found.harmless:
            beside[found.why] += 1
        else:
            msg = f"{path.name}: is {found.why}; keep image slices of one series only"
            raise BadFileError(msg)
    told = ", ".join(f"{count} {why}" for why, count in sorted(beside.items()))
    return planes, (f"holds files that are left out ({told}); remove them",) if told else ()


def _differences(piles: Sequence[Pile]) -> str:
    """Return in what the stacks of a folder differ."""
    kinds = {
        "series": [pile.planes[0].series for pile in piles],
        "modality": [pile.planes[0].modality for pile in piles],
        "size": [_size(pile) for pile in piles],
        "frame of reference": [pile.planes[0].reference for pile in piles],
        "photometric interpretation": [pile.planes[0].photometric for pile in piles],
        "orientation": [str(np.round(pile.planes[0].along, 2)) for pile in piles],
        "pixel spacing": [str(np.round(pile.planes[0].spacing, 2)) for pile in piles],
    }
    unlike = [kind for kind, values in kinds.items() if len(set(values)) > 1]
    return ", ".join(unlike) or "acquisition, orientation or pixel spacing"


def _stack(folder: Path) -> Stack:
    """Return the one stack of a folder.

    Raises:
        BadFileError: There is none, or several.
    """
    planes, warnings = _members(folder)
    piles = sort_planes(planes)
    if len(planes) < FEWEST:
        msg = f"holds {len(planes)} DICOM slices; a series needs at least {FEWEST}"
        raise BadFileError(msg)
    if len(piles) > 1:
        told = [f"{len(pile.planes)} of {_size(pile)}" for pile in piles[:_TOLD]]
        more = ", ..." if len(piles) > _TOLD else ""
        msg = (
            f"holds {len(piles)} stacks of slices ({', '.join(told)}{more}) that differ in "
            f"{_differences(piles)}; {_SORT}"
        )
        raise BadFileError(msg)
    (pile,) = piles
    if pile.flaw:
        raise BadFileError(pile.flaw)
    stack = build_stack(pile.planes)
    return replace(stack, warnings=(*warnings, *pile.warnings, *stack.warnings))


def _size(pile: Pile) -> str:
    columns, rows = pile.planes[0].size
    return f"{columns} x {rows}"


def open_series(folder: Path) -> Stack:
    """Return where a DICOM series lies, and what is odd about it, from its headers.

    Pixels are read only of slices that lie in one place, to see whether they are copies.

    Args:
        folder: Holds the files of one series, frames each or all in one.

    Returns:
        The stack, whose voxels `read_stack` reads.

    Raises:
        BadFileError: They make no single stack, or none that is safe to read.
    """
    with reading(folder):
        try:
            return _stack(folder)
        except BadFileError as error:
            msg = f"{folder.name}: {error}"
            raise BadFileError(msg) from error


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
