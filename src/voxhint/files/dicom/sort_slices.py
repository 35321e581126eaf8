"""Slices sorted into stacks: by series and shape, then by what tells stacks in one place apart."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from voxhint.core.errors import BadFileError
from voxhint.files.dicom.headers import Plane
from voxhint.files.dicom.pixels import PHYSICAL, plane_values
from voxhint.files.dicom.series_splitting import (
    SCAN,
    TIME,
    by_trait,
    numbered,
    split_contrast,
    told_of_each,
    told_values,
    value_of,
)
from voxhint.files.dicom.stack import SAME_MM, heights_mm, in_order, is_even, is_regular

FEWEST = 2

_NEVER_TOLD = ("patient", "series", "frame of reference", "orientation", "size")
_ANGLE = 1e-3  # direction cosines are written with about 6 digits
_THINNEST = 3  # slices of a stack that is parted from others in one place


@dataclass(frozen=True, slots=True, eq=False)
class SliceGroup:
    """Slices that belong together."""

    planes: tuple[Plane, ...]
    warnings: tuple[str, ...] = ()
    """What was left out or is odd, each as "finding; advice"."""

    flaw: str = ""
    """Why they make no stack, as "finding; advice"; empty where they do."""

    part: str = ""
    """What tells it from other stacks of its series, as "EchoTime 4.6"; empty where it is alone."""


def _alike(plane: Plane, other: Plane) -> bool:
    """Return whether two slices of one series may lie in one stack."""
    turned = float(np.abs(plane.along - other.along).max())
    zoomed = float(np.abs(plane.spacing - other.spacing).max())
    return turned <= _ANGLE and zoomed <= _ANGLE


def _grouped(planes: Iterable[Plane], key: Callable[[Plane], object]) -> list[list[Plane]]:
    """Return slices that share a key, orientation and spacing."""
    same: dict[object, list[list[Plane]]] = {}
    for plane in planes:
        groups = same.setdefault(key(plane), [])
        group = next((group for group in groups if _alike(group[0], plane)), None)
        if group is None:
            groups.append([plane])
        else:
            group.append(plane)
    return [group for groups in same.values() for group in groups]


def _look_of(plane: Plane) -> tuple[object, ...]:
    return (plane.modality, plane.kind, plane.size, plane.photometric)


def _sort_of(plane: Plane) -> tuple[object, ...]:
    return (plane.patient, *_look_of(plane))


def _scan_of(plane: Plane) -> tuple[object, ...]:
    return (*_sort_of(plane), plane.series, plane.reference)


_IDENTITIES: tuple[tuple[str, Callable[[Plane], tuple[object, ...]]], ...] = (
    ("patient", lambda plane: (*_look_of(plane), plane.series, plane.reference)),
    ("frame of reference", lambda plane: (*_sort_of(plane), plane.series)),
    ("series", lambda plane: (*_sort_of(plane), plane.traits["SeriesNumber"], plane.path.parent)),
)
"""What anonymisers may write anew in every file, and what slices share all the same."""


def _shaped(planes: Iterable[Plane]) -> list[SliceGroup]:
    """Return slices by patient, series, size, frame of reference, orientation and spacing.

    Where each slice of one geometry has a patient, a series or a frame of reference of its own,
    they tell nothing, and are passed over.
    """
    done: list[SliceGroup] = []
    left = list(planes)
    for what, key in _IDENTITIES:
        alone: list[Plane] = []
        for group in _grouped(left, key):
            scans = _grouped(group, _scan_of)
            own = len(scans)
            if own >= _THINNEST and all(len(in_order(scan)) == 1 for scan in scans):
                told = (
                    f"each of {own} slices has a {what} of its own, as some anonymisers write; "
                    "they are read as one series, check that they are"
                )
                done.append(SliceGroup(tuple(group), (told,)))
            else:
                alone += group
        left = alone
    return [*done, *(SliceGroup(tuple(group)) for group in _grouped(left, _scan_of))]


def _without_twins(planes: Sequence[Plane]) -> tuple[list[Plane], list[str]]:
    """Return slices without those that repeat another's place and values, and what to tell."""
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
    twins = len(planes) - len(kept)
    told = f"{twins} slices repeat others and are left out; remove the copies"
    return kept, [told] if twins else []


def _shares(planes: Sequence[Plane]) -> int:
    """Return how many slices lie in a place that another has taken."""
    return len(planes) - len(in_order(planes))


def _overlap(groups: Sequence[Sequence[Plane]]) -> bool:
    ends = sorted(heights_mm(group) for group in groups)
    return any(after[0] <= before[1] + SAME_MM for before, after in pairwise(ends))


def _parted(planes: Sequence[Plane]) -> list[list[Plane]]:
    """Return the stacks that an acquisition, a time or the like tells apart, or nothing.

    Stacks must overlap to be told apart: blocks that follow one another are one scan.
    """
    shared = _shares(planes) > 0
    # in MR, every second slice of one image may be measured, and numbered, after the others
    timed = shared or not is_even(planes) or planes[0].modality in PHYSICAL
    for trait in (*SCAN, *(TIME if timed else ())):
        parts = _stacks(by_trait(planes, trait))
        whole = is_regular if trait in SCAN else is_even
        if parts and ((shared and trait in SCAN) or all(map(whole, parts))):
            return parts
    return []


def _stacks(groups: Sequence[Sequence[Plane]]) -> list[list[Plane]]:
    """Return the stacks in groups, or nothing where they are none, or lie apart."""
    if len(groups) < FEWEST or min(map(len, groups)) < _THINNEST or not _overlap(groups):
        return []
    found = [_parted(group) if _shares(group) else [list(group)] for group in groups]
    return [part for several in found for part in several] if all(found) else []


def _ranked(planes: Sequence[Plane]) -> list[list[Plane]]:
    """Return the stacks of slices that share each place, in the order of their times, or nothing.

    The times of a phase differ a little from slice to slice where each heart beat is another.
    """
    places = in_order(planes)
    count = len(places[0])
    if len(places) < _THINNEST or any(len(group) != count for group in places):
        return []
    for trait in TIME:
        times = _times(places, trait)
        if times and all(len(set(one)) == count for one in times):
            orders = np.argsort(times, axis=1)
            return [
                [group[order[rank]] for group, order in zip(places, orders, strict=True)]
                for rank in range(count)
            ]
    return []


def _times(places: Sequence[Sequence[Plane]], trait: str) -> list[list[float]]:
    """Return a time of each slice, or nothing where some have none."""
    try:
        return [[float(plane.traits[trait]) for plane in group] for group in places]
    except ValueError:
        return []


def _groups(group: SliceGroup) -> list[SliceGroup]:
    """Return the stacks among slices that are alike."""
    planes, told = group.planes, group.warnings
    if len(planes) < FEWEST:
        return [_group(planes, told)]
    if parts := _parted(planes):
        return [_group(part, told) for part in parts]
    if not _shares(planes):
        return [_group(planes, told)]
    try:
        kept, twins = _without_twins(planes)
    except BadFileError as error:
        return [SliceGroup(planes, flaw=str(error))]
    parts = (_parted(kept) or _ranked(kept)) if _shares(kept) else []
    return [_group(part, (*told, *twins)) for part in parts or [kept]]


def _group(planes: Sequence[Plane], warnings: tuple[str, ...] = ()) -> SliceGroup:
    flaw = ""
    if len(planes) < FEWEST:
        flaw = "1 slice alone makes no image; add the others of its series"
    elif shared := _shares(planes):
        flaw = (
            f"{shared} of {len(planes)} slices share their place with others and differ in values, "
            "and no tag tells which belong together; keep one slice of each place"
        )
    elif bare := _without_rescale(planes):
        flaw = bare
    return SliceGroup(tuple(planes), (*warnings, *_doubts(planes)), flaw)


def _without_rescale(planes: Sequence[Plane]) -> str:
    """Return how many slices lack what scales the others, or nothing."""
    bare = [plane for plane in planes if not plane.rescaled]
    if not 0 < len(bare) < len(planes):
        return ""
    return (
        f"{len(bare)} of {len(planes)} slices have no RescaleSlope and RescaleIntercept where the "
        f"others have ({bare[0].name}); export the series again"
    )


def _doubts(planes: Sequence[Plane]) -> tuple[str, ...]:
    """Return in what the slices of one stack differ as those of two scans would."""
    doubts = []
    for trait in (*SCAN, *TIME):
        groups = by_trait(planes, trait)
        few = 1 < len(groups) <= len(planes) // 2
        least = 1 if trait in SCAN else _THINNEST
        if few and min(map(len, groups)) >= least and _overlap(groups):
            told = told_values(groups, trait)
            doubts.append(
                f"slices that differ in {trait} ({told}) lie among one another and are read as one "
                "image; check that they are of one scan"
            )
    return tuple(doubts[:1])


def unlike(groups: Sequence[SliceGroup]) -> dict[str, list[str]]:
    """Return in what stacks differ, and what each has; nothing that names anybody is told.

    Returns:
        Values by what they are of, one for each stack; numbers where they may not be told.
    """
    kinds = [_kinds(slices.planes[0]) for slices in groups]
    told = {}
    for kind in kinds[0]:
        values = [each[kind] for each in kinds]
        if len(set(values)) > 1:
            told[kind] = numbered(values) if kind in _NEVER_TOLD else values
    return told | _unlike_traits(groups)


def _kinds(plane: Plane) -> dict[str, str]:
    """Return what must be the same for slices to make one stack."""
    return {
        "patient": plane.patient,
        "series": plane.series,
        "modality": plane.modality,
        "kind of object": plane.kind,
        "size": "{} x {}".format(*plane.size),
        "frame of reference": plane.reference,
        "photometric interpretation": plane.photometric,
        "orientation": str(np.round(plane.along, 2) + 0.0),
        "pixel spacing": " x ".join(f"{step:g}" for step in plane.spacing),
    }


def _unlike_traits(groups: Sequence[SliceGroup]) -> dict[str, list[str]]:
    """Return the traits that each stack has one value of, and that differ between them."""
    told = {}
    for trait in (*SCAN, *TIME):
        values = [{value_of(plane, trait) for plane in slices.planes} for slices in groups]
        if all(len(one) == 1 for one in values) and len(set(map(frozenset, values))) > 1:
            told[trait] = told_of_each([slices.planes[0] for slices in groups], trait)
    return told


def _named(groups: Sequence[SliceGroup]) -> list[SliceGroup]:
    """Return the stacks of one series, each with what tells it from the others."""
    if len(groups) < FEWEST:
        return list(groups)
    kinds = unlike(groups) or {"order": numbered([str(number) for number in range(len(groups))])}
    return [
        replace(
            slices, part=", ".join(f"{kind} {values[number]}" for kind, values in kinds.items())
        )
        for number, slices in enumerate(groups)
    ]


def sort_planes(planes: Iterable[Plane]) -> list[SliceGroup]:
    """Sort slices into stacks.

    Args:
        planes: Of any number of series.

    Returns:
        A group for each stack, and for slices that make none; those of one series
        together.
    """
    series: dict[object, list[SliceGroup]] = {}
    for number, group in enumerate(_shaped(planes)):
        names = {plane.series for plane in group.planes}
        found = series.setdefault(number if len(names) > 1 else names.pop(), [])
        for part in split_contrast(group.planes):
            found += _groups(replace(group, planes=tuple(part)))
    return [slices for groups in series.values() for slices in _named(groups)]
