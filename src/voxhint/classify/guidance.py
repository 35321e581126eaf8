"""Between a flow, a predictor and an image that is larger than either has seen."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor
from torch.nn import functional

from voxhint.classify.calibration import Calibration
from voxhint.classify.classifier import Presence
from voxhint.classify.counterfactual import Flows, Logit
from voxhint.classify.flows import Flow
from voxhint.prepare import Plan

_RIM = 8  # of a window's edge, the part over which its answer fades
_FAST = 2  # images from which small float32 convolutions on CPUs leave a path many times slower
_PLAIN = {"slope": 1.0, "intercept": 0.0}  # where nothing was calibrated

Window = tuple[slice, slice, slice]


def strongest_windows(
    strength: Float32[np.ndarray, "i j k"], patch: tuple[int, int, int], most: int
) -> Iterator[Window]:
    """Yield windows around the strongest places, none around a place of an earlier one.

    Args:
        strength: Larger where it is more worth looking; places of 0 or less are not.
        patch: Size of a window; smaller along axes that the image does not fill.
        most: Windows at most.

    Yields:
        Slices of the image.
    """
    left = strength.copy()
    for _ in range(most):
        place = np.unravel_index(int(left.argmax()), left.shape)
        if left[place] <= 0:
            return
        low = [
            int(np.clip(m - p // 2, 0, max(0, n - p)))
            for m, n, p in zip(place, left.shape, patch, strict=True)
        ]
        i, j, k = (slice(a, min(a + p, n)) for a, n, p in zip(low, left.shape, patch, strict=True))
        left[i, j, k] = 0
        yield i, j, k


def fading(window: Window, shape: tuple[int, ...]) -> Float32[np.ndarray, "a b c"]:
    """Return 1 in a window, less towards faces that are not the image's own."""
    ramps = []
    for part, length in zip(window, shape, strict=True):
        size = part.stop - part.start
        rim = max(1, size // _RIM)
        place = np.arange(size)
        low = (place + 1) / (rim + 1) if part.start > 0 else np.ones(size)
        high = (size - place) / (rim + 1) if part.stop < length else np.ones(size)
        ramps.append(np.minimum(1, np.minimum(low, high)).astype(np.float32))
    return ramps[0][:, None, None] * ramps[1][:, None] * ramps[2]


def flows_of(flow: Flow, label: str) -> Flows:
    """Return a flow as it is told of one label."""
    return Flows(
        present=flow.velocity(label, "present"),
        absent=flow.velocity(label, "absent"),
        unknown=flow.velocity(label, "unknown"),
    )


def logit_of(presence: Presence, label: str, plan: Plan) -> Logit:
    """Return the predictor's calibrated log-odds for images prepared by another plan.

    Args:
        presence: The predictor.
        label: The one in question.
        plan: By which the images are prepared.

    Returns:
        A function of such images, differentiable: they are scaled and resampled as the predictor
        saw images.
    """
    number, own = presence.labels.index(label), presence.plan
    curve = Calibration(**(presence.facts[label]["calibration"] or _PLAIN))
    gains, lifts = zip(*(_affine(name, plan, own) for name in plan.channels), strict=True)
    ratio = np.array(plan.spacing_mm) / own.spacing_mm

    def logit(images: Float[Tensor, "batch channel i j k"]) -> Float[Tensor, " batch"]:
        gain, lift = (images.new_tensor(values)[:, None, None, None] for values in (gains, lifts))
        i, j, k = (max(1, round(n * r)) for n, r in zip(images.shape[2:], ratio, strict=True))
        shown = _resized(images * gain + lift, (i, j, k))
        shown = torch.cat([shown] * max(1, _FAST // len(shown)))
        scores: Tensor = presence.net(shown)[: len(images), number]
        return curve.slope * scores + curve.intercept

    return logit


def _affine(channel: str, here: Plan, there: Plan) -> tuple[float, float]:
    """Return gain and lift from one plan's intensities to another's; none if images have own."""
    one, other = here.intensity.get(channel), there.intensity.get(channel)
    if one is None or other is None:
        return 1.0, 0.0
    return one.std / other.std, (one.mean - other.mean) / other.std


def _resized(images: Tensor, size: tuple[int, int, int]) -> Tensor:
    """Return images of another size: the mean of voxels where coarser, linear where finer."""
    i, j, k = (min(n, m) for n, m in zip(images.shape[2:], size, strict=True))
    if (i, j, k) != images.shape[2:]:
        images = functional.adaptive_avg_pool3d(images, (i, j, k))
    if (i, j, k) != size:
        images = functional.interpolate(images, size, mode="trilinear")
    return images
