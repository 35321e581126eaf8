"""Planes: the patient's right is left, millimetres are true, however the array lies."""

import numpy as np
import pytest
from tests.review.scenes import SHAPE, turned_affine

from voxhint.core import Grid
from voxhint.review.slice_view import Plane, View, plane_at, through_axis

AFFINES = [np.diag([1.0, 2.0, 3.0, 1.0]), np.diag([-1.0, -1.0, 2.5, 1.0]), turned_affine()]


def middle_plane(grid: Grid, view: View) -> Plane:
    turned = grid.turned(grid.turn_to_ras())
    spans = ((0, turned.shape[0]), (0, turned.shape[1]), (0, turned.shape[2]))
    return plane_at(turned, view, turned.shape[through_axis(view)] // 2, spans)


@pytest.mark.parametrize("affine", AFFINES)
@pytest.mark.parametrize(("view", "up"), [("axial", 1), ("coronal", 2)])
def test_columns_run_to_the_patients_right_and_rows_up(
    affine: np.ndarray, view: View, up: int
) -> None:
    grid = Grid(SHAPE, affine)
    world = grid.to_world(np.argwhere(np.ones(SHAPE)).astype(np.float64)).reshape(*SHAPE, 3)
    plane = middle_plane(grid, view)
    rightness = plane.sample(np.ascontiguousarray(world[..., 0]), grid, outside=np.nan)
    upness = plane.sample(np.ascontiguousarray(world[..., up]), grid, outside=np.nan)
    assert (np.diff(rightness, axis=1) > 0).all()
    assert (np.diff(upness, axis=0) > 0).all()


@pytest.mark.parametrize("affine", AFFINES)
def test_a_place_appears_where_its_voxel_appears(affine: np.ndarray) -> None:
    grid = Grid(SHAPE, affine)
    plane = middle_plane(grid, "axial")
    marked = np.zeros(SHAPE, np.uint8)
    at = np.array([[7.0, 11.0, 6.0]])
    marked[7, 11, 6] = 1
    across, up, off = plane.locate(grid.to_world(at))[0]
    layer = plane_at(plane.grid, "axial", plane.index + round(off / plane.thickness_mm),
                     ((0, plane.grid.shape[0]), (0, plane.grid.shape[1]), (0, 1)))  # fmt: skip
    row, column = np.argwhere(layer.sample(marked, grid, outside=0))[0]
    left, right, low, high = plane.extent_mm
    shown = layer.sample(marked, grid, outside=0).shape
    assert across == pytest.approx(left + (column + 0.5) * (right - left) / shown[1])
    assert up == pytest.approx(low + (row + 0.5) * (high - low) / shown[0])


def test_the_extent_is_the_field_of_view_in_millimetres() -> None:
    left, right, low, high = middle_plane(Grid(SHAPE, AFFINES[0]), "coronal").extent_mm
    assert (right - left, high - low) == (20 * 1.0, 12 * 3.0)


def test_an_array_on_another_grid_is_sampled_at_the_same_place() -> None:
    grid, plane = Grid(SHAPE, AFFINES[0]), middle_plane(Grid(SHAPE, AFFINES[0]), "axial")
    ids = np.random.default_rng(0).integers(0, 9, SHAPE).astype(np.uint8)
    shifted = np.eye(4)
    shifted[:3, 3] = (2, 0, 0)
    moved = Grid((18, 24, 12), AFFINES[0] @ shifted)
    there = plane.sample(np.ascontiguousarray(ids[2:]), moved, outside=99)
    assert (there[:, 2:] == plane.sample(ids, grid, outside=99)[:, 2:]).all()
    assert (there[:, :2] == 99).all()
