"""Counterfactuals: images as they would be without a label, which a person can look at.

Each method needs a flow, an image-level classifier or both, none of them trained with masks.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from voxhint.classify.counterfactual_request import (
    Counted,
    Counterfactual,
    CounterfactualRequest,
    CounterfactualResult,
    LabelVelocities,
    Logit,
    Settings,
    blurred,
    difference_between,
    mean,
)
from voxhint.core.errors import BadRecipeError
from voxhint.flow import (
    Guidance,
    Velocity,
    edit,
    interpolate,
    invert,
    levels,
    solve,
    steer,
    twin_paths,
)
from voxhint.flow.invert import S_MIN
from voxhint.flow.straight_path import Field, Times, white_noise


def _beyond(request: CounterfactualRequest) -> Velocity:
    """Return the velocity of images without the label, exaggerated by the weight."""
    flow, weight = request.flow, request.settings.weight
    if weight == 1:
        return flow.absent

    def velocity(z: Field, s: Times, /) -> Field:
        there = flow.present(z, s)
        return there + weight * (flow.absent(z, s) - there)

    return velocity


def _label_flow(request: CounterfactualRequest) -> CounterfactualResult:
    """Return the image taken to noise as one with the label, and back as one without.

    Uses start, steps, scheme, weight, difference and reference; paired compares with the way back
    as an image with the label.

    Source:
        Su et al. 2023, "Dual Diffusion Implicit Bridges", arXiv:2203.08382, between the label's two
        states; weight: Ho and Salimans 2022, "Classifier-Free Diffusion Guidance",
        arXiv:2207.12598.
    """
    how, image = request.settings, request.image
    far = invert(request.flow.present, image, end=how.start, steps=how.steps, scheme=how.scheme)

    def back(velocity: Velocity) -> Field:
        return solve(velocity, far, start=how.start, end=S_MIN, steps=how.steps, scheme=how.scheme)

    before = back(request.flow.present) if how.reference == "paired" else image
    return difference_between(request, before, back(_beyond(request)))


def _edit_flow(request: CounterfactualRequest) -> CounterfactualResult:
    """Return the image moved by what the flow says differently with and without the label.

    Uses start, steps, weight, repeats (draws that each step averages) and difference.

    Source:
        Kulikov et al. 2024, "FlowEdit", arXiv:2412.08629.
    """
    how = request.settings
    after = edit(
        request.image,
        source=request.flow.present,
        target=_beyond(request),
        levels=levels(how.start, 0.0, how.steps),
        rng=request.rng,
        draws=how.repeats,
    )
    return difference_between(request, request.image, after)


_LABEL_FLOW = Settings(start=0.7, weight=1.5, smooth_mm=0.5)
_EDIT_FLOW = Settings(start=0.7, weight=1.5, repeats=4, smooth_mm=0.5)


def _noisy(request: CounterfactualRequest) -> Field:
    """Return the image at the noise level to start from."""
    image, how = request.image, request.settings
    if how.init == "inversion":
        return invert(
            request.flow.unknown, image, end=how.start, steps=how.steps, scheme=how.scheme
        )
    noise = white_noise(request.rng, image)
    return interpolate(image, noise, image.new_full((len(image),), how.start)).z


def _guided_flow(request: CounterfactualRequest) -> CounterfactualResult:
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


def _pixel_counterfactual(request: CounterfactualRequest) -> CounterfactualResult:
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


_FAITHFUL = Settings(
    init="noise", start=0.6, steps=18, guidance=Guidance(), difference="absolute",
    reference="original", smooth_mm=0.5,
)  # fmt: skip
"""What is certain of the paper: frozen flow, guided first steps, absolute difference to the
original. All numbers are choices."""

# A gate of 0 scales steps by belief and never stops: it is the tag that says the label is there.
_PAIRED = Settings(
    init="inversion", start=0.5, steps=10, guidance=Guidance(first=3, gate=0.0),
    difference="positive", reference="paired", smooth_mm=0.5,
)  # fmt: skip

_PIXEL = Settings(
    steps=20, guidance=Guidance(rho=0.03, gate=0.0), difference="positive", smooth_mm=1.0
)


__all__ = ["METHODS", "Counterfactual", "LabelVelocities", "Logit", "Settings", "remove_label"]

_LOST = "prepared intensity that went away"


@dataclass(frozen=True, slots=True)
class _Method:
    """One way to take a label out of an image."""

    compute: Callable[[CounterfactualRequest], CounterfactualResult]
    unit: str
    """What a value of the map means."""

    preset: Settings
    needs_flow: bool = True
    needs_classifier: bool = False


METHODS: Mapping[str, _Method] = {
    "guided-flow": _Method(
        _guided_flow,
        "prepared intensity that changed",
        _FAITHFUL,
        needs_classifier=True,
    ),
    "guided-flow-paired": _Method(_guided_flow, _LOST, _PAIRED, needs_classifier=True),
    "label-flow": _Method(_label_flow, _LOST, _LABEL_FLOW),
    "edit-flow": _Method(_edit_flow, _LOST, _EDIT_FLOW),
    "pixel-counterfactual": _Method(
        _pixel_counterfactual,
        _LOST,
        _PIXEL,
        needs_flow=False,
        needs_classifier=True,
    ),
}
"""The methods by name."""


def remove_label(
    method: str,
    image: Float[Tensor, "channel i j k"],
    *,
    rng: np.random.Generator,
    flow: LabelVelocities | None = None,
    logit: Logit | None = None,
    settings: Settings | None = None,
) -> Counterfactual:
    """Take a label out of an image, and map what went away.

    The map is in the unit of its method (`METHODS[method].unit`) and never scaled to the image, so
    that one threshold can be told for all images.

    Args:
        method: A name of `METHODS`.
        image: A prepared image or window, on the device of flow and classifier.
        rng: Draws all noise.
        flow: Velocities with, without and regardless of the label.
        logit: The classifier's log-odds that the label is present; if given, and the settings have
            a gate, an image that is less likely to hold the label is left as it is.
        settings: How far to go; the method's own if None.

    Returns:
        The map, the image without the label, and how much was evaluated.

    Raises:
        BadRecipeError: There is no such method, or what it needs is not given.
    """
    chosen = _method(method, flow, logit)
    settings = settings or chosen.preset
    asks = [Counted(v) for v in _velocities(flow)]
    classifier = Counted(logit or _nothing)
    request = CounterfactualRequest(
        image[None].detach(), LabelVelocities(*asks), classifier, rng, settings
    )
    with torch.no_grad():
        gate = settings.guidance.gate
        closed = logit is not None and gate is not None and _present(request) < gate
        result = _unchanged(request) if closed else chosen.compute(request)
    return Counterfactual(
        difference=blurred(result.difference, settings),
        image=result.image[0].float().cpu().numpy(),
        flow_evaluations=sum(ask.images for ask in asks),
        classifier_evaluations=classifier.images,
    )


def _method(name: str, flow: LabelVelocities | None, logit: Logit | None) -> _Method:
    """Return a method that is given what it needs.

    Raises:
        BadRecipeError: There is none.
    """
    if name not in METHODS:
        msg = f"method '{name}' is unknown; use one of {', '.join(METHODS)}"
        raise BadRecipeError(msg)
    method = METHODS[name]
    for what, needed, given in (
        ("a flow", method.needs_flow, flow),
        ("a classifier", method.needs_classifier, logit),
    ):
        if needed and given is None:
            msg = f"method '{name}' needs {what}; give it, or use another method"
            raise BadRecipeError(msg)
    return method


def _velocities(flow: LabelVelocities | None) -> tuple[Callable[..., Tensor], ...]:
    return (_nothing,) * 3 if flow is None else (flow.present, flow.absent, flow.unknown)


def _nothing(images: Field, *_: Tensor) -> Tensor:
    """Refuse to answer.

    Raises:
        ValueError: Always: a method request for what it says it does not need.
    """
    msg = f"nothing here to ask about images of shape {tuple(images.shape)}"
    raise ValueError(msg)


def _present(request: CounterfactualRequest) -> float:
    """Return the probability that the image holds the label."""
    return float(request.logit(request.image).sigmoid())


def _unchanged(request: CounterfactualRequest) -> CounterfactualResult:
    return CounterfactualResult(torch.zeros_like(request.image[0, 0]), request.image)
