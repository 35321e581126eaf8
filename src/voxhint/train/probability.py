"""Losses that are informed by how probable a label is: as published, and on confident claims.

All of them read the claims of a soft label. Its probability y and its trust t follow from belief
b = t y and plausibility u = 1 - t (1 - y), class by class: t = 1 - (u - b), y = b / t.
"""

import math

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial import ConvexHull, QhullError
from torch import Tensor
from torch.nn import functional

Classes = Float[Tensor, "batch class i j k"]
Scalar = Float[Tensor, ""]

_TINY = 1e-6
_BAND = 0.15  # probabilities this near to one half are no label
_SLACK = 0.4  # of a size: how far a mask may be from it
_PSEUDO = 0.9  # probability from which a teacher counts as sure
_FEWEST = 4  # corners of a body


def published_loss(logits: Classes, belief: Classes, plausible: Classes) -> Scalar:
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


def _against_others(logits: Classes) -> Classes:
    """Return the logit of each class against all the others together."""
    classes = range(logits.shape[1])
    others = [
        logits[:, [other for other in classes if other != mine]].logsumexp(1) for mine in classes
    ]
    return logits - torch.stack(others, 1)


def confident_claims(belief: Classes, plausible: Classes) -> tuple[Classes, Classes]:
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


def pseudo_belief(belief: Classes, plausible: Classes, taught: Classes) -> Classes:
    """Return the belief that a teacher adds where hints leave something unsaid.

    Args:
        belief: Least chance of each class.
        plausible: Largest chance of each class.
        taught: The teacher's probabilities.

    Returns:
        For the class the teacher is sure of, the mass that hints leave over, as far as they hold
        it possible; 0 elsewhere.
    """
    left = (1 - belief.sum(1, keepdim=True)).clamp(min=0)
    return left * plausible * (taught > _PSEUDO)


def hull_share(belief: Float[np.ndarray, "class i j k"]) -> Float[np.ndarray, " class"]:
    """Return how many times larger the convex hull of each class's evidence is than the evidence.

    Args:
        belief: Of a whole case, in [0, 1].

    Returns:
        Voxels of the hull for each voxel of belief; nan for the background, and where the
        evidence spans no body.
    """
    shares = np.full(len(belief), np.nan, np.float32)
    for number, values in enumerate(belief[1:], start=1):
        known = np.argwhere(values > 0.5)
        if len(known) < _FEWEST:
            continue
        try:
            volume = ConvexHull(known).volume
        except QhullError:  # all in one plane
            continue
        shares[number] = max(volume / float(values.sum(dtype=np.float64)), 1)
    return shares


def size_prior(q: Classes, belief: Classes, shares: Float[Tensor, "batch class"]) -> Scalar:
    """Charge labels for being smaller or larger than the hull of their evidence, by over 40 %.

    A patch is expected to hold as much of the hull as it holds of the evidence.

    Args:
        q: Probability of each class.
        belief: Least chance of each class.
        shares: Of `hull_share`; nan where it says nothing.

    Returns:
        How far the logarithm of the size is beyond that, as a mean over images and labels with
        evidence; 0 if there are none.
    """
    over = (2, 3, 4)
    evidence = belief.sum(over)
    counts = ~shares.isnan() & (evidence >= 1)
    expected = torch.where(counts, shares * evidence, 1)
    # a logarithm: a fresh network fills a patch whose expected size may be a few voxels
    size = ((q.sum(over) + 1) / (expected + 1)).log()
    excess = (size - math.log1p(_SLACK)).clamp(min=0) + (math.log1p(-_SLACK) - size).clamp(min=0)
    return (excess * counts).sum() / counts.sum().clamp(min=1)
