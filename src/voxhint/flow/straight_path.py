"""The straight path from image to noise, and what a velocity on it says about both ends.

Everywhere in this room s is the noise level: s = 0 is the image, s = 1 is white noise,
z_s = (1 - s) z_0 + s e, and the velocity v = z_0 - e points at the image.
"""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

Field = Float[Tensor, "batch channel i j k"]
Times = Float[Tensor, " batch"]


@runtime_checkable
class Velocity(Protocol):
    """What a flow has learnt: the mean of image minus noise, given a point between them."""

    def __call__(self, z: Field, s: Times, /) -> Field:
        """Return the velocity at z, one noise level per sample; any floating precision."""


@dataclass(frozen=True, slots=True, eq=False)
class PathPoint:
    """A point between image and noise with a velocity, and where that velocity comes from.

    Source:
        Liu et al. 2022, "Flow Straight and Fast", arXiv:2209.03003; the score by Tweedie's formula.
    """

    z: Field
    s: Times
    velocity: Field

    @property
    def image(self) -> Field:
        """Return the estimate of the image, z + s v."""
        return self.z + over_voxels(self.s) * self.velocity

    @property
    def noise(self) -> Field:
        """Return the estimate of the noise, z - (1 - s) v."""
        return self.z - over_voxels(1 - self.s) * self.velocity

    @property
    def score(self) -> Field:
        """Return the gradient of log p(z_s), -noise / s; without bound at s = 0."""
        return -self.noise / over_voxels(self.s)


def interpolate(image: Field, noise: Field, s: Times) -> PathPoint:
    """Walk a share of the straight line from image to noise.

    Args:
        image: z_0, shape (batch, channel, i, j, k), scaled to a standard deviation near 1.
        noise: e, white with standard deviation 1.
        s: Noise level of each sample, 0 for the image, 1 for the noise.

    Returns:
        The point; its velocity, image minus noise, is what a flow is trained to answer there.

    Source:
        Liu et al. 2022, "Flow Straight and Fast", arXiv:2209.03003, eq. 1, with time reversed.
    """
    share = over_voxels(s)
    return PathPoint(z=(1 - share) * image + share * noise, s=s, velocity=image - noise)


def renoise(z: Field, noise: Field, *, start: float, end: float) -> Field:
    """Carry a sample back to a higher noise level with fresh noise.

    Args:
        z: A sample at level `start`, shape (batch, channel, i, j, k).
        noise: White with standard deviation 1, independent of z.
        start: Noise level of z, below 1.
        end: Noise level wanted, from `start` to 1.

    Returns:
        r z + sqrt(end^2 - r^2 start^2) noise with r = (1 - end) / (1 - start): given the image, its
        mean is (1 - end) times the image and its standard deviation is `end`.

    Source:
        The recurrence of Ye et al. 2024, "TFG", arXiv:2409.15761, written for the straight path.
    """
    keep = (1 - end) / (1 - start)
    return keep * z + math.sqrt(end**2 - (keep * start) ** 2) * noise


def white_noise(rng: np.random.Generator, like: Field) -> Field:
    """Return white noise of standard deviation 1, the same on every device."""
    noise: Tensor = torch.from_numpy(rng.standard_normal(like.shape)).to(like)
    return noise


def over_voxels(s: Times) -> Float[Tensor, "batch 1 1 1 1"]:
    """Return one number per sample, shaped to multiply a field."""
    return s[:, None, None, None, None]
