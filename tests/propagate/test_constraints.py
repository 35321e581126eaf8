"""What hints prove: on any grid the same places, and never more than was said."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float64
from tests.poses import SOME_TURNS, grid_at, places_of

from voxhint.core import (
    UNDRAWN,
    Box,
    Diameter,
    Grid,
    Hint,
    LabelSet,
    Points,
    Soft,
    Strokes,
    Tag,
    Turn,
)
from voxhint.core.errors import BadHintError, GridMismatchError
from voxhint.propagate import Constraints, constraints_of, facts_of

ONE = LabelSet(("background", "A"), (0, 1))
TWO = LabelSet(("background", "A", "B"), (0, 1, 2))

PLAIN = grid_at()
GRIDS = {
    "plain": PLAIN,
    "flat": grid_at((20, 24, 4), (0.5, 0.5, 3.0)),
    "slanted": grid_at((14, 14, 9), (0.9, 1.1, 1.6), degrees=(12, -25, 35)),
    **{str(turn): grid_at((9, 12, 7), (1.2, 1.0, 1.7)).turned(turn) for turn in SOME_TURNS},
    "cut": Grid((5, 9, 6), PLAIN.affine @ np.array(np.eye(4) + np.eye(4, k=3) * 2)),
}
each_grid = pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS.keys())

LOW, HIGH = np.array([-2.13, -3.07, -1.61]), np.array([2.21, 2.83, 1.93])
BOX = Box("A", LOW, HIGH)


def points(label: str, *places: tuple[float, float, float], sure: float = 1.0) -> Points:
    return Points(label, np.array(places, dtype=np.float64), np.full(len(places), sure))


def beyond_mm(grid: Grid, box: Box) -> Float64[np.ndarray, "i j k"]:
    """Return how far beyond the nearest face of a box each voxel lies; negative inside."""
    places = places_of(grid)
    return np.asarray(np.maximum(box.low_mm - places, places - box.high_mm).max(axis=-1))


def known(constraints: Constraints) -> int:
    """Count the claims of a case of which nothing is known to be so."""
    return int((constraints.proven > 0).sum() + (constraints.possible < 1).sum())


def test_no_hints_prove_nothing() -> None:
    constraints = constraints_of(PLAIN, [], TWO)
    assert known(constraints) == 0
    assert not constraints.likely.any()
    assert not constraints.settled.any()


@pytest.mark.parametrize("state", ["present", "unknown"])
def test_a_tag_that_is_not_negative_proves_no_voxel(state: str) -> None:
    tag = Tag("A", "present") if state == "present" else Tag("A", "unknown")
    assert known(constraints_of(PLAIN, [tag], ONE)) == 0


def test_the_only_label_tagged_absent_makes_every_voxel_background() -> None:
    constraints = constraints_of(PLAIN, [Tag("A", "absent")], ONE)
    assert (constraints.proven[0] == 1).all()
    assert (constraints.possible[1] == 0).all()
    assert constraints.settled.all()


def test_one_of_two_labels_tagged_absent_leaves_the_other_unknown() -> None:
    constraints = constraints_of(PLAIN, [Tag("A", "absent")], TWO)
    assert (constraints.possible[1] == 0).all()
    assert (constraints.possible[[0, 2]] == 1).all()
    assert not constraints.proven.any()
    facts = facts_of(constraints)
    assert (facts.trust[1] == 1).all()
    assert (facts.probs[1] == 0).all()
    assert (facts.trust[[0, 2]] == 0).all()


def test_all_labels_tagged_absent_make_every_voxel_background() -> None:
    constraints = constraints_of(PLAIN, [Tag("A", "absent"), Tag("B", "absent")], TWO)
    assert (constraints.proven[0] == 1).all()


@each_grid
def test_a_tag_with_heights_speaks_of_those_heights_only(grid: Grid) -> None:
    constraints = constraints_of(grid, [Tag("A", "absent", (-1.03, 2.07))], ONE)
    height = places_of(grid)[..., 2]
    inside = (height > -1.03) & (height < 2.07)
    assert np.array_equal(constraints.proven[0] == 1, inside)
    assert np.array_equal(constraints.possible[1] == 0, inside)
    assert (constraints.proven[0][~inside] == 0).all()
    assert (constraints.possible[1][~inside] == 1).all()


@each_grid
def test_a_box_rules_its_label_out_outside_and_leaves_it_possible_inside(grid: Grid) -> None:
    constraints = constraints_of(grid, [BOX], ONE)
    away, slack = beyond_mm(grid, BOX), grid.spacing_mm.max()
    assert (constraints.possible[1][away < -1e-3] == 1).all()
    assert (constraints.possible[1][away > slack + 1e-3] == 0).all()
    assert (constraints.proven[0][away > slack + 1e-3] == 1).all()
    assert (constraints.proven[0][away < -1e-3] == 0).all()
    assert not constraints.proven[1].any()


@each_grid
def test_a_label_is_likely_in_the_middle_of_its_box_and_only_inside(grid: Grid) -> None:
    constraints = constraints_of(grid, [BOX], ONE)
    likely = constraints.likely[1] > 0
    assert likely.any()
    assert (beyond_mm(grid, BOX)[likely] < 0).all()
    middle = np.linalg.norm(places_of(grid) - (LOW + HIGH) / 2, axis=-1)
    assert likely[np.unravel_index(middle.argmin(), grid.shape)]
    assert not constraints.likely[0].any()


@pytest.mark.parametrize("shift", [0.0, 0.25, 0.5])
@pytest.mark.parametrize("size", [0.4, 1.0, 3.0])
def test_even_a_small_box_between_voxels_has_a_likely_voxel(size: float, shift: float) -> None:
    middle = places_of(PLAIN)[4, 5, 3] + shift
    box = Box("A", middle - size / 2, middle + size / 2)
    assert constraints_of(PLAIN, [box], ONE).likely[1].any()


@pytest.mark.parametrize("turn", SOME_TURNS, ids=str)
def test_every_hint_says_the_same_of_every_voxel_however_the_array_is_stored(turn: Turn) -> None:
    grid = grid_at((9, 12, 7), (1.2, 1.0, 1.7), degrees=(5, 10, -15))
    drawn = _strokes(3).classes[:9, :12, :7]
    chance = _soft("B", 4).probability[:9, :12, :7]
    world: list[Hint] = [BOX, points("B", (0.3, 0.2, -0.1)), Tag("A", "absent", (2.03, 9.0))]
    ball = Diameter("B", np.array([1.0, 2.0, 0.5]), 4.3)
    for hints in (
        [*world, Strokes(drawn, grid, complete=False)],
        [ball, *world, Soft("B", chance, grid)],
    ):
        stored: list[Hint] = []
        for hint in hints:
            match hint:
                case Strokes():
                    classes = turn.apply(hint.classes)
                    stored.append(Strokes(classes, grid.turned(turn), hint.complete))
                case Soft():
                    moved = turn.apply(hint.probability)
                    stored.append(Soft(hint.label, moved, grid.turned(turn)))
                case _:
                    stored.append(hint)
        here = constraints_of(grid, hints, TWO)
        there = constraints_of(grid.turned(turn), stored, TWO)
        for one, two in (
            (here.proven, there.proven),
            (here.possible, there.possible),
            (here.likely, there.likely),
        ):
            assert np.allclose(turn.apply(one), two, atol=1e-5)


def test_several_boxes_of_a_label_leave_it_possible_in_all_of_them() -> None:
    far = Box("A", np.array([2.9, 3.1, 1.2]), np.array([4.2, 5.2, 3.1]))
    constraints = constraints_of(PLAIN, [BOX, far], ONE)
    inside = (beyond_mm(PLAIN, BOX) < 0) | (beyond_mm(PLAIN, far) < 0)
    outside = (beyond_mm(PLAIN, BOX) > 1.01) & (beyond_mm(PLAIN, far) > 1.01)
    assert (constraints.possible[1][inside] == 1).all()
    assert (constraints.possible[1][outside] == 0).all()


def test_a_box_of_one_label_says_nothing_of_another() -> None:
    constraints = constraints_of(PLAIN, [BOX], TWO)
    assert (constraints.possible[2] == 1).all()
    assert not constraints.proven.any()


@each_grid
def test_a_diameter_is_a_ball_with_doubt_at_its_rim(grid: Grid) -> None:
    centre, diameter = np.array([0.1, -0.2, 0.3]), 5.0
    constraints = constraints_of(grid, [Diameter("A", centre, diameter)], ONE)
    away = np.linalg.norm(places_of(grid) - centre, axis=-1)
    rim = max(grid.spacing_mm.max(), 0.15 * diameter)
    assert (constraints.possible[1][away < diameter / 2 - 1e-3] == 1).all()
    assert (constraints.possible[1][away > diameter / 2 + rim + 1e-3] == 0).all()
    assert (constraints.likely[1][away < diameter / 4 - 1e-3] == 1).all()
    assert constraints.likely[1].any()
    assert (away[constraints.likely[1] > 0] < diameter / 2).all()


def test_a_ball_smaller_than_a_voxel_still_has_a_likely_voxel() -> None:
    grid = grid_at((8, 8, 3), (1, 1, 6))
    constraints = constraints_of(grid, [Diameter("A", np.array([0.1, 0.2, 2.9]), 3.0)], ONE)
    assert constraints.likely[1].any()


def test_a_box_covers_the_same_millimetres_at_every_spacing() -> None:
    box = Box("A", np.full(3, -6.0), np.full(3, 6.0))
    for spacing in ((1.0, 1.0, 1.0), (0.5, 1.0, 2.0), (2.0, 2.0, 4.0)):
        shape = (round(20 / spacing[0]), round(20 / spacing[1]), round(20 / spacing[2]))
        constraints = constraints_of(grid_at(shape, spacing), [box], ONE)
        covered = (constraints.possible[1] == 1).sum() * np.prod(spacing)
        assert np.isclose(covered, 12**3, rtol=0.01)
        assert np.isclose(constraints.likely[1].sum() * np.prod(spacing), np.pi * 36, rtol=0.5)


@each_grid
def test_a_sure_click_proves_the_voxel_it_lies_in_and_no_other(grid: Grid) -> None:
    place = (0.31, -0.17, 0.23)
    constraints = constraints_of(grid, [points("A", place)], TWO)
    nearest = np.round(grid.to_index(np.array([place]))[0]).astype(int)
    assert np.argwhere(constraints.proven[1]).tolist() == [nearest.tolist()]
    here = tuple(nearest)
    assert constraints.proven[1][here] == 1
    assert constraints.possible[0][here] == 0
    assert constraints.possible[2][here] == 0
    assert constraints.settled.sum() == 1


def test_an_unsure_click_leaves_room_for_the_other_classes() -> None:
    constraints = constraints_of(PLAIN, [points("A", (0.1, 0.1, 0.1), sure=0.75)], TWO)
    here = tuple(np.argwhere(constraints.proven[1])[0])
    assert constraints.proven[1][here] == 0.75
    assert constraints.possible[0][here] == 0.25
    assert not constraints.settled.any()


def test_contradictory_clicks_share_their_voxel() -> None:
    hints = [points("A", (0.1, 0.1, 0.1)), points("B", (0.2, 0.2, 0.2))]
    constraints = constraints_of(grid_at((3, 3, 3)), hints, TWO)
    assert constraints.proven[:, 1, 1, 1].tolist() == [0, 0.5, 0.5]
    assert constraints.possible[:, 1, 1, 1].tolist() == [0, 0.5, 0.5]
    assert not constraints.settled[1, 1, 1]


def test_a_click_where_its_label_was_ruled_out_wins() -> None:
    hints: list[Hint] = [Tag("A", "absent"), points("A", (0.1, 0.1, 0.1))]
    constraints = constraints_of(PLAIN, hints, ONE)
    here = tuple(np.argwhere(constraints.proven[1])[0])
    assert constraints.proven[1][here] == 1
    assert constraints.proven[0][here] == 0
    assert constraints.proven[0].sum() == constraints.proven[0].size - 1


@pytest.mark.parametrize("complete", [False, True])
def test_strokes_prove_the_voxels_that_were_drawn_and_no_others(complete: bool) -> None:
    classes = np.full(PLAIN.shape, UNDRAWN, np.uint8)
    classes[:, :, 3] = 0
    classes[4:6, 5:8, 3] = 2
    constraints = constraints_of(PLAIN, [Strokes(classes, PLAIN, complete)], TWO)
    for number in range(3):
        assert np.array_equal(constraints.proven[number] == 1, classes == number)
    assert np.array_equal(constraints.settled, classes != UNDRAWN)
    assert (constraints.proven.sum(0)[classes == UNDRAWN] == 0).all()
    assert (constraints.possible[:, classes == UNDRAWN] == 1).all()


def test_a_soft_hint_of_the_only_label_says_all_there_is_to_say() -> None:
    chance = np.random.default_rng(0).random(PLAIN.shape).astype(np.float32)
    facts = facts_of(constraints_of(PLAIN, [Soft("A", chance, PLAIN)], ONE))
    assert np.allclose(facts.probs[1], chance, atol=1e-6)
    assert np.allclose(facts.probs[0], 1 - chance, atol=1e-6)
    assert np.allclose(facts.trust, 1, atol=1e-6)


def test_soft_hints_of_all_labels_leave_background_the_rest() -> None:
    rng = np.random.default_rng(0)
    one, two, _ = rng.dirichlet((1, 1, 1), PLAIN.shape).astype(np.float32).transpose(3, 0, 1, 2)
    hints = [Soft("A", one, PLAIN), Soft("B", two, PLAIN)]
    facts = facts_of(constraints_of(PLAIN, hints, TWO))
    assert np.allclose(facts.probs, np.stack([1 - one - two, one, two]), atol=1e-5)
    assert np.allclose(facts.trust, 1, atol=1e-5)


def test_a_soft_hint_of_one_of_two_labels_leaves_the_other_unknown() -> None:
    chance = np.full(PLAIN.shape, 0.3, np.float32)
    constraints = constraints_of(PLAIN, [Soft("A", chance, PLAIN)], TWO)
    assert np.allclose(constraints.proven[1], 0.3)
    assert np.allclose(constraints.possible[1], 0.3)
    assert not constraints.proven[[0, 2]].any()
    assert np.allclose(constraints.possible[[0, 2]], 0.7)


places = st.tuples(*[st.floats(-3.4, 3.4)] * 3)
names = st.sampled_from(("A", "B"))


def _box(label: str, one: tuple[float, ...], two: tuple[float, ...]) -> Box:
    low, high = np.minimum(one, two), np.maximum(one, two)
    return Box(label, np.asarray(low, np.float64), np.asarray(high + 0.1, np.float64))


def _soft(label: str, seed: int) -> Soft:
    chance = np.random.default_rng(seed).random(PLAIN.shape).astype(np.float32)
    return Soft(label, chance, PLAIN)


def _strokes(seed: int) -> Strokes:
    drawn = np.random.default_rng(seed).choice(
        [0, 1, 2, UNDRAWN], PLAIN.shape, p=(0.1,) * 3 + (0.7,)
    )
    return Strokes(drawn.astype(np.uint8), PLAIN, complete=False)


any_hint: st.SearchStrategy[Hint] = st.one_of(
    st.builds(Tag, names, st.just("absent")),
    st.builds(Tag, names, st.just("absent"), st.tuples(st.floats(-9, 0), st.floats(0, 9))),
    st.builds(
        lambda label, place, sure: points(label, place, sure=sure),
        st.sampled_from(("background", "A", "B")),
        places,
        st.floats(0.1, 1),
    ),
    st.builds(_box, names, places, places),
    st.builds(
        lambda label, at, size: Diameter(label, np.array(at), size), names, places, st.floats(1, 9)
    ),
    st.builds(_strokes, st.integers(0, 9)),
    st.builds(_soft, names, st.integers(0, 9)),
)


@given(hints=st.lists(any_hint, max_size=6))
@settings(deadline=None, max_examples=60)
def test_whatever_was_hinted_a_voxel_is_at_most_one_class(hints: list[Hint]) -> None:
    constraints = constraints_of(PLAIN, hints, TWO)
    facts = facts_of(constraints)
    belief = facts.trust * facts.probs
    plausible = 1 - facts.trust * (1 - facts.probs)
    assert (belief.sum(0) <= 1 + 1e-5).all()
    assert (plausible.sum(0) >= 1 - 1e-5).all()
    assert (belief <= plausible + 1e-6).all()
    # what is left to the other classes is not more than nobody believes
    assert (belief.sum(0) - belief + plausible <= 1 + 1e-5).all()


@pytest.mark.parametrize(
    "hint",
    [
        Tag("C", "absent"),
        points("C", (0.0, 0.0, 0.0)),
        Box("C", LOW, HIGH),
        Diameter("C", np.zeros(3), 3.0),
        Soft("C", np.zeros(PLAIN.shape, np.float32), PLAIN),
    ],
)
def test_a_hint_of_an_unknown_label_is_refused_with_the_names_there_are(hint: Hint) -> None:
    with pytest.raises(BadHintError, match=r"'C'.*background, A, B"):
        constraints_of(PLAIN, [hint], TWO)


def test_a_drawing_on_another_grid_is_refused() -> None:
    moved = grid_at(middle_mm=(0, 0, 1))
    drawn = Strokes(np.zeros(moved.shape, np.uint8), moved, complete=False)
    soft = Soft("A", np.zeros(moved.shape, np.float32), moved)
    for hint in (drawn, soft):
        with pytest.raises(GridMismatchError, match="1 mm"):
            constraints_of(PLAIN, [hint], TWO)
