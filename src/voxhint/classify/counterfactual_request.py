"""What is asked for an image without its label, and what the answer holds."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float32
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from voxhint.flow import Guidance, Velocity
from voxhint.flow.straight_path import Field, Times

Logit = Callable[[Field], Float[Tensor, " batch"]]
"""Tells how surely each image holds the label; differentiable in the images."""

_Init = Literal["noise", "inversion"]
_Difference = Literal["absolute", "positive"]
_Reference = Literal["original", "paired"]


@dataclass(frozen=True, slots=True, eq=False)
class LabelVelocities:
    """One flow, told of a label in three ways."""

    present: Velocity
    """Of images that hold it."""

    absent: Velocity
    """Of images that do not."""

    unknown: Velocity
    """Of all images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How far a method goes; each uses the settings that its docstring names."""

    init: _Init = "inversion"
    """Start from the image mixed with noise, or from the noise that the flow makes of it."""

    start: float = 0.5
    """Noise level to start at: 0 is the image, 1 is noise. Higher lets larger things change."""

    steps: int = 10
    """Steps from there to the image."""

    scheme: str = "fireflow"
    """A name of `voxhint.flow.solve.Scheme`, for inversion and for ways without guidance."""

    guidance: Guidance = field(default_factory=Guidance)
    """How hard and how often the classifier pulls; its gate also stops."""

    weight: float = 1.0
    """How far beyond "present" the way back leads: 1 is "absent", more exaggerates."""

    repeats: int = 1
    """Draws of noise that are averaged."""

    difference: _Difference = "positive"
    """The map: the size of the difference, or only what the label's kind of tissue lost."""

    reference: _Reference = "paired"
    """What the changed image is compared with: the original, or its twin made without a change."""

    smooth_mm: float = 0.0
    """Standard deviation of a last blur of the map."""

    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Of the image."""

    bright: bool = True
    """Whether the label is brighter than its surround in the first channel."""


@dataclass(frozen=True, slots=True, eq=False)
class Counterfactual:
    """An image as it would be without a label, and what went away."""

    difference: Float32[np.ndarray, "i j k"]
    """In the unit of the method, larger where more speaks for the label."""

    image: Float32[np.ndarray, "channel i j k"]
    """In the units of the image."""

    flow_evaluations: int
    """Images that the flow was asked about."""

    classifier_evaluations: int
    """Images that the classifier was asked about."""


class Counted:
    """Something asked about a batch of images, with a count of the images."""

    def __init__(self, ask: Callable[..., Tensor]) -> None:
        self._ask = ask
        self.images = 0

    def __call__(self, images: Field, *more: Tensor) -> Tensor:
        """Return the answer, and count the images."""
        self.images += len(images)
        return self._ask(images, *more)


@dataclass(frozen=True, slots=True, eq=False)
class CounterfactualRequest:
    """What would this image be without the label?"""

    image: Field
    """One image: shape (1, channel, i, j, k)."""

    flow: LabelVelocities
    logit: Logit
    rng: np.random.Generator
    settings: Settings

    def energy(self, image: Field, _: Times, /) -> Float[Tensor, " batch"]:
        """Return -log of the probability that an image does not hold the label."""
        return functional.softplus(self.logit(image))

    def difference(self, before: Field, after: Field) -> Float[Tensor, "i j k"]:
        """Return how much of the label went away from one image to another.

        Args:
            before: Shape (1, channel, i, j, k).
            after: The same image, changed.

        Returns:
            The mean size over channels; or what the first channel lost in the direction of the
            label's kind of tissue, 0 elsewhere.
        """
        lost = (before - after)[0]
        if self.settings.difference == "absolute":
            return lost.abs().mean(0)
        return (lost[0] if self.settings.bright else -lost[0]).relu()


@dataclass(frozen=True, slots=True, eq=False)
class CounterfactualResult:
    """The image without its label, and what went away."""

    difference: Float[Tensor, "i j k"]
    image: Field


def difference_between(
    request: CounterfactualRequest, before: Field, after: Field
) -> CounterfactualResult:
    """Return the result of an image before and after its change.

    Args:
        request: The request.
        before: The original, or its twin made without a change.
        after: Made with it.

    Returns:
        The map of the difference; and the original with the difference applied to it, so that what
        both have of errors stays out.
    """
    return CounterfactualResult(request.difference(before, after), request.image + (after - before))


def blurred(values: Tensor, settings: Settings) -> Float32[np.ndarray, "i j k"]:
    """Return a map as an array after its last blur."""
    width = settings.smooth_mm / np.array(settings.spacing_mm)
    return np.asarray(ndimage.gaussian_filter(values.float().cpu().numpy(), width), np.float32)


def mean(fields: list[Field]) -> Field:
    """Return the mean of fields of one shape."""
    return torch.stack(fields).mean(0)
