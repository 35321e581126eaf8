"""Several maps of evidence as one: each told by how rare it is where the label is absent."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from voxhint.classify.null_distribution import Null

Map = Float32[np.ndarray, "i j k"]


def fuse(maps: Sequence[Map], nulls: Sequence[Null]) -> Map:
    """Return the mean surprise of maps that ask the same question in different units.

    Args:
        maps: Evidence of each method at the same voxels.
        nulls: What each shows in images tagged absent.

    Returns:
        The mean of -log p, in nats: 0 where no map shows more than the lowest healthy voxel. Units
        cancel, and so does any rising curve a map is bent by, up to the tail of its null.
    """
    surprises = [-np.log(null.p_values(one)) for one, null in zip(maps, nulls, strict=True)]
    return np.asarray(np.mean(surprises, axis=0), np.float32)
