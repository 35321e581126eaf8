"""Constraints of a whole scan: what marks and tags say of few voxels, and of all others."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from voxhint.core import UNDRAWN, Grid, Hint, LabelSet, Points, Strokes, Tag, Turn
from voxhint.propagate.constraints import Classes, draw_conclusions, nearest_voxels

_SHOWN = 0.5  # more than that and a voxel is a seed of its class; one class at most can have it


@dataclass(frozen=True, slots=True, eq=False)
class SparseConstraints:
    """The same as `Constraints` says, without an array for each class."""

    places: Int64[np.ndarray, " n"]
    """Flat index of each voxel that a click or a stroke marks, in order."""

    proven: Float32[np.ndarray, "class n"]
    """As in `Constraints`, at these places; 0 at all others."""

    possible: Float32[np.ndarray, "class n"]
    """As in `Constraints`, at these places."""

    elsewhere: Float32[np.ndarray, " class"]
    """Whether each class is possible at all other places: 0 or 1."""

    grid: Grid
    drawn_whole: bool = False

    @property
    def seeds(self) -> UInt8[np.ndarray, "i j k"]:
        """Return the class that is shown at each voxel, `UNDRAWN` where none is."""
        found = np.full(self.grid.shape, UNDRAWN, np.uint8)
        sure = self.proven.max(0) > _SHOWN
        found.reshape(-1)[self.places[sure]] = self.proven[:, sure].argmax(0)
        return found

    def shown(self, number: int) -> Int64[np.ndarray, "n 3"]:
        """Return the index of each voxel that hints of a class show."""
        places = self.places[self.proven[number] > _SHOWN]
        return np.stack(np.unravel_index(places, self.grid.shape), -1).astype(np.int64)

    def bounds(self, planes: slice, turn: Turn) -> tuple[Classes, Classes]:
        """Return the least and the greatest chance of each class in planes of the turned grid."""
        shape = self.grid.turned(turn).shape
        index = np.stack(np.unravel_index(self.places, self.grid.shape))[list(turn.axes)]
        for along, length, flipped in zip(index, shape, turn.flips, strict=True):
            along[:] = length - 1 - along if flipped else along
        here = (index[0] >= planes.start) & (index[0] < planes.stop)
        i, j, k = index[:, here]
        size = (len(self.elsewhere), planes.stop - planes.start, *shape[1:])
        belief = np.zeros(size, np.float32)
        plausible = np.broadcast_to(self.elsewhere[:, None, None, None], size).copy()
        belief[:, i - planes.start, j, k] = self.proven[:, here]
        plausible[:, i - planes.start, j, k] = np.maximum(self.possible, self.proven)[:, here]
        return belief, plausible


def sparse_constraints_of(
    grid: Grid, hints: Sequence[Hint], labels: LabelSet
) -> SparseConstraints | None:
    """Lay hints onto a grid, as `constraints_of` does, where marks and whole tags are all there is.

    Args:
        grid: Where results lie.
        hints: Hints of one case, all inside the grid.
        labels: Names of the classes.

    Returns:
        The constraints; None where boxes, balls, soft hints or ranges of slices speak of many
        voxels each in its own way, or where no label is possible.

    Raises:
        BadHintError: A hint names an unknown label.
        GridMismatchError: A stroke lies on another grid.
    """
    if not all(_is_sparse(hint) for hint in hints):
        return None
    elsewhere = np.ones(len(labels.names), np.float32)
    for hint in hints:
        if isinstance(hint, Tag) and hint.state == "absent":
            elsewhere[labels.number(hint.label)] = 0
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
    return SparseConstraints(places, proven, possible, elsewhere, grid, whole)


def _is_sparse(hint: Hint) -> bool:
    whole = isinstance(hint, Tag) and (hint.state != "absent" or hint.z_range_mm is None)
    return whole or isinstance(hint, Points | Strokes)


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
