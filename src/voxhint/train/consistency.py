"""What the branches of a network may teach each other where no hint lies.

Logits come branch by branch; the last one is the joint branch. Nothing here draws a batch or knows
a network: every function takes tensors and returns one.
"""

import math

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

Classes = Float[Tensor, "batch class i j k"]
Features = Float[Tensor, "batch feature i j k"]
Branches = Float[Tensor, "branch batch class i j k"]
Inside = Float[Tensor, "batch 1 i j k"]
Present = Bool[Tensor, "batch modality"]
Scalar = Float[Tensor, ""]

_SEEN = 1.0  # voxels of belief from which a class has a prototype


def ramp(step: int, over: int) -> float:
    """Return how much of a weight counts: it rises like half a Gaussian, and stays at 1.

    Args:
        step: How many are done.
        over: Steps after which all of the weight counts; 0 is from the start.

    Source:
        Laine and Aila 2017, "Temporal ensembling for semi-supervised learning", section 2.1.
    """
    return 1.0 if step >= over else math.exp(-5 * (1 - step / over) ** 2)


def drop_modalities(present: Present, chance: float, rng: np.random.Generator) -> Present:
    """Return which modalities are joined: some are left out at random, never all of them.

    Args:
        present: Those that are there.
        chance: Of each to be left out.
        rng: Source of chance.
    """
    drawn = torch.from_numpy(rng.random(tuple(present.shape))).to(present.device)
    score = drawn.masked_fill(~present, -1.0)
    luckiest = functional.one_hot(score.argmax(1), present.shape[1]).bool()
    return present & ((score >= chance) | luckiest)


def consistency(teacher: Classes, learner: Classes, inside: Inside, *, sure: float) -> Scalar:
    """Measure how far a branch is from another one, where that is sure.

    Args:
        teacher: Logits that are taken as they are: they get no gradient.
        learner: Logits that are to follow.
        inside: 1 in the case, 0 beyond it.
        sure: Least probability of the teacher's class; below it a voxel counts nothing.

    Returns:
        Mean over the voxels inside of exp(-entropy) KL(teacher || learner), in nats.
    """
    known = teacher.detach().log_softmax(1)
    p = known.exp()
    surprise = (p * (known - learner.log_softmax(1))).sum(1, keepdim=True)
    doubt = -(p * known).sum(1, keepdim=True)
    weight = inside * (p.amax(1, keepdim=True) >= sure) * (-doubt).exp()
    return (weight * surprise).sum() / inside.sum().clamp(min=1)


def prototypes(features: Features, belief: Classes) -> Float[Tensor, "class feature"]:
    """Return the mean feature of each class over the voxels believed to be of it; 0 for none."""
    total = torch.einsum("bcijk,bfijk->cf", belief, features)
    return total / belief.sum((0, 2, 3, 4)).clamp(min=_SEEN)[:, None]


def alignment(one: Features, other: Features, belief: Classes) -> Scalar:
    """Measure how far the prototypes of two branches point apart.

    Args:
        one: Features of a branch.
        other: Those of another, of the same width.
        belief: Says which voxels are of a class.

    Returns:
        Mean over the classes that are seen of one minus the cosine, from 0 to 2; 0 if none is.
    """
    cosine = functional.cosine_similarity(prototypes(one, belief), prototypes(other, belief), 1)
    seen = (belief.sum((0, 2, 3, 4)) >= _SEEN).to(cosine.dtype)
    return ((1 - cosine) * seen).sum() / seen.sum().clamp(min=1)


def mixed_labels(
    logits: Branches, present: Present, rng: np.random.Generator, *, sure: float, agreed: bool
) -> Classes:
    """Return what a random mixture of the branches takes each voxel for.

    Args:
        logits: Of every modality, then the joint one.
        present: Modalities that count; the joint one always does.
        rng: Draws the shares, evenly over all mixtures, for each patch anew.
        sure: Least probability of the mixture's class; below it nothing is said.
        agreed: Say something only where all branches that count would say the same.

    Returns:
        1 for the class, 0 for the others and where nothing is said.

    Source:
        Luo et al. 2022, "Scribble-supervised medical image segmentation via dual-branch network
        and dynamically mixed pseudo labels supervision", equation 3; there of two branches.
    """
    counts = functional.pad(present.to(logits.dtype), (0, 1), value=1.0)
    drawn = rng.exponential(size=tuple(counts.shape))  # shares of exponentials are even
    shares = torch.from_numpy(drawn).to(logits) * counts
    shares = (shares / shares.sum(1, keepdim=True)).T[:, :, None, None, None, None]
    likely, chosen = (shares * logits.softmax(2)).sum(0).max(1)
    said = likely >= sure
    if agreed:
        ignored = counts.T[:, :, None, None, None] == 0
        said &= ((logits.argmax(2) == chosen) | ignored).all(0)
    onehot = functional.one_hot(chosen, logits.shape[2]).movedim(-1, 1)
    return onehot * said[:, None].to(logits.dtype)
