"""How a network that learns from soft labels mends them: what it says beside what hints imply.

Three ways differ in who speaks and in where that is believed. All of them are held against the
claims in one place: hints stay as they are, and a class that is ruled out stays ruled out.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from voxhint.config.training import Mending
from voxhint.train.batches import Batch

Classes = Float[Tensor, "batch class i j k"]
Weight = Float[Tensor, "batch 1 i j k"]
Says = Callable[[Tensor], Tensor]
"""From an image to the logits of a network."""

_FACT = 0.95  # belief from which a voxel is hinted rather than guessed
_RULED_OUT = 0.05  # plausibility below which no network brings a class back
_SHARE = 0.5  # of the label that is the network's where that is believed
_FILL = False  # only what labels leave open is the network's
_BEST = 0.7  # share of the voxels of each class, the surest, in which a teacher is believed
_SHADE = 0.1  # standard deviation of the brightness and the noise of a second view


@dataclass(frozen=True, slots=True)
class Teachers:
    """Who may be asked about a batch."""

    average: Says
    """The average of the weights over the last steps."""

    last_round: Says
    """The same average when the last round of relabelling began."""


def mended(
    batch: Batch, own: Classes, teachers: Teachers, way: Mending, rng: np.random.Generator
) -> Batch:
    """Return a batch whose claims are mended by what networks say.

    Args:
        batch: Images and claims.
        own: Logits of the network that learns, without their graph.
        teachers: Who else may be asked.
        way: Names who speaks: the average where it is sure, class by class; the network and its
            average in random shares; or the average of the last round, by its certainty.
        rng: Source of chance.

    Source:
        The average as teacher is of Tarvainen and Valpola 2017, "Mean teachers are better role
        models"; the surest of each class of Zou et al. 2018, "Unsupervised domain adaptation for
        semantic segmentation via class-balanced self-training". Random shares are of Luo et al.
        2022, "Scribble-supervised medical image segmentation via dual-branch network and
        dynamically mixed pseudo labels supervision", there of two decoders, here of the network
        and its average in another view. Rounds are of Lee 2013, "Pseudo-label", weighed by
        exp(-doubt) as in Luo et al. 2022, "Semi-supervised medical image segmentation via
        uncertainty rectified pyramid consistency".
    """
    match way:
        case "none":
            return batch
        case "teacher":
            said = teachers.average(batch.image).softmax(1)
            sure = surest_of_each_class(said)
        case "mixed":
            part = float(rng.random())
            other = teachers.average(_another_view(batch.image, rng)).softmax(1)
            winner = (part * own.softmax(1) + (1 - part) * other).argmax(1)
            said = functional.one_hot(winner, own.shape[1]).movedim(-1, 1).to(own.dtype)
            sure = torch.ones_like(batch.inside)
        case "rounds":
            said = teachers.last_round(batch.image).softmax(1)
            sure = (said * said.clamp(min=1e-6).log()).sum(1, keepdim=True).exp()
    return blended(batch, said, _SHARE * sure)


def blended(batch: Batch, said: Classes, weight: Weight) -> Batch:
    """Return a batch whose claims are moved toward what is said of classes.

    Args:
        batch: Claims; hinted voxels, and what lies beyond the case, stay as they are.
        said: Probability of each class; what is ruled out is taken from it.
        weight: From 0, claims stay, to 1, only what is said counts.
    """
    allowed = said * (batch.plausible > _RULED_OUT)
    q = allowed / allowed.sum(1, keepdim=True).clamp(min=1e-6)
    guessed = (batch.belief.amax(1, keepdim=True) < _FACT) & (allowed.amax(1, keepdim=True) > 0)
    if _FILL:
        open_to = allowed * batch.plausible
        q = open_to / open_to.sum(1, keepdim=True).clamp(min=1e-6)
        q = batch.belief + (1 - batch.belief.sum(1, keepdim=True)).clamp(min=0) * q
    share = weight * batch.inside * guessed
    belief = batch.belief + share * (q - batch.belief)
    return replace(batch, belief=belief, plausible=batch.plausible + share * (q - batch.plausible))


def hinted(batch: Batch) -> Batch:
    """Return a batch that claims nothing but what was hinted."""
    fact = batch.belief.amax(1, keepdim=True) >= _FACT
    return replace(
        batch,
        belief=torch.where(fact, batch.belief, 0.0),
        plausible=torch.where(fact, batch.plausible, 1.0),
    )


def surest_of_each_class(said: Classes) -> Weight:
    """Return 1 in the surest voxels among those in which a class wins, class by class."""
    best, winner = said.max(1, keepdim=True)
    sure = torch.zeros_like(best)
    for number in range(said.shape[1]):
        mine = winner == number
        if mine.any():
            level = best[mine].sort().values[int((1 - _BEST) * int(mine.sum()))]
            sure = torch.where(mine & (best >= level), 1.0, sure)
    return sure


def _another_view(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Return the image as another scanner might have drawn it."""
    noise = torch.from_numpy(rng.standard_normal(tuple(image.shape), np.float32)).to(image)
    shades = rng.normal(0, _SHADE, (2, *image.shape[:2], 1, 1, 1)).astype(np.float32)
    gain, shift = torch.from_numpy(shades).to(image)
    return image * gain.exp() + shift + _SHADE * noise
