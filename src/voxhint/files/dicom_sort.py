"""Slices sorted into stacks: by series and shape, then by what tells stacks in one place apart."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from voxhint.core.errors import BadFileError
from voxhint.files.dicom_headers import Plane
from voxhint.files.dicom_pixels import plane_values
from voxhint.files.dicom_stack import SAME_MM, heights_mm, in_order, is_even

FEWEST = 2

_ANGLE = 1e-3  # direction cosines are written with about 6 digits
_THINNEST = 3  # slices of a stack that is parted from others in one place


@dataclass(frozen=True, slots=True, eq=False)
class Pile:
    """Slices that belong together."""

    planes: tuple[Plane, ...]
    warnings: tuple[str, ...] = ()
    """What was left out, each as "finding; advice"."""

    flaw: str = ""
    """Why they make no stack, as "finding; advice"; empty where they do."""


def _alike(plane: Plane, other: Plane) -> bool:
    """Return whether two slices of one series may lie in one stack."""
    turned = float(np.abs(plane.along - other.along).max())
    zoomed = float(np.abs(plane.spacing - other.spacing).max())
    return turned <= _ANGLE and zoomed <= _ANGLE


def _shaped(planes: Iterable[Plane]) -> list[list[Plane]]:
    """Return slices by series, size, frame of reference, orientation and spacing."""
    same: dict[tuple[object, ...], list[list[Plane]]] = {}
    for plane in planes:
        key = (plane.series, plane.modality, plane.size, plane.reference, plane.photometric)
        groups = same.setdefault(key, [])
        group = next((group for group in groups if _alike(group[0], plane)), None)
        if group is None:
            groups.append([plane])
        else:
            group.append(plane)
    return [group for groups in same.values() for group in groups]


def _without_twins(planes: Sequence[Plane]) -> tuple[list[Plane], int]:
    """Return slices without those that repeat another's place and values, and how many did."""
    kept: list[Plane] = []
    for group in in_order(planes):
        values = dict(plane_values(group)) if len(group) > 1 else {}
        unlike = [0]
        for number in range(1, len(group)):
            repeats = any(
                np.allclose(group[number].position, group[other].position, rtol=0, atol=SAME_MM)
                and np.array_equal(values[number], values[other])
                for other in unlike
            )
            unlike += [] if repeats else [number]
        kept += [group[number] for number in unlike]
    return kept, len(planes) - len(kept)


def _parted(planes: Sequence[Plane]) -> list[list[Plane]]:
    """Return the stacks that an acquisition, a time or the like tells apart, or nothing.

    Stacks must overlap to be told apart: blocks that follow one another are one scan.
    """
    for trait in range(len(planes[0].traits)):
        parts: dict[str, list[Plane]] = {}
        for plane in planes:
            parts.setdefault(plane.traits[trait], []).append(plane)
        groups = list(parts.values())
        whole = all(len(group) >= _THINNEST and is_even(group) for group in groups)
        if len(groups) > 1 and whole and _overlap(groups):
            return groups
    return []


def _overlap(groups: Sequence[Sequence[Plane]]) -> bool:
    ends = sorted(heights_mm(group) for group in groups)
    return any(after[0] <= before[1] + SAME_MM for before, after in pairwise(ends))


def _piles(planes: list[Plane]) -> list[Pile]:
    """Return the stacks among slices that are alike."""
    if len(planes) < FEWEST or is_even(planes):
        return [_pile(planes)]
    if parts := _parted(planes):
        return [_pile(part) for part in parts]
    try:
        kept, twins = _without_twins(planes)
    except BadFileError as error:
        return [Pile(tuple(planes), flaw=str(error))]
    told = f"{twins} slices repeat others and are left out; remove the copies"
    parts = _parted(kept) if 0 < twins < len(planes) - 1 else []
    return [_pile(part, (told,) if twins else ()) for part in parts or [kept]]


def _pile(planes: Sequence[Plane], warnings: tuple[str, ...] = ()) -> Pile:
    flaw = ""
    if len(planes) < FEWEST:
        flaw = "1 slice alone makes no image; add the others of its series"
    elif shared := len(planes) - len(in_order(planes)):
        flaw = f"{shared} slices share their place with others and differ; give each series alone"
    return Pile(tuple(planes), warnings, flaw)


def sort_planes(planes: Iterable[Plane]) -> list[Pile]:
    """Sort slices into stacks.

    Args:
        planes: Of any number of series.

    Returns:
        A pile for each stack, and for each group of slices that makes none.
    """
    return [pile for group in _shaped(planes) for pile in _piles(group)]
