"""Images without their label by the pull of a classifier."""

from dataclasses import replace

import torch

from voxhint.classify.counterfactual_request import (
    CounterfactualRequest,
    CounterfactualResult,
    Settings,
    difference_between,
    mean,
)
from voxhint.flow import Guidance, interpolate, invert, levels, steer, twin_paths
from voxhint.flow.invert import S_MIN
from voxhint.flow.straight_path import Field, Times, white_noise


def _noisy(request: CounterfactualRequest) -> Field:
    """Return the image at the noise level to start from."""
    image, how = request.image, request.settings
    if how.init == "inversion":
        return invert(
            request.flow.unknown, image, end=how.start, steps=how.steps, scheme=how.scheme
        )
    noise = white_noise(request.rng, image)
    return interpolate(image, noise, image.new_full((len(image),), how.start)).z


def guided_flow(request: CounterfactualRequest) -> CounterfactualResult:
    """Return what a frozen flow makes of the image while the classifier pulls the first steps.

    Uses init, start, steps, scheme, guidance, repeats, difference and reference.

    Source:
        The idea of arXiv:2604.08313: training-free guidance of a rectified flow by an image-level
        classifier in its first steps only; the map is the difference to the original. Guidance: Ye
        et al. 2024, "TFG", arXiv:2409.15761. Paired differences from an inverted image: Sanchez and
        Tsaftaris 2022, "Diffusion Causal Models for Counterfactual Estimation".
    """
    how = request.settings
    down = levels(how.start, S_MIN, how.steps)
    free, guided = [], []
    for _ in range(how.repeats):
        z = _noisy(request)
        if how.reference == "paired":
            twins = twin_paths(
                request.flow.unknown, request.energy, z,
                levels=down, guidance=how.guidance, rng=request.rng,
            )  # fmt: skip
            free.append(twins.free)
            guided.append(twins.guided)
        else:
            end = steer(
                request.flow.unknown, request.energy, z,
                levels=down, guidance=how.guidance, rng=request.rng,
            )  # fmt: skip
            free.append(request.image)
            guided.append(end)
    return difference_between(request, mean(free), mean(guided))


def pixel_counterfactual(request: CounterfactualRequest) -> CounterfactualResult:
    """Return the image after gradient descent on its voxels, without any flow.

    Uses steps; of guidance rho (the RMS length of a step), draws and sigma (smaller with each step)
    and gate; and difference.

    Source:
        Counterfactuals by gradient descent: Wachter et al. 2017, "Counterfactual Explanations
        without Opening the Black Box", arXiv:1711.00399.
    """
    how = request.settings
    alone = replace(
        how.guidance, mu=0.0, recurrences=1, schedule="constant", through_velocity=False,
        first=how.steps,
    )  # fmt: skip

    def still(z: Field, _: Times, /) -> Field:
        return torch.zeros_like(z)

    after = steer(
        still, request.energy, request.image,
        levels=levels(1.0, 0.0, how.steps), guidance=alone, rng=request.rng,
    )  # fmt: skip
    return difference_between(request, request.image, after)


FAITHFUL = Settings(
    init="noise", start=0.6, steps=18, guidance=Guidance(), difference="absolute",
    reference="original", smooth_mm=0.5,
)  # fmt: skip
"""What is certain of the paper: frozen flow, guided first steps, absolute difference to the
original. All numbers are choices."""

# A gate of 0 scales steps by belief and never stops: it is the tag that says the label is there.
PAIRED = Settings(
    init="inversion", start=0.5, steps=10, guidance=Guidance(first=3, gate=0.0),
    difference="positive", reference="paired", smooth_mm=0.5,
)  # fmt: skip

PIXEL = Settings(
    steps=20, guidance=Guidance(rho=0.03, gate=0.0), difference="positive", smooth_mm=1.0
)
