"""Counterfactuals: images as they would be without a label, which a person can look at.

Each method needs a flow, an image-level classifier or both, none of them trained with masks.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from voxhint.classify import counterfactual_guided as guided
from voxhint.classify import counterfactual_label_flow as by_label
from voxhint.classify.counterfactual_request import (
    Counted,
    Counterfactual,
    CounterfactualRequest,
    CounterfactualResult,
    LabelVelocities,
    Logit,
    Settings,
    blurred,
)
from voxhint.core.errors import BadRecipeError
from voxhint.flow.straight_path import Field

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
        guided.guided_flow,
        "prepared intensity that changed",
        guided.FAITHFUL,
        needs_classifier=True,
    ),
    "guided-flow-paired": _Method(guided.guided_flow, _LOST, guided.PAIRED, needs_classifier=True),
    "label-flow": _Method(by_label.label_flow, _LOST, by_label.LABEL_FLOW),
    "edit-flow": _Method(by_label.edit_flow, _LOST, by_label.EDIT_FLOW),
    "pixel-counterfactual": _Method(
        guided.pixel_counterfactual,
        _LOST,
        guided.PIXEL,
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
