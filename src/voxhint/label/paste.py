"""Lesions lifted out of images that show them, and set into images that do not."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int
from scipy import ndimage
from scipy.spatial.transform import Rotation

from voxhint.label.verify import without

Image = Float32[np.ndarray, "channel i j k"]
Region = Bool[np.ndarray, "i j k"]

_FIELD_MM = 8.0  # around a lesion: what its surroundings are grown from
_ALIKE = 0.3  # of a lesion's mean contrast: how far the tissue at a new place may differ
_NEAR_MM = 3.0  # of smoothing: what the tissue at a place is
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
        The residual; None if the lesion or its rim reaches the border of the image, where it may be
        cut off, or if there is nothing to lift.
    """
    part = _around(region, spacing_mm)
    if part is None:
        return None
    here, inside = np.ascontiguousarray(image[:, *part]), region[part]
    other = None if instead is None else np.ascontiguousarray(instead[:, *part])
    bare = without(here, inside, spacing_mm=spacing_mm, instead=other)
    added = here - bare
    changed = added.any(0) | inside
    if not added.any() or _at_border(changed, part, region.shape):
        return None
    box = _box(changed)
    return Residual(added[:, *box], inside[box], float(bare[0][inside].mean()))


def varied(
    residual: Residual, rng: np.random.Generator, *, spacing_mm: tuple[float, float, float]
) -> Residual:
    """Return a residual turned, zoomed and made stronger or weaker at random, in millimetres."""
    scale = np.array(spacing_mm)
    turn = Rotation.random(None, rng).as_matrix() * np.exp(rng.normal(0, _ZOOM))
    step = turn * scale / scale[:, None]  # new voxels to old ones
    shape = np.array(residual.inside.shape)
    size = np.ceil(np.abs(np.linalg.inv(step)) @ (shape + 1)).astype(int) + 1
    start = (shape - 1) / 2 - step @ (size - 1) / 2

    def moved(values: Float32[np.ndarray, "i j k"]) -> Float32[np.ndarray, "a b c"]:
        found = ndimage.affine_transform(
            values, step, start, output_shape=tuple(size), order=1, mode="grid-constant"
        )
        return np.asarray(found, np.float32)

    gain = np.float32(np.exp(rng.normal(0, _GAIN)))
    added = gain * np.stack([moved(channel) for channel in residual.added])
    inside = moved(residual.inside.astype(np.float32)) >= 0.5
    box = _box(added.any(0) | inside)
    return Residual(added[:, *box], inside[box], residual.surround)


def places(
    image: Image, residual: Residual, *, spacing_mm: tuple[float, float, float]
) -> Int[np.ndarray, "place 3"]:
    """Return the corners at which a residual fits whole, in tissue like that it was lifted from."""
    room = np.array(image.shape[1:]) - residual.inside.shape + 1
    if (room < 1).any() or not residual.inside.any():
        return np.zeros((0, 3), np.int64)
    local = ndimage.gaussian_filter(image[0], _NEAR_MM / np.array(spacing_mm))
    middle = tuple(
        slice(size // 2, size // 2 + n) for size, n in zip(residual.inside.shape, room, strict=True)
    )
    contrast = abs(float(residual.added[0][residual.inside].mean()))
    return np.argwhere(np.abs(local[middle] - residual.surround) <= _ALIKE * contrast)


def paste(image: Image, residual: Residual, corner: Int[np.ndarray, "3"]) -> tuple[Image, Region]:
    """Return an image with a lesion added at a place where its box fits, and where the lesion is.

    Args:
        image: Prepared values.
        residual: What is added.
        corner: Voxel that the first voxel of the residual's box comes to lie on.

    Returns:
        A new image, larger by the residual, and the mask of the lesion.
    """
    box = tuple(
        slice(int(start), int(start) + size)
        for start, size in zip(corner, residual.inside.shape, strict=True)
    )
    pasted, inside = image.copy(), np.zeros(image.shape[1:], bool)
    pasted[:, *box] += residual.added
    inside[box] = residual.inside
    return pasted, inside


def _around(
    region: Region, spacing_mm: tuple[float, float, float]
) -> tuple[slice, slice, slice] | None:
    """Return a box with room around a region; None if the region is empty."""
    if not region.any():
        return None
    room = [int(np.ceil(_FIELD_MM / s)) for s in spacing_mm]
    i, j, k = (
        slice(max(0, b.start - r), b.stop + r) for b, r in zip(_box(region), room, strict=True)
    )
    return i, j, k


def _box(region: Region) -> tuple[slice, slice, slice]:
    ((i, j, k),) = ndimage.find_objects(region.astype(np.int8))
    return i, j, k


def _at_border(changed: Region, part: tuple[slice, slice, slice], shape: tuple[int, ...]) -> bool:
    """Return whether what changed in a part of an image touches the image's border."""
    return any(
        box.start + here.start == 0 or box.stop + here.start == n
        for box, here, n in zip(_box(changed), part, shape, strict=True)
    )
