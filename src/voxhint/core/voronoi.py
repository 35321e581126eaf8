"""What single voxels that hints prove stand for."""

import numpy as np
from jaxtyping import Bool, Float32, Float64
from scipy import ndimage

_DENSE = 2000  # facts so many that each stands for as much as any other


def voxels_nearest(
    facts: Bool[np.ndarray, "i j k"],
    spacing_mm: tuple[float, float, float] | Float64[np.ndarray, "3"],
) -> Float32[np.ndarray, " fact"]:
    """Count the voxels nearest to each fact: people click where they like.

    Args:
        facts: Voxels that hints prove.
        spacing_mm: Of the voxels.

    Returns:
        How many, in the order of the facts; nine clicks at one place together count as one. Above
        2000 facts each gets the same share.
    """
    places = np.flatnonzero(facts)
    if not 0 < len(places) <= _DENSE:
        return np.full(len(places), facts.size / max(1, len(places)), np.float32)
    nearest = ndimage.distance_transform_edt(
        ~facts, spacing_mm, return_distances=False, return_indices=True
    )
    owner = np.ravel_multi_index(tuple(nearest), facts.shape)
    return np.bincount(owner.ravel(), minlength=facts.size)[places].astype(np.float32)
