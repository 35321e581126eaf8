"""Surface distances against known geometry, brute force and another library."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Bool, Float64

from voxhint.measure.surface import (
    _SurfaceDistances,
    assd_mm,
    hd95_mm,
    normalised_surface_dice,
    surface_distances,
)

SPACING = np.array([1.0, 0.5, 2.0])


def measured(
    truth: Bool[np.ndarray, "i j k"],
    mask: Bool[np.ndarray, "i j k"],
    spacing_mm: Float64[np.ndarray, "3"] = SPACING,
) -> _SurfaceDistances:
    distances = surface_distances(truth, mask, spacing_mm=spacing_mm)
    assert not isinstance(distances, str)
    return distances


def summary(distances: _SurfaceDistances) -> tuple[float, float, float]:
    nsd = normalised_surface_dice(distances, tolerance_mm=1.0)
    return hd95_mm(distances), assd_mm(distances), nsd


def ball(radius_mm: float, spacing_mm: Float64[np.ndarray, "3"]) -> Bool[np.ndarray, "i j k"]:
    half = np.ceil(20 / spacing_mm).astype(int)
    axes = [np.arange(-n, n + 1) * step for n, step in zip(half, spacing_mm, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    return np.asarray(x**2 + y**2 + z**2 <= radius_mm**2)


def noise(seed: int) -> Bool[np.ndarray, "i j k"]:
    rng = np.random.default_rng(seed)
    mask = rng.random((7, 8, 6)) < rng.uniform(0.05, 0.9)
    mask[3, 3, 3] = True
    return np.asarray(mask)


def brute_surface(mask: Bool[np.ndarray, "i j k"]) -> Float64[np.ndarray, "n 3"]:
    padded = np.pad(mask, 1)
    corners = []
    for corner in np.ndindex(*(n + 1 for n in mask.shape)):
        around = padded[tuple(slice(at, at + 2) for at in corner)]
        if around.any() and not around.all():
            corners.append(corner)
    return np.array(corners, np.float64)


@given(st.integers(0, 10_000), st.integers(0, 10_000))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_distances_equal_brute_force_over_all_pairs_of_corners(first: int, second: int) -> None:
    truth, mask = noise(first), noise(second)
    ours, theirs = brute_surface(truth) * SPACING, brute_surface(mask) * SPACING
    apart = np.linalg.norm(ours[:, None] - theirs[None], axis=2)
    distances = measured(truth, mask)
    assert np.allclose(np.sort(distances.from_truth_mm), np.sort(apart.min(1)), atol=1e-4)
    assert np.allclose(np.sort(distances.from_mask_mm), np.sort(apart.min(0)), atol=1e-4)


def test_equal_masks_are_zero_apart() -> None:
    assert summary(measured(noise(1), noise(1))) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_shifted_plate_is_as_far_away_as_it_was_shifted(axis: int) -> None:
    truth = np.zeros((20, 20, 20), bool)
    window = [slice(None)] * 3
    window[axis] = slice(5, 6)
    truth[tuple(window)] = True
    distances = measured(truth, np.roll(truth, 4, axis=axis))
    shift_mm = 4 * SPACING[axis]
    assert distances.from_truth_mm.max() == pytest.approx(shift_mm)
    assert hd95_mm(distances) == pytest.approx(shift_mm)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.7, 2.5), (3.0, 0.8, 0.8)])
def test_balls_in_one_another_are_their_radii_apart(spacing: tuple[float, float, float]) -> None:
    step = np.array(spacing)
    distances = measured(ball(15, step), ball(10, step), step)
    diagonal = float(np.linalg.norm(step))
    assert 5 - diagonal / 2 < assd_mm(distances) < 5
    assert hd95_mm(distances) == pytest.approx(5, abs=step.max())
    assert normalised_surface_dice(distances, tolerance_mm=5 + step.max()) == 1.0
    assert normalised_surface_dice(distances, tolerance_mm=4.9 - diagonal) < 0.01


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.7, 2.5), (3.0, 0.8, 0.8)])
def test_the_area_of_a_ball_is_that_of_a_sphere(spacing: tuple[float, float, float]) -> None:
    step = np.array(spacing)
    distances = measured(ball(15, step), ball(10, step), step)
    assert distances.truth_mm2.sum() == pytest.approx(4 * np.pi * 15**2, rel=0.15)
    assert distances.mask_mm2.sum() == pytest.approx(4 * np.pi * 10**2, rel=0.15)


def test_the_area_of_a_wall_along_the_axes_is_exact() -> None:
    truth = np.zeros((60, 60, 60), bool)
    truth[10:50, 10:50, 10:50] = True
    sides = 2 * (40 * 20 + 40 * 80 + 20 * 80)
    assert measured(truth, truth).truth_mm2.sum() == pytest.approx(sides, rel=0.02)


def test_a_tolerance_equal_to_the_shift_forgives_it() -> None:
    step = np.array([0.7, 0.7, 0.7])
    truth = ball(8, step)
    distances = measured(truth, np.roll(truth, 3, axis=0), step)
    assert normalised_surface_dice(distances, tolerance_mm=2.1) == 1.0
    assert normalised_surface_dice(distances, tolerance_mm=2.0) < 1.0


def test_a_speck_of_area_moves_the_mean_but_not_hd95() -> None:
    step = np.ones(3)
    truth = ball(12, step)
    mask = truth.copy()
    mask[0, 0, 0] = True
    distances = measured(truth, mask, step)
    assert hd95_mm(distances) == 0.0
    assert 0 < assd_mm(distances) < 0.1
    assert distances.from_mask_mm.max() > 15


def test_flips_turns_and_margins_change_nothing() -> None:
    truth, mask = noise(3), noise(4)
    wanted = summary(measured(truth, mask))
    for axis in range(3):
        flipped = measured(np.flip(truth, axis), np.flip(mask, axis))
        assert summary(flipped) == pytest.approx(wanted, rel=1e-5)
    turned = measured(truth.transpose(2, 0, 1), mask.transpose(2, 0, 1), SPACING[[2, 0, 1]])
    assert summary(turned) == pytest.approx(wanted, rel=1e-5)
    padded = measured(
        np.pad(truth, ((2, 5), (0, 1), (3, 3))), np.pad(mask, ((2, 5), (0, 1), (3, 3)))
    )
    assert summary(padded) == pytest.approx(wanted, rel=1e-5)


def test_exchanging_truth_and_mask_changes_nothing() -> None:
    there, back = measured(noise(5), noise(6)), measured(noise(6), noise(5))
    assert summary(there) == pytest.approx(summary(back))


def test_distances_grow_with_the_spacing() -> None:
    small = summary(measured(noise(7), noise(8)))
    large = summary(measured(noise(7), noise(8), 3 * SPACING))
    assert large[:2] == pytest.approx((3 * small[0], 3 * small[1]), rel=1e-5)


def test_empty_masks_are_named() -> None:
    nothing = np.zeros((7, 8, 6), bool)
    assert surface_distances(nothing, noise(1), spacing_mm=SPACING) == "truth empty"
    assert surface_distances(noise(1), nothing, spacing_mm=SPACING) == "mask empty"
    assert surface_distances(nothing, nothing, spacing_mm=SPACING) == "both empty"
