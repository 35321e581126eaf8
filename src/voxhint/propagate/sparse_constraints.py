"""Constraints of a whole scan: what marks and tags say of few voxels, and of all others."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float32, Float64, Int64

from voxhint.core import UNDRAWN, Box, Diameter, Grid, Hint, LabelSet, Points, Strokes, Tag
from voxhint.core.box import corners
from voxhint.core.compact import SparseConstraints
from voxhint.propagate.constraints import draw_conclusions, nearest_voxels, open_labels, reach_of


def sparse_constraints_of(
    grid: Grid, hints: Sequence[Hint], labels: LabelSet
) -> SparseConstraints | None:
    """Lay hints onto a grid, as `constraints_of` does, where no array for each class is needed.

    Args:
        grid: Where results lie.
        hints: Hints of one case, all inside the grid.
        labels: Names of the classes.

    Returns:
        The constraints, boxes and balls as the rooms they leave; None where soft hints or ranges of
        slices speak of many voxels each in its own way, or where no label is possible.

    Raises:
        BadHintError: A hint names an unknown label.
        GridMismatchError: A stroke lies on another grid.
    """
    if not all(is_sparse(hint) for hint in hints):
        return None
    elsewhere = np.ones(len(labels.names), np.float32)
    elsewhere[_absent(hints, labels)] = 0
    if not elsewhere[1:].any():
        return None
    marks = list(_marks(grid, hints, labels))
    places = np.unique(np.concatenate([np.zeros(0, np.int64), *(at for _, at, _ in marks)]))
    proven = np.zeros((len(labels.names), len(places)), np.float32)
    for number, at, sure in marks:
        np.maximum.at(proven[number], np.searchsorted(places, at), sure)
    possible = np.repeat(elsewhere[:, None], len(places), axis=1)
    draw_conclusions(proven[..., None, None], possible[..., None, None])
    whole = any(isinstance(hint, Strokes) and hint.complete for hint in hints)
    open_ = open_labels(hints, labels)
    rooms = _rooms(grid, hints, labels)
    return SparseConstraints(places, proven, possible, elsewhere, grid, whole, open_, rooms)


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
    tags = [hint for hint in hints if isinstance(hint, Tag)]
    return [labels.number(tag.label) for tag in tags if tag.state == "absent"]


def is_sparse(hint: Hint) -> bool:
    """Return whether a hint speaks of single voxels, of a box, or of all voxels alike."""
    whole = isinstance(hint, Tag) and (hint.state != "absent" or hint.z_range_mm is None)
    return whole or isinstance(hint, Points | Strokes | Box | Diameter)


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
