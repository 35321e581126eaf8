"""Images without their label by the pull of a predictor, and what a flow changes unasked."""

from dataclasses import replace

import torch

from voxhint.classify.counterfactual_request import Answer, Asked, Settings, changed, mean
from voxhint.flow import Guidance, interpolate, invert, levels, solve, steer, twin_paths
from voxhint.flow.invert import S_MIN
from voxhint.flow.path import Field, Times, white_noise


def noisy(asked: Asked) -> Field:
    """Return the image at the noise level to start from."""
    image, how = asked.image, asked.settings
    if how.init == "inversion":
        return invert(asked.flow.unknown, image, end=how.start, steps=how.steps, scheme=how.scheme)
    noise = white_noise(asked.rng, image)
    return interpolate(image, noise, image.new_full((len(image),), how.start)).z


def guided_flow(asked: Asked) -> Answer:
    """Return what a frozen flow makes of the image while the predictor pulls the first steps.

    Uses init, start, steps, scheme, guidance, repeats, difference and reference.

    Source:
        The idea of arXiv:2604.08313: training-free guidance of a rectified flow by an image-level
        predictor in its first steps only; the map is the difference to the original. Guidance: Ye
        et al. 2024, "TFG", arXiv:2409.15761. Paired differences from an inverted image: Sanchez and
        Tsaftaris 2022, "Diffusion Causal Models for Counterfactual Estimation".
    """
    how = asked.settings
    down = levels(how.start, S_MIN, how.steps)
    free, guided = [], []
    for _ in range(how.repeats):
        z = noisy(asked)
        if how.reference == "paired":
            twins = twin_paths(
                asked.flow.unknown, asked.energy, z,
                levels=down, guidance=how.guidance, rng=asked.rng,
            )  # fmt: skip
            free.append(twins.free)
            guided.append(twins.guided)
        else:
            end = steer(
                asked.flow.unknown, asked.energy, z,
                levels=down, guidance=how.guidance, rng=asked.rng,
            )  # fmt: skip
            free.append(asked.image)
            guided.append(end)
    return changed(asked, mean(free), mean(guided))


def pixel_counterfactual(asked: Asked) -> Answer:
    """Return the image after gradient descent on its voxels, without any flow.

    Uses steps; of guidance rho (the RMS length of a step), draws and sigma (smaller with each step)
    and gate; and difference.

    Source:
        Counterfactuals by gradient descent: Wachter et al. 2017, "Counterfactual Explanations
        without Opening the Black Box", arXiv:1711.00399.
    """
    how = asked.settings
    alone = replace(
        how.guidance, mu=0.0, recurrences=1, schedule="constant", through_velocity=False,
        first=how.steps,
    )  # fmt: skip

    def still(z: Field, _: Times, /) -> Field:
        return torch.zeros_like(z)

    after = steer(
        still, asked.energy, asked.image,
        levels=levels(1.0, 0.0, how.steps), guidance=alone, rng=asked.rng,
    )  # fmt: skip
    return changed(asked, asked.image, after)


def reconstruction_error(asked: Asked) -> Answer:
    """Return what a flow changes of the image by itself: noise, and back.

    Uses init, start, steps, scheme, repeats and difference.

    Source:
        Anomalies as what a generative model does not give back: Schlegl et al. 2017, "AnoGAN",
        arXiv:1703.05921; with noise, Wyatt et al. 2022, "AnoDDPM".
    """
    how = asked.settings
    ends = [
        solve(
            asked.flow.unknown, noisy(asked),
            start=how.start, end=S_MIN, steps=how.steps, scheme=how.scheme,
        )
        for _ in range(how.repeats)
    ]  # fmt: skip
    return changed(asked, asked.image, mean(ends))


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

UNGUIDED = replace(FAITHFUL, repeats=4)
