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

_Classes = Float[Tensor, "batch class i j k"]
_Inside = Float[Tensor, "batch 1 i j k"]
Present = Bool[Tensor, "batch modality"]
_Scalar = Float[Tensor, ""]


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


def consistency(teacher: _Classes, learner: _Classes, inside: _Inside, *, sure: float) -> _Scalar:
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
    divergence = (p * (known - learner.log_softmax(1))).sum(1, keepdim=True)
    doubt = -(p * known).sum(1, keepdim=True)
    weight = inside * (p.amax(1, keepdim=True) >= sure) * (-doubt).exp()
    return (weight * divergence).sum() / inside.sum().clamp(min=1)
