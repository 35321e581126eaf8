"""Steps of AdamW along one cycle of rates, without what PyTorch loads to compile optimisers."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim.adamw import adamw

_DECAY = 1e-3
_RISING = 0.3  # share of the steps in which the rate rises
_RISE = 25.0  # times that it does
_FALL = 2.5e5  # times that it falls
_MOMENTUM = (0.95, 0.85)  # at the lowest and at the highest rate
_SQUARES = 0.999  # the same of squares
_TINY = 1e-8


class OneCycle:
    """Changes the weights of a network by gradients.

    `torch.optim.AdamW` with `OneCycleLR` takes the same steps to the bit. Made for the first time
    it loads the compiler of PyTorch, which takes 2 s in every process.

    Source:
        Loshchilov and Hutter 2019, "Decoupled weight decay regularization"; Smith and Topin 2018,
        "Super-convergence: very fast training of neural networks using large learning rates".
    """

    def __init__(self, weights: Sequence[Tensor], rate: float, steps: int) -> None:
        self._weights, self._rate, self._steps = [*weights], rate, max(2, steps)
        self._means, self._squares = (
            [torch.zeros_like(one, requires_grad=False) for one in weights] for _ in range(2)
        )
        self._done = [torch.zeros(()) for _ in weights]
        self._step = 0

    def step(self, loss: Tensor) -> None:
        """Take a step down the slope of a loss."""
        slopes = torch.autograd.grad(loss, self._weights)
        rate, momentum = self._now()
        with torch.no_grad():
            adamw(
                self._weights,
                [*slopes],
                self._means,
                self._squares,
                [],
                self._done,
                foreach=False,
                amsgrad=False,
                beta1=momentum,
                beta2=_SQUARES,
                lr=rate,
                weight_decay=_DECAY,
                eps=_TINY,
                maximize=False,
            )
        self._step += 1

    def _now(self) -> tuple[float, float]:
        """Return rate and momentum of the next step."""
        low, high = _MOMENTUM
        top = _RISING * self._steps - 1
        if self._step <= top:
            share = self._step / top
            return _between(self._rate / _RISE, self._rate, share), _between(low, high, share)
        share = (self._step - top) / (self._steps - 1 - top)
        return _between(self._rate, self._rate / _FALL, share), _between(high, low, share)


def _between(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (math.cos(math.pi * share) + 1)
