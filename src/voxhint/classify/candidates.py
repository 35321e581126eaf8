"""The places that show most evidence, each grown to a region."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float32
from scipy import ndimage

from voxhint.classify.refinement import Contrast, Refinement, refine, weigh

Map = Float32[np.ndarray, "i j k"]
Region = Bool[np.ndarray, "i j k"]

_MOST = 50  # places that are tried: noise in a large image has thousands


def candidates(
    evidence: Map,
    seen: Region,
    image: Map,
    *,
    spacing_mm: tuple[float, float, float],
    contrast: Contrast,
    method: Refinement,
) -> Iterator[Region]:
    """Yield regions that do not overlap, that of the strongest evidence first.

    The first grows from the strongest evidence of all, whether or not it is seen. Each of the
    others grows from a connected part of what is seen that no earlier region touches.

    Args:
        evidence: Larger where the label was seen.
        seen: Where there is more evidence than healthy images show.
        image: Prepared values of one channel on the same grid.
        spacing_mm: Of all three.
        contrast: The kinds of tissue of the study.
        method: How a region finds its border; with none, what is seen is the one region.

    Yields:
        Regions, none of them empty.
    """
    if method == "none":
        yield from [seen] if seen.any() else []
        return
    taken = np.zeros(seen.shape, bool)
    for part in _places(evidence, seen, contrast.of(image)):
        if not (part & taken).any():
            here = np.where(part, evidence, 0).astype(np.float32)
            region = refine(here, image, spacing_mm=spacing_mm, contrast=contrast, method=method)
            region &= ~taken
            taken |= region
            if region.any():
                yield region


def _places(evidence: Map, seen: Region, density: Map) -> Iterator[Region]:
    """Yield the whole image, then the connected parts of what is seen, the strongest first."""
    yield np.ones(seen.shape, bool)
    numbers, count = ndimage.label(seen, structure=np.ones((3, 3, 3)))
    ids = np.arange(1, count + 1)
    peaks = np.asarray(ndimage.maximum(weigh(evidence, density), numbers, ids))
    for number in ids[np.argsort(-peaks)][:_MOST]:
        yield numbers == number
