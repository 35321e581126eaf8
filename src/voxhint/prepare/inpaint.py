"""Regions taken out of an image: their surroundings grow in without a seam."""

import edt
import numpy as np
from jaxtyping import Bool, Float32
from scipy import ndimage

Image = Float32[np.ndarray, "channel i j k"]
Region = Bool[np.ndarray, "i j k"]

_WIDER_MM = 1.0  # beyond a region: the rim of what is taken away, blurred by the scanner
_FEATHER_MM = 2.0  # from there to where the image is as it was
_SMOOTH_MM = 1.5  # of tissue that is grown into a hole


def without(image: Image, region: Region, *, spacing_mm: tuple[float, float, float]) -> Image:
    """Return an image in which its surroundings take the place of a region, without a seam.

    Args:
        image: Prepared values.
        region: What goes; a millimetre around it goes too, and two more fade over.
        spacing_mm: Of both.

    Returns:
        The image, unchanged beyond the seam.
    """
    if not region.any() or region.all():
        return image
    apart = edt.edt(np.ascontiguousarray(~region), anisotropy=spacing_mm)
    weight = np.clip(1 - (apart - _WIDER_MM) / _FEATHER_MM, 0, 1)
    other = _grown_over(image, weight > 0, spacing_mm)
    return np.asarray(image + weight * (other - image), np.float32)


def _grown_over(image: Image, hole: Region, spacing_mm: tuple[float, float, float]) -> Image:
    """Return an image whose hole is filled with the nearest voxels around it, smoothed."""
    if hole.all():
        return image
    _, places = ndimage.distance_transform_edt(hole, sampling=spacing_mm, return_indices=True)
    filled = image[:, places[0], places[1], places[2]]
    width = (0, *(_SMOOTH_MM / np.array(spacing_mm)))
    return np.where(hole, ndimage.gaussian_filter(filled, width), image)
