"""From where a label was seen to where it ends: one refinement for every saliency map."""

import edt
import numpy as np
from jaxtyping import Bool, Float32
from scipy import ndimage

from voxhint.classify.contrast import Contrast

_Map = Float32[np.ndarray, "i j k"]
_Region = Bool[np.ndarray, "i j k"]

_TOP = 0.7  # of the peak of a weighted map: the core of what was seen
_NOISE_MM = 0.35  # of smoothing before levels are compared
_FAR_MM = 12.0  # where the surround of a core is looked for
_REACH_MM = 14.0  # farthest that a region grows from its core
_FIELD_MM = 50.0  # to each side: a core, its growth, its surround and the bulk beside it
_BULK_MM = 8.0  # inscribed radius from which dense tissue is wall or organ, not a lesion
_DENSE = 0.6  # of the contrast: what may be bulk
_OWN = 0.8  # share of a core inside bulk from which the lesion itself is that large
_LEVEL = 0.42  # between surround and core: a little below half, as truths are drawn generously
_FAINT = 0.06  # of the contrast of the study: less tells no border
_NECK = 0.6  # of the inscribed radius: thinner necks are vessels that touch
_STRETCH, _SLACK_MM = 2.5, 2.0  # how far from its middle a lesion may stretch, in radii and more
_RIM_MM = 0.5


def weigh(saliency: _Map, density: _Map) -> _Map:
    """Return saliency where there is something to see: weighed by how dense the tissue is.

    Gradients of a classifier spread over the surround of what it sees. There is no lesion where
    there is nothing but surround.
    """
    return np.asarray(np.maximum(saliency, 0) * np.clip((density - 0.06) / 0.66, 0, 1), np.float32)


def refine(
    saliency: _Map,
    image: _Map,
    *,
    spacing_mm: tuple[float, float, float],
    contrast: Contrast,
) -> _Region:
    """Return the region of a label around the strongest saliency for it.

    The core is the peak of the saliency weighed by density. Bulk tissue (walls, organs: whatever
    a ball of 8 mm fits into, unless the core is that large itself) is set aside. The region then
    grows from the core down to the level between core and surround, and is cut at necks.

    Args:
        saliency: Larger where the label was seen.
        image: Prepared values of one channel on the same grid.
        spacing_mm: Of both.
        contrast: The kinds of tissue of the study.

    Returns:
        The region; empty only if nothing speaks for the label anywhere.

    Source:
        Half maximum: the usual definition of a blurred object's edge.
    """
    density = contrast.of(image)
    part = _field(_place(weigh(saliency, density)), spacing_mm)
    region = np.zeros(saliency.shape, bool)
    region[part] = _refined(saliency[part], density[part], spacing_mm)
    return region


def _refined(saliency: _Map, density: _Map, spacing_mm: tuple[float, float, float]) -> _Region:
    """Return the region in the field of view around the strongest saliency."""
    density = ndimage.gaussian_filter(density, _NOISE_MM / np.array(spacing_mm))
    weighed = weigh(saliency, density)
    if weighed.max() <= 0:
        return np.zeros(saliency.shape, bool)
    core, bulk = _core(weighed, density, spacing_mm)
    return _grown(core, bulk, density, spacing_mm)


def _field(
    middle: tuple[int, ...], spacing_mm: tuple[float, float, float]
) -> tuple[slice, slice, slice]:
    """Return the field of view around a voxel: what lies farther has no part in a region."""
    half = [int(np.ceil(_FIELD_MM / s)) for s in spacing_mm]
    i, j, k = (slice(max(0, m - h), m + h + 1) for m, h in zip(middle, half, strict=True))
    return i, j, k


def _core(
    weighed: _Map, density: _Map, spacing_mm: tuple[float, float, float]
) -> tuple[_Region, _Region]:
    """Return the core of what was seen, and the bulk tissue that it is no part of."""
    peak = _place(weighed)
    core = _piece(weighed > _TOP * weighed[peak], peak)
    dense = density > _DENSE
    bulk = _opened(dense, _BULK_MM, spacing_mm)
    if bulk[core].mean() >= _OWN:
        return core, np.zeros_like(bulk)
    free = core & ~bulk
    return (free if free.any() else core), bulk


def _grown(
    core: _Region, bulk: _Region, density: _Map, spacing_mm: tuple[float, float, float]
) -> _Region:
    away = _distance(~core, spacing_mm)
    surround = density[(away < _FAR_MM) & (density < 0.5)]
    base = float(np.median(surround)) if surround.size else 0.0
    top = min(float(np.percentile(density[core], 60)), 1.0)
    if top - base < _FAINT:
        return core
    level = base + _LEVEL * (top - base)
    candidate = (density > level) & (away < _REACH_MM) & ~bulk
    depth = _distance(candidate, spacing_mm)
    if not (depth * core).any():
        return core
    middle = _climb(depth, _place(depth * core))
    radius = depth[middle]
    marker = _piece(depth >= _NECK * radius, middle)
    marker &= _from(middle, depth.shape, spacing_mm) <= _STRETCH * radius + _SLACK_MM
    near = _distance(~marker, spacing_mm) <= _NECK * radius + _RIM_MM
    return np.asarray(ndimage.binary_fill_holes(_piece(candidate & near, middle)), bool)


def _distance(region: _Region, spacing_mm: tuple[float, float, float]) -> _Map:
    """Return millimetres to the nearest voxel outside the region; the image's edge is none."""
    return np.asarray(edt.edt(np.ascontiguousarray(region), anisotropy=spacing_mm), np.float32)


def _opened(region: _Region, radius_mm: float, spacing_mm: tuple[float, float, float]) -> _Region:
    """Return the parts of a region that a ball fits into; tissue goes on beyond the image."""
    pads = [(int(np.ceil(radius_mm / s)) + 2,) * 2 for s in spacing_mm]
    wide = np.pad(region, pads, mode="edge")
    filled = _distance(wide, spacing_mm) > radius_mm
    if not filled.any():
        return np.zeros_like(region)
    opened = _distance(~filled, spacing_mm) <= radius_mm + _NOISE_MM
    inner = tuple(slice(p, p + n) for (p, _), n in zip(pads, region.shape, strict=True))
    return np.asarray(opened[inner] & region, bool)


def _piece(region: _Region, place: tuple[int, ...]) -> _Region:
    """Return the connected piece of a region around one of its voxels."""
    numbers, _ = ndimage.label(region)
    return np.asarray(numbers == numbers[place], bool) if region[place] else region


def _place(values: _Map) -> tuple[int, ...]:
    """Return the voxel of the largest value."""
    return tuple(int(n) for n in np.unravel_index(int(values.argmax()), values.shape))


def _climb(depth: _Map, start: tuple[int, ...]) -> tuple[int, ...]:
    """Return a nearby deeper voxel, two steps away at most: the middle of the same thing."""
    for _ in range(2):
        low = [max(0, n - 1) for n in start]
        block = depth[tuple(slice(a, n + 2) for a, n in zip(low, start, strict=True))]
        best = _place(block)
        if block[best] <= depth[start]:
            break
        start = tuple(a + n for a, n in zip(low, best, strict=True))
    return start


def _from(
    middle: tuple[int, ...], shape: tuple[int, ...], spacing_mm: tuple[float, float, float]
) -> _Map:
    """Return millimetres from one voxel to every other."""
    squares = [
        ((np.arange(n, dtype=np.float32) - m) * s) ** 2
        for n, m, s in zip(shape, middle, spacing_mm, strict=True)
    ]
    apart = squares[0][:, None, None] + squares[1][:, None] + squares[2]
    return np.asarray(np.sqrt(apart), np.float32)
