"""Images without their label by what a flow was told of it: no classifier, no gradients."""

from voxhint.classify.counterfactual_request import (
    CounterfactualRequest,
    CounterfactualResult,
    Settings,
    difference_between,
)
from voxhint.flow import Velocity, edit, invert, levels, solve
from voxhint.flow.invert import S_MIN
from voxhint.flow.straight_path import Field, Times


def _beyond(request: CounterfactualRequest) -> Velocity:
    """Return the velocity of images without the label, exaggerated by the weight."""
    flow, weight = request.flow, request.settings.weight
    if weight == 1:
        return flow.absent

    def velocity(z: Field, s: Times, /) -> Field:
        there = flow.present(z, s)
        return there + weight * (flow.absent(z, s) - there)

    return velocity


def label_flow(request: CounterfactualRequest) -> CounterfactualResult:
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


def edit_flow(request: CounterfactualRequest) -> CounterfactualResult:
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


LABEL_FLOW = Settings(start=0.7, weight=1.5, smooth_mm=0.5)
EDIT_FLOW = Settings(start=0.7, weight=1.5, repeats=4, smooth_mm=0.5)
