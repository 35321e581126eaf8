"""Change an image by the difference of two velocities, without inverting it."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch

from voxhint.flow.solve import evaluate, require_falling, widened
from voxhint.flow.straight_path import Field, Velocity, interpolate, white_noise


@torch.no_grad()
def edit(
    image: Field,
    *,
    source: Velocity,
    target: Velocity,
    levels: Sequence[float],
    rng: np.random.Generator,
    draws: int = 1,
) -> Field:
    """Move an image from where one velocity would have it to where another would.

    Each step noises the image afresh, carries the change made so far along, and adds what the two
    velocities disagree about. Equal velocities return the image bit for bit.

    Args:
        image: Shape (batch, channel, i, j, k).
        source: The flow for what the image is, such as "with the label".
        target: The flow for what it should become.
        levels: Falling noise levels: 0 is the image, 1 is noise; the first decides how large a
            thing may change.
        rng: Draws the noise.
        draws: Noise draws that each step averages over.

    Returns:
        The edited image, in float32 or better, without gradient.

    Source:
        Kulikov et al. 2024, "FlowEdit", arXiv:2412.08629, algorithm 1, with v = image - noise.
    """
    require_falling(levels)
    image = widened(image)
    change = torch.zeros_like(image)  # not the edited image: x + z - x would round
    for a, b in pairwise(levels):
        push = torch.zeros_like(image)
        for _ in range(draws):
            noisy = interpolate(image, white_noise(rng, image), image.new_full((len(image),), a)).z
            push += evaluate(target, noisy + change, a) - evaluate(source, noisy, a)
        change = change + (a - b) / draws * push
    return image + change
