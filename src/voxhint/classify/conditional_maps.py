"""Images without their label by what a flow was told of it: no predictor, no gradients."""

from collections.abc import Iterator
from itertools import pairwise, product

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from voxhint.classify.counterfactual_request import Answer, Asked, Settings, changed, mean
from voxhint.flow import Velocity, edit, interpolate, invert, levels, solve
from voxhint.flow.invert import S_MIN
from voxhint.flow.path import Field, Times, over_voxels, renoise, white_noise

_LOW = 0.1  # noise level from which velocities are compared: below, both know the image


def beyond(asked: Asked) -> Velocity:
    """Return the velocity of images without the label, exaggerated by the weight."""
    flow, weight = asked.flow, asked.settings.weight
    if weight == 1:
        return flow.absent

    def velocity(z: Field, s: Times, /) -> Field:
        there = flow.present(z, s)
        return there + weight * (flow.absent(z, s) - there)

    return velocity


def label_flow(asked: Asked) -> Answer:
    """Return the image taken to noise as one with the label, and back as one without.

    Uses start, steps, scheme, weight, difference and reference; paired compares with the way back
    as an image with the label.

    Source:
        Su et al. 2023, "Dual Diffusion Implicit Bridges", arXiv:2203.08382, between the label's two
        states; weight: Ho and Salimans 2022, "Classifier-Free Diffusion Guidance",
        arXiv:2207.12598.
    """
    how, image = asked.settings, asked.image
    far = invert(asked.flow.present, image, end=how.start, steps=how.steps, scheme=how.scheme)

    def back(velocity: Velocity) -> Field:
        return solve(velocity, far, start=how.start, end=S_MIN, steps=how.steps, scheme=how.scheme)

    before = back(asked.flow.present) if how.reference == "paired" else image
    return changed(asked, before, back(beyond(asked)))


def edit_flow(asked: Asked) -> Answer:
    """Return the image moved by what the flow says differently with and without the label.

    Uses start, steps, weight, repeats (draws that each step averages) and difference.

    Source:
        Kulikov et al. 2024, "FlowEdit", arXiv:2412.08629.
    """
    how = asked.settings
    after = edit(
        asked.image,
        source=asked.flow.present,
        target=beyond(asked),
        levels=levels(how.start, 0.0, how.steps),
        rng=asked.rng,
        draws=how.repeats,
    )
    return changed(asked, asked.image, after)


def flow_contrast(asked: Asked) -> Answer:
    """Return how much better each voxel is explained with the label than without.

    The map is E_s,e [ |v_absent - (x - e)|^2 - |v_present - (x - e)|^2 ], a mean over channels and
    below 0 where the label explains less; both velocities see the same noise. The image without the
    label moves by the mean difference of the two image estimates. Uses start (the highest noise
    level), steps (evenly spaced levels), repeats (draws at each) and batch.

    Source:
        Li et al. 2023, "Your Diffusion Model is Secretly a Zero-Shot Classifier", arXiv:2303.16203,
        voxel by voxel.
    """
    how, image = asked.settings, asked.image
    places = [_LOW + (how.start - _LOW) * (n + 0.5) / how.steps for n in range(how.steps)]
    every = places * how.repeats
    gain, move = torch.zeros_like(image[0, 0]), torch.zeros_like(image)
    for first in range(0, len(every), how.batch):
        s = image.new_tensor(every[first : first + how.batch])
        some = image.expand(len(s), *image.shape[1:])
        point = interpolate(some, white_noise(asked.rng, some), s)
        without = asked.flow.absent(point.z, s).to(image)
        there = asked.flow.present(point.z, s).to(image)
        wrong = (without - point.velocity).square() - (there - point.velocity).square()
        gain += wrong.mean(1).sum(0)
        move += (over_voxels(s) * (without - there)).sum(0, keepdim=True)
    return Answer(gain / len(every), image + move / len(every))


def inpaint(asked: Asked) -> Answer:
    """Return the image filled in block by block, as one without the label, from its surroundings.

    Blocks of one colour of a checkerboard are filled in at a time; the rest follows the straight
    path of the image. Uses start, steps, guidance.recurrences (times each step is taken), repeats
    (draws of noise, each with other blocks), block_mm, difference and batch.

    Source:
        In the spirit of Astaraki et al. 2023, "AutoPaint": what inpainting replaces is abnormal.
        Filling in: Lugmayr et al. 2022, "RePaint", arXiv:2201.09865, on the straight path.
    """
    image, how = asked.image, asked.settings
    filled = []
    for repeat in range(how.repeats):
        masks = torch.stack(list(_checkers(asked, repeat / how.repeats)))[:, None].to(image)
        whole = torch.zeros_like(image)
        for first in range(0, len(masks), how.batch):
            some = masks[first : first + how.batch]
            whole += (some * _filled(asked, some)).sum(0, keepdim=True)
        filled.append(whole)
    return changed(asked, image, mean(filled))


def _filled(asked: Asked, masks: Float[Tensor, "batch 1 i j k"]) -> Field:
    """Return the image with what lies under each mask made anew."""
    how = asked.settings
    image = asked.image.expand(len(masks), *asked.image.shape[1:])
    noise = white_noise(asked.rng, image)

    def known(level: float) -> Field:
        return interpolate(image, noise, image.new_full((len(image),), level)).z

    z = known(how.start)
    for a, b in pairwise(levels(how.start, 0.0, how.steps)):
        s = image.new_full((len(image),), a)
        for again in range(how.guidance.recurrences):
            if again > 0:
                z = renoise(z, white_noise(asked.rng, z), start=b, end=a)
            z = masks * z + (1 - masks) * known(a)
            z = z + (a - b) * asked.flow.absent(z, s).to(z)
    return z


def _checkers(asked: Asked, share: float) -> Iterator[Tensor]:
    """Yield masks of blocks that do not touch by faces and together hold each voxel once.

    Args:
        asked: Its settings tell how large a block is.
        share: Of a block by which all are moved.
    """
    how, shape = asked.settings, asked.image.shape[2:]
    colours = []
    for count, step in zip(shape, how.spacing_mm, strict=True):
        edge = max(1, min(count, round(how.block_mm / step)))
        move = round(share * edge) if edge < count else 0
        colours.append((np.arange(count) + move) // edge % 2)
    for wanted in product(*(range(int(colour.max()) + 1) for colour in colours)):
        i, j, k = (
            torch.from_numpy(colour == one) for colour, one in zip(colours, wanted, strict=True)
        )
        yield i[:, None, None] & j[:, None] & k


LABEL_FLOW = Settings(start=0.7, weight=1.5, smooth_mm=0.5)
EDIT_FLOW = Settings(start=0.7, weight=1.5, repeats=4, smooth_mm=0.5)
FLOW_CONTRAST = Settings(start=0.9, steps=8, repeats=4, smooth_mm=1.5)
INPAINT = Settings(start=1.0, steps=10, repeats=2, smooth_mm=0.5)
