"""Images without their label: laws on flows known in closed form, and balls that really go."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.flow.analytic import (
    BRIGHT,
    AnalyticFlow,
    Without,
    back,
    background,
    ball_at,
    balls,
    fourier,
    spectrum,
)
from torch import Tensor, nn

from voxhint.classify.counterfactual import (
    METHODS,
    Counterfactual,
    LabelVelocities,
    Settings,
    remove_label,
)
from voxhint.core.errors import BadRecipeError
from voxhint.flow import Guidance
from voxhint.flow.invert import S_MIN

SIDE = 24
FLOWS = LabelVelocities(*(AnalyticFlow(label, SIDE) for label in (1, 0, None)))
WITHOUT = Without(AnalyticFlow(None, SIDE), lowest=0.1)
EQUAL = LabelVelocities(FLOWS.unknown, FLOWS.unknown, FLOWS.unknown)
QUICK = {"steps": 3, "repeats": 1, "smooth_mm": 0.0}


def rng(seed: int = 4) -> np.random.Generator:
    return np.random.default_rng(seed)


class Detector:
    """Matched filters with a share of adversarial detail: soft, and sure of large balls only."""

    def __init__(self) -> None:
        match = back(0.15 * fourier(balls(SIDE)) / (spectrum(SIDE) + 0.05**2))
        wave = torch.fft.fftfreq(SIDE, dtype=torch.float64) ** 2
        fine = (wave[:, None, None] + wave[:, None] + wave).sqrt() > 0.35
        noise = torch.from_numpy(rng(3).standard_normal(match.shape))
        detail = back(fourier(noise) * fine)
        size = match.flatten(1).norm(dim=1) / detail.flatten(1).norm(dim=1)
        self.filters = fourier(match + 0.5 * size[:, None, None, None] * detail).conj()
        self.middle = float(self._scores(background(8, rng(1), SIDE)).max()) + 0.3

    def _scores(self, image: Tensor) -> Tensor:
        return back(self.filters * fourier(image)).flatten(1).logsumexp(1)

    def __call__(self, image: Tensor) -> Tensor:
        return self._scores(image) - self.middle


def logit(image: Tensor) -> Tensor:
    return WITHOUT.flow.log_present(image, image.new_full((len(image),), WITHOUT.lowest))


def with_ball(seed: int = 0) -> Tensor:
    return (background(1, rng(seed), SIDE) + ball_at((9, 12, 13), 1, SIDE))[0]


def take(
    method: str,
    image: Tensor,
    *,
    flow: LabelVelocities | None = FLOWS,
    ask: bool = True,
    settings: Settings | None = None,
) -> Counterfactual:
    said = logit if ask else None
    return remove_label(method, image, rng=rng(), flow=flow, logit=said, settings=settings)


def quick(method: str, **changes: object) -> Settings:
    return replace(METHODS[method].preset, **{**QUICK, **changes})  # type: ignore[arg-type]


def small(method: str, **guidance: object) -> Settings:
    """Return the method's own settings with other guidance."""
    preset = METHODS[method].preset
    return replace(preset, guidance=replace(preset.guidance, **guidance))  # type: ignore[arg-type]


@pytest.mark.parametrize("method", METHODS)
def test_a_map_has_a_number_for_each_voxel_and_an_image_one_for_each_channel(method: str) -> None:
    torch.manual_seed(0)
    net = nn.Conv3d(2, 2, 3, padding=1).requires_grad_(requires_grad=False)

    def velocity(z: Tensor, s: Tensor) -> Tensor:
        found: Tensor = net(z) * (1 + s[:, None, None, None, None])
        return found

    def other(z: Tensor, s: Tensor) -> Tensor:
        return velocity(z, s) - 0.3

    image = torch.randn(2, 7, 12, 5)
    kept = image.clone()
    flow = LabelVelocities(velocity, other, velocity)
    found, again = (
        remove_label(
            method, image, rng=rng(), flow=flow,
            logit=lambda x: 3 + x.square().mean((1, 2, 3, 4)), settings=quick(method),
        )
        for _ in range(2)
    )  # fmt: skip
    assert found.difference.shape == (7, 12, 5)
    assert found.image.shape == (2, 7, 12, 5)
    assert found.difference.dtype == found.image.dtype == np.float32
    assert np.isfinite(found.image).all()
    assert found.difference.std() > 0
    assert torch.equal(image, kept)
    np.testing.assert_array_equal(found.difference, again.difference)


@pytest.mark.parametrize("method", METHODS)
def test_a_method_asks_only_what_it_says_it_needs(method: str) -> None:
    needs = METHODS[method]
    found = take(
        method,
        with_ball(),
        flow=FLOWS if needs.needs_flow else None,
        ask=needs.needs_classifier,
        settings=quick(method),
    )
    assert (found.flow_evaluations > 0) == needs.needs_flow
    assert (found.classifier_evaluations > 0) == needs.needs_classifier


@pytest.mark.parametrize(
    ("method", "missing"), [("label-flow", "a flow"), ("pixel-counterfactual", "a classifier")]
)
def test_what_is_missing_is_told_in_one_line(method: str, missing: str) -> None:
    with pytest.raises(BadRecipeError, match=f"'{method}' needs {missing}") as told:
        take(method, with_ball(), flow=None, ask=False)
    assert "\n" not in str(told.value)


def test_an_unknown_method_is_told_the_names() -> None:
    with pytest.raises(BadRecipeError, match="'guided' is unknown") as told:
        take("guided", with_ball())
    assert all(name in str(told.value) for name in METHODS)


@pytest.mark.parametrize("method", ["guided-flow-paired", "pixel-counterfactual"])
def test_without_strength_nothing_changes(method: str) -> None:
    image = with_ball().float()
    found = take(method, image, settings=small(method, rho=0.0, mu=0.0))
    assert not found.difference.any()
    np.testing.assert_array_equal(found.image, image)


@pytest.mark.parametrize("method", ["label-flow", "edit-flow"])
def test_a_flow_deaf_to_the_label_changes_nothing(method: str) -> None:
    image = with_ball().float()
    found = take(method, image, flow=EQUAL)
    assert not found.difference.any()
    np.testing.assert_array_equal(found.image, image)


def test_a_solver_s_error_is_in_both_twins_and_not_in_the_map() -> None:
    image, settings = with_ball(), quick("label-flow", scheme="euler")
    paired = take("label-flow", image, flow=EQUAL, settings=settings)
    original = replace(settings, reference="original")
    assert take("label-flow", image, flow=EQUAL, settings=original).difference.max() > 0.01
    assert not paired.difference.any()


@pytest.mark.parametrize("weight", [1.0, 1.5, 3.0])
@pytest.mark.parametrize("method", ["label-flow", "edit-flow"])
def test_velocities_that_differ_by_a_constant_move_by_it_times_way_and_weight(
    method: str, weight: float
) -> None:
    def still(z: Tensor, _: Tensor) -> Tensor:
        return torch.zeros_like(z)

    def less(z: Tensor, _: Tensor) -> Tensor:
        return torch.full_like(z, -0.7)

    image = torch.randn(1, 5, 6, 4, dtype=torch.float64)
    settings = quick(method, weight=weight, start=0.6)
    found = take(
        method, image, flow=LabelVelocities(still, less, still), ask=False, settings=settings
    )
    way = 0.6 - (S_MIN if method == "label-flow" else 0.0)
    np.testing.assert_allclose(found.difference, 0.7 * weight * way, rtol=1e-5)
    np.testing.assert_allclose(found.image, image - 0.7 * weight * way, atol=1e-5)
    dark = take(
        method, image, flow=LabelVelocities(still, less, still), ask=False,
        settings=replace(settings, bright=False),
    )  # fmt: skip
    assert not dark.difference.any()


@pytest.mark.parametrize("method", ["label-flow", "guided-flow-paired", "pixel-counterfactual"])
def test_a_gate_leaves_an_image_alone_that_hardly_holds_the_label(method: str) -> None:
    healthy = background(1, rng(11), SIDE)[0].float()
    assert float(logit(healthy[None]).sigmoid()) < 0.1
    closed = take(method, healthy, settings=small(method, gate=0.1))
    assert not closed.difference.any()
    np.testing.assert_array_equal(closed.image, healthy)
    assert (closed.flow_evaluations, closed.classifier_evaluations) == (0, 1)
    assert take(method, healthy, settings=small(method, gate=None)).difference.any()


@pytest.mark.parametrize(
    ("method", "flow", "classifier"),
    [
        ("guided-flow", 5, 3 * 2),
        ("guided-flow-paired", 6 + 5 + 5, 1 + 3 * 2),
        ("label-flow", 3 * 6, 0),
        ("edit-flow", 5 * 2 * 2, 0),
        ("pixel-counterfactual", 0, 1 + 5),
    ],
)
def test_evaluations_are_counted_image_by_image(method: str, flow: int, classifier: int) -> None:
    gate = METHODS[method].preset.guidance.gate
    settings = replace(
        METHODS[method].preset,
        steps=5,
        weight=1.0,
        repeats=1 if method.startswith("guided") else 2,
        guidance=Guidance(rho=1e-3, iterations=2, first=3, gate=gate),
    )
    found = take(method, with_ball(), settings=settings)
    assert (found.flow_evaluations, found.classifier_evaluations) == (flow, classifier)


def best(found: Counterfactual, truth: np.ndarray) -> float:
    """Return the Dice at the best threshold."""
    cuts = np.quantile(found.difference, 1 - np.geomspace(0.1, 0.0003, 60))
    masks = [found.difference > cut for cut in cuts]
    return max(2 * float((m & truth).sum()) / float(m.sum() + truth.sum()) for m in masks)


def mean_best(method: str, settings: Settings) -> float:
    """Return the mean of the best Dice over balls of both sizes."""
    detector, scores = Detector(), []
    for number, radius in enumerate((0, 1, 0, 1)):
        draw = rng(number)
        i, j, k = (int(n) for n in draw.integers(0, SIDE, 3))
        ball = ball_at((i, j, k), radius, SIDE)
        found = remove_label(
            method, (background(1, draw, SIDE) + ball)[0], rng=draw, flow=FLOWS, logit=detector,
            settings=settings,
        )  # fmt: skip
        scores.append(best(found, (ball[0, 0] > BRIGHT / 2).numpy()))
    return float(np.mean(scores))


def test_noise_hides_what_an_inverted_image_and_a_paired_difference_show() -> None:
    pull = Guidance(rho=0.017, mu=0.0, first=3)
    noisy = replace(METHODS["guided-flow"].preset, start=0.5, steps=10, guidance=pull)
    paired = replace(METHODS["guided-flow-paired"].preset, guidance=pull)
    first = mean_best("guided-flow", replace(noisy, smooth_mm=0.0))
    second = mean_best("guided-flow-paired", replace(paired, smooth_mm=0.0))
    assert 0.2 < first < 0.6
    assert second > max(0.7, first + 0.2)


@pytest.mark.parametrize("method", ["label-flow", "edit-flow"])
def test_a_flow_that_hears_the_label_takes_the_ball_and_nothing_else(method: str) -> None:
    settings = replace(METHODS[method].preset, smooth_mm=0.0)
    assert mean_best(method, settings) > 0.9
    plain, ball = background(1, rng(2), SIDE)[0], ball_at((4, 5, 6), 1, SIDE)[0]
    found = take(method, plain + ball, settings=settings)
    left = np.linalg.norm(found.image - plain.numpy())
    assert left < 0.7 * float(ball.norm())


def test_the_peak_of_the_map_lies_in_the_ball() -> None:
    method = "pixel-counterfactual"
    found = take(method, with_ball(), settings=small(method, rho=0.01))
    truth = (ball_at((9, 12, 13), 1, SIDE)[0, 0] > BRIGHT / 4).numpy()
    assert truth.ravel()[found.difference.argmax()]
