"""How a voxel is described to what learns from hints: by its surroundings and its place.

Some voxels are described one by one, those of a scan plane after plane, so that no array of the
size of the scan is needed beside the image.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from voxhint.core import Grid, Volume
from voxhint.core.box import Window
from voxhint.core.sparse_constraints import CORNERS, SparseConstraints
from voxhint.propagate.surroundings import FEATURES, Surroundings

_PLACE_MM = np.float32(100)
_NEAR_VOXELS = 3  # around hints
_MARKS = 50_000  # that tell what is typical of an image
_TYPICAL = 20_000  # voxels near them that do
_AXES = 3

_Index = Int64[np.ndarray, "n 3"]


@dataclass(frozen=True, slots=True, eq=False)
class VoxelFeatures:
    """Describes the voxels of a case, free of each image's scale and offset.

    For each channel the intensity, plain and blurred by 0.7 to 6 mm, and the slope; then the place
    to the right, the front and the head: of the middle of all hints of labels, in decimetres, and
    in the image, -1 to 1.
    """

    channels: Sequence[Surroundings | None]
    """None where the case lacks the channel, which is described by zeros."""

    middle_mm: Float64[np.ndarray, "3"]
    grid: Grid
    middles: Mapping[int, tuple[int, Float64[np.ndarray, "3"]]]
    """For each label shown, how many voxels show it, and their middle as an index."""

    @staticmethod
    def of(
        images: Mapping[str, Volume], hints: SparseConstraints, channels: Sequence[str]
    ) -> "VoxelFeatures":
        """Return what describes the voxels of a case.

        Args:
            images: Channels by name, on one grid.
            hints: What the hints of the case prove, on that grid.
            channels: Names of all channels of the study.
        """
        shown = {number: _shown(hints, number) for number in range(len(hints.elsewhere))}
        near = typical_voxels(
            np.concatenate([_some(at, _MARKS) for at in shown.values()]), hints.grid
        )
        middles = {n: (len(at), at.mean(0)) for n, at in shown.items() if n and len(at)}
        outer = (np.array(hints.grid.shape) - 1) / 2
        middle = np.mean([at for _, at in middles.values()] or [outer], axis=0)
        found = [Surroundings.of(images[n], near) if n in images else None for n in channels]
        return VoxelFeatures(found, hints.grid.to_world(middle[None])[0], hints.grid, middles)

    def at(self, index: _Index) -> Float32[np.ndarray, "n feature"]:
        """Return what describes some voxels."""
        none = np.zeros((FEATURES, len(index)), np.float32)
        told = [none if one is None else one.at(index) for one in self.channels]
        i, j, k = index.T
        return np.concatenate([*told, self._places(i, j, k)]).T

    def of_facts(
        self, index: _Index, classes: Int64[np.ndarray, " n"]
    ) -> Float32[np.ndarray, "n feature"]:
        """Return what describes voxels whose class hints show.

        Each is left out of the middle of all hints, from which its place is counted. It would draw
        the middle towards itself, as voxels of its label do not that nobody showed.
        """
        found, turn = self.at(index), self.grid.affine[:3, :3] / _PLACE_MM
        for number, (count, middle) in self.middles.items():
            own = np.flatnonzero(classes == number)
            if count > 1:
                more = (index[own] - middle) / ((count - 1) * len(self.middles))
                found[own, -2 * _AXES : -_AXES] += (more @ turn.T).astype(np.float32)
        return found

    def of_block(
        self, part: Window, asked: Bool[np.ndarray, "i j k"]
    ) -> Iterator[Float32[np.ndarray, "n feature"]]:
        """Describe those voxels of a box that are asked for, plane after plane."""
        shape = asked.shape
        none = np.zeros((FEATURES, *shape), np.float32)
        told = [none if one is None else one.of_block(part) for one in self.channels]
        i, j, k = (np.arange(along.start, along.stop) for along in part)
        for number, plane in enumerate(asked):
            places = self._places(i[number : number + 1, None], j[:, None], k)
            found = [one[:, number][:, plane] for one in told]
            yield np.ascontiguousarray(np.concatenate([*found, places[:, plane]]).T)

    def _places(self, *index: np.ndarray) -> Float32[np.ndarray, "6 ..."]:
        affine, turn, found = self.grid.affine, self.grid.turn_to_ras(), []
        i, j, k = (one.astype(np.float32) for one in index)
        for row, middle in zip(affine[:3], self.middle_mm, strict=True):
            a, b, c, start = (np.array([*row[:3], row[3] - middle]) / _PLACE_MM).astype(np.float32)
            found.append(a * i + b * j + c * k + start)
        for axis, flipped in zip(turn.axes, turn.flips, strict=True):
            along = (2 * (i, j, k)[axis] + 1) / np.float32(self.grid.shape[axis]) - 1
            found.append(-along if flipped else along)
        return np.stack(np.broadcast_arrays(*found))


def _shown(hints: SparseConstraints, number: int) -> _Index:
    """Return the voxels that hints show of a class; of boxes and balls alone their middle."""
    index = hints.shown(number)
    if number in hints.room_of and len(index) == CORNERS:
        return np.asarray(np.rint(index.mean(0, keepdims=True)), np.int64)
    return index


def typical_voxels(index: _Index, grid: Grid) -> Int64[np.ndarray, "near 3"]:
    """Return some of the voxels around those that hints show; of all voxels where none does."""
    if not len(index):
        count = int(np.prod(grid.shape))
        some = np.linspace(0, count - 1, min(count, _TYPICAL)).astype(np.int64)
        return np.stack(np.unravel_index(some, grid.shape), -1)
    reach = np.arange(-_NEAR_VOXELS, _NEAR_VOXELS + 1)
    steps = np.stack(np.meshgrid(reach, reach, reach, indexing="ij"), -1).reshape(-1, 3)
    steps = steps[np.abs(steps).sum(1) <= _NEAR_VOXELS]
    near = (index[:, None] + steps).reshape(-1, 3)
    near = near[((near >= 0) & (near < grid.shape)).all(1)]
    flat = np.unique(np.ravel_multi_index(tuple(near.T), grid.shape))
    return np.stack(np.unravel_index(_some(flat, _TYPICAL), grid.shape), -1)


def _some(found: np.ndarray, most: int) -> np.ndarray:
    """Return evenly chosen rows, no more than so many."""
    return found[:: max(1, -(-len(found) // most))]
