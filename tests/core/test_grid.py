"""Where voxels lie: round trips, turns that move nothing, and refusals."""

from itertools import permutations, product
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float64

from voxhint.core import Grid, Mask, Turn, Volume
from voxhint.core.errors import GridMismatchError
from voxhint.core.grid import reordered
from voxhint.core.labels import LabelSet

SHAPE = (3, 4, 5)
SPACING = np.array([0.7, 1.25, 4.0])
TURNS = [
    Turn((a, b, c), (f, g, h))
    for a, b, c in permutations((0, 1, 2))
    for f, g, h in product((False, True), repeat=3)
]


def rotation(axis: tuple[float, float, float], degrees: float) -> Float64[np.ndarray, "3 3"]:
    """Return a rotation by Rodrigues' formula."""
    x, y, z = np.array(axis) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(degrees)
    turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return np.asarray(turn, dtype=np.float64)


def grid_of(degrees: float = 0.0, axis: tuple[float, float, float] = (1, 2, 3)) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = rotation(axis, degrees) * SPACING
    affine[:3, 3] = [-12.5, 30.0, 7.0]
    return Grid(SHAPE, affine)


def places(grid: Grid) -> Float64[np.ndarray, "3 i j k"]:
    index = np.indices(grid.shape).reshape(3, -1).T.astype(np.float64)
    return grid.to_world(index).T.reshape(3, *grid.shape)


axes = st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda a: np.linalg.norm(a) > 0.1)
indices = st.lists(st.tuples(*[st.floats(-50, 50)] * 3), min_size=1, max_size=5)


@given(degrees=st.floats(-180, 180), axis=axes, index=indices)
@settings(deadline=None, max_examples=40)
def test_to_index_undoes_to_world(
    degrees: float, axis: tuple[float, float, float], index: list[tuple[float, float, float]]
) -> None:
    grid, asked = grid_of(degrees, axis), np.array(index, np.float64)
    assert np.allclose(grid.to_index(grid.to_world(asked)), asked, atol=1e-8)


@pytest.mark.parametrize("degrees", [0.0, 25.0])
def test_spacing_and_volume_do_not_depend_on_the_rotation(degrees: float) -> None:
    grid = grid_of(degrees)
    assert np.allclose(grid.spacing_mm, SPACING)
    assert np.isclose(grid.voxel_mm3, SPACING.prod())


@pytest.mark.parametrize("turn", TURNS, ids=str)
def test_undo_gives_back_what_apply_turned(turn: Turn) -> None:
    array = np.arange(2 * 3 * 4 * 5).reshape(2, *SHAPE)
    assert np.array_equal(turn.undo(turn.apply(array)), array)
    assert np.array_equal(turn.apply(array)[1], turn.apply(array[1]))


@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (0, 3, 2, 1), (0, 2, 3, 1)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_another_order_in_memory_changes_no_value(
    axes: tuple[int, ...], order: Literal["C", "F"]
) -> None:
    array = np.arange(2 * 3 * 4 * 5).reshape(2, *SHAPE).transpose(axes)[..., ::-1]
    copy = reordered(array, order)
    assert np.array_equal(copy, array)
    assert copy.flags.c_contiguous if order == "C" else copy.flags.f_contiguous
    assert reordered(copy, order) is copy


@pytest.mark.parametrize("turn", TURNS, ids=str)
def test_turning_keeps_the_world_place_of_every_voxel(turn: Turn) -> None:
    grid = grid_of(17.0)
    assert np.allclose(turn.apply(places(grid)), places(grid.turned(turn)), atol=1e-9)


@pytest.mark.parametrize("turn", TURNS, ids=str)
def test_every_storage_of_one_image_turns_to_the_same_ras_grid(turn: Turn) -> None:
    stored = grid_of().turned(turn)
    back = stored.turned(stored.turn_to_ras())
    assert back.same(grid_of(), tol_mm=1e-9)


@given(degrees=st.floats(-40, 40), axis=axes, turn=st.sampled_from(TURNS))
@settings(deadline=None, max_examples=60)
def test_an_oblique_image_is_turned_to_the_nearest_world_axes(
    degrees: float, axis: tuple[float, float, float], turn: Turn
) -> None:
    grid = grid_of(degrees, axis)
    stored = grid.turned(turn)
    assert stored.turned(stored.turn_to_ras()).same(grid, tol_mm=1e-9)
    assert grid.turn_to_ras() == Turn((0, 1, 2), (False, False, False))


@given(spacing=st.tuples(*[st.floats(0.2, 9)] * 3))
@settings(deadline=None, max_examples=40)
def test_another_spacing_keeps_the_edges_of_the_field_of_view(
    spacing: tuple[float, float, float],
) -> None:
    grid = grid_of(30.0)
    other = grid.spaced(np.array(spacing))
    for one, two in ((grid, other), (other, grid)):
        outer = np.array([[-0.5] * 3, np.array(one.shape) - 0.5])
        inner = np.array([[-0.5] * 3, np.array(two.shape) - 0.5])
        assert np.allclose(one.to_world(outer), two.to_world(inner), atol=1e-9)


def test_a_spacing_that_divides_the_field_is_met_exactly() -> None:
    other = grid_of().spaced(SPACING / [1, 2, 4])
    assert other.shape == (3, 8, 20)
    assert np.allclose(other.spacing_mm, SPACING / [1, 2, 4])


def test_a_voxel_holds_half_a_step_to_each_side() -> None:
    grid = grid_of(20.0)
    edge = np.array([[-0.5, 0, 0], [2.5, 3, 4], [1, 1, 1], [-0.6, 0, 0], [1, 3.6, 1], [1, 1, 9]])
    assert grid.holds(grid.to_world(edge)).tolist() == [True, True, True, False, False, False]


def test_a_grid_is_the_same_as_itself_and_differs_when_moved() -> None:
    grid = grid_of()
    moved = grid.affine.copy()
    moved[0, 3] += 0.5
    other = Grid(SHAPE, moved)
    assert grid.same(grid_of())
    assert not grid.same(other)
    assert grid.same(other, tol_mm=0.6)
    assert np.isclose(grid.distance_mm(other), 0.5)
    grid.require_same(grid_of())
    with pytest.raises(GridMismatchError, match=r"0\.5 mm.*check both headers"):
        grid.require_same(other)


def test_grids_of_two_shapes_are_refused_with_advice() -> None:
    other = Grid((3, 4, 6), grid_of().affine)
    assert not grid_of().same(other)
    with pytest.raises(GridMismatchError, match="resample one onto the other"):
        grid_of().require_same(other)


@pytest.mark.parametrize(
    ("shape", "affine", "advice"),
    [
        ((3, 0, 5), np.eye(4), "export it again"),
        (SHAPE, np.diag([1.0, 0, 1, 1]), "repair the header"),
        (SHAPE, np.diag([1.0, np.nan, 1, 1]), "repair the header"),
        (SHAPE, np.diag([1.0, np.inf, 1, 1]), "repair the header"),
    ],
)
def test_a_grid_without_a_place_is_refused_with_advice(
    shape: tuple[int, int, int], affine: Float64[np.ndarray, "4 4"], advice: str
) -> None:
    with pytest.raises(GridMismatchError, match=advice):
        Grid(shape, affine)


def test_a_part_of_an_image_lies_where_it_lay() -> None:
    grid = grid_of(30)
    whole = Volume(np.random.default_rng(0).random(SHAPE, np.float32), grid, "HU")
    part = whole.cropped((slice(1, 3), slice(0, 99), slice(2, 4)))
    assert part.unit == "HU"
    assert part.grid.shape == (2, 4, 2)
    assert np.array_equal(part.voxels, whole.voxels[1:3, :, 2:4])
    assert np.allclose(places(part.grid), places(grid)[:, 1:3, :, 2:4])


def test_an_array_of_another_shape_than_its_grid_is_refused() -> None:
    with pytest.raises(GridMismatchError, match=r"\(3, 4, 6\).*must agree"):
        Volume(np.zeros((3, 4, 6), np.float32), grid_of())
    with pytest.raises(GridMismatchError, match="must agree"):
        Mask(np.zeros((3, 4, 6), np.uint8), grid_of(), LabelSet(("background",), (0,)))
