"""From where a label was seen to where it ends: one refinement for every map of evidence."""

from dataclasses import dataclass
from typing import Literal

import edt
import numpy as np
from jaxtyping import Bool, Float32
from scipy import ndimage
from skimage.segmentation import morphological_chan_vese, random_walker

Map = Float32[np.ndarray, "i j k"]
Region = Bool[np.ndarray, "i j k"]
Refinement = Literal["half-maximum", "random-walker", "active-contour", "none"]

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
_BETA = 130.0  # of the random walker, for intensities scaled to the contrast
_ROUNDS = 15  # of the active contour


@dataclass(frozen=True, slots=True)
class Contrast:
    """The two kinds of tissue in the images of a study, in prepared units.

    What a label looks like is told by the sign: tissue that speaks for it is brighter than its
    surround, or darker.
    """

    low: float
    """Mean of the darker kind, or of the brighter one where the label is dark."""

    high: float

    @property
    def span(self) -> float:
        """Return the difference, negative where the label is dark."""
        return self.high - self.low

    def of(self, image: Map) -> Map:
        """Return the image as 0 (surround) to 1 (what the label is made of) and beyond."""
        return np.asarray((image - self.low) / self.span, np.float32)


def weigh(evidence: Map, density: Map) -> Map:
    """Return evidence where there is something to see: weighed by how dense the tissue is.

    Gradients of a predictor spread over the surround of what it sees. There is no lesion where
    there is nothing but surround.
    """
    return np.asarray(np.maximum(evidence, 0) * np.clip((density - 0.06) / 0.66, 0, 1), np.float32)


def refine(
    evidence: Map,
    image: Map,
    *,
    spacing_mm: tuple[float, float, float],
    contrast: Contrast,
    method: Refinement = "half-maximum",
) -> Region:
    """Return the region of a label around the strongest evidence for it.

    The core is the peak of the evidence weighed by density. Bulk tissue (walls, organs: whatever
    a ball of 8 mm fits into, unless the core is that large itself) is set aside. The region then
    grows from the core down to the level between core and surround, and is cut at necks.

    Args:
        evidence: Larger where the label was seen.
        image: Prepared values of one channel on the same grid.
        spacing_mm: Of both.
        contrast: The kinds of tissue of the study.
        method: half-maximum as said; random-walker and active-contour start from its region and
            settle the border by the image.

    Returns:
        The region; empty only if nothing speaks for the label anywhere.

    Source:
        Half maximum: the usual definition of a blurred object's edge. Grady 2006, "Random walks
        for image segmentation". Chan and Vese 2001, with the morphological steps of
        Marquez-Neila et al. 2014.
    """
    density = contrast.of(image)
    part = _field(_place(weigh(evidence, density)), spacing_mm)
    region = np.zeros(evidence.shape, bool)
    region[part] = _refined(evidence[part], density[part], spacing_mm, method)
    return region


def _refined(
    evidence: Map, density: Map, spacing_mm: tuple[float, float, float], method: Refinement
) -> Region:
    """Return the region in the field of view around the strongest evidence."""
    density = ndimage.gaussian_filter(density, _NOISE_MM / np.array(spacing_mm))
    weighed = weigh(evidence, density)
    if weighed.max() <= 0:
        return np.zeros(evidence.shape, bool)
    core, bulk = _core(weighed, density, spacing_mm)
    region = _grown(core, bulk, density, spacing_mm)
    match method:
        case "random-walker":
            return _walked(region, bulk, density, spacing_mm)
        case "active-contour":
            return _contoured(region, bulk, density, spacing_mm)
        case _:
            return region


def _field(
    middle: tuple[int, ...], spacing_mm: tuple[float, float, float]
) -> tuple[slice, slice, slice]:
    """Return the field of view around a voxel: what lies farther has no part in a region."""
    half = [int(np.ceil(_FIELD_MM / s)) for s in spacing_mm]
    i, j, k = (slice(max(0, m - h), m + h + 1) for m, h in zip(middle, half, strict=True))
    return i, j, k


def _core(
    weighed: Map, density: Map, spacing_mm: tuple[float, float, float]
) -> tuple[Region, Region]:
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
    core: Region, bulk: Region, density: Map, spacing_mm: tuple[float, float, float]
) -> Region:
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


def _walked(
    region: Region, bulk: Region, density: Map, spacing_mm: tuple[float, float, float]
) -> Region:
    part = _around(region, spacing_mm)
    inner, depth = region[part], _distance(region[part], spacing_mm)
    seeds = np.zeros(inner.shape, np.int32)
    seeds[_distance(~inner, spacing_mm) > 2.0] = 2
    seeds[bulk[part] & ~inner] = 2
    seeds[depth >= 0.5 * depth.max()] = 1
    if not (seeds == 2).any():
        return region
    found = random_walker(
        np.clip(density[part], -0.2, 1.2),
        seeds,
        beta=_BETA,
        mode="cg_j",
        tol=1e-5,
        prob_tol=0.1,
        spacing=spacing_mm,
    )
    walked = np.zeros_like(region)
    walked[part] = found == 1
    return walked


def _contoured(
    region: Region, bulk: Region, density: Map, spacing_mm: tuple[float, float, float]
) -> Region:
    part = _around(region, spacing_mm)
    inner = region[part]
    if min(inner.shape) < 2:
        return region
    found = morphological_chan_vese(  # type: ignore[no-untyped-call]
        np.clip(density[part], -0.2, 1.2), _ROUNDS, init_level_set=inner, smoothing=1
    ).astype(bool)
    found &= (_distance(~inner, spacing_mm) <= 2.0) & ~bulk[part]
    contoured = np.zeros_like(region)
    contoured[part] = found
    return contoured if found.any() else region


def _distance(region: Region, spacing_mm: tuple[float, float, float]) -> Map:
    """Return millimetres to the nearest voxel outside the region; the image's edge is none."""
    return np.asarray(edt.edt(np.ascontiguousarray(region), anisotropy=spacing_mm), np.float32)


def _opened(region: Region, radius_mm: float, spacing_mm: tuple[float, float, float]) -> Region:
    """Return the parts of a region that a ball fits into; tissue goes on beyond the image."""
    pads = [(int(np.ceil(radius_mm / s)) + 2,) * 2 for s in spacing_mm]
    wide = np.pad(region, pads, mode="edge")
    filled = _distance(wide, spacing_mm) > radius_mm
    if not filled.any():
        return np.zeros_like(region)
    opened = _distance(~filled, spacing_mm) <= radius_mm + _NOISE_MM
    inner = tuple(slice(p, p + n) for (p, _), n in zip(pads, region.shape, strict=True))
    return np.asarray(opened[inner] & region, bool)


def _piece(region: Region, place: tuple[int, ...]) -> Region:
    """Return the connected piece of a region around one of its voxels."""
    numbers, _ = ndimage.label(region)
    return np.asarray(numbers == numbers[place], bool) if region[place] else region


def _place(values: Map) -> tuple[int, ...]:
    """Return the voxel of the largest value."""
    return tuple(int(n) for n in np.unravel_index(int(values.argmax()), values.shape))


def _climb(depth: Map, start: tuple[int, ...]) -> tuple[int, ...]:
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
) -> Map:
    """Return millimetres from one voxel to every other."""
    squares = [
        ((np.arange(n, dtype=np.float32) - m) * s) ** 2
        for n, m, s in zip(shape, middle, spacing_mm, strict=True)
    ]
    apart = squares[0][:, None, None] + squares[1][:, None] + squares[2]
    return np.asarray(np.sqrt(apart), np.float32)


def _around(region: Region, spacing_mm: tuple[float, float, float]) -> tuple[slice, ...]:
    """Return the box around a region, 6 mm wider."""
    (box,) = ndimage.find_objects(region.astype(np.int8))
    wider = [int(np.ceil(6.0 / s)) for s in spacing_mm]
    return tuple(slice(max(0, b.start - w), b.stop + w) for b, w in zip(box, wider, strict=True))
