"""Candidate regions: the places of most saliency, each grown to a region."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float32
from scipy import ndimage

from voxhint.classify.contrast import Contrast
from voxhint.classify.refinement import refine, weigh
from voxhint.config.tags import Refinement

_Map = Float32[np.ndarray, "i j k"]
_Region = Bool[np.ndarray, "i j k"]

_MOST = 50  # places that are tried: noise in a large image has thousands


def candidates(
    saliency: _Map,
    above: _Region,
    image: _Map,
    *,
    spacing_mm: tuple[float, float, float],
    contrast: Contrast,
    method: Refinement,
) -> Iterator[_Region]:
    """Yield regions that do not overlap, that of the strongest saliency first.

    The first grows from the strongest saliency of all, whether or not it is above the threshold.
    Each of the others grows from a connected part above it that no earlier region touches.

    Args:
        saliency: Larger where the label was seen.
        above: Where there is more than healthy images show.
        image: Prepared values of one channel on the same grid.
        spacing_mm: Of all three.
        contrast: The kinds of tissue of the study.
        method: How a region finds its border; with none, all above the threshold is the one region.

    Yields:
        Regions, none of them empty.
    """
    if method == "none":
        yield from [above] if above.any() else []
        return
    taken = np.zeros(above.shape, bool)
    for part in _places(saliency, above, contrast.of(image)):
        if not (part & taken).any():
            here = np.where(part, saliency, 0).astype(np.float32)
            region = refine(here, image, spacing_mm=spacing_mm, contrast=contrast)
            region &= ~taken
            taken |= region
            if region.any():
                yield region


def _places(saliency: _Map, above: _Region, density: _Map) -> Iterator[_Region]:
    """Yield the whole image, then the connected parts above the threshold, the strongest first."""
    yield np.ones(above.shape, bool)
    numbers, count = ndimage.label(above, structure=np.ones((3, 3, 3)))
    ids = np.arange(1, count + 1)
    peaks = np.asarray(ndimage.maximum(weigh(saliency, density), numbers, ids))
    for number in ids[np.argsort(-peaks)][:_MOST]:
        yield numbers == number
