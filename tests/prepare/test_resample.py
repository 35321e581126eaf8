"""Values carried between grids: nothing invented, straight lines kept, ids whole."""

import numpy as np
import pytest
from jaxtyping import Float32
from scipy import ndimage
from tests.phantoms import slanted_grid

from voxhint.core import Grid
from voxhint.prepare import resample
from voxhint.prepare.resample import reach_of

GRID = slanted_grid()
SLOPE = np.array([2.0, -1.0, 0.5])


def ramp(grid: Grid) -> Float32[np.ndarray, "i j k"]:
    """Return a function of the place that is linear in millimetres."""
    index = np.indices(grid.shape).reshape(3, -1).T.astype(np.float64)
    return np.asarray(grid.to_world(index) @ SLOPE, np.float32).reshape(grid.shape)


def part_of(grid: Grid) -> Grid:
    """Return a smaller, finer grid that lies askew inside another."""
    affine = grid.affine.copy()
    angle = np.radians(10)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, 1]])
    affine[:3, :3] = turn @ affine[:3, :3] * [0.8, 0.7, 0.9]
    affine[:3, 3] = grid.to_world(np.array([[4.0, 4.0, 3.0]]))[0]
    return Grid((6, 8, 4), affine)


def test_the_same_grid_gives_the_same_array() -> None:
    array = ramp(GRID)
    assert np.array_equal(resample(array, GRID, Grid(GRID.shape, GRID.affine.copy())), array)


def test_linear_functions_of_the_place_are_exact_inside() -> None:
    target = part_of(GRID)
    assert GRID.holds(target.corners_mm()).all()
    assert np.allclose(resample(ramp(GRID), GRID, target), ramp(target), atol=1e-3)


def test_linear_functions_stay_exact_on_coarser_grids_away_from_the_border() -> None:
    fine = Grid((32, 32, 16), np.diag([0.5, 0.5, 1, 1]))
    coarse = fine.spaced(np.array([2.0, 2.0, 4.0]))
    found, wanted = resample(ramp(fine), fine, coarse), ramp(coarse)
    inner = (slice(2, -2), slice(2, -2), slice(1, -1))
    assert np.allclose(found[inner], wanted[inner], atol=0.05)


def test_a_coarser_grid_keeps_the_mean_of_noise_and_quiets_it() -> None:
    fine = Grid((32, 32, 32), np.eye(4))
    coarse = fine.spaced(np.full(3, 4.0))
    noise = np.random.default_rng(0).normal(10, 1, fine.shape).astype(np.float32)
    found = resample(noise, fine, coarse)
    assert np.isclose(found.mean(), 10, atol=0.05)
    assert found.std() < 0.3


def test_linear_mixtures_never_leave_the_range_of_the_source() -> None:
    noise = np.random.default_rng(1).random(GRID.shape, np.float32)
    for spacing in ((0.5, 0.5, 0.5), (3.0, 3.0, 3.0)):
        found = resample(noise, GRID, GRID.spaced(np.array(spacing)))
        assert noise.min() - 1e-6 <= found.min()
        assert found.max() <= noise.max() + 1e-6


def test_ids_are_never_mixed() -> None:
    ids = np.random.default_rng(2).choice([0.0, 3.0, 7.0], GRID.shape).astype(np.float32)
    for target in (part_of(GRID), GRID.spaced(np.array([0.6, 3.0, 1.0]))):
        assert set(np.unique(resample(ids, GRID, target, nearest=True))) <= {0.0, 3.0, 7.0}


def test_ids_are_those_of_the_nearest_voxel() -> None:
    ids = np.arange(np.prod(GRID.shape), dtype=np.float32).reshape(GRID.shape)
    target = part_of(GRID)
    index = np.indices(target.shape).reshape(3, -1).T.astype(np.float64)
    near = np.round(GRID.to_index(target.to_world(index))).astype(int)
    found = resample(ids, GRID, target, nearest=True)
    assert np.array_equal(found.ravel(), ids[tuple(near.T)])


@pytest.mark.parametrize("outside", [0.0, -1000.0, 5.0, None])
def test_beyond_the_source_lies_what_was_asked_for(outside: float | None) -> None:
    affine = GRID.affine.copy()
    affine[:3, 3] = GRID.to_world(np.array([[100.0, 0.0, 0.0]]))[0]
    far = Grid(GRID.shape, affine)
    array = np.full(GRID.shape, 7, np.float32)
    wanted = 7 if outside is None else outside
    assert (resample(array, GRID, far, outside=outside) == wanted).all()


@pytest.mark.parametrize("spacing_mm", [0.6, 1.0, 1.7, 2.9])
@pytest.mark.parametrize("start", [0, 5, 9])
def test_planes_within_reach_give_the_same_as_all(spacing_mm: float, start: int) -> None:
    whole = Grid((40, 6, 5), np.diag([1.0, 1.0, 2.0, 1.0]))
    array = np.random.default_rng(0).normal(size=whole.shape).astype(np.float32)
    target = whole.spaced(np.array([spacing_mm, 1.0, 2.0]))
    planes = slice(start, start + 4)
    reach = reach_of(whole, target, planes)
    seen = whole.cropped((slice(reach.start, reach.stop), slice(None), slice(None)))
    wanted = target.cropped((planes, slice(None), slice(None)))
    found = resample(array[reach.start : reach.stop], seen, wanted)
    assert np.allclose(found, resample(array, whole, target)[planes], atol=1e-5)


@pytest.mark.parametrize("shape", [(9, 8, 7), (1, 5, 20), (4, 1, 3)], ids=str)
@pytest.mark.parametrize("spacing_mm", [(0.4, 0.9, 1.0), (1.1, 1.05, 1.15)], ids=str)
def test_axis_after_axis_gives_what_all_three_give_together(
    shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]
) -> None:
    source = slanted_grid(shape)
    source = source.spaced(np.ones(3))
    target = source.spaced(np.array(spacing_mm)).cropped((slice(0, 40),) * 3)
    array = np.random.default_rng(0).normal(size=source.shape).astype(np.float32)
    step = np.linalg.inv(source.affine) @ target.affine
    wanted = ndimage.affine_transform(
        array, step[:3, :3], step[:3, 3], output_shape=target.shape, order=1, mode="nearest"
    )
    assert np.allclose(resample(array, source, target), wanted, atol=1e-5)
