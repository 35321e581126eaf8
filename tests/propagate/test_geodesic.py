"""Ways and bells in millimetres, against direct sums and known paths."""

from itertools import pairwise, permutations

import numpy as np
import pytest
from jaxtyping import Bool, Float32, Float64
from skimage.graph import MCP_Geometric
from tests.poses import SOME_TURNS
from tests.propagate.grids import places, plain_grid, turned_image

from voxhint.core import Grid, Turn, Volume
from voxhint.propagate import geodesic_mm
from voxhint.propagate.edge_cost import cost_of_ways, edge_cost
from voxhint.propagate.geodesic import (
    WayFinder,
    nearest_mark,
    way_to_next,
)
from voxhint.propagate.pw4medseg import point_density

GRID = plain_grid((14, 12, 9), (1.0, 1.5, 2.5))


def seed_at(grid: Grid, *index: tuple[int, int, int]) -> Bool[np.ndarray, "i j k"]:
    seeds = np.zeros(grid.shape, np.bool_)
    for place in index:
        seeds[place] = True
    return seeds


def path_mm(grid: Grid, start: tuple[int, int, int]) -> Float64[np.ndarray, "i j k"]:
    """Return the shortest path over 26 neighbours on a grid with one spacing."""
    away = np.abs(np.indices(grid.shape) - np.array(start)[:, None, None, None])
    total = np.full(grid.shape, np.inf)
    for order in permutations(range(3)):
        # steps along all three axes at once, then along two, then along one
        one, two, three = (away[axis] for axis in order)
        fits = (one >= two) & (two >= three)
        s = grid.spacing_mm[list(order)]
        length = (
            three * np.linalg.norm(s) + (two - three) * np.linalg.norm(s[:2]) + (one - two) * s[0]
        )
        total = np.where(fits, np.minimum(total, length), total)
    return total


def noise(grid: Grid, seed: int = 0) -> Float32[np.ndarray, "i j k"]:
    return np.random.default_rng(seed).gamma(2, 1, grid.shape).astype(np.float32)


def everywhere(grid: Grid) -> Bool[np.ndarray, "i j k"]:
    return np.ones(grid.shape, np.bool_)


@pytest.mark.parametrize("start", [(0, 0, 0), (5, 6, 4)])
def test_without_edges_a_way_is_the_shortest_path_over_26_neighbours(
    start: tuple[int, int, int],
) -> None:
    grid = plain_grid((9, 9, 9))
    found = geodesic_mm(seed_at(grid, start), noise(grid), grid, edge_weight=0.0)
    assert np.allclose(found, path_mm(grid, start), atol=1e-4)


def test_without_edges_a_way_lies_between_the_straight_line_and_the_sum_of_axes() -> None:
    found = geodesic_mm(seed_at(GRID, (3, 4, 2)), noise(GRID), GRID, edge_weight=0.0)
    away = np.abs(places(GRID) - places(GRID)[:, 3, 4, 2][:, None, None, None])
    assert (found >= np.linalg.norm(away, axis=0) - 1e-4).all()
    assert (found <= away.sum(0) + 1e-4).all()


def test_a_way_is_as_long_as_the_way_back() -> None:
    places_ = [(0, 0, 0), (13, 11, 8), (4, 9, 2), (10, 1, 7)]
    steep = noise(GRID)
    found = [geodesic_mm(seed_at(GRID, p), steep, GRID, edge_weight=2.0) for p in places_]
    matrix = np.array([[ways[p] for p in places_] for ways in found])
    assert np.allclose(matrix, matrix.T, rtol=1e-5)


def test_the_nearest_of_several_seeds_counts() -> None:
    one, two, steep = (0, 0, 0), (10, 9, 7), noise(GRID)
    both = geodesic_mm(seed_at(GRID, one, two), steep, GRID, edge_weight=1.0)
    each = [geodesic_mm(seed_at(GRID, p), steep, GRID, edge_weight=1.0) for p in (one, two)]
    assert np.allclose(both, np.minimum(*each), rtol=1e-5)
    assert both[one] == both[two] == 0


def test_no_way_gets_shorter_when_edges_weigh_more() -> None:
    seeds, steep = seed_at(GRID, (3, 4, 2)), noise(GRID)
    ways = [geodesic_mm(seeds, steep, GRID, edge_weight=w) for w in (0.0, 0.5, 2.0, 8.0)]
    for light, heavy in pairwise(ways):
        assert (heavy >= light - 1e-4).all()
        assert heavy.sum() > light.sum()


def test_a_high_wall_costs_more_than_the_way_around_through_its_gap() -> None:
    grid = plain_grid((15, 15, 3))
    steep = np.zeros(grid.shape, np.float32)
    steep[7] = 50
    closed = geodesic_mm(seed_at(grid, (3, 3, 1)), steep, grid, edge_weight=2.0)
    assert closed[8:].min() > 50
    assert closed[:7].max() < 20
    steep[7, 14] = 0
    opened = geodesic_mm(seed_at(grid, (3, 3, 1)), steep, grid, edge_weight=2.0)
    assert opened[11, 3, 1] < 40
    assert (opened <= closed + 1e-4).all()


def test_without_a_seed_everything_is_out_of_reach() -> None:
    found = geodesic_mm(np.zeros(GRID.shape, np.bool_), noise(GRID), GRID, edge_weight=1.0)
    assert (found >= 1e6).all()


@pytest.mark.parametrize("turn", SOME_TURNS, ids=str)
def test_storing_the_image_another_way_changes_no_distance(turn: Turn) -> None:
    image = Volume(noise(GRID), GRID)
    seeds, other = seed_at(GRID, (3, 4, 2), (10, 9, 7)), turned_image(image, turn)
    steep, again = edge_cost([image], everywhere(GRID)), edge_cost([other], everywhere(other.grid))
    assert np.allclose(turn.apply(steep), again, rtol=1e-3, atol=1e-4)
    ways = geodesic_mm(seeds, steep, GRID, edge_weight=2.0)
    back = geodesic_mm(turn.apply(seeds), turn.apply(steep), other.grid, edge_weight=2.0)
    assert np.allclose(turn.apply(ways), back, rtol=1e-4)


def test_steepness_is_free_of_the_scale_and_offset_of_each_image() -> None:
    one, two = Volume(noise(GRID), GRID), Volume(noise(GRID, 1), GRID)
    scaled = Volume((one.voxels * 40 - 1000).astype(np.float32), GRID)
    assert np.allclose(
        edge_cost([one, two], everywhere(GRID)),
        edge_cost([scaled, two], everywhere(GRID)),
        rtol=1e-2,
    )


def test_a_flat_image_and_a_single_slice_have_no_edges() -> None:
    assert not edge_cost([Volume(np.ones(GRID.shape, np.float32), GRID)], everywhere(GRID)).any()
    slice_ = plain_grid((8, 8, 1))
    steps = np.zeros(slice_.shape, np.float32)
    steps[4:] = 1
    assert (
        edge_cost([Volume(steps, slice_)], everywhere(slice_))[3:5].min()
        > edge_cost([Volume(steps, slice_)], everywhere(slice_))[0].max()
    )


@pytest.mark.parametrize("reach_mm", [0.8, 3.0, 20.0])
def test_bells_at_points_are_the_direct_sum_wherever_the_points_lie(reach_mm: float) -> None:
    points = np.random.default_rng(0).uniform(-3, 20, (30, 3))
    away = places(GRID)[:, None] - points.T[:, :, None, None, None]
    total = np.exp(-0.5 * (away**2).sum(0) / reach_mm**2).sum(0)
    assert np.abs(point_density(points, GRID, sigma_mm=reach_mm) - total).max() < 1e-5


@pytest.mark.parametrize("shown", [(3, 4, 2), (slice(5, 9), slice(4, 12))], ids=["one", "rows"])
def test_a_way_that_winds_is_as_short_as_dijkstra_finds_it(shown: tuple[int | slice, ...]) -> None:
    steep = noise(GRID, 4) ** 4  # mazes
    seeds = np.zeros(GRID.shape, np.bool_)
    seeds[shown] = True
    found = geodesic_mm(seeds, steep, GRID, edge_weight=3.0)
    cost = np.sqrt(1 + (3.0 * steep.astype(np.float64)) ** 2)
    ways = MCP_Geometric(cost, sampling=tuple(GRID.spacing_mm))
    exact, _ = ways.find_costs(np.argwhere(seeds))
    assert np.allclose(found, exact, rtol=1e-3)


def test_longer_ways_than_the_limit_are_not_followed() -> None:
    marks, cost = seed_at(GRID, (3, 4, 2)).astype(np.int32), cost_of_ways(noise(GRID), 2.0)
    far, _ = nearest_mark(marks, cost, GRID)
    away, owner = nearest_mark(marks, cost, GRID, limit_mm=9.0)
    assert 0 < (far < 9).sum() < far.size
    assert np.array_equal(away, np.where(far < 9, far, 1e6))
    assert np.array_equal(owner > 0, far < 9)


def test_the_way_to_the_next_mark_is_the_shortest_to_any_other() -> None:
    steep = noise(GRID)
    places_ = [(0, 0, 0), (13, 11, 8), (4, 9, 2), (10, 1, 7)]
    marks = np.zeros(GRID.shape, np.int32)
    for number, place in enumerate(places_, start=1):
        marks[place] = number
    away, owner = nearest_mark(marks, cost_of_ways(steep, 2.0), GRID)
    found = way_to_next(away, owner, cost_of_ways(steep, 2.0), GRID, 4)
    for number, place in enumerate(places_):
        ways = geodesic_mm(seed_at(GRID, place), steep, GRID, edge_weight=2.0)
        others = [ways[p] for p in places_ if p != place]
        assert found[number] == pytest.approx(min(others), rel=0.03)  # borders over faces alone


def test_a_lone_mark_meets_no_other() -> None:
    marks = seed_at(GRID, (3, 4, 2)).astype(np.int32)
    away, owner = nearest_mark(marks, cost_of_ways(noise(GRID), 2.0), GRID)
    assert (owner == 1).all()
    assert way_to_next(away, owner, cost_of_ways(noise(GRID), 2.0), GRID, 1).tolist() == [1e6]


def test_a_finder_used_again_finds_the_ways_of_a_window_and_of_what_each_voxel_allows() -> None:
    cost = cost_of_ways(noise(GRID), 2.0)
    finder = WayFinder.over(cost, GRID, np.empty(GRID.shape, np.float32))
    longest = (30 + 2 * np.indices(GRID.shape)[0]).astype(np.uint16)  # no steeper than ways are
    window = (slice(1, 13), slice(2, 12), slice(1, 8))
    for index in (np.array([[3, 4, 2], [9, 9, 6]]), np.array([[12, 2, 1], [2, 10, 3], [2, 10, 4]])):
        numbers = np.arange(1, len(index) + 1, dtype=np.int32)
        ways = finder.ways(index, numbers, window, longest, 0.5, 18.0)
        marks = np.zeros(GRID.shape, np.int32)
        marks[tuple(index.T)] = numbers
        limit = np.minimum(longest[window] * np.float32(0.5), np.float32(18))
        part = np.ascontiguousarray(cost[window])
        away, owner = nearest_mark(marks[window], part, GRID, limit_mm=limit)
        reached = owner > 0
        assert 20 < reached.sum() < reached.size / 2
        first, end = np.moveaxis(ways.spans, -1, 0)[..., None]
        along = np.arange(reached.shape[2])
        inside = (along >= first) & (along < end)
        assert not reached[~inside].any()
        assert inside.sum() < 2 * reached.sum()
        assert np.array_equal(ways.owner[inside], owner[inside])
        assert np.array_equal(ways.away[reached], away[reached])
        found = way_to_next(ways.away, ways.owner, part, GRID, len(index), ways.spans)
        assert np.array_equal(found, way_to_next(away, owner, part, GRID, len(index)))
