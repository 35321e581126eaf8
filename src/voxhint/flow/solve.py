"""Follow a velocity from one noise level to another, in float32 whatever the network computes in.

Half precision is enough for a network, not for the sum of its steps: levels rounded to 16 bits do
not add up to the distance, and an inversion would not come back.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Literal, get_args

import torch

from voxhint.core.errors import BadRecipeError
from voxhint.flow.straight_path import Field, Velocity

_Scheme = Literal["euler", "heun", "midpoint", "fireflow"]
"""First order: euler. Second order: heun and midpoint, two evaluations a step; fireflow, one."""

_Ask = Callable[[Field, float], Field]


def levels(start: float, end: float, steps: int) -> tuple[float, ...]:
    """Return evenly spaced noise levels, both ends included.

    Args:
        start: First level, in [0, 1].
        end: Last level, in [0, 1].
        steps: Steps between them.

    Returns:
        steps + 1 levels.

    Raises:
        BadRecipeError: A level lies outside [0, 1], or there is no step.
    """
    if not (0 <= start <= 1 and 0 <= end <= 1 and steps >= 1):
        msg = f"noise levels {start} to {end} in {steps} steps; use [0, 1] and 1 step or more"
        raise BadRecipeError(msg)
    return (*(start + (end - start) * step / steps for step in range(steps)), end)


@torch.no_grad()
def solve(
    velocity: Velocity,
    z: Field,
    *,
    start: float,
    end: float,
    steps: int,
    scheme: str = "fireflow",
) -> Field:
    """Follow a velocity from one noise level to another; either way.

    Args:
        velocity: Asked with float32 or float64.
        z: Points at level `start`, shape (batch, channel, i, j, k).
        start: Noise level of z: 0 is the image, 1 is noise.
        end: Noise level wanted; above `start` this goes towards noise.
        steps: Evenly spaced steps.
        scheme: A name of `_Scheme`.

    Returns:
        Points at level `end`, in float32 or better, without gradient.

    Raises:
        BadRecipeError: There is no such scheme, or the levels are none.

    Source:
        dz/ds = -v, so a step from a to b is z + (a - b) v. Fireflow: Deng et al. 2024, "FireFlow",
        arXiv:2412.07517.
    """
    if scheme not in _SCHEMES:
        msg = f"scheme '{scheme}' is unknown; use {', '.join(get_args(_Scheme))}"
        raise BadRecipeError(msg)
    return _SCHEMES[scheme](
        lambda point, level: evaluate(velocity, point, level), widened(z), levels(start, end, steps)
    )


def _euler(ask: _Ask, z: Field, path: Sequence[float]) -> Field:
    for a, b in pairwise(path):
        z = z + (a - b) * ask(z, a)
    return z


def _heun(ask: _Ask, z: Field, path: Sequence[float]) -> Field:
    for a, b in pairwise(path):
        first = ask(z, a)
        z = z + (a - b) / 2 * (first + ask(z + (a - b) * first, b))
    return z


def _midpoint(ask: _Ask, z: Field, path: Sequence[float]) -> Field:
    for a, b in pairwise(path):
        middle = z + (a - b) / 2 * ask(z, a)
        z = z + (a - b) * ask(middle, (a + b) / 2)
    return z


def _fireflow(ask: _Ask, z: Field, path: Sequence[float]) -> Field:
    # midpoint, but the last middle's velocity is near enough to find the next middle
    velocity = ask(z, path[0])
    for a, b in pairwise(path):
        velocity = ask(z + (a - b) / 2 * velocity, (a + b) / 2)
        z = z + (a - b) * velocity
    return z


_SCHEMES: Mapping[str, Callable[[_Ask, Field, Sequence[float]], Field]] = {
    "euler": _euler,
    "heun": _heun,
    "midpoint": _midpoint,
    "fireflow": _fireflow,
}


def widened(z: Field) -> Field:
    """Return a field in float32, or float64 if it is that already."""
    return z.to(torch.promote_types(z.dtype, torch.float32))


def evaluate(velocity: Velocity, z: Field, s: float) -> Field:
    """Return the velocity of all samples at one level, in the precision of z."""
    return velocity(z, z.new_full((len(z),), s)).to(z.dtype)


def require_falling(path: Sequence[float]) -> None:
    """Refuse levels that do not lead from noise towards the image.

    Args:
        path: Noise levels, in the order of the steps.

    Raises:
        BadRecipeError: A level lies outside [0, 1], or does not lie below the one before.
    """
    if len(path) < 2 or path[0] > 1 or path[-1] < 0 or any(a <= b for a, b in pairwise(path)):
        msg = f"noise levels {list(path)}; use two or more in [0, 1], each below the one before"
        raise BadRecipeError(msg)
