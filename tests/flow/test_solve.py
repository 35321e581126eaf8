"""Schemes go where the closed form goes, at the order they promise."""

from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from voxhint.classify.counterfactual_request import Counted
from voxhint.core.errors import BadRecipeError
from voxhint.flow import invert, levels, solve
from voxhint.flow.invert import S_MIN
from voxhint.flow.solve import _Scheme, require_falling

SCHEMES = get_args(_Scheme)
ORDER = {"euler": 1, "heun": 2, "midpoint": 2, "fireflow": 2}
MIX = torch.tensor([[0.8, -1.5, 0.2], [1.1, 0.3, 0.0], [0.0, 0.4, -0.9]], dtype=torch.float64)
Z = torch.from_numpy(np.random.default_rng(1).standard_normal((2, 3, 3, 2, 4)))


def mixed(matrix: Tensor, z: Tensor) -> Tensor:
    return torch.einsum("dc,bcijk->bdijk", matrix, z)


def linear(z: Tensor, s: Tensor) -> Tensor:
    """Return 2 s A z, along which z(b) = exp((a^2 - b^2) A) z(a)."""
    return mixed(MIX, 2 * s[:, None, None, None, None] * z)


def constant(z: Tensor, _: Tensor) -> Tensor:
    return torch.linspace(-3, 5, z[0].numel()).view_as(z[0]).expand_as(z)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("start", "end"), [(1.0, 0.1), (0.2, 0.9)])
def test_halving_the_step_divides_the_error_as_the_order_says(
    scheme: str, start: float, end: float
) -> None:
    exact = mixed(torch.linalg.matrix_exp((start**2 - end**2) * MIX), Z)
    errors = [
        float((solve(linear, Z, start=start, end=end, steps=n, scheme=scheme) - exact).norm())
        for n in (64, 128)
    ]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(ORDER[scheme], abs=0.15)


@pytest.mark.parametrize(
    ("scheme", "evaluations"), [("euler", 7), ("heun", 14), ("midpoint", 14), ("fireflow", 8)]
)
def test_a_scheme_evaluates_as_often_as_it_says(scheme: str, evaluations: int) -> None:
    counted = Counted(linear)
    solve(counted, Z, start=1.0, end=0.0, steps=7, scheme=scheme)
    assert counted.images == evaluations * len(Z)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("steps", [1, 30])
def test_a_constant_velocity_comes_back_to_a_millionth_in_float32(scheme: str, steps: int) -> None:
    z = Z.float()
    there = solve(constant, z, start=0.0, end=1.0, steps=steps, scheme=scheme)
    torch.testing.assert_close(there, z - constant(z, z), atol=1e-6, rtol=1e-6)
    noisy = invert(constant, z, end=1.0, steps=steps, scheme=scheme)
    back = solve(constant, noisy, start=1.0, end=S_MIN, steps=steps, scheme=scheme)
    assert float((back - z).norm() / z.norm()) < 1e-6


def test_a_network_in_half_precision_is_summed_in_float32() -> None:
    def half(z: Tensor, _: Tensor) -> Tensor:
        return torch.full_like(z, 0.1, dtype=torch.bfloat16)

    step = float(torch.tensor(0.1, dtype=torch.bfloat16))
    end = solve(half, torch.zeros(1, 1, 2, 2, 2), start=1.0, end=0.0, steps=1000, scheme="euler")
    assert end.dtype == torch.float32
    torch.testing.assert_close(end, torch.full_like(end, step), atol=1e-6, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_field_in_half_precision_becomes_float32(dtype: torch.dtype) -> None:
    assert solve(linear_in_any, Z.to(dtype), start=1.0, end=0.0, steps=2).dtype == torch.float32


def linear_in_any(z: Tensor, _: Tensor) -> Tensor:
    assert z.dtype == torch.float32
    return 0.5 * z


def test_levels_reach_both_ends_exactly() -> None:
    found = levels(0.9, 0.02, 7)
    assert (found[0], found[-1], len(found)) == (0.9, 0.02, 8)
    np.testing.assert_allclose(np.diff(found), -0.88 / 7)


@pytest.mark.parametrize(("start", "end", "steps"), [(1.1, 0.0, 3), (0.5, -0.1, 3), (1.0, 0.0, 0)])
def test_levels_off_the_path_are_refused(start: float, end: float, steps: int) -> None:
    with pytest.raises(BadRecipeError, match=r"use \[0, 1\]"):
        levels(start, end, steps)


@pytest.mark.parametrize("path", [(0.5,), (0.5, 0.6), (0.5, 0.5), (1.5, 0.5), (0.5, -0.1)])
def test_levels_that_do_not_fall_are_refused(path: tuple[float, ...]) -> None:
    require_falling((1.0, 0.5, 0.0))
    with pytest.raises(BadRecipeError, match="each below the one before"):
        require_falling(path)


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(BadRecipeError, match="euler, heun, midpoint, fireflow"):
        solve(linear, Z, start=1.0, end=0.0, steps=2, scheme="rk4")
