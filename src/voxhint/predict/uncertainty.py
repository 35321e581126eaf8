"""How unsure the network is of each voxel."""

import numpy as np
from jaxtyping import Float32


def entropy(probs: Float32[np.ndarray, "class i j k"]) -> Float32[np.ndarray, "i j k"]:
    """Return the entropy of each voxel's probabilities, 0 (sure) to 1 (all classes alike)."""
    logs = np.log(np.clip(probs, 1e-12, 1))
    return np.asarray(-(probs * logs).sum(0) / np.log(max(len(probs), 2)), np.float32)
