"""Classical methods that fill a box, by name."""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.segmentation import random_walker
from sklearn.mixture import GaussianMixture

from voxhint.core import Volume
from voxhint.label.seeds import Evidence

BoxMethod = Literal["otsu", "gaussian-mixture", "random-walker"]

_RING = 3  # voxels around a box that show its surroundings
_BETA = 130.0
_SAMPLE = 20_000  # voxels that fit a mixture


def fill_boxes(
    evidence: Evidence, image: Volume, method: BoxMethod
) -> dict[int, Float32[np.ndarray, "i j k"]]:
    """Estimate for each label with a box or ball which voxels inside it are the label's.

    Args:
        evidence: From `gather_evidence`.
        image: The first channel, on the evidence's grid.
        method: Otsu's threshold; two Gaussians; or a random walk from core and surroundings.

    Returns:
        Probability by class number, 0 outside. For the first two the object's side is the one
        that the core lies on rather than the ring around the box.

    Source:
        Otsu 1979; Grady 2006, "Random walks for image segmentation". As baselines of boxes:
        "peritumoral radiomics" comparisons of Otsu, Gaussian mixtures and others inside a box.
    """
    quiet = ndimage.gaussian_filter(image.voxels, 0.7 / image.grid.spacing_mm)
    found = {}
    for number in range(1, len(evidence.proven)):
        core = evidence.likely[number] > 0
        inside = np.asarray(evidence.possible[number] > 0)
        if core.any():
            part = _around(inside)
            cut = quiet[part], core[part], inside[part]
            probs = np.zeros(inside.shape, np.float32)
            probs[part] = _walk(*cut) if method == "random-walker" else _split(*cut, method)
            found[number] = np.where(inside, probs, 0).astype(np.float32)
    return found


def _around(inside: Bool[np.ndarray, "i j k"]) -> tuple[slice, slice, slice]:
    """Return the part of the image that holds the boxes and a ring around them."""
    found = []
    for axis in range(3):
        rest = tuple(other for other in range(3) if other != axis)
        along = np.flatnonzero(inside.any(rest))
        found.append(slice(max(0, int(along[0]) - _RING), int(along[-1]) + 1 + _RING))
    return found[0], found[1], found[2]


def _split(
    values: Float32[np.ndarray, "i j k"],
    core: Bool[np.ndarray, "i j k"],
    inside: Bool[np.ndarray, "i j k"],
    method: BoxMethod,
) -> Float32[np.ndarray, "i j k"]:
    """Return how surely each voxel is of the core's side of two intensities."""
    held = values[inside].astype(np.float64)
    if np.ptp(held) == 0:
        return inside.astype(np.float32)
    if method == "otsu":
        border = float(threshold_otsu(held))  # type: ignore[no-untyped-call]
        bright = (values > border).astype(np.float32)
    else:
        step = max(1, held.size // _SAMPLE)
        mixture = GaussianMixture(2, random_state=0).fit(held[::step, None])
        column = int(np.argmax(mixture.means_[:, 0]))
        told = mixture.predict_proba(values.reshape(-1, 1).astype(np.float64))[:, column]
        bright = np.asarray(told.reshape(values.shape), np.float32)
    around = ~inside
    outer = float(bright[around].mean()) if around.any() else float(bright[inside & ~core].mean())
    return bright if float(bright[core].mean()) >= outer else np.float32(1) - bright


def _walk(
    values: Float32[np.ndarray, "i j k"],
    core: Bool[np.ndarray, "i j k"],
    inside: Bool[np.ndarray, "i j k"],
) -> Float32[np.ndarray, "i j k"]:
    """Return how surely a random walk from a voxel meets the core before what is around the box."""
    marks = np.where(core, 1, np.where(inside, 0, 2))
    if (marks == 2).sum() == 0 or (marks == 0).sum() == 0:
        return inside.astype(np.float32)
    walked = random_walker(values, marks, beta=_BETA, mode="cg_j", tol=1e-6, return_full_prob=True)
    return np.asarray(np.clip(walked[0], 0, 1), np.float32)
