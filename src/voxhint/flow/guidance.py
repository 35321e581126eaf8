"""Training-free guidance: steer by an energy that only knows clean images."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, Protocol, get_args, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from voxhint.core.errors import BadRecipeError
from voxhint.flow.solve import evaluate, require_falling, widened
from voxhint.flow.straight_path import Field, Times, Velocity, over_voxels, renoise, white_noise

_Schedule = Literal["constant", "noise", "image", "ratio"]
"""Strength of a step at noise level s: 1, s, 1 - s, or s / (1 - s) up to 4."""

_MOST = 4.0  # of s / (1 - s), which has no bound near noise

_SCHEDULES: Mapping[str, Callable[[float], float]] = {
    "constant": lambda _: 1.0,
    "noise": lambda s: s,
    "image": lambda s: 1 - s,
    "ratio": lambda s: min(s / max(1 - s, 1e-9), _MOST),
}


@runtime_checkable
class Energy(Protocol):
    """-log of the probability that a field is as wanted; 0 where it surely is."""

    def __call__(self, z: Field, s: Times, /) -> Float[Tensor, " batch"]:
        """Return the energy of each sample at its noise level, differentiable in z."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guidance:
    """How hard and how often training-free guidance pulls.

    Source:
        Ye et al. 2024, "TFG: Unified Training-Free Guidance", arXiv:2409.15761, algorithm 1,
        written for the straight path.
    """

    rho: float = 0.25
    """Variance guidance: RMS length of a step of the noisy field, in its units."""

    mu: float = 0.25
    """Mean guidance: RMS length of a step of the image estimate, in its units."""

    iterations: int = 4
    """Steps of mean guidance."""

    recurrences: int = 1
    """Times each guided step is taken; fresh noise leads back to its start in between."""

    draws: int = 1
    """Noisy copies of the image estimate whose probability is averaged."""

    sigma: float = 0.1
    """Standard deviation of their noise at noise level 1; in proportion below."""

    schedule: str = "constant"
    """A name of `_Schedule`, for rho and mu."""

    first: int = 4
    """Guided steps; later ones follow the flow alone."""

    through_velocity: bool = True
    """Take variance guidance back through the velocity; without, its gradient is skipped."""

    gate: float | None = None
    """Scale steps by the probability 1 - exp(-energy) that there is something to change, and make
    none below this value; None never does."""

    def __post_init__(self) -> None:
        if self.schedule not in _SCHEDULES:
            msg = f"schedule '{self.schedule}' is unknown; use {', '.join(get_args(_Schedule))}"
            raise BadRecipeError(msg)
        if min(self.iterations, self.recurrences, self.draws) < 1:
            msg = (
                f"iterations {self.iterations}, recurrences {self.recurrences}, draws "
                f"{self.draws}; use 1 or more of each"
            )
            raise BadRecipeError(msg)


@dataclass(frozen=True, slots=True, eq=False)
class _Pull:
    """What guidance finds at one point."""

    velocity: Field
    log_probability: Times
    image_gradient: Field
    """Of the log-probability, in the image estimate."""
    gradient: Field
    """Of the log-probability, in the noisy field."""


def _pull(
    velocity: Velocity,
    energy: Energy,
    z: Field,
    s: float,
    guidance: Guidance,
    rng: np.random.Generator,
) -> _Pull:
    """Ask a flow and an energy about a point and its image estimate z + s v.

    Args:
        velocity: The flow.
        energy: Asked about image estimates, at noise level 0.
        z: Points at level s, shape (batch, channel, i, j, k).
        s: Their noise level: 0 is the image, 1 is noise.
        guidance: Says how the energy is smoothed, and whether the gradient goes through the flow.
        rng: Draws the noise of smoothing.

    Returns:
        The velocity and the two gradients, g in the image estimate and g + s J^T g in z, with J the
        Jacobian of the velocity (g twice if that is skipped or without rho).

    Source:
        Variance guidance: Chung et al. 2023, "DPS", arXiv:2209.14687. Gradient skipping: Patel et
        al. 2024, "FlowChef", arXiv:2412.00100.
    """
    through = guidance.through_velocity and guidance.rho != 0
    with torch.set_grad_enabled(through):
        here = z.detach().requires_grad_(through)
        v = evaluate(velocity, here, s)
    log_probability, slope = _read(energy, z + s * v.detach(), s, guidance, rng)
    gradient = slope
    if through:
        (carried,) = torch.autograd.grad(v, here, slope)
        gradient = slope + s * carried
    return _Pull(v.detach(), log_probability, slope, gradient)


def _read(
    energy: Energy, image: Field, s: float, guidance: Guidance, rng: np.random.Generator
) -> tuple[Times, Field]:
    """Return the log of the mean probability of noisy copies of an image, and its gradient.

    One copy at a time, so that memory does not grow with their number: the gradient of a log-mean
    is the mean of the gradients, weighted by the probabilities.
    """
    clean = image.new_zeros(len(image))
    logs, slopes = [], []
    for _ in range(guidance.draws):
        with torch.enable_grad():
            copied = image + guidance.sigma * s * white_noise(rng, image)
            copied = copied.detach().requires_grad_()
            found = -energy(copied, clean)
            slopes.append(torch.autograd.grad(found.sum(), copied)[0])
        logs.append(found.detach())
    each = torch.stack(logs)
    share = each.softmax(0)[..., None, None, None, None]
    return each.logsumexp(0) - math.log(len(logs)), (share * torch.stack(slopes)).sum(0)


def _unit(gradient: Field) -> Field:
    """Return a gradient with an RMS of 1 in each sample; 0 stays 0."""
    rms = gradient.square().mean(dim=(1, 2, 3, 4), keepdim=True).sqrt()
    return gradient / (rms + 1e-8)


def _strength(
    log_probability: Times, s: float, guidance: Guidance
) -> Float[Tensor, "batch 1 1 1 1"]:
    """Return the factor of rho and mu for each sample."""
    factor = torch.full_like(log_probability, _SCHEDULES[guidance.schedule](s))
    if guidance.gate is not None:
        present = -torch.expm1(log_probability)
        factor = factor * present.where(present >= guidance.gate, 0.0)
    return over_voxels(factor)


def _guided_step(
    velocity: Velocity,
    energy: Energy,
    z: Field,
    path: tuple[float, float],
    guidance: Guidance,
    rng: np.random.Generator,
) -> Field:
    """Return the point after one step of TFG: mean guidance, the step, variance guidance."""
    a, b = path
    found = _pull(velocity, energy, z, a, guidance, rng)
    strength = _strength(found.log_probability, a, guidance)
    image = z + a * found.velocity
    shift, slope = torch.zeros_like(z), found.image_gradient
    for iteration in range(guidance.iterations if guidance.mu else 0):
        if iteration > 0:
            _, slope = _read(energy, image + shift, a, guidance, rng)
        shift = shift + guidance.mu * strength * _unit(slope)
    onward = z + (a - b) * (found.velocity + shift / a)
    return onward + guidance.rho * strength * _unit(found.gradient)


@torch.no_grad()
def steer(
    velocity: Velocity,
    energy: Energy,
    z: Field,
    *,
    levels: Sequence[float],
    guidance: Guidance,
    rng: np.random.Generator,
) -> Field:
    """Follow a flow towards the image; the first steps are pulled down an energy.

    Args:
        velocity: The flow; differentiable, unless `guidance` skips its gradient.
        energy: -log p(wanted | image), asked about image estimates at noise level 0.
        z: Points at the first level, shape (batch, channel, i, j, k).
        levels: Falling noise levels: 0 is the image, 1 is noise.
        guidance: How hard and how often; without rho and mu this is `solve` with Euler's scheme.
        rng: Draws the noise of smoothing and recurrence.

    Returns:
        Points at the last level, in float32 or better, without gradient.

    Source:
        Ye et al. 2024, "TFG", arXiv:2409.15761, algorithm 1, with gradients of unit RMS as in
        TFG-Flow.
    """
    require_falling(levels)
    smoothing, renoising = rng.spawn(2)  # so that twins share the noise of recurrence
    pulls = guidance.rho != 0 or guidance.mu != 0
    z = widened(z)
    for step, (a, b) in enumerate(pairwise(levels)):
        guided = step < guidance.first
        for recurrence in range(guidance.recurrences if guided else 1):
            if recurrence > 0:
                z = renoise(z, white_noise(renoising, z), start=b, end=a)
            if guided and pulls:
                z = _guided_step(velocity, energy, z, (a, b), guidance, smoothing)
            else:
                z = z + (a - b) * evaluate(velocity, z, a)
    return z


@dataclass(frozen=True, slots=True, eq=False)
class _Twins:
    """Two ends of one start, with the same noise on the way."""

    free: Field
    guided: Field


def twin_paths(
    velocity: Velocity,
    energy: Energy,
    z: Field,
    *,
    levels: Sequence[float],
    guidance: Guidance,
    rng: np.random.Generator,
) -> _Twins:
    """Follow a flow twice from one start, unguided and guided.

    Their difference shows what guidance changed: errors of the solver, of an encoder and the noise
    of recurrence are in both and cancel to first order.

    Args:
        velocity: The flow.
        energy: -log p(wanted | image), asked about image estimates at noise level 0.
        z: Points at the first level, such as an inverted image; (batch, channel, i, j, k).
        levels: Falling noise levels: 0 is the image, 1 is noise.
        guidance: How hard and how often.
        rng: Draws the noise, the same for both.

    Returns:
        Both ends; equal bit for bit if rho and mu are 0.
    """
    alone = replace(guidance, rho=0.0, mu=0.0)
    same = copy.deepcopy(rng)
    return _Twins(
        free=steer(velocity, energy, z, levels=levels, guidance=alone, rng=same),
        guided=steer(velocity, energy, z, levels=levels, guidance=guidance, rng=rng),
    )
