"""Lesions lifted out of images that show them, and set into images that do not."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int
from scipy import ndimage
from scipy.spatial.transform import Rotation

from voxhint.core.box import bounding_box
from voxhint.prepare.inpaint import Image, Region, without

_FIELD_MM = 8.0  # around a lesion: what its surroundings are grown from
_ALIKE = 0.3  # of a lesion's mean contrast: how far the tissue at a new place may differ
_NEAR = 0.25  # of a residual's box, standard deviation of smoothing: the tissue at a place
_ZOOM, _GAIN = 0.15, 0.1  # standard deviations, log scale


@dataclass(frozen=True, slots=True, eq=False)
class Residual:
    """What a lesion adds to its surroundings, in a box that holds all of it."""

    added: Image
    """Image minus what would be there without the lesion; fades to 0 around it."""

    inside: Region
    """The lesion itself."""

    surround: float
    """Mean of the first channel where the lesion lies, without it."""

    cut: Bool[np.ndarray, "3 2"]
    """For each axis, whether the border of its image cut it at the low and at the high end."""


def lifted(
    image: Image,
    region: Region,
    *,
    spacing_mm: tuple[float, float, float],
    instead: Image | None = None,
) -> Residual | None:
    """Return what a lesion adds to an image.

    Args:
        image: Prepared values.
        region: The lesion.
        spacing_mm: Of both.
        instead: The image without the lesion; surroundings are grown inwards if there is none.

    Returns:
        The residual; None if there is nothing to lift.
    """
    part = _around(region, spacing_mm)
    if part is None:
        return None
    here, inside = np.ascontiguousarray(image[:, *part]), region[part]
    other = None if instead is None else np.ascontiguousarray(instead[:, *part])
    bare = without(here, inside, spacing_mm=spacing_mm, instead=other)
    added = here - bare
    if not added.any():
        return None
    box = bounding_box(added.any(0) | inside)
    cut = [
        (own.start + one.start == 0, own.stop + one.start == n)
        for own, one, n in zip(box, part, region.shape, strict=True)
    ]
    return Residual(added[:, *box], inside[box], float(bare[0][inside].mean()), np.array(cut))


def varied(
    residual: Residual, rng: np.random.Generator, *, spacing_mm: tuple[float, float, float]
) -> Residual:
    """Return a residual flipped, turned, zoomed and made stronger or weaker at random.

    Turns are in millimetres. One that a border cut is turned around that axis only.
    """
    flips = tuple(axis for axis in range(3) if rng.random() < 0.5)
    cut = np.array([row[::-1] if axis in flips else row for axis, row in enumerate(residual.cut)])
    scale = np.array(spacing_mm)
    turn = _turn(np.asarray(cut.any(1)), rng) * np.exp(rng.normal(0, _ZOOM))
    step = turn * scale / scale[:, None]  # new voxels to old ones
    # nothing lies beyond an end that is whole, and more of the same beyond one that is cut
    pads = [(int(not low), int(not high)) for low, high in cut]
    shape = np.array(residual.inside.shape) + np.sum(pads, axis=1)
    size = np.ceil(np.abs(np.linalg.inv(step)) @ shape).astype(int) + 1
    start = (shape - 1) / 2 - step @ (size - 1) / 2

    def moved(values: Float32[np.ndarray, "i j k"]) -> Float32[np.ndarray, "a b c"]:
        padded = np.pad(np.flip(values, flips), pads)
        found = ndimage.affine_transform(
            padded, step, start, output_shape=tuple(size), order=1, mode="nearest"
        )
        return np.asarray(found, np.float32)

    gain = np.float32(np.exp(rng.normal(0, _GAIN)))
    added = gain * np.stack([moved(channel) for channel in residual.added])
    inside = moved(residual.inside.astype(np.float32)) >= 0.5
    box = bounding_box(added.any(0) | inside)
    return Residual(added[:, *box], inside[box], residual.surround, cut)


def _turn(cut: Bool[np.ndarray, " axis"], rng: np.random.Generator) -> Float64[np.ndarray, "3 3"]:
    """Return a random rotation that leaves the axes alone along which a border cut."""
    match cut.sum():
        case 0:
            return Rotation.random(None, rng).as_matrix()
        case 1:
            return Rotation.from_rotvec(rng.uniform(-np.pi, np.pi) * cut).as_matrix()
        case _:
            return np.eye(3)


def places(image: Image, residual: Residual) -> Int[np.ndarray, "place 3"]:
    """Return the corners at which a residual may lie, in tissue like that it was lifted from.

    It fits whole, and the image's border cuts it where one cut it before: an end that was cut
    lies at the border, and what was cut at both ends spans the image.
    """
    if not residual.inside.any():
        return np.zeros((0, 3), np.int64)
    sizes = residual.inside.shape
    ways = [
        _corners(n, size, low=low, high=high)
        for n, size, (low, high) in zip(image.shape[1:], sizes, residual.cut.tolist(), strict=True)
    ]
    local = ndimage.gaussian_filter(image[0], _NEAR * np.array(sizes))
    middles = [
        np.clip(way + size // 2, 0, n - 1)
        for way, size, n in zip(ways, sizes, local.shape, strict=True)
    ]
    contrast = abs(float(residual.added[0][residual.inside].mean()))
    alike = np.abs(local[np.ix_(*middles)] - residual.surround) <= _ALIKE * contrast
    found = [way[where] for way, where in zip(ways, np.nonzero(alike), strict=True)]
    return np.stack(found, axis=1)


def _corners(n: int, size: int, *, low: bool, high: bool) -> Int[np.ndarray, " corner"]:
    """Return where a box may start along an axis of n voxels, negative if it spans the image."""
    if low and high:
        return np.arange(n - size, 1)
    first, last = (n - size if high else 0), (0 if low else n - size)
    return np.arange(first, last + 1) if size <= n else np.arange(0)


def paste(image: Image, residual: Residual, corner: Int[np.ndarray, "3"]) -> tuple[Image, Region]:
    """Return an image with a lesion added, and where the lesion is.

    Args:
        image: Prepared values.
        residual: What is added.
        corner: Voxel that the first voxel of the residual's box comes to lie on; what reaches
            beyond the image is left out.

    Returns:
        A new image, larger by the residual, and the mask of the lesion.
    """
    here, there = [], []
    for start, size, n in zip(corner.tolist(), residual.inside.shape, image.shape[1:], strict=True):
        first, last = max(start, 0), min(start + size, n)
        here.append(slice(first, last))
        there.append(slice(first - start, last - start))
    pasted, inside = image.copy(), np.zeros(image.shape[1:], bool)
    pasted[:, *here] += residual.added[:, *there]
    inside[*here] = residual.inside[*there]
    return pasted, inside


def _around(
    region: Region, spacing_mm: tuple[float, float, float]
) -> tuple[slice, slice, slice] | None:
    """Return a box with room around a region; None if the region is empty."""
    if not region.any():
        return None
    i, j, k = (int(np.ceil(_FIELD_MM / s)) for s in spacing_mm)
    return bounding_box(region, (i, j, k))
