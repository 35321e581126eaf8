"""Losses that are informed by how probable a label is: as published, and on confident claims.

All of them read the claims of a soft label. Its probability y and its trust t follow from belief
b = t y and plausibility u = 1 - t (1 - y), class by class: t = 1 - (u - b), y = b / t.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

_Classes = Float[Tensor, "batch class i j k"]
_Scalar = Float[Tensor, ""]

_TINY = 1e-6
_BAND = 0.15  # probabilities this near to one half are no label


def pw4medseg_loss(logits: _Classes, belief: _Classes, plausible: _Classes) -> _Scalar:
    """Return weighted cross-entropy plus Dice with squared denominators, of each foreground label.

    A voxel is labelled where y > 1/2, and counts by how probable that is: y there, 1 - y
    elsewhere. A label competes with all the others together, so that with one label the network's
    softmax is the published sigmoid. What is not trusted counts for nothing.

    Args:
        logits: Network output, before softmax.
        belief: Least chance of each class.
        plausible: Largest chance of each class.

    Returns:
        Mean over images and foreground labels.

    Source:
        "PW4MedSeg", arXiv 2403.02566, and its code: the loss called weighted focal Dice there,
        whose focal factor is switched off.
    """
    trust = 1 - (plausible - belief)[:, 1:]
    y = belief[:, 1:] / trust.clamp(min=_TINY)
    label = (y > 0.5).to(y.dtype)
    weight = trust * torch.where(y > 0.5, y, 1 - y)
    apart = _against_others(logits)[:, 1:]
    entropy = functional.binary_cross_entropy_with_logits(apart, label, reduction="none")
    over = (2, 3, 4)
    seen = trust.sum(over).clamp(min=_TINY)
    q = apart.sigmoid()
    overlap = (trust * q * label).sum(over)
    total = (trust * (q.square() + label)).sum(over)
    dice = 1 - 2 * overlap / (total + _TINY)
    return (dice + (weight * entropy).sum(over) / seen).mean()


def _against_others(logits: _Classes) -> _Classes:
    """Return the logit of each class against all the others together."""
    classes = range(logits.shape[1])
    others = [
        logits[:, [other for other in classes if other != mine]].logsumexp(1) for mine in classes
    ]
    return logits - torch.stack(others, 1)


def confident_claims(belief: _Classes, plausible: _Classes) -> tuple[_Classes, _Classes]:
    """Return claims that say a label, and only as far as the probability is from one half.

    A class with y > 1/2 is believed with t (2 y - 1), one with y < 1/2 is ruled out with
    t (1 - 2 y), and nothing is said where .35 < y < .65. Facts stay facts.

    Args:
        belief: Least chance of each class.
        plausible: Largest chance of each class.

    Returns:
        Belief and plausibility.
    """
    trust = 1 - (plausible - belief)
    support = belief + plausible - 1  # t (2 y - 1)
    sure = support.abs() >= 2 * _BAND * trust
    support = torch.where(sure, support, 0)
    return support.clamp(min=0), 1 - (-support).clamp(min=0)
