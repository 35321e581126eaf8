"""Hints laid onto a grid without an array for each class: marked voxels, and all others alike."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float32, Float64, Int64

from voxhint.core import UNDRAWN, Box, Diameter, Grid, Hint, LabelSet, Points, Soft, Strokes, Tag
from voxhint.core.box import corners
from voxhint.core.sparse_constraints import SoftMask, SparseConstraints, draw_conclusions
from voxhint.propagate.constraints import nearest_voxels, open_labels, reach_of


def sparse_constraints_of(grid: Grid, hints: Sequence[Hint], labels: LabelSet) -> SparseConstraints:
    """Lay hints onto a grid, as `constraints_of` does, without an array for each class.

    Args:
        grid: Where results lie.
        hints: Hints of one case, all inside the grid.
        labels: Names of the classes.

    Returns:
        The constraints; boxes and balls as the rooms they leave.

    Raises:
        BadHintError: A hint names an unknown label.
        GridMismatchError: A drawn or soft hint lies on another grid.
    """
    elsewhere = np.ones(len(labels.names), np.float32)
    elsewhere[_absent(hints, labels)] = 0
    marks = list(_marks(grid, hints, labels))
    places = np.unique(np.concatenate([np.zeros(0, np.int64), *(at for _, at, _ in marks)]))
    nowhere = np.zeros((len(labels.names), 0), np.float32)
    whole = any(isinstance(hint, Strokes) and hint.complete for hint in hints)
    known = SparseConstraints(
        places[:0],
        nowhere,
        nowhere,
        elsewhere,
        grid,
        whole,
        open_labels(hints, labels),
        _rooms(grid, hints, labels),
        _ranges(hints, labels),
        tuple(_softs(grid, hints, labels)),
    )
    proven, possible = known.unmarked(places)
    for number, at, sure in marks:
        np.maximum.at(proven[number], np.searchsorted(places, at), sure)
    draw_conclusions(proven, possible)
    return replace(known, places=places, proven=proven, possible=possible)


def opened(constraints: SparseConstraints) -> SparseConstraints:
    """Return facts of which background leaves the open labels possible, as `leave_open` does."""
    if not constraints.open_labels:
        return constraints
    proven, possible = constraints.proven.copy(), constraints.possible.copy()
    for number in constraints.open_labels:
        possible[number] = np.maximum(possible[number], possible[0])
    proven[0] = 0
    return replace(constraints, proven=proven, possible=possible)


def _absent(hints: Sequence[Hint], labels: LabelSet) -> list[int]:
    tags = [hint for hint in hints if isinstance(hint, Tag) and hint.z_range_mm is None]
    return [labels.number(tag.label) for tag in tags if tag.state == "absent"]


def _ranges(hints: Sequence[Hint], labels: LabelSet) -> Float64[np.ndarray, "n 3"]:
    """Return between which heights tags rule labels out, as `SparseConstraints` keeps it."""
    rows = [
        (labels.number(hint.label), *hint.z_range_mm)
        for hint in hints
        if isinstance(hint, Tag) and hint.state == "absent" and hint.z_range_mm is not None
    ]
    return np.array(rows, np.float64).reshape(-1, 3)


def _softs(grid: Grid, hints: Sequence[Hint], labels: LabelSet) -> Iterator[SoftMask]:
    for hint in hints:
        if isinstance(hint, Soft):
            grid.require_same(hint.grid)
            yield SoftMask.of(labels.number(hint.label), hint.probability)


def _rooms(grid: Grid, hints: Sequence[Hint], labels: LabelSet) -> Int64[np.ndarray, "n 7"]:
    """Return where each label may be that boxes or balls hold, as `SparseConstraints` keeps it."""
    ends: dict[int, list[Float64[np.ndarray, "8 3"]]] = {}
    for hint in hints:
        if isinstance(hint, Box | Diameter):
            index = grid.to_index(corners(*reach_of(hint, grid)))
            ends.setdefault(labels.number(hint.label), []).append(index)
    rows = []
    for number, found in ends.items():
        low = np.clip(np.ceil(np.min(found, axis=(0, 1))), 0, np.array(grid.shape) - 1)
        high = np.clip(np.floor(np.max(found, axis=(0, 1))) + 1, low + 1, grid.shape)
        rows.append([number, *np.stack([low, high], 1).ravel()])
    return np.array(rows, np.int64).reshape(-1, 7)


def _marks(
    grid: Grid, hints: Sequence[Hint], labels: LabelSet
) -> Iterator[tuple[int, Int64[np.ndarray, " n"], Float32[np.ndarray, " n"]]]:
    """Yield class, flat index and sureness of the voxels that each hint marks."""
    for hint in hints:
        if isinstance(hint, Points):
            i, j, k = nearest_voxels(grid, hint.positions_mm)
            at = np.ravel_multi_index((i, j, k), grid.shape).astype(np.int64)
            yield labels.number(hint.label), at, hint.confidence.astype(np.float32)
        elif isinstance(hint, Strokes):
            grid.require_same(hint.grid)
            drawn = np.flatnonzero(hint.classes != UNDRAWN)
            classes = hint.classes.reshape(-1)[drawn]
            for number in range(len(labels.names)):
                at = drawn[classes == number]
                yield number, at, np.ones(len(at), np.float32)
