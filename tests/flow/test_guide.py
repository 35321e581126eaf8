"""A velocity guided by what is exactly known is the velocity given that knowledge."""

import numpy as np
import pytest
import torch
from tests.flow.analytic import AnalyticFlow, Without, background, ball_at
from torch import Tensor

from voxhint.flow import Velocity, guide, interpolate
from voxhint.flow.path import white_noise

FLOW, ABSENT = AnalyticFlow(), AnalyticFlow(label=0)
WITHOUT = Without(FLOW)


def point(s: float, *, bright: float = 1.0) -> tuple[Tensor, Tensor]:
    """Return a noisy image with a ball beside one without, and their noise level."""
    rng = np.random.default_rng(6)
    image = background(2, rng)
    image[:1] += bright * ball_at((5, 9, 8), 1)
    times = torch.full((2,), s, dtype=torch.float64)
    return interpolate(image, white_noise(rng, image), times).z, times


@pytest.mark.parametrize("s", [0.05, 0.3, 0.5, 0.8])
def test_guided_by_the_exact_posterior_it_is_the_velocity_given_the_label(s: float) -> None:
    z, times = point(s)
    guided = guide(FLOW, WITHOUT)(z, times)
    torch.testing.assert_close(guided, ABSENT(z, times), atol=1e-10, rtol=0)


@pytest.mark.parametrize("s", [0.1, 0.4])
def test_the_other_label_is_the_guide_of_the_other_probability(s: float) -> None:
    def present(z: Tensor, times: Tensor) -> Tensor:
        return torch.nn.functional.softplus(-FLOW.log_present(z, times))

    z, times = point(s, bright=0.3)
    guided = guide(FLOW, present)(z, times)
    torch.testing.assert_close(guided, AnalyticFlow(label=1)(z, times), atol=1e-10, rtol=0)


def test_the_labels_differ_where_it_matters_so_that_these_laws_can_fail() -> None:
    z, times = point(0.3)
    assert float((FLOW(z, times) - ABSENT(z, times))[0].abs().max()) > 0.1


def test_the_gain_is_bounded_near_noise() -> None:
    def slope_of_one(z: Tensor, _: Tensor) -> Tensor:
        return -z.flatten(1).sum(1)

    def still(z: Tensor, _: Tensor) -> Tensor:
        return torch.zeros_like(z)

    z, times = torch.zeros(3, 1, 2, 2, 2), torch.tensor([0.5, 0.9, 1.0])
    pull = guide(still, slope_of_one, weight=2.0, c_max=4.0)(z, times)
    torch.testing.assert_close(pull[:, 0, 0, 0, 0], torch.tensor([2.0, 8.0, 8.0]))


def test_guides_stack_and_no_weight_is_no_guide() -> None:
    z, times = point(0.4)
    twice = guide(guide(FLOW, WITHOUT, weight=0.5), WITHOUT, weight=1.5)
    assert isinstance(twice, Velocity)
    torch.testing.assert_close(twice(z, times), guide(FLOW, WITHOUT, weight=2.0)(z, times))
    assert torch.equal(guide(FLOW, WITHOUT, weight=0.0)(z, times), FLOW(z, times))


def test_a_guided_velocity_can_itself_be_differentiated() -> None:
    z, times = point(0.4, bright=0.5)
    guided = guide(FLOW, WITHOUT)
    way = white_noise(np.random.default_rng(8), z)
    z.requires_grad_()
    (slope,) = torch.autograd.grad(guided(z, times), z, way)
    (exact,) = torch.autograd.grad(ABSENT(z, times), z, way)
    torch.testing.assert_close(slope, exact, atol=1e-8, rtol=0)


def test_the_closed_form_of_the_gradient_agrees() -> None:
    z, times = point(0.4)
    z.requires_grad_()
    (slope,) = torch.autograd.grad(WITHOUT(z, times).sum(), z)
    torch.testing.assert_close(slope, WITHOUT.slope(z.detach(), times), atol=1e-10, rtol=0)
