"""An image carried to noise comes back."""

from functools import cache
from typing import get_args

import numpy as np
import pytest
import torch
from tests.flow.analytic import AnalyticFlow, background, ball_at

from voxhint.flow import invert, solve
from voxhint.flow.invert import S_MIN
from voxhint.flow.solve import _Scheme
from voxhint.flow.straight_path import renoise, white_noise

FLOW = AnalyticFlow()
IMAGES = background(1, np.random.default_rng(2)) + ball_at((8, 7, 6), 1)


@cache
def missed(scheme: str, steps: int) -> float:
    noisy = invert(FLOW, IMAGES, end=0.5, steps=steps, scheme=scheme)
    back = solve(FLOW, noisy, start=0.5, end=S_MIN, steps=steps, scheme=scheme)
    return float((back - IMAGES).square().mean().sqrt())


@pytest.mark.parametrize("scheme", get_args(_Scheme))
def test_finer_steps_come_back_nearer(scheme: str) -> None:
    assert missed(scheme, 20) < 0.75 * missed(scheme, 10)


@pytest.mark.parametrize("scheme", ["heun", "midpoint", "fireflow"])
def test_a_second_order_scheme_comes_back_nearer_than_euler(scheme: str) -> None:
    assert missed(scheme, 10) < missed("euler", 10) / 4


def test_inversion_draws_no_noise_and_starts_at_the_smallest_level() -> None:
    noisy = invert(FLOW, IMAGES, end=0.5, steps=6, scheme="heun")
    by_hand = solve(FLOW, IMAGES, start=S_MIN, end=0.5, steps=6, scheme="heun")
    assert torch.equal(noisy, by_hand)


def test_an_inverted_background_is_as_spread_as_its_level() -> None:
    rng = np.random.default_rng(4)
    healthy = background(4, rng)
    start = renoise(healthy, white_noise(rng, healthy), start=0.0, end=S_MIN)
    noisy = invert(AnalyticFlow(label=0), start, end=0.8, steps=40, scheme="heun")
    expected = (0.2**2 * (0.1**2 + 0.02**2) + 0.8**2) ** 0.5
    assert float(noisy.std()) == pytest.approx(expected, rel=0.03)
