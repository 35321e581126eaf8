"""Cases made alike: one working grid for every storage, steps undone, units respected."""

from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest
from jaxtyping import Float32
from tests.phantoms import LABELS, slanted_grid
from tests.poses import SOME_TURNS, grid_at

from voxhint.core import Case, Grid, SoftLabel, Turn, Volume
from voxhint.core.volume import Unit
from voxhint.prepare import (
    Plan,
    PlanOptions,
    bounds_on,
    common_grid,
    fingerprint,
    from_working,
    make_plan,
    prepare_image,
    working_grid,
)
from voxhint.prepare.preprocess import Unscaled, to_working

GRID = slanted_grid()
TURNS = [
    Turn((a, b, c), (f, g, h))
    for a, b, c in permutations((0, 1, 2))
    for f, g, h in product((False, True), repeat=3)
]
SPACINGS = [(1.0, 1.25, 2.0), (0.7, 1.0, 1.6), (2.0, 2.0, 2.0)]


def waves(grid: Grid) -> Float32[np.ndarray, "i j k"]:
    """Return a smooth function of the place."""
    index = np.indices(grid.shape).reshape(3, -1).T.astype(np.float64)
    x, y, z = grid.to_world(index).T
    field = np.sin(x / 8) + np.cos(y / 7) + np.sin(z / 9)
    return np.asarray(field, np.float32).reshape(grid.shape)


def noise(grid: Grid, seed: int = 0) -> Float32[np.ndarray, "i j k"]:
    return np.random.default_rng(seed).normal(size=grid.shape).astype(np.float32)


def plan_for(
    images: dict[str, Volume],
    spacing_mm: tuple[float, float, float] = (1.0, 1.25, 2.0),
    optional: tuple[str, ...] = (),
) -> Plan:
    print_ = fingerprint(Case("c", images), np.random.default_rng(0))
    options = PlanOptions(network="dynunet", width=4, patch_voxels=4000)
    channels = (*images, *(name for name in optional if name not in images))
    plan = make_plan([print_], channels, LABELS, options=options, optional_channels=optional)
    return replace(plan, spacing_mm=spacing_mm)


def image_of(grid: Grid, unit: Unit = "a.u.", seed: int = 0) -> Volume:
    return Volume(100 * noise(grid, seed) + 50, grid, unit)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_every_storage_of_an_image_has_one_working_grid_and_one_array(
    spacing: tuple[float, float, float],
) -> None:
    plan = plan_for({"CT": image_of(GRID)}, spacing)
    voxels, wanted = noise(GRID), working_grid(GRID, plan)
    straight = to_working(voxels, GRID, wanted)
    for turn in TURNS:
        stored = GRID.turned(turn)
        found = working_grid(stored, plan)
        assert found.same(wanted, tol_mm=1e-6)
        assert np.allclose(to_working(turn.apply(voxels), stored, found), straight, atol=1e-4)


@pytest.mark.parametrize("spacing", SPACINGS[1:])
def test_the_working_grid_has_the_spacing_of_the_plan_to_whole_voxels(
    spacing: tuple[float, float, float],
) -> None:
    found = working_grid(GRID, plan_for({"CT": image_of(GRID)}, spacing))
    field = np.array(GRID.shape) * GRID.spacing_mm
    assert np.allclose(found.spacing_mm * found.shape, field)
    assert (np.abs(field / spacing - found.shape) <= 0.5).all()


@pytest.mark.parametrize("turn", TURNS[::5], ids=str)
def test_nothing_is_lost_on_the_way_there_and_back_at_one_spacing(turn: Turn) -> None:
    stored = GRID.turned(turn)
    voxels = noise(stored)
    there = working_grid(stored, plan_for({"CT": image_of(GRID)}))
    assert np.array_equal(from_working(to_working(voxels, stored, there), there, stored), voxels)


@pytest.mark.parametrize("spacing", SPACINGS[1:])
def test_smooth_fields_come_back_nearly_the_same_from_another_spacing(
    spacing: tuple[float, float, float],
) -> None:
    stored = Grid((24, 20, 16), GRID.affine).turned(TURNS[29])
    voxels = waves(stored)
    there = working_grid(stored, plan_for({"CT": image_of(GRID)}, spacing))
    apart = np.abs(from_working(to_working(voxels, stored, there), there, stored) - voxels)
    assert apart[2:-2, 2:-2, 2:-2].max() < 0.1
    assert apart.mean() < 0.05


def test_channels_come_onto_the_grid_of_the_first() -> None:
    other = Grid((20, 22, 18), GRID.affine @ np.diag([0.6, 0.6, 0.5, 1]))
    first, second = Volume(waves(GRID), GRID), Volume(waves(other), other, "HU")
    one, two = common_grid((first, second))
    assert one is first
    assert two.grid.same(GRID)
    assert two.unit == "HU"
    inside = np.s_[1:11, 1:12, 1:8]
    assert np.abs(two.voxels - first.voxels)[inside].max() < 0.1


@pytest.mark.parametrize("spacing", SPACINGS)
def test_scale_and_offset_of_an_image_without_a_unit_do_not_matter(
    spacing: tuple[float, float, float],
) -> None:
    image = image_of(GRID)
    other = Volume(image.voxels * np.float32(37) - np.float32(1200), GRID)
    plan = plan_for({"MR": image}, spacing)
    one, grid = prepare_image({"MR": image}, plan)
    two, _ = prepare_image({"MR": other}, plan)
    assert one.shape == (1, *grid.shape)
    assert np.allclose(one, two, atol=1e-3)
    assert abs(one.mean()) < 1e-3
    assert np.isclose(one.std(), 1, atol=1e-3)


def test_images_in_hounsfield_units_share_one_window() -> None:
    plan = plan_for({"CT": image_of(GRID, "HU")})
    ramp = np.linspace(-3000, 3000, int(np.prod(GRID.shape)), dtype=np.float32)
    wide = Volume(ramp.reshape(GRID.shape), GRID, "HU")
    narrow = Volume(wide.voxels.clip(-20, 80), GRID, "HU")
    one, two = (prepare_image({"CT": v}, plan)[0] for v in (wide, narrow))
    turned = GRID.turn_to_ras().apply(wide.voxels)
    same = (turned >= -20) & (turned <= 80)
    assert np.allclose(one[0][same], two[0][same], atol=1e-4)
    window = plan.intensity["CT"]
    assert np.isclose(one.min(), (window.low - window.mean) / window.std, atol=1e-4)
    assert np.isclose(one.max(), (window.high - window.mean) / window.std, atol=1e-4)


def test_a_channel_that_is_missing_is_zero() -> None:
    images = {"CT": image_of(GRID, "HU")}
    plan = plan_for(images, optional=("PET",))
    stack, grid = prepare_image(images, plan)
    assert stack.shape == (2, *grid.shape)
    assert stack[0].any()
    assert not stack[1].any()


def test_tiles_of_an_image_that_is_scaled_when_read_are_those_of_the_prepared_one() -> None:
    whole = Volume(np.rint(image_of(GRID, "HU").voxels), GRID, "HU")
    for image, dtype in ((whole, np.int16), (image_of(GRID, "HU"), np.float32)):
        plan = plan_for({"CT": image}, optional=("PET",))
        stack, grid = prepare_image({"CT": image}, plan)
        turn = Turn((2, 0, 1), (False, False, False))
        lazy = Unscaled.of({"CT": image}, plan, grid).packed(turn)
        assert lazy.channels[0][0].dtype == dtype
        part = (slice(None), slice(1, 4), slice(2, 9), slice(0, 5))
        assert np.array_equal(lazy[part], turn.apply(stack)[part])


def test_an_image_of_one_value_is_prepared_without_complaint() -> None:
    flat = Volume(np.full(GRID.shape, 7, np.float32), GRID)
    stack, _ = prepare_image({"MR": flat}, plan_for({"MR": image_of(GRID)}))
    assert np.isfinite(stack).all()
    assert np.abs(stack).max() < 1e-3


def test_half_known_and_half_unknown_mix_to_half_a_belief() -> None:
    grid = Grid((8, 4, 4), np.eye(4))
    trust = np.zeros((2, *grid.shape), np.float32)
    trust[:, ::2] = 1
    probs = np.zeros_like(trust)
    probs[1] = 1
    half = Grid((7, 4, 4), np.array([[1.0, 0, 0, 0.5], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    belief, plausible = np.stack(list(bounds_on(half, SoftLabel(probs, trust, grid))), 1)
    assert np.allclose(belief[1], 0.5)
    assert np.allclose(plausible[1], 1)
    assert np.allclose(belief[0], 0)
    assert np.allclose(plausible[0], 0.5)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_claims_stay_an_interval_on_every_working_grid(
    spacing: tuple[float, float, float],
) -> None:
    rng = np.random.default_rng(3)
    probs, trust = (rng.random((3, *GRID.shape), np.float32) for _ in range(2))
    there = working_grid(GRID, plan_for({"CT": image_of(GRID)}, spacing))
    bounds = np.stack(list(bounds_on(there, SoftLabel(probs, trust, GRID))), 1)
    assert bounds.shape == (2, 3, *there.shape)
    assert bounds.min() >= -1e-5
    assert bounds.max() <= 1 + 1e-5
    assert (bounds[0] <= bounds[1] + 1e-5).all()


def test_unknown_stays_unknown_on_another_spacing() -> None:
    nothing = np.zeros((2, *GRID.shape), np.float32)
    there = working_grid(GRID, plan_for({"CT": image_of(GRID)}, (2.0, 2.0, 2.0)))
    belief, plausible = np.stack(list(bounds_on(there, SoftLabel(nothing, nothing, GRID))), 1)
    assert not belief.any()
    assert np.allclose(plausible, 1)


@pytest.mark.parametrize("turn", SOME_TURNS)
@pytest.mark.parametrize("degrees", [0, 30, 44, 46, 60, 80])
def test_thick_slices_lie_along_one_axis_however_oblique_they_are(
    degrees: float, turn: Turn
) -> None:
    steps = (0.75, 0.75, 5.0)
    most = [grid_at((16, 16, 6), steps, degrees=(x, 0, 0)) for x in (0.0, 10.0, 0.0)]
    case = grid_at((16, 16, 6), steps, degrees=(degrees, 10.0, 0.0)).turned(turn)
    prints = [
        fingerprint(Case("c", {"MR": image_of(grid)}), np.random.default_rng(0))
        for grid in (*most, case)
    ]
    options = PlanOptions(network="dynunet", width=4, patch_voxels=4000)
    plan = make_plan(prints, ("MR",), LABELS, options=options)
    assert plan.spacing_mm == pytest.approx(steps)
    image = image_of(case)
    prepared, working = prepare_image({"MR": image}, plan)
    assert working.shape == (16, 16, 6)
    assert (np.diag(working.affine)[:3] > 0).all() or degrees > 60
    # no voxel is mixed with another, there and back
    assert np.array_equal(
        from_working(to_working(image.voxels, case, working), working, case), image.voxels
    )
    assert np.unique(prepared).size > 1000


def test_cases_without_thick_slices_lie_nearest_to_the_world_as_ever() -> None:
    steps = (0.75, 0.75, 5.0)
    plan = plan_for({"MR": image_of(grid_at((16, 16, 6), steps))}, steps)
    even = grid_at((10, 11, 12), (1.0, 1.0, 1.5), degrees=(60.0, 0, 0))
    working = working_grid(even, plan)
    assert np.allclose(
        working.affine[:3, :3] / working.spacing_mm,
        even.turned(even.turn_to_ras()).affine[:3, :3] / even.turned(even.turn_to_ras()).spacing_mm,
    )
