"""Hints held against the images they speak of, and against each other."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float64

from voxhint.core.box import corners
from voxhint.core.grid import Grid
from voxhint.core.hints import Box, Diameter, Points, Soft, Strokes, Tag
from voxhint.core.labels import UNDRAWN, LabelSet, counts_of
from voxhint.files.hint_tables import Placed
from voxhint.files.problems import Problem

_TOUCH_MM = 1e-3
_PARALLEL = 1e-6  # the cross product of parallel edges is no axis to look along

_Corners = Float64[np.ndarray, "8 3"]


def outer_corners_mm(grid: Grid) -> _Corners:
    """Return the eight corners of the volume the voxels fill, half a step beyond the centres."""
    return grid.to_world(corners([-0.5] * 3, [n - 0.5 for n in grid.shape]))


def _box_corners_mm(box: Box) -> _Corners:
    """Return the eight corners of a box, in the order of `outer_corners_mm`."""
    return corners(box.low_mm, box.high_mm)


def _overlap(first: _Corners, second: _Corners) -> bool:
    """Return whether two slanted boxes share more than their skin.

    Two convex bodies are apart exactly if they are apart along a face normal of one of them, or
    along the cross product of an edge of each.

    Args:
        first: Corners in the order of `outer_corners_mm`.
        second: Likewise.

    Source:
        Gottschalk, Lin and Manocha 1996, "OBBTree", theorem 1 (separating axes).
    """
    edges = [np.array([body[i] - body[0] for i in (4, 2, 1)]) for body in (first, second)]
    normals = [np.cross(a, b) for sides in edges for a, b in combinations(sides, 2)]
    axes = np.array([*normals, *(np.cross(a, b) for a in edges[0] for b in edges[1])])
    lengths = np.linalg.norm(axes, axis=1)
    seen = axes[lengths > _PARALLEL] / lengths[lengths > _PARALLEL, None]
    ours, theirs = seen @ first.T, seen @ second.T
    apart = np.maximum(theirs.min(1) - ours.max(1), ours.min(1) - theirs.max(1))
    return bool((apart < -_TOUCH_MM).all())


def channel_problems(case: str, grids: Sequence[tuple[str, Grid]], where: str) -> list[Problem]:
    """Return a problem for each channel that lies apart from the first.

    Returns:
        Problems; channels on different grids that overlap are fine.
    """
    name, first = grids[0]
    return [
        Problem(
            where,
            f"case '{case}': {other} and {name} do not overlap in the world",
            "check both headers",
            case=case,
        )
        for other, grid in grids[1:]
        if not _overlap(outer_corners_mm(first), outer_corners_mm(grid))
    ]


def _far(places: Float64[np.ndarray, "n 3"], grids: Sequence[Grid]) -> Bool[np.ndarray, " n"]:
    return np.asarray(~np.any([grid.holds(places) for grid in grids], axis=0))


def _heights(grid: Grid) -> tuple[float, float]:
    corners = outer_corners_mm(grid)
    return float(corners[:, 2].min()), float(corners[:, 2].max())


def _told(place: Float64[np.ndarray, "3"]) -> str:
    return f"({', '.join(f'{value:g}' for value in place)})"


def _within(box: Box, grid: Grid) -> bool:
    """Return whether a box reaches at most a voxel beyond the heights and widths of an image.

    The image may lie aslant, and then a box along the world's axes leaves it at its corners.
    """
    outer, room = outer_corners_mm(grid), float(grid.spacing_mm.max())
    low, high = outer.min(axis=0) - room, outer.max(axis=0) + room
    return bool((box.low_mm >= low).all() and (box.high_mm <= high).all())


def _box_problem(item: Placed, box: Box, grids: Sequence[Grid]) -> Problem | None:
    corners = _box_corners_mm(box)
    if not any(_overlap(corners, outer_corners_mm(grid)) for grid in grids):
        finding = f"box of '{box.label}' does not touch the image of case '{item.case}'"
        return Problem(item.where, finding, "give world millimetres (RAS, or set frame)")
    if not any(_within(box, grid) for grid in grids):
        finding = f"box of '{box.label}' reaches beyond the image of case '{item.case}'"
        return Problem(item.where, finding, "check it; what lies outside is cut off", "warning")
    return None


def _far_problem(
    item: Placed, what: str, places: Float64[np.ndarray, "n 3"], grids: Sequence[Grid]
) -> Problem | None:
    far = _far(places, grids)
    if not far.any():
        return None
    finding = f"{what} at {_told(places[far][0])} lies outside every image of case '{item.case}'"
    return Problem(item.where, finding, "give world millimetres (RAS, or set frame)")


def _heights_problem(
    item: Placed, heights: tuple[float, float], grids: Sequence[Grid]
) -> Problem | None:
    low, high = heights
    if any(low <= top and high >= bottom for bottom, top in map(_heights, grids)):
        return None
    finding = f"heights {low:g} to {high:g} mm lie outside the image of case '{item.case}'"
    return Problem(item.where, finding, "give world z in millimetres")


def _place_problem(item: Placed, grids: Sequence[Grid]) -> Problem | None:
    """Return what is wrong with the place of one hint."""
    match item.hint:
        case Points(label=label, positions_mm=places):
            return _far_problem(item, f"point of '{label}'", places, grids)
        case Diameter(label=label, centre_mm=centre):
            return _far_problem(item, f"centre of '{label}'", centre[None], grids)
        case Box():
            return _box_problem(item, item.hint, grids)
        case Tag(z_range_mm=(low, high)):
            return _heights_problem(item, (low, high), grids)
        case Tag() | Strokes() | Soft():
            return None


def place_problems(placed: Sequence[Placed], grids: Sequence[Grid]) -> Iterator[Problem]:
    """Yield a problem for each hint of a case that lies off its images.

    Args:
        placed: Hints of one case.
        grids: The grids of its channels.

    Yields:
        Errors for hints outside, warnings for boxes partly outside.
    """
    clicks = [item.hint.positions_mm for item in placed if isinstance(item.hint, Points)]
    inside = not (clicks and _far(np.concatenate(clicks), grids).any())  # at once: there are many
    for item in placed:
        if inside and isinstance(item.hint, Points):
            continue
        if problem := _place_problem(item, grids):
            yield Problem(
                problem.where, problem.finding, problem.advice, problem.severity, item.case
            )


def _covers(absent: Tag, low: float, high: float) -> bool:
    """Return whether an absent tag speaks of all heights from `low` to `high`."""
    if absent.z_range_mm is None:
        return True
    return absent.z_range_mm[0] <= low and high <= absent.z_range_mm[1]


def _evidence(item: Placed, extent: tuple[float, float]) -> tuple[str, str, float, float] | None:
    """Return label, kind and heights between which a hint says the label is present."""
    match item.hint:
        case Tag(label=label, state="present", z_range_mm=heights):
            return label, "a tag", *(heights or extent)
        case Points(label=label, positions_mm=places):
            return label, "a point", float(places[:, 2].min()), float(places[:, 2].max())
        case Box(label=label, low_mm=low, high_mm=high):
            return label, "a box", max(float(low[2]), extent[0]), min(float(high[2]), extent[1])
        case Diameter(label=label, centre_mm=centre):
            return label, "a diameter", float(centre[2]), float(centre[2])
        case Tag() | Strokes() | Soft():
            return None


def contradictions(placed: Sequence[Placed], grids: Sequence[Grid]) -> Iterator[Problem]:
    """Yield a problem for each hint that shows a label where a tag says it is absent.

    "Present" says: somewhere between these heights. So it contradicts an absent tag only where
    that covers all of them; tags of neighbouring slices may differ.

    Args:
        placed: Hints of one case.
        grids: The grids of its channels.

    Yields:
        Errors that name both rows.
    """
    ends = [_heights(grid) for grid in grids]
    extent = (min(low for low, _ in ends), max(high for _, high in ends))
    absent = _absent(placed)
    for item in placed if absent else ():
        shown = _evidence(item, extent)
        if shown is None:
            continue
        label, kind, low, high = shown
        for other, tag in absent:
            if tag.label == label and _covers(tag, low, high):
                finding = f"{kind} shows '{label}' in case '{item.case}', {other.where} says absent"
                yield Problem(item.where, finding, "keep the one that is right", case=item.case)


def _absent(placed: Sequence[Placed]) -> list[tuple[Placed, Tag]]:
    """Return the tags that say absent."""
    tags = [(item, item.hint) for item in placed if isinstance(item.hint, Tag)]
    return [(item, tag) for item, tag in tags if tag.state == "absent"]


def _shows(drawn: Strokes, number: int, tag: Tag) -> bool:
    """Return whether a class is drawn in the slices that a tag speaks of."""
    heights = drawn.grid.to_world(np.argwhere(drawn.classes == number).astype(np.float64))[:, 2]
    low, high = tag.z_range_mm or (-np.inf, np.inf)
    return bool(((heights >= low) & (heights <= high)).any())


def drawn_problems(
    drawn: Strokes, case: str, labels: LabelSet, placed: Iterable[Placed], where: str
) -> Iterator[Problem]:
    """Yield a problem if nothing is drawn, or what is drawn contradicts a tag.

    Args:
        drawn: The voxels of one file.
        case: Whose.
        labels: The study's.
        placed: The other hints of the case.
        where: The file.

    Yields:
        Problems.
    """
    counts = counts_of(drawn.classes)
    if set(counts) <= {UNDRAWN}:
        yield Problem(where, "holds nothing drawn", "draw in it, or remove it", "warning", case)
    for item in placed:
        if not isinstance(item.hint, Tag):
            continue
        number = labels.number(item.hint.label)
        if item.hint.state == "present" and not {UNDRAWN, number} & set(counts):
            finding = f"is drawn in full without '{item.hint.label}', {item.where} says present"
            yield Problem(where, finding, "keep the one that is right", case=case)
        if item.hint.state == "absent" and _shows(drawn, number, item.hint):
            finding = f"shows '{item.hint.label}', {item.where} says absent"
            yield Problem(where, finding, "keep the one that is right", case=case)
