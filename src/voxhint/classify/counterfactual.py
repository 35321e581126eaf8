"""Images as they would be without a label: maps of evidence that a person can look at.

Each method needs a flow, an image-level predictor or both, none of them trained with masks.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from voxhint.classify import conditional_maps, guided_maps
from voxhint.classify.counterfactual_request import (
    Answer,
    Asked,
    Counted,
    Counterfactual,
    Flows,
    Logit,
    Settings,
    blurred,
)
from voxhint.core.errors import BadRecipeError
from voxhint.flow.path import Field

__all__ = ["METHODS", "Counterfactual", "Flows", "Logit", "Settings", "without_label"]

_LOST = "prepared intensity that went away"


@dataclass(frozen=True, slots=True)
class Method:
    """One way to take a label out of an image."""

    ask: Callable[[Asked], Answer]
    unit: str
    """What a value of the map means."""

    preset: Settings
    needs_flow: bool = True
    needs_predictor: bool = False


METHODS: Mapping[str, Method] = {
    "guided-flow": Method(
        guided_maps.guided_flow,
        "prepared intensity that changed",
        guided_maps.FAITHFUL,
        needs_predictor=True,
    ),
    "guided-flow-paired": Method(
        guided_maps.guided_flow, _LOST, guided_maps.PAIRED, needs_predictor=True
    ),
    "label-flow": Method(conditional_maps.label_flow, _LOST, conditional_maps.LABEL_FLOW),
    "edit-flow": Method(conditional_maps.edit_flow, _LOST, conditional_maps.EDIT_FLOW),
    "flow-contrast": Method(
        conditional_maps.flow_contrast,
        "squared prepared intensity that the label explains",
        conditional_maps.FLOW_CONTRAST,
    ),
    "inpaint": Method(conditional_maps.inpaint, _LOST, conditional_maps.INPAINT),
    "pixel-counterfactual": Method(
        guided_maps.pixel_counterfactual,
        _LOST,
        guided_maps.PIXEL,
        needs_flow=False,
        needs_predictor=True,
    ),
    "reconstruction-error": Method(
        guided_maps.reconstruction_error, "prepared intensity that changed", guided_maps.UNGUIDED
    ),
}
"""The methods by name."""


def without_label(
    method: str,
    image: Float[Tensor, "channel i j k"],
    *,
    rng: np.random.Generator,
    flow: Flows | None = None,
    logit: Logit | None = None,
    settings: Settings | None = None,
) -> Counterfactual:
    """Take a label out of an image, and map what went away.

    The map is in the unit of its method (`METHODS[method].unit`) and never scaled to the image, so
    that one threshold can be told for all images.

    Args:
        method: A name of `METHODS`.
        image: A prepared image or window, on the device of flow and predictor.
        rng: Draws all noise.
        flow: Velocities with, without and regardless of the label.
        logit: The predictor's log-odds that the label is present; if given, and the settings have a
            gate, an image that is less likely to hold the label is left as it is.
        settings: How far to go; the method's own if None.

    Returns:
        The map, the image without the label, and how much was evaluated.

    Raises:
        BadRecipeError: There is no such method, or what it needs is not given.
    """
    if method not in METHODS:
        msg = f"method '{method}' is unknown; use one of {', '.join(METHODS)}"
        raise BadRecipeError(msg)
    chosen = METHODS[method]
    missing = [
        name
        for name, needed, given in (
            ("a flow", chosen.needs_flow, flow),
            ("a predictor", chosen.needs_predictor, logit),
        )
        if needed and given is None
    ]
    if missing:
        msg = f"method '{method}' needs {' and '.join(missing)}; give it, or use another method"
        raise BadRecipeError(msg)
    settings = settings or chosen.preset
    asks = [Counted(v) for v in _velocities(flow)]
    predictor = Counted(logit or _nothing)
    asked = Asked(image[None].detach(), Flows(*asks), predictor, rng, settings)
    with torch.no_grad():
        gate = settings.guidance.gate
        closed = logit is not None and gate is not None and _present(asked) < gate
        answer = _unchanged(asked) if closed else chosen.ask(asked)
    return Counterfactual(
        evidence=blurred(answer.evidence, settings),
        image_without=answer.image_without[0].float().cpu().numpy(),
        flow_evaluations=sum(ask.images for ask in asks),
        predictor_evaluations=predictor.images,
    )


def _velocities(flow: Flows | None) -> tuple[Callable[..., Tensor], ...]:
    return (_nothing,) * 3 if flow is None else (flow.present, flow.absent, flow.unknown)


def _nothing(images: Field, *_: Tensor) -> Tensor:
    """Refuse to answer.

    Raises:
        ValueError: Always: a method asked for what it says it does not need.
    """
    msg = f"nothing here to ask about images of shape {tuple(images.shape)}"
    raise ValueError(msg)


def _present(asked: Asked) -> float:
    """Return the probability that the image holds the label."""
    return float(asked.logit(asked.image).sigmoid())


def _unchanged(asked: Asked) -> Answer:
    return Answer(torch.zeros_like(asked.image[0, 0]), asked.image)
