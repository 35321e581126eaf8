"""A rectified flow known in closed form: smooth noise, in half of the images with one bright ball.

On a periodic grid everything is diagonal after a Fourier transform, so the velocity, the
probability that there is a ball and its gradient are exact, to compare ours with.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

SIDE = 16
RADII = (1.5, 2.5)
BRIGHT = 0.5
_AXES = (-3, -2, -1)


def fourier(field: Tensor) -> Tensor:
    waves: Tensor = torch.fft.fftn(field, dim=_AXES)
    return waves


def back(field: Tensor) -> Tensor:
    waves: Tensor = torch.fft.ifftn(field, dim=_AXES)
    return waves.real


def _distance(side: int) -> Tensor:
    """Return the distance of each voxel from voxel 0, around the edges."""
    steps = torch.arange(side, dtype=torch.float64)
    squares = torch.minimum(steps, side - steps) ** 2
    return (squares[:, None, None] + squares[:, None] + squares).sqrt()


def balls(side: int = SIDE) -> Tensor:
    """Return a soft ball around voxel 0 for each radius."""
    radii = torch.tensor(RADII, dtype=torch.float64)[:, None, None, None]
    return BRIGHT * torch.sigmoid((radii - _distance(side)) / 0.5)


def spectrum(side: int = SIDE) -> Tensor:
    """Return the variance of each wave of the background: sd 0.10, smooth, and 0.02, white."""
    waves = torch.fft.fftfreq(side, dtype=torch.float64) ** 2
    smooth = torch.exp(-60 * (waves[:, None, None] + waves[:, None] + waves))
    return 0.01 * smooth / smooth.mean() + 0.02**2


@dataclass(frozen=True)
class Beliefs:
    """What a noisy image says: log-odds of each ball at each place, and how waves shrink."""

    odds: Tensor  # (batch, radius, i, j, k), against no ball at all
    variance: Tensor  # C of each wave
    shrink: Tensor  # K, from a noisy wave to the mean of the clean one


class AnalyticFlow:
    """The velocity of that law; with a label, that of images with (1) or without (0) a ball."""

    def __init__(self, label: int | None = None, side: int = SIDE) -> None:
        self.label = label
        self.spectrum = spectrum(side)
        self.balls = fourier(balls(side))

    def beliefs(self, z: Tensor, s: Tensor) -> Beliefs:
        s = s[:, None, None, None, None]
        variance = (1 - s) ** 2 * self.spectrum + s**2
        match = back(self.balls.conj() * fourier(z) / variance)
        size = (self.balls.abs() ** 2 / variance).mean(_AXES, keepdim=True)
        prior = -np.log(self.balls.numel())  # half of the images have a ball
        odds = (1 - s) * match - (1 - s) ** 2 * size / 2 + prior
        return Beliefs(odds, variance, (1 - s) * self.spectrum / variance)

    def log_present(self, z: Tensor, s: Tensor) -> Tensor:
        """Return the log-odds that there is a ball."""
        return self.beliefs(z, s).odds.flatten(1).logsumexp(1)

    def __call__(self, z: Tensor, s: Tensor, /) -> Tensor:
        found = self.beliefs(z, s)
        clean = found.shrink * fourier(z)
        if self.label != 0:
            share = found.odds.flatten(1).softmax(1).view_as(found.odds)
            if self.label is None:
                share = share * self.log_present(z, s).sigmoid()[:, None, None, None, None]
            level = s[:, None, None, None, None]
            added = (1 - (1 - level) * found.shrink) * self.balls * fourier(share)
            clean = clean + added.sum(1, keepdim=True)
        return (back(clean) - z) / s[:, None, None, None, None]


@dataclass(frozen=True)
class Without:
    """-log of the probability that there is no ball."""

    flow: AnalyticFlow
    lowest: float = 0.02
    """Noise level that clean images count as; the law has its own white noise below."""

    def __call__(self, z: Tensor, s: Tensor, /) -> Tensor:
        odds = self.flow.log_present(z, s.clamp(min=self.lowest))
        return torch.nn.functional.softplus(odds)

    def slope(self, z: Tensor, s: Tensor) -> Tensor:
        """Return the gradient of the energy in closed form."""
        found = self.flow.beliefs(z, s)
        odds = found.odds.flatten(1)
        share = odds.softmax(1) * odds.logsumexp(1).sigmoid()[:, None]
        level = s[:, None, None, None, None]
        waves = (1 - level) * self.flow.balls / found.variance * fourier(share.view_as(found.odds))
        return back(waves.sum(1, keepdim=True))


def background(count: int, rng: np.random.Generator, side: int = SIDE) -> Tensor:
    """Draw images without a ball, shape (count, 1, side, side, side)."""
    white = torch.from_numpy(rng.standard_normal((count, 1, side, side, side)))
    return back(fourier(white) * spectrum(side).sqrt())


def ball_at(place: tuple[int, int, int], radius: int, side: int = SIDE) -> Tensor:
    """Return one ball, shape (1, 1, side, side, side); radius is an index of `RADII`."""
    return torch.roll(balls(side)[radius], place, (0, 1, 2))[None, None]
