"""A flow and a classifier as counterfactuals ask them: velocities and log-odds of one label."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from voxhint.classify.classifier import Classifier
from voxhint.classify.counterfactual import LabelVelocities, Logit
from voxhint.classify.platt_scaling import Calibration
from voxhint.classify.train_label_flow import LabelFlow
from voxhint.prepare import Plan

_FAST = 2  # images from which small float32 convolutions on CPUs leave a path many times slower
_PLAIN = {"slope": 1.0, "intercept": 0.0}  # where nothing was calibrated


def velocities_of(flow: LabelFlow, label: str) -> LabelVelocities:
    """Return a flow as it is told of one label."""
    return LabelVelocities(
        present=flow.velocity(label, "present"),
        absent=flow.velocity(label, "absent"),
        unknown=flow.velocity(label, "unknown"),
    )


def logit_of(classifier: Classifier, label: str, plan: Plan) -> Logit:
    """Return the classifier's calibrated log-odds for images prepared by another plan.

    Args:
        classifier: The classifier.
        label: The one in question.
        plan: By which the images are prepared.

    Returns:
        A function of such images, differentiable: they are scaled and resampled as the classifier
        saw images.
    """
    number, own = classifier.labels.index(label), classifier.plan
    curve = Calibration(**(classifier.facts[label]["calibration"] or _PLAIN))
    gains, lifts = zip(*(_affine(name, plan, own) for name in plan.channels), strict=True)
    ratio = np.array(plan.spacing_mm) / own.spacing_mm

    def logit(images: Float[Tensor, "batch channel i j k"]) -> Float[Tensor, " batch"]:
        gain, lift = (images.new_tensor(values)[:, None, None, None] for values in (gains, lifts))
        i, j, k = (max(1, round(n * r)) for n, r in zip(images.shape[2:], ratio, strict=True))
        shown = _resized(images * gain + lift, (i, j, k))
        shown = torch.cat([shown] * max(1, _FAST // len(shown)))
        scores: Tensor = classifier.net(shown)[: len(images), number]
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
