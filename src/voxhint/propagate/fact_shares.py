"""How much of a case each proven voxel stands for: places shown often do not count twice."""

from dataclasses import dataclass

import edt
import numpy as np
from jaxtyping import Bool, Float32, Int64
from scipy import ndimage

from voxhint.core import LabelSet
from voxhint.core.sparse_constraints import SparseConstraints
from voxhint.propagate.distance_caps import distance_caps, measure_marks

_HELD = 1.5  # caps within which a voxel may be of the label whose hint is nearest
_BAND = 2.0  # of that: how far around labels voxels count
_CELLS = 2**21  # of a case: more voxels than that, and a cell is several of them
_ASKED = 2**18  # cells asked at once
_SHOWN = 0.5  # more than that and a voxel is of a class


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """A case in cells of one voxel, or of some where it has very many, and what is proven of it."""

    hints: SparseConstraints
    step: tuple[int, int, int]
    facts: Int64[np.ndarray, " fact"]
    """Flat index of each voxel of which a class is proven; without marks, of one a cell."""

    classes: Int64[np.ndarray, " fact"]

    @staticmethod
    def of(hints: SparseConstraints) -> "Cells":
        """Return the cells of a case."""
        wide, spacing = float(hints.grid.spacing_mm.min()), hints.grid.spacing_mm
        step = np.ones(3, np.int64)
        while np.prod(-(-np.array(hints.grid.shape) // step)) > _CELLS:
            wide *= 1.1
            step = np.maximum(1, np.round(wide / spacing)).astype(np.int64)
        i, j, k = step.tolist()
        facts = hints.places
        if hints.speaks_everywhere:
            facts = np.union1d(facts, _middles(hints, (i, j, k)))
        classes = np.full(len(facts), -1)
        for start in range(0, len(facts), _ASKED):
            part = slice(start, start + _ASKED)
            chances = hints.at(facts[part])[0]
            classes[part] = np.where(chances.max(0) > _SHOWN, chances.argmax(0), -1)
        return Cells(hints, (i, j, k), facts[classes >= 0], classes[classes >= 0])

    @property
    def voxels(self) -> int:
        """Return the voxels of a cell."""
        return int(np.prod(self.step))

    def stand_for(
        self, labels: LabelSet
    ) -> tuple[Float32[np.ndarray, " fact"], Int64[np.ndarray, " lone"]]:
        """Return how many voxels each fact stands for, and the middles of cells that none does.

        Only the band around labels counts, in which classes compete: how much of the body the image
        shows does not matter, and people click where they like.
        """
        grid = self.hints.grid
        spacing = grid.spacing_mm * self.step
        at = np.stack(np.unravel_index(self.facts, grid.shape)) // np.array(self.step)[:, None]
        classes = np.full(-(-np.array(grid.shape) // self.step), -1, np.int16)
        classes[tuple(at)] = self.classes
        if not len(self.facts):
            return np.zeros(0, np.float32), np.zeros(0, np.int64)
        marks = measure_marks(self.hints, labels)
        caps = distance_caps([marks], [grid], labels)
        guessed = {name for name, one in marks.items() if not one.speaks}
        reach = np.array(
            [np.inf, *(np.inf if n in guessed else _HELD * caps[n] for n in labels.foreground)],
            np.float32,
        )
        away, nearest = ndimage.distance_transform_edt(classes < 0, spacing, return_indices=True)
        owner = np.ravel_multi_index(tuple(nearest), classes.shape)
        band = _band(classes, reach, spacing)
        held = band & (away <= reach[classes.ravel()[owner]])
        counts = np.bincount(owner[held], minlength=classes.size)
        cell = np.ravel_multi_index(tuple(at), classes.shape)
        sharing = np.bincount(cell, minlength=classes.size)  # facts of one cell share it
        share = counts[cell] * self.voxels / sharing[cell]
        lone = np.argwhere(band & ~held) * self.step + np.array(self.step) // 2
        flat = np.ravel_multi_index(tuple(np.minimum(lone, np.array(grid.shape) - 1).T), grid.shape)
        return np.maximum(share, 1).astype(np.float32), flat


def _middles(hints: SparseConstraints, step: tuple[int, int, int]) -> Int64[np.ndarray, " cell"]:
    """Return the flat index of a voxel in the middle of each cell."""
    i, j, k = (
        np.minimum(np.arange(0, n, s) + s // 2, n - 1)
        for n, s in zip(hints.grid.shape, step, strict=True)
    )
    return np.ravel_multi_index(np.ix_(i, j, k), hints.grid.shape).ravel().astype(np.int64)


def _band(
    classes: np.ndarray, reach: Float32[np.ndarray, " class"], spacing_mm: np.ndarray
) -> Bool[np.ndarray, "i j k"]:
    """Return the cells that some label may reach; all where none is shown."""
    shown = [number for number in np.unique(classes) if number > 0]
    wide = [number for number in shown if not np.isfinite(reach[number])]
    band = np.full(classes.shape, bool(wide) or not shown)
    boxes = ndimage.find_objects(np.maximum(classes, 0).astype(np.int32))
    for number in () if band.any() else shown:
        rim = np.ceil(_BAND * reach[number] / spacing_mm).astype(int) + 1
        part = tuple(
            slice(max(0, along.start - r), along.stop + r)
            for along, r in zip(boxes[number - 1], rim, strict=True)
        )
        apart = np.ascontiguousarray(classes[part] != number)
        away = edt.edt(apart, anisotropy=tuple(spacing_mm.tolist()))
        band[part] |= away <= _BAND * reach[number]
    return band
