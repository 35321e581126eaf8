"""Where a picture looks: at the object, at drawn layers, else at the middle."""

from dataclasses import replace

import numpy as np
from tests.review.scenes import NAMES, scene

from voxhint.core import Grid, Mask, Strokes, Tag, Volume
from voxhint.review.choose_slices import Scene, choose_planes
from voxhint.review.slice_view import Plane, View

GRID = Grid((60, 70, 30), np.diag([2.0, 2.0, 2.0, 1.0]))
BLANK = Scene(Volume(np.zeros(GRID.shape, np.float32), GRID), NAMES)


def choose_plane(seen: Scene, view: View) -> Plane:
    planes, best = choose_planes(seen, view, most=1)
    assert (len(planes), best) == (1, 0)
    return planes[0]


def with_object(low: tuple[int, int, int], high: tuple[int, int, int]) -> Scene:
    ids = np.zeros(GRID.shape, np.uint8)
    ids[low[0] : high[0], low[1] : high[1], low[2] : high[2]] = 1
    return replace(BLANK, truth=Mask(ids, GRID, NAMES))


def test_without_anything_to_see_the_whole_middle_layer_is_shown() -> None:
    for blank in (BLANK, replace(BLANK, hints=(Tag("liver", "present"),))):
        plane = choose_plane(blank, "axial")
        assert plane.index in {14, 15}
        assert (plane.across, plane.up) == ((0, 60), (0, 70))


def test_the_layer_passes_through_the_object_and_shows_all_of_it() -> None:
    plane = choose_plane(with_object((40, 10, 3), (48, 20, 7)), "axial")
    assert plane.index in {4, 5}
    assert plane.across[0] < 40 < 48 < plane.across[1]
    assert plane.up[0] < 10 < 20 < plane.up[1]


def test_a_small_object_in_a_large_image_is_seen_from_near() -> None:
    plane = choose_plane(with_object((30, 30, 10), (33, 33, 12)), "axial")
    assert plane.across[1] - plane.across[0] < 45


def test_a_drawn_layer_is_preferred_to_the_middle_of_the_object() -> None:
    drawn = np.full(GRID.shape, 255, np.uint8)
    drawn[42:45, 12, 6] = 1
    seen = with_object((40, 10, 3), (48, 20, 9))
    assert (
        choose_plane(replace(seen, hints=(Strokes(drawn, GRID, complete=False),)), "axial").index
        == 6
    )


def test_slices_run_through_the_object_in_order_and_hold_the_best() -> None:
    seen = with_object((40, 10, 3), (48, 20, 21))
    planes, best = choose_planes(seen, "axial", most=5)
    indices = [plane.index for plane in planes]
    assert (indices[0], indices[-1], len(indices)) == (3, 20, 5)
    assert indices == sorted(set(indices))
    assert planes[best].index == choose_plane(seen, "axial").index
    assert [plane.place for plane in planes][:1] == ["z = 6 mm"]
    few, _ = choose_planes(with_object((40, 10, 3), (48, 20, 5)), "axial", most=5)
    assert [plane.index for plane in few] == [3, 4]


def test_the_place_does_not_depend_on_how_the_array_lies() -> None:
    straight, turned = scene(np.diag([1.0, 1.0, 3.0, 1.0])), scene()
    for one in (straight, turned):
        plane = choose_plane(one, "axial")
        assert one.truth is not None
        shown = plane.sample(one.truth.ids, one.truth.grid, outside=0)
        assert {1, 4} <= set(np.unique(shown).tolist())
