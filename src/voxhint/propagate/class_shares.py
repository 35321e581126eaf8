"""Classes that are rare, hard to see, or known only as one of several."""

import torch
from torch import Tensor
from torch.nn import functional

_BALANCE = 0.5  # power of a class's share by which its facts are drawn more often
_RAREST = 1e-6
_ROUNDS = 60  # in which offsets are found
_PACE = 0.3  # of each round
_DOUBT = 30.0  # facts of a class by which its offset is halved
_MOST_OFFSET = 2.3  # natural logarithm of tenfold odds
_NEVER = -1e4  # a log probability of 0 that still has a gradient


def or_open(logs: Tensor, also: Tensor) -> Tensor:
    """Return log probabilities where that of background holds all that it may be.

    Source:
        The loss for candidate label sets of Jin and Ghahramani 2002, "Learning with multiple
        labels".
    """
    if not also.any():
        return logs
    others = logs.masked_fill(~also, _NEVER)
    background = torch.logaddexp(logs[:, 0], others.logsumexp(1))
    return torch.cat([background[:, None], logs[:, 1:].masked_fill(also[:, 1:], _NEVER)], 1)


def rarity_of(classes: Tensor, weights: Tensor) -> Tensor:
    """Return how much more often facts of each class are drawn: as the root of how rare they are.

    Source:
        Menon et al. 2021, "Long-tail learning via logit adjustment": what was drawn more often is
        taken back from the answer.
    """
    share = (classes * weights[:, None]).sum(0) / weights.sum()
    return torch.where(share > 0, share.clamp(min=_RAREST), torch.ones(())) ** -_BALANCE


def offset_of(logs: Tensor, classes: Tensor, share: Tensor) -> Tensor:
    """Return what is to be added for each class, so that it wins as often as it is true.

    Source:
        Lipton et al. 2014, "Optimal thresholding of classifiers to maximize F1 measure": what is
        hard to tell is best found, by Dice, at less than even odds.
    """
    true, offset = (share * classes).sum(0), torch.zeros(logs.shape[1])
    if not true.any():
        return offset
    for _ in range(_ROUNDS):
        won = functional.one_hot((logs + offset).argmax(1), logs.shape[1])
        more = ((true + _RAREST) / ((share * won).sum(0) + _RAREST)).log()
        offset = (offset + _PACE * (more - more[0])).clamp(-_MOST_OFFSET, _MOST_OFFSET)
        offset[true <= 0] = 0
    shown = (classes * (share > 0)).sum(0)
    return offset * shown / (shown + _DOUBT)
