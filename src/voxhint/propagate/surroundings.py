"""The surroundings of a voxel: intensity, plain and blurred by 0.7 to 6 mm, and slope."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64
from scipy import ndimage

from voxhint.core import Volume
from voxhint.core.box import Window

_BLURS_MM = (0.7, 1.5, 3.0, 6.0)
_SLOPE_MM = 1.0  # blur of the image whose slope is taken
_CUT = 3.0  # standard deviations at which a Gaussian ends
_COARSE = 2.0  # coarser steps that the standard deviation of a blur spans at least
_RANGE = (-0.2, 1.2)  # to which intensities are cut, where 0 to 1 are usual near hints
_VALUES = 2**22  # looked at together
_IJK = range(3)
FEATURES = len(_BLURS_MM) + 2
"""Numbers that describe a voxel in one channel."""

_Index = Int64[np.ndarray, "n 3"]
_Block = Float32[np.ndarray, "i j k"]
_Kernel = tuple[Float32[np.ndarray, " _"], Float32[np.ndarray, " _"], Float32[np.ndarray, " _"]]
_Scale = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True, eq=False)
class Surroundings:
    """Describes the voxels of one channel by six numbers, free of its scale and offset."""

    image: Volume
    low: np.float32
    """Intensity that is scaled to 0."""

    unit: np.float32
    """How much above it is scaled to 1."""

    steep: np.float32
    """Slope per millimetre of scaled intensity that counts as 1."""

    coarse: Mapping[float, "_Coarse"]
    """The wide blurs, by millimetres."""

    @staticmethod
    def of(image: Volume, near: _Index | None = None) -> "Surroundings":
        """Return what describes the voxels of a channel.

        Args:
            image: The channel.
            near: Voxels whose intensities and slopes are the unit; all if None.
        """
        spacing, (i, j, k) = image.grid.spacing_mm, image.grid.shape
        whole = slice(0, i), slice(0, j), slice(0, k)

        def around(kernels: Sequence[_Kernel], scale: _Scale) -> Float32[np.ndarray, "kernel ..."]:
            if near is None:
                return _of_block(image.voxels, whole, kernels, scale)
            return _at(image.voxels, near, kernels, scale)

        quiet = around([_gaussian(_BLURS_MM[0], spacing)], lambda part: part)
        low, high = (np.float32(v) for v in np.percentile(quiet, [1, 99]))
        unit, one = max(np.float32(high - low), np.float32(1e-6)), np.float32(1)
        plain = Surroundings(image, low, unit, one, {})
        slope = plain._slope(around(_slopes(spacing), plain.scaled))
        coarse = {
            blur: _Coarse.of(plain, blur, step)
            for blur in _BLURS_MM
            if max(step := _coarser(blur, spacing)) > 1
        }
        return Surroundings(image, low, unit, max(3 * slope.mean(), np.float32(1e-6)), coarse)

    def scaled(self, voxels: np.ndarray) -> Float32[np.ndarray, "..."]:
        """Return intensities of which those near hints lie between 0 and 1."""
        found = (voxels - self.low) / self.unit
        return np.clip(found, *_RANGE, out=found)

    def at(self, index: _Index) -> Float32[np.ndarray, "feature n"]:
        """Return what describes some voxels."""
        fine = _at(self.image.voxels, index, self._kernels, self.scaled)
        coarse = {blur: one.at(index) for blur, one in self.coarse.items()}
        return self._told(self.scaled(self.image.voxels[tuple(index.T)]), fine, coarse)

    def of_block(self, part: Window) -> Float32[np.ndarray, "feature a b c"]:
        """Return what describes the voxels of a box."""
        fine = _of_block(self.image.voxels, part, self._kernels, self.scaled)
        coarse = {blur: one.of_block(part) for blur, one in self.coarse.items()}
        return self._told(self.scaled(self.image.voxels[part]), fine, coarse)

    @property
    def _kernels(self) -> list[_Kernel]:
        spacing = self.image.grid.spacing_mm
        blurs = [_gaussian(blur, spacing) for blur in _BLURS_MM if blur not in self.coarse]
        return [*_slopes(spacing), *blurs]

    def _told(
        self,
        plain: Float32[np.ndarray, "..."],
        fine: Float32[np.ndarray, "kernel ..."],
        coarse: Mapping[float, Float32[np.ndarray, "..."]],
    ) -> Float32[np.ndarray, "feature ..."]:
        told, blurred = np.empty((FEATURES, *plain.shape), np.float32), iter(fine[3:])
        told[0] = plain
        for number, blur in enumerate(_BLURS_MM, 1):
            told[number] = coarse[blur] if blur in coarse else next(blurred)
        told[:-1] *= 2
        told[:-1] -= 1
        told[-1] = self._slope(fine[:3])
        return told

    def _slope(self, along: Float32[np.ndarray, "kernel ..."]) -> Float32[np.ndarray, "..."]:
        return np.asarray(np.sqrt(np.square(along).sum(0)) / self.steep, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class _Coarse:
    """A wide blur at coarser steps: it is smooth, so that voxels between them are interpolated."""

    values: _Block
    first: Float64[np.ndarray, "3"]
    """Index of the first step along each axis; steps lie alike from both faces of the image."""

    step: tuple[int, int, int]

    @staticmethod
    def of(one: Surroundings, blur_mm: float, step: tuple[int, int, int]) -> "_Coarse":
        """Return the blur of an image at some steps."""
        voxels, shape = one.image.voxels, one.image.grid.shape
        counts = -(-np.array(shape) // step)
        first = (np.array(shape) - 1 - (counts - 1) * step) / 2
        sigma = blur_mm / one.image.grid.spacing_mm
        i, j, k = (_weights(*along) for along in zip(shape, first, step, sigma, strict=True))
        planes = max(1, _VALUES // voxels[0].size)
        parts = [
            np.matmul(j, one.scaled(voxels[start : start + planes]) @ k.T)
            for start in range(0, len(voxels), planes)
        ]
        return _Coarse(np.tensordot(i, np.concatenate(parts), 1), first, step)

    def at(self, index: _Index) -> Float32[np.ndarray, " n"]:
        """Return the blur at some voxels."""
        places = (index - self.first) / self.step
        found = ndimage.map_coordinates(self.values, places.T, order=1, mode="nearest")
        return np.asarray(found, np.float32)

    def of_block(self, part: Window) -> Float32[np.ndarray, "a b c"]:
        """Return the blur in a box of voxels."""
        found = self.values
        for axis, (along, first, step) in enumerate(zip(part, self.first, self.step, strict=True)):
            last = found.shape[axis] - 1
            place = np.clip((np.arange(along.start, along.stop) - first) / step, 0, last)
            low = place.astype(np.int64)
            share = (place - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in _IJK])
            more = found.take(np.minimum(low + 1, last), axis)
            found = found.take(low, axis)
            more -= found
            more *= share
            found += more
        return found


def _weights(length: int, first: float, step: int, sigma: float) -> Float32[np.ndarray, "m n"]:
    """Return what each voxel of a row weighs in a Gaussian around each step."""
    places = np.arange(first, length - 0.5, step)  # the last lies as far from its face as the first
    reach = int(np.ceil((_CUT + 1) * sigma))
    index = np.floor(places)[:, None].astype(np.int64) + np.arange(-reach, reach + 2)
    weights = np.exp(-0.5 * ((index - places[:, None]) / sigma) ** 2)
    weights /= weights.sum(1, keepdims=True)
    found = np.zeros((len(places), length), np.float32)
    np.add.at(found, (np.arange(len(places))[:, None], _mirrored(index, length)), weights)
    return found


def _coarser(blur_mm: float, spacing_mm: Float64[np.ndarray, "3"]) -> tuple[int, int, int]:
    i, j, k = np.maximum(1, blur_mm / spacing_mm / _COARSE).astype(int).tolist()
    return i, j, k


def _gaussian(blur_mm: float, spacing_mm: Float64[np.ndarray, "3"]) -> _Kernel:
    """Return the weights of a Gaussian along each axis."""
    found = []
    for sigma in blur_mm / spacing_mm:
        reach = int(_CUT * sigma + 0.5)
        weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
        found.append((weights / weights.sum()).astype(np.float32))
    return found[0], found[1], found[2]


def _slopes(spacing_mm: Float64[np.ndarray, "3"]) -> list[_Kernel]:
    """Return the weights of the slope along each axis of a blurred image."""
    plain, found = _gaussian(_SLOPE_MM, spacing_mm), []
    for axis, step in enumerate(spacing_mm):
        weights = plain[axis]
        reach = len(weights) // 2
        kernel = list(plain)
        kernel[axis] = weights * np.arange(-reach, reach + 1, dtype=np.float32)
        kernel[axis] *= np.float32((step / _SLOPE_MM) ** 2)
        found.append((kernel[0], kernel[1], kernel[2]))
    return found


def _reach(kernels: Sequence[_Kernel]) -> list[int]:
    return [max(len(kernel[axis]) // 2 for kernel in kernels) for axis in _IJK]


def _at(
    voxels: _Block, index: _Index, kernels: Sequence[_Kernel], scale: _Scale
) -> Float32[np.ndarray, "kernel n"]:
    """Return the weighted sums around some voxels; beyond its faces an image is mirrored."""
    reach = _reach(kernels)
    found = np.empty((len(kernels), len(index)), np.float32)
    count = max(1, _VALUES // int(np.prod([2 * r + 1 for r in reach])))
    for start in range(0, len(index), count):
        some = slice(start, start + count)
        i, j, k = (
            _mirrored(one[some, None] + np.arange(-r, r + 1), n)
            for one, r, n in zip(index.T, reach, voxels.shape, strict=True)
        )
        patches = scale(voxels[i[:, :, None, None], j[:, None, :, None], k[:, None, None]])
        for kernel, sums in zip(kernels, found, strict=True):
            a, b, c = (
                slice(r - len(w) // 2, r + len(w) // 2 + 1)
                for r, w in zip(reach, kernel, strict=True)
            )
            sums[some] = patches[:, a, b, c] @ kernel[2] @ kernel[1] @ kernel[0]
    return found


def _mirrored(index: Int64[np.ndarray, "n w"], length: int) -> Int64[np.ndarray, "n w"]:
    index = index % (2 * length)
    return np.asarray(np.minimum(index, 2 * length - 1 - index))


def _of_block(
    voxels: _Block, part: Window, kernels: Sequence[_Kernel], scale: _Scale
) -> Float32[np.ndarray, "kernel a b c"]:
    """Return the weighted sums around the voxels of a box, as `_at` does."""
    wide = [
        slice(max(0, along.start - r), along.stop + r)
        for along, r in zip(part, _reach(kernels), strict=True)
    ]
    inner = [
        slice(along.start - w.start, along.stop - w.start)
        for along, w in zip(part, wide, strict=True)
    ]
    around = scale(voxels[tuple(wide)])
    found = []
    for kernel in kernels:
        sums = around
        for axis, weights in enumerate(kernel):
            sums = ndimage.correlate1d(sums, weights, axis, mode="reflect")
            sums = sums[(slice(None),) * axis + (inner[axis],)]
        found.append(sums)
    return np.stack(found)
