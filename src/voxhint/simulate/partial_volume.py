"""Painting in millimetres on a grid finer than the image, so that voxels can be filled in part."""

import numpy as np
from jaxtyping import Float32, Float64

from voxhint.simulate.abdomen_anatomy import Depths, Places

_FINE_MM = 0.5
"""Places are at most this far apart before they are averaged to voxels."""

_Part = tuple[slice, slice, slice]
ALL: _Part = (slice(None), slice(None), slice(None))
_Vector = Float64[np.ndarray, "3"]


class Canvas:
    """A grid a few times finer than the image, to be averaged to its voxels.

    Args:
        shape: Voxels of the image.
        spacing_mm: Distance of their centres.
    """

    def __init__(self, shape: tuple[int, int, int], spacing_mm: _Vector) -> None:
        self.shape = shape
        self._times = np.ceil(spacing_mm / _FINE_MM).astype(int)
        self._fine_mm = spacing_mm / self._times
        counts = np.array(shape) * self._times
        self._axes = [
            ((np.arange(count) - (count - 1) / 2) * mm).astype(np.float32)
            for count, mm in zip(counts, self._fine_mm, strict=True)
        ]
        self.hu = np.zeros(counts, np.float32)
        self.edge_mm = float(np.cbrt(self._fine_mm.prod()))

    def within(self, low: _Vector, high: _Vector) -> _Part:
        """Return the part of the canvas in a box."""
        ends = [
            np.searchsorted(axis, (a - self.edge_mm, b + self.edge_mm))
            for axis, a, b in zip(self._axes, low, high, strict=True)
        ]
        return slice(*ends[0]), slice(*ends[1]), slice(*ends[2])

    def places(self, part: _Part) -> Places:
        """Return where a part of the canvas lies."""
        axes = [axis[along] for axis, along in zip(self._axes, part, strict=True)]
        return np.stack(np.meshgrid(*axes, indexing="ij")).reshape(3, -1)

    def centres(self) -> Places:
        """Return where the centres of the image's voxels lie."""
        axes = [
            axis.reshape(-1, times).mean(axis=1)
            for axis, times in zip(self._axes, self._times, strict=True)
        ]
        return np.stack(np.meshgrid(*axes, indexing="ij")).reshape(3, -1)

    def paint(self, part: _Part, cover: Depths, hu: float) -> None:
        """Blend a colour into a part of the canvas."""
        shown = self.hu[part]
        shown += cover.reshape(shown.shape) * (np.float32(hu) - shown)

    def brighten(self, part: _Part, cover: Depths, hu: float) -> None:
        """Blend a colour into a part of the canvas, but leave alone what is brighter."""
        shown = self.hu[part]
        shown += cover.reshape(shown.shape) * np.maximum(np.float32(hu) - shown, 0)

    def spread(self, coarse: Depths) -> None:
        """Fill the canvas from a value for each voxel."""
        filled = coarse.reshape(self.shape)
        for axis in range(3):
            filled = np.repeat(filled, self._times[axis], axis=axis)
        self.hu[:] = filled

    def pooled(self, fine: Float32[np.ndarray, "a b c"]) -> Float32[np.ndarray, "i j k"]:
        """Return the mean of each voxel."""
        (i, j, k), (a, b, c) = self.shape, self._times
        return np.asarray(fine.reshape(i, a, j, b, k, c).mean(axis=(1, 3, 5)), np.float32)
