"""Training-free guidance pulls where it should, by as much as it says, or not at all."""

import math

import numpy as np
import pytest
import torch
from tests.flow.analytic import AnalyticFlow, Without, background, ball_at
from torch import Tensor, nn

from voxhint.core.errors import BadRecipeError
from voxhint.flow import Energy, Guidance, Velocity, invert, levels, solve, steer, twin_paths
from voxhint.flow.guidance import _pull
from voxhint.flow.invert import S_MIN
from voxhint.flow.straight_path import white_noise

FLOW = AnalyticFlow()
WITHOUT = Without(FLOW, lowest=0.1)
DOWN = levels(0.5, S_MIN, 6)
NONE = Guidance(rho=0.0, mu=0.0)


def rng() -> np.random.Generator:
    return np.random.default_rng(9)


def noisy(image: Tensor) -> Tensor:
    return invert(FLOW, image, end=0.5, steps=8)


def with_ball() -> Tensor:
    return background(1, rng()) + ball_at((6, 8, 9), 1)


def tiny() -> tuple[Velocity, Energy]:
    """Return a small smooth network, and a small smooth energy of images."""
    torch.manual_seed(2)
    net = nn.Sequential(nn.Conv3d(2, 4, 3, padding=1), nn.Tanh(), nn.Conv3d(4, 2, 3, padding=1))
    net.double().requires_grad_(requires_grad=False)
    weights = torch.randn(2, 3, 4, 3, dtype=torch.float64)

    def velocity(z: Tensor, s: Tensor) -> Tensor:
        out: Tensor = net(z * (1 + s[:, None, None, None, None]))
        return out

    def energy(z: Tensor, _: Tensor) -> Tensor:
        return nn.functional.softplus((z.sin() * weights).flatten(1).sum(1))

    return velocity, energy


@pytest.mark.parametrize("draws", [1, 3])
def test_the_gradient_of_variance_guidance_is_that_of_finite_differences(draws: int) -> None:
    velocity, energy = tiny()
    z = white_noise(rng(), torch.zeros(2, 2, 3, 4, 3, dtype=torch.float64))
    way = white_noise(np.random.default_rng(1), z)
    guidance = Guidance(draws=draws, sigma=0.5)

    def log_probability(step: float) -> Tensor:
        return _pull(velocity, energy, z + step * way, 0.6, guidance, rng()).log_probability

    numeric = (log_probability(1e-5) - log_probability(-1e-5)) / 2e-5
    found = _pull(velocity, energy, z, 0.6, guidance, rng())
    torch.testing.assert_close((found.gradient * way).flatten(1).sum(1), numeric)


def test_the_probability_is_the_mean_over_the_draws() -> None:
    velocity, energy = tiny()
    z = white_noise(rng(), torch.zeros(2, 2, 3, 4, 3, dtype=torch.float64))
    image = z + 0.6 * velocity(z, torch.full((2,), 0.6, dtype=torch.float64))
    same = rng()
    copies = [energy(image + 0.5 * 0.6 * white_noise(same, z), torch.zeros(2)) for _ in range(3)]
    found = _pull(velocity, energy, z, 0.6, Guidance(draws=3, sigma=0.5), rng())
    mean = torch.stack(copies).neg().exp().mean(0)
    torch.testing.assert_close(found.log_probability.exp(), mean)


def test_a_skipped_gradient_is_that_of_the_image_estimate_and_asks_the_flow_for_none() -> None:
    def closed(z: Tensor, s: Tensor) -> Tensor:
        assert not z.requires_grad
        return FLOW(z, s)

    z = noisy(with_ball())
    guidance = Guidance(through_velocity=False, sigma=0.0)
    found = _pull(closed, WITHOUT, z, 0.5, guidance, rng())
    image = z + 0.5 * found.velocity
    assert torch.equal(found.gradient, found.image_gradient)
    exact = -WITHOUT.slope(image, torch.full((1,), 0.1, dtype=torch.float64))
    torch.testing.assert_close(found.gradient, exact)


def test_without_strength_it_is_the_flow_itself() -> None:
    z = noisy(with_ball())
    end = steer(FLOW, WITHOUT, z, levels=DOWN, guidance=NONE, rng=rng())
    assert torch.equal(end, solve(FLOW, z, start=0.5, end=S_MIN, steps=6, scheme="euler"))


@pytest.mark.parametrize(("recurrences", "draws"), [(1, 2), (3, 1)])
def test_twins_without_strength_are_equal_bit_for_bit(recurrences: int, draws: int) -> None:
    guidance = Guidance(rho=0.0, mu=0.0, recurrences=recurrences, draws=draws)
    z = noisy(with_ball())
    twins = twin_paths(FLOW, WITHOUT, z, levels=DOWN, guidance=guidance, rng=rng())
    assert torch.equal(twins.free, twins.guided)
    faint = Guidance(rho=1e-7, mu=1e-7, recurrences=recurrences, draws=draws)
    twins = twin_paths(FLOW, WITHOUT, z, levels=DOWN, guidance=faint, rng=rng())
    assert 0 < float((twins.free - twins.guided).abs().max()) < 1e-3


def still(z: Tensor, _: Tensor) -> Tensor:
    return 0 * z


def only_step(guidance: Guidance, *, s: float = 0.5) -> float:
    """Return the RMS of what one guided step, of no length along the flow, adds."""
    z = 0.3 * white_noise(rng(), torch.zeros(1, 1, 16, 16, 16, dtype=torch.float64))
    end = steer(still, WITHOUT, z, levels=(s, s - 1e-9), guidance=guidance, rng=rng())
    return float((end - z).square().mean().sqrt())


@pytest.mark.parametrize(
    ("schedule", "factor"), [("constant", 1), ("noise", 0.75), ("image", 0.25), ("ratio", 3)]
)
def test_a_step_of_variance_guidance_is_as_long_as_rho_and_its_schedule(
    schedule: str, factor: float
) -> None:
    guidance = Guidance(rho=0.1, mu=0.0, schedule=schedule)
    assert only_step(guidance, s=0.75) == pytest.approx(0.1 * factor, rel=1e-6)


def test_the_ratio_is_bounded_where_it_has_no_bound() -> None:
    guidance = Guidance(rho=0.1, mu=0.0, schedule="ratio")
    assert only_step(guidance, s=1.0) == pytest.approx(0.4, rel=1e-6)


def slope_of_one(z: Tensor, _: Tensor) -> Tensor:
    return math.log(2) + z.flatten(1).sum(1)


def test_mean_guidance_moves_the_image_estimate_by_mu_each_time() -> None:
    z = torch.zeros(1, 1, 2, 2, 2)
    guidance = Guidance(rho=0.0, mu=0.1, iterations=3)
    end = steer(still, slope_of_one, z, levels=(0.5, 0.25), guidance=guidance, rng=rng())
    torch.testing.assert_close(end, torch.full_like(z, -0.3 * (0.5 - 0.25) / 0.5))


def test_mean_guidance_looks_again_after_each_step() -> None:
    def off_a_tenth(z: Tensor, _: Tensor) -> Tensor:
        return (z - 0.1).square().flatten(1).sum(1)

    z = torch.zeros(1, 1, 2, 2, 2)
    guidance = Guidance(rho=0.0, mu=0.08, iterations=3, sigma=0.0)  # there, past it, and back
    end = steer(still, off_a_tenth, z, levels=(0.5, 0.25), guidance=guidance, rng=rng())
    torch.testing.assert_close(end, torch.full_like(z, 0.08 * (0.5 - 0.25) / 0.5))


def test_a_gate_scales_a_step_by_the_probability() -> None:
    z = torch.zeros(1, 1, 2, 2, 2)  # where the probability is a half
    guidance = Guidance(rho=0.2, mu=0.0, sigma=0.0, gate=0.1)
    end = steer(still, slope_of_one, z, levels=(0.5, 0.25), guidance=guidance, rng=rng())
    torch.testing.assert_close(end, torch.full_like(z, -0.1))


def test_recurrence_brings_fresh_noise_once_between_two_steps() -> None:
    z = torch.zeros(1, 1, 40, 40, 40)
    again = Guidance(rho=0.0, mu=0.0, recurrences=2, first=1)
    end = steer(still, slope_of_one, z, levels=(0.5, 0.25, 0.1), guidance=again, rng=rng())
    expected = 0.5**2 - (0.5 / 0.75 * 0.25) ** 2
    assert float(end.var()) == pytest.approx(expected, rel=5 * (2 / z.numel()) ** 0.5)


def test_only_the_first_steps_are_guided() -> None:
    asked = []

    def energy(z: Tensor, s: Tensor) -> Tensor:
        asked.append(len(z))
        return WITHOUT(z, s)

    guidance = Guidance(first=2, iterations=3, draws=2, recurrences=2)
    steer(FLOW, energy, noisy(with_ball()), levels=DOWN, guidance=guidance, rng=rng())
    assert len(asked) == 2 * 3 * 2 * 2


def difference(image: Tensor, guidance: Guidance) -> Tensor:
    z = noisy(image)
    twins = twin_paths(FLOW, WITHOUT, z, levels=DOWN, guidance=guidance, rng=rng())
    return twins.free - twins.guided


def test_a_gate_leaves_healthy_images_alone_and_still_takes_the_ball() -> None:
    open_, gated = (Guidance(rho=0.02, mu=0.0, sigma=0.0, gate=g) for g in (None, 0.1))
    healthy = background(1, np.random.default_rng(11))
    assert float(difference(healthy, open_).abs().max()) > 0
    assert torch.equal(difference(healthy, gated), torch.zeros_like(healthy))
    assert float(difference(with_ball(), gated).max()) > 0.1


@pytest.mark.parametrize("through", [True, False])
def test_the_paired_difference_shows_the_ball(*, through: bool) -> None:
    guidance = Guidance(rho=0.02, mu=0.0, through_velocity=through)
    change = difference(with_ball(), guidance)[0, 0]
    truth = ball_at((6, 8, 9), 1)[0, 0] > 0.25
    inside = change[truth].mean()
    assert float(inside) > 0.1
    assert float(inside) > 10 * float(change[~truth].abs().mean())


def test_guidance_that_cannot_be_is_refused() -> None:
    with pytest.raises(BadRecipeError, match="constant, noise, image, ratio"):
        Guidance(schedule="cosine")
    with pytest.raises(BadRecipeError, match="1 or more of each"):
        Guidance(draws=0)
    with pytest.raises(BadRecipeError, match="each below the one before"):
        steer(FLOW, WITHOUT, with_ball(), levels=(0.1, 0.5), guidance=Guidance(), rng=rng())
