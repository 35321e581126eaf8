"""What touches what, and what contradicts what."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.phantoms import slanted_grid

from voxhint.core import Grid, LabelSet
from voxhint.core.hints import Box, Diameter, Hint, Points, State, Strokes, Tag
from voxhint.files.hint_tables import Placed
from voxhint.files.validate.hints import (
    _box_corners_mm,
    _overlap,
    contradictions,
    drawn_problems,
    outer_corners_mm,
    place_problems,
)

GRID = slanted_grid()
CUBE = Grid((10, 10, 10), np.eye(4))  # from -0.5 to 9.5 along every axis


def box(low: float, high: float) -> Box:
    return Box("ball", np.full(3, float(low)), np.full(3, float(high)))


@given(shift=st.tuples(*[st.integers(-25, 25)] * 3))
def test_upright_boxes_overlap_exactly_if_they_do_along_every_axis(
    shift: tuple[int, int, int],
) -> None:
    corners = _box_corners_mm(box(0, 10))
    moved = corners + np.array(shift, dtype=np.float64)
    assert _overlap(corners, moved) == all(abs(step) < 10 for step in shift)


def test_slanted_boxes_whose_shadows_overlap_may_still_be_apart() -> None:
    c = float(np.sqrt(0.5))
    affine = np.eye(4)
    affine[:2, :2] = [[c, -c], [c, c]]
    affine[:2, 3] = [14, 3]
    diamond = outer_corners_mm(Grid((10, 10, 10), affine))
    assert diamond[:, 0].min() < 9
    assert not _overlap(
        outer_corners_mm(Grid((10, 2, 10), np.eye(4))), diamond + np.array([0.0, 2, 0])
    )
    assert _overlap(outer_corners_mm(CUBE), diamond)


def test_a_body_overlaps_itself_and_order_does_not_matter() -> None:
    ours, theirs = outer_corners_mm(GRID), outer_corners_mm(CUBE)
    assert _overlap(ours, ours)
    assert _overlap(ours, theirs) == _overlap(theirs, ours)


def place(hint: Hint, grid: Grid = CUBE) -> str:
    return " ".join(
        f"{problem.severity}: {problem}"
        for problem in place_problems([Placed("a", hint, "w")], [grid])
    )


@pytest.mark.parametrize(
    ("hint", "said"),
    [
        (Points("ball", np.array([[9.4, 0, 0]]), np.ones(1)), ""),
        (Points("ball", np.array([[9.6, 0, 0]]), np.ones(1)), "error: w: point"),
        (Diameter("ball", np.array([0.0, 0, -0.6]), 3.0), "error: w: centre"),
        (Diameter("ball", np.array([0.0, 0, -0.4]), 30.0), ""),
        (box(2, 5), ""),
        (box(2, 10), ""),
        (box(2, 12), "warning: w: box"),
        (box(9.6, 12), "error: w: box"),
        (Tag("ball", "absent", (9.0, 20.0)), ""),
        (Tag("ball", "absent", (10.0, 20.0)), "error: w: heights"),
        (Tag("ball", "absent"), ""),
    ],
)
def test_a_hint_must_lie_on_an_image(hint: Hint, said: str) -> None:
    assert place(hint).startswith(said)
    assert bool(place(hint)) == bool(said)


def test_a_hint_may_lie_on_any_channel() -> None:
    far = np.eye(4)
    far[0, 3] = 8
    hint = Placed("a", Points("ball", np.array([[15.0, 0, 0]]), np.ones(1)), "w")
    assert list(place_problems([hint], [CUBE]))
    assert not list(place_problems([hint], [CUBE, Grid((10, 10, 10), far)]))


def against(absent: tuple[float, float] | None, hint: Hint) -> bool:
    tag = Placed("a", Tag("ball", "absent", absent), "tags.csv row 2")
    found = list(contradictions([tag, Placed("a", hint, "w")], [CUBE]))
    return any("tags.csv row 2 says absent" in str(problem) for problem in found)


POINT = Points("ball", np.array([[5.0, 5, 5]]), np.ones(1))


@pytest.mark.parametrize(
    ("absent", "hint", "wrong"),
    [
        (None, Tag("ball", "present"), True),
        (None, Tag("ball", "present", (1.0, 2.0)), True),
        (None, Tag("ball", "unknown"), False),
        (None, Tag("cube", "present"), False),
        ((1.0, 2.0), Tag("ball", "present"), False),
        ((-9.0, 99.0), Tag("ball", "present"), True),
        ((1.0, 2.0), Tag("ball", "present", (1.0, 2.0)), True),
        ((1.0, 2.0), Tag("ball", "present", (2.0, 3.0)), False),
        (None, POINT, True),
        ((4.0, 6.0), POINT, True),
        ((6.0, 7.0), POINT, False),
        (None, box(2, 5), True),
        ((3.0, 4.0), box(2, 5), False),
        ((2.0, 5.0), box(2, 5), True),
        (None, Diameter("ball", np.full(3, 5.0), 3.0), True),
    ],
)
def test_present_contradicts_absent_only_where_absent_covers_it(
    absent: tuple[float, float] | None, hint: Hint, wrong: bool
) -> None:
    assert against(absent, hint) == wrong


@pytest.mark.parametrize(
    ("rest", "state", "told"),
    [(0, "present", True), (255, "present", False), (0, "absent", False), (1, "present", False)],
)
def test_a_full_drawing_without_a_label_contradicts_that_it_is_present(
    rest: int, state: State, told: bool
) -> None:
    classes = np.zeros(CUBE.shape, np.uint8)
    classes[0, 0, 0] = rest
    labels = LabelSet(("background", "ball"), (0, 1))
    tag = Placed("a", Tag("ball", state), "tags.csv row 2")
    found = list(drawn_problems(Strokes(classes, CUBE, complete=True), "a", labels, [tag], "m"))
    assert any("says present" in str(problem) for problem in found) == told
