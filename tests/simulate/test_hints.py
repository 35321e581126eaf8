from dataclasses import replace

import numpy as np
import pytest

from voxhint.core import (
    BACKGROUND,
    UNDRAWN,
    Box,
    Diameter,
    Grid,
    Hint,
    LabelSet,
    Mask,
    Points,
    Soft,
    Strokes,
    Tag,
    Turn,
)
from voxhint.core.errors import BadRecipeError
from voxhint.propagate.constraints import open_labels
from voxhint.simulate.abdomen_phantom import organ_case
from voxhint.simulate.hints import KINDS, HintRequest, parse_request, simulate_hints
from voxhint.simulate.strokes import drawing_axis

LABELS = LabelSet(("background", "ball", "bar", "nowhere"), (0, 2, 7, 9), ignore=11)
BALL_MM = 18.0
SHAPE, SPACING = (40, 44, 20), np.array([2.0, 1.5, 4.0])
TURNS = [
    Turn((0, 1, 2), (False, False, False)),
    Turn((2, 0, 1), (True, False, True)),
    Turn((1, 2, 0), (False, True, True)),
]


def scene(turn: Turn = TURNS[0], *, tilt: bool = False) -> Mask:
    """A ball and a bar, stored in any order."""
    affine = np.diag([*SPACING, 1.0])
    if tilt:
        angle = 0.3
        around_z = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0]])
        affine[:2, :3] = around_z * SPACING
    affine[:3, 3] = (-31.0, 17.0, 55.0)
    grid = Grid(SHAPE, affine)
    place = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1) * SPACING
    ids = np.zeros(SHAPE, np.uint8)
    ids[np.linalg.norm(place - (30, 32, 40), axis=-1) < BALL_MM] = 2
    ids[30:36, 4:9, 2:12] = 7
    return Mask(turn.apply(ids), grid.turned(turn), LABELS)


def hints(kind: str, truth: Mask, seed: int = 0) -> tuple[Hint, ...]:
    return simulate_hints(truth, parse_request(kind), np.random.default_rng(seed))


def class_at(truth: Mask, places_mm: np.ndarray) -> np.ndarray:
    index = np.round(truth.grid.to_index(places_mm)).astype(int)
    return np.asarray(truth.names.to_classes(truth.ids)[tuple(index.T)])


def inside_mm(truth: Mask, label: str) -> np.ndarray:
    number = truth.names.ids[truth.names.number(label)]
    return truth.grid.to_world(np.argwhere(truth.ids == number).astype(np.float64))


def strokes(kind: str, truth: Mask, seed: int = 0) -> Strokes:
    (hint,) = hints(kind, truth, seed)
    assert isinstance(hint, Strokes)
    return hint


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("tilt", [False, True])
def test_a_click_lies_in_its_label(turn: Turn, tilt: bool) -> None:
    truth = scene(turn, tilt=tilt)
    found = hints("points:15", truth)
    assert [hint.label for hint in found if isinstance(hint, Points)] == ["ball", "bar", BACKGROUND]
    for hint in found:
        assert isinstance(hint, Points)
        assert len(hint.positions_mm) == len(hint.confidence) == 15
        assert (class_at(truth, hint.positions_mm) == LABELS.number(hint.label)).all()
        assert truth.grid.holds(hint.positions_mm).all()


def test_clicks_show_both_sides_of_the_border() -> None:
    truth = scene()
    ball = inside_mm(truth, "ball")
    centre = ball.mean(axis=0)
    points = {h.label: h.positions_mm for h in hints("points:40", truth) if isinstance(h, Points)}
    away = np.linalg.norm(points["ball"] - centre, axis=1)
    assert (away > BALL_MM - 7).sum() >= 15
    assert (away < BALL_MM / 2).sum() >= 3
    objects = np.concatenate([ball, inside_mm(truth, "bar")])
    gap = np.linalg.norm(points[BACKGROUND][:, None] - objects[None], axis=2).min(axis=1)
    assert (gap < 9).sum() >= 20
    assert (gap > 15).sum() >= 5


def test_clicks_miss_the_middle_of_their_voxel_by_half_a_voxel_at_most() -> None:
    truth = scene()
    for hint in hints("points:30", truth):
        assert isinstance(hint, Points)
        index = truth.grid.to_index(hint.positions_mm)
        slip = np.abs(index - np.round(index))
        assert slip.max() <= 0.5
        assert slip.max() > 0.3


def test_a_label_of_three_voxels_gets_three_clicks() -> None:
    truth = scene()
    ids = np.zeros_like(truth.ids)
    ids[5, 5, 5:8] = 2
    found = {
        h.label: len(h.positions_mm)
        for h in hints("points:10", Mask(ids, truth.grid, LABELS))
        if isinstance(h, Points)
    }
    assert found == {"ball": 3, BACKGROUND: 10}


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("tilt", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_a_box_holds_its_object_within_a_voxel(turn: Turn, tilt: bool, seed: int) -> None:
    truth = scene(turn, tilt=tilt)
    found = hints("boxes", truth, seed)
    assert len(found) == 2
    voxel = SPACING if not tilt else np.array([2.5, 2.5, 4.0])
    for hint in found:
        assert isinstance(hint, Box)
        places = inside_mm(truth, hint.label)
        low, high = places.min(axis=0) - voxel / 2, places.max(axis=0) + voxel / 2
        assert (np.abs(hint.low_mm - low) <= voxel + 1e-9).all()
        assert (np.abs(hint.high_mm - high) <= voxel + 1e-9).all()


def test_a_box_around_one_voxel_is_still_a_box() -> None:
    truth = scene()
    ids = np.zeros_like(truth.ids)
    ids[5, 5, 5] = 2
    for seed in range(20):
        (box,) = hints("boxes", Mask(ids, truth.grid, LABELS), seed)
        assert isinstance(box, Box)
        assert (box.high_mm > box.low_mm).all()


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("seed", range(3))
def test_the_diameter_of_a_ball_is_told_within_ten_percent(turn: Turn, seed: int) -> None:
    truth = scene(turn)
    ball = next(h for h in hints("diameters", truth, seed) if isinstance(h, Diameter))
    assert ball.label == "ball"
    assert 0.88 * 2 * BALL_MM < ball.diameter_mm < 1.15 * 2 * BALL_MM
    apart = np.abs(ball.centre_mm - inside_mm(truth, "ball").mean(axis=0))
    assert (apart <= SPACING / 2 + 0.1).all()


def test_each_piece_of_a_label_is_measured() -> None:
    truth = scene()
    ids = np.zeros_like(truth.ids)
    ids[3:8, 3:8, 3:6] = ids[20:30, 20:30, 10:14] = 2
    ids[38, 40, 18] = 2  # a speck
    assert len(hints("diameters", Mask(ids, truth.grid, LABELS))) == 2


@pytest.mark.parametrize("turn", TURNS)
def test_drawn_slices_are_whole_and_true(turn: Turn) -> None:
    truth = scene(turn)
    hint = strokes("slices:4", truth)
    assert hint.complete
    hint.grid.require_same(truth.grid)
    axis = drawing_axis(truth.grid)
    assert truth.grid.spacing_mm[axis] == SPACING.max()
    sheets = np.moveaxis(hint.classes, axis, 0)
    drawn = (sheets != UNDRAWN).any(axis=(1, 2))
    assert drawn.sum() == 4
    expected = np.moveaxis(LABELS.to_classes(truth.ids), axis, 0)
    np.testing.assert_array_equal(sheets[drawn], expected[drawn])
    assert (sheets[~drawn] == UNDRAWN).all()


def test_more_slices_than_there_are_is_all_of_them() -> None:
    truth = scene()
    np.testing.assert_array_equal(strokes("slices:99", truth).classes, LABELS.to_classes(truth.ids))


def test_slices_of_cubic_voxels_are_axial() -> None:
    for turn in TURNS:
        grid = Grid((9, 8, 7), np.diag([1.0, 1.0, 1.0, 1.0])).turned(turn)
        assert turn.axes[drawing_axis(grid)] == 2


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("seed", range(3))
def test_a_scribble_touches_only_its_label(turn: Turn, seed: int) -> None:
    truth = scene(turn)
    hint = strokes("scribbles", truth, seed)
    assert not hint.complete
    drawn = hint.classes != UNDRAWN
    np.testing.assert_array_equal(hint.classes[drawn], LABELS.to_classes(truth.ids)[drawn])
    assert set(np.unique(hint.classes[drawn])) == {0, 1, 2}
    assert drawn.mean() < 0.1


def test_scribbles_lie_on_every_second_or_third_slice() -> None:
    case = organ_case(np.random.default_rng(0), name="p")
    assert case.truth is not None
    hint = strokes("scribbles", case.truth)
    used = np.flatnonzero((hint.classes != UNDRAWN).any(axis=(0, 1)))
    steps = set(np.diff(used).tolist())
    assert steps <= {2, 3}
    assert {1, 2, 3, 4} < set(np.unique(hint.classes).tolist())


def test_a_scribble_is_one_line_or_so_and_background_keeps_its_distance() -> None:
    truth = scene()
    hint = strokes("scribbles", truth)
    objects = np.concatenate([inside_mm(truth, "ball"), inside_mm(truth, "bar")])
    arcs = truth.grid.to_world(np.argwhere(hint.classes == 0).astype(np.float64))
    gap = np.linalg.norm(arcs[:, None] - objects[None], axis=2).min(axis=1)
    assert gap.min() > 3
    assert gap.max() < 16
    for sheet in np.moveaxis(hint.classes, 2, 0):
        line = int((sheet == 1).sum())
        assert line <= 2 * BALL_MM / SPACING[:2].min()


def test_a_label_on_one_slice_is_always_scribbled() -> None:
    truth = scene()
    for k in range(20):
        ids = np.zeros_like(truth.ids)
        ids[10:14, 10:14, k] = 7
        assert (strokes("scribbles", Mask(ids, truth.grid, LABELS), seed=k).classes == 2).any()


def test_tags_say_what_occurs() -> None:
    found = {h.label: h.state for h in hints("tags", scene()) if isinstance(h, Tag)}
    assert found == {"ball": "present", "bar": "present", "nowhere": "absent"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_mask_without_an_optional_label_does_not_say_that_it_is_absent(kind: str) -> None:
    truth = scene()
    names = replace(LABELS, optional=("nowhere",))
    found = hints(kind, Mask(truth.ids, truth.grid, names))
    assert open_labels(found, names) == (3,)
    assert open_labels(hints(kind, truth), LABELS) == ()


def test_a_partial_mask_never_says_absent_nor_background_in_its_gap() -> None:
    truth = scene()
    ids = truth.ids.copy()
    ids[:, :, 12:] = 11
    partial = Mask(ids, truth.grid, LABELS)
    assert [h.state for h in hints("tags", partial) if isinstance(h, Tag)][-1] == "unknown"
    for kind in ("scribbles", "slices:20"):
        assert (strokes(kind, partial).classes[:, :, 12:] == UNDRAWN).all()
    for hint in hints("points:50", partial):
        assert isinstance(hint, Points)
        assert (class_at(partial, hint.positions_mm) == LABELS.number(hint.label)).all()


def test_soft_maps_are_probabilities_that_follow_the_truth() -> None:
    truth = scene()
    maps = {h.label: h.probability for h in hints("soft", truth) if isinstance(h, Soft)}
    assert set(maps) == set(LABELS.foreground)
    total = np.sum(list(maps.values()), axis=0)
    assert min(m.min() for m in maps.values()) >= 0
    assert total.max() <= 1 + 1e-5
    assert maps["nowhere"].max() == 0
    ball = truth.ids == 2
    assert maps["ball"][ball].mean() > 0.75
    assert maps["ball"][~ball].mean() < 0.05
    between = (maps["ball"] > 0.2) & (maps["ball"] < 0.8)
    assert between.any()
    assert ((maps["ball"] > 0.5) != ball).any()  # it errs here and there


@pytest.mark.parametrize("kind", [*KINDS, "points:20", "slices:2"])
def test_storage_changes_no_hint(kind: str) -> None:
    straight = hints(kind, scene())
    for turn in TURNS[1:]:
        turned = hints(kind, scene(turn))
        assert len(turned) == len(straight)
        for one, two in zip(straight, turned, strict=True):
            _same_place(one, two, turn)


def _same_place(one: Hint, two: Hint, turn: Turn) -> None:
    match one, two:
        case Tag(), Tag():
            assert one == two
        case Points(), Points():
            np.testing.assert_allclose(one.positions_mm, two.positions_mm, atol=1e-6)
        case Box(), Box():
            np.testing.assert_allclose(one.low_mm, two.low_mm, atol=1e-6)
            np.testing.assert_allclose(one.high_mm, two.high_mm, atol=1e-6)
        case Diameter(), Diameter():
            np.testing.assert_allclose(one.centre_mm, two.centre_mm, atol=1e-6)
            assert one.diameter_mm == pytest.approx(two.diameter_mm)
        case Strokes(), Strokes():
            np.testing.assert_array_equal(turn.apply(one.classes), two.classes)
        case Soft(), Soft():
            np.testing.assert_allclose(turn.apply(one.probability), two.probability, atol=1e-6)
        case _:
            pytest.fail(f"{one} became {two}")


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_case_gets_no_positive_hint(kind: str) -> None:
    truth = scene()
    for hint in hints(kind, Mask(np.zeros_like(truth.ids), truth.grid, LABELS)):
        match hint:
            case Tag():
                assert hint.state == "absent"
            case Points():
                assert hint.label == BACKGROUND
            case Strokes():
                assert set(np.unique(hint.classes).tolist()) <= {0, UNDRAWN}
            case Soft():
                assert hint.probability.max() == 0
            case _:
                pytest.fail(f"{hint} in an empty case")


@pytest.mark.parametrize("kind", KINDS)
def test_a_label_that_fills_the_image_is_no_trouble(kind: str) -> None:
    truth = scene()
    full = Mask(np.full_like(truth.ids, 2), truth.grid, LABELS)
    assert len(hints(kind, full)) >= 1


@pytest.mark.parametrize("kind", KINDS)
def test_one_seed_gives_the_same_hints_and_another_seed_others(kind: str) -> None:
    truth = scene()
    for one, two in zip(hints(kind, truth, 1), hints(kind, truth, 1), strict=True):
        _same_place(one, two, TURNS[0])
    if kind != "tags":
        with pytest.raises(AssertionError):
            _same_place(hints(kind, truth, 1)[0], hints(kind, truth, 2)[0], TURNS[0])


def test_requests_are_read_as_written() -> None:
    assert parse_request("points:20") == HintRequest("points", 20)
    assert parse_request(" boxes ") == HintRequest("boxes")
    for text in ("points:7", "slices:2", "tags", "soft"):
        assert parse_request(text).text == text


@pytest.mark.parametrize(
    "text", ["", "clicks", "points:", "points:0", "points:-3", "points:x", "boxes:2", "points:1.5"]
)
def test_nonsense_is_refused_with_the_list_of_kinds(text: str) -> None:
    with pytest.raises(BadRecipeError, match="use one of points:N, boxes, diameters, slices:N"):
        parse_request(text)
