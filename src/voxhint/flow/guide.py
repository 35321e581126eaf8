"""Steer a flow by the gradient of an energy that knows noise; the result is again a flow."""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from voxhint.flow.path import Field, Times, Velocity, over_voxels

C_MAX = 4.0
"""Bound of s / (1 - s), which has none near noise."""


@runtime_checkable
class Energy(Protocol):
    """-log of the probability that a field is as wanted; 0 where it surely is."""

    def __call__(self, z: Field, s: Times, /) -> Float[Tensor, " batch"]:
        """Return the energy of each sample at its noise level, differentiable in z."""


def guide(
    velocity: Velocity, energy: Energy, *, weight: float = 1.0, c_max: float = C_MAX
) -> Velocity:
    """Steer a velocity down an energy that knows noise.

    Args:
        velocity: The unguided flow.
        energy: -log p(wanted | z_s), asked about the noisy field itself, shape (batch, channel, i,
            j, k), and its noise level s (0 is the image, 1 is noise).
        weight: Strength; 1 is exact, 0 returns the unguided flow.
        c_max: Bound of s / (1 - s).

    Returns:
        v + weight s / (1 - s) grad log p, again a velocity, so guides stack. Where the bound does
        not bite and the energy is exact, it is the velocity given what is wanted.

    Source:
        Dhariwal and Nichol 2021, arXiv:2105.05233, section 4; in terms of v by Tweedie's formula.
    """

    def guided(z: Field, s: Times, /) -> Field:
        gain = weight * (s / (1 - s)).clamp(max=c_max)
        return velocity(z, s) - over_voxels(gain) * _slope(energy, z, s)

    return guided


def _slope(energy: Energy, z: Field, s: Times) -> Field:
    """Return the gradient of the energy, itself differentiable if z asks for it."""
    again = torch.is_grad_enabled() and z.requires_grad
    with torch.enable_grad():
        here = z if again else z.detach().requires_grad_()
        (slope,) = torch.autograd.grad(energy(here, s).sum(), here, create_graph=again)
    return slope
