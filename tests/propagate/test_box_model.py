"""What boxes of all cases tell: where the object lies in its box, and how it looks."""

from functools import cache

import numpy as np
import pytest
from jaxtyping import Bool, Float32
from scipy import ndimage
from tests.propagate.grids import places, plain_grid

from voxhint.core import Box, Case, Diameter, LabelSet, Points, Volume
from voxhint.propagate import box_model, constraints_of
from voxhint.propagate.box_model import (
    BoxModel,
    box_samples,
    fit_box_models,
    place_objects,
)

ONE = LabelSet(("background", "a"), (0, 1))
TWO = LabelSet(("background", "a", "b"), (0, 1, 2))
GRID = plain_grid((18, 16, 14))
LOW, HIGH = np.array([4.0, 4.0, 4.0]), np.array([14.0, 12.0, 10.0])


def diagonal() -> Bool[np.ndarray, "i j k"]:
    """Return a bar from one corner of the box to the opposite one."""
    along = (places(GRID) - LOW[:, None, None, None]) / (HIGH - LOW)[:, None, None, None]
    apart = along.max(0) - along.min(0)
    return np.asarray((apart < 0.35) & (along > 0).all(0) & (along < 1).all(0))


def case_of(seed: int, contrast: float = 60.0) -> Case:
    rng = np.random.default_rng(seed)
    voxels = (contrast * diagonal() + rng.normal(0, 20, GRID.shape)) * rng.uniform(0.5, 5)
    image = Volume(voxels.astype(np.float32), GRID)
    return Case(f"c{seed}", {"CT": image}, (Box("a", LOW, HIGH),))


@cache
def models(count: int = 10, contrast: float = 60.0) -> dict[str, BoxModel]:
    rng = np.random.default_rng(0)
    samples = [one for s in range(count) for one in box_samples(case_of(s, contrast), ("CT",), rng)]
    return fit_box_models(samples, rng)


def told(case: Case, contrast: float = 60.0) -> Float32[np.ndarray, "class i j k"]:
    known = constraints_of(GRID, case.hints, ONE)
    logs = place_objects(known, case, ("CT",), ONE, models(contrast=contrast))[1]
    assert logs is not None
    return logs


def test_an_object_that_is_not_round_is_found_in_a_case_that_did_not_teach() -> None:
    logs = told(case_of(99))
    middle, half = (LOW + HIGH) / 2, (HIGH - LOW) / 2
    away = (places(GRID) - middle[:, None, None, None]) / half[:, None, None, None]
    ball = np.asarray((away**2).sum(0) < 1)
    assert dice(logs[1] > logs[0]) > dice(ball) + 0.15


def dice(found: Bool[np.ndarray, "i j k"], truth: Bool[np.ndarray, "i j k"] | None = None) -> float:
    truth = diagonal() if truth is None else truth
    return float(2 * (found & truth).sum() / (found.sum() + truth.sum()))


@pytest.mark.parametrize("contrast", [0.0, 60.0])
def test_most_slices_of_a_box_hold_some_of_its_object(contrast: float) -> None:
    logs = told(case_of(99, contrast), contrast)
    found = logs[1] >= logs[0] - 1e-4
    held = [found.any((1, 2))[4:14], found.any((0, 2))[4:12], found.any((0, 1))[4:10]]
    assert np.concatenate(held).mean() >= 0.85


def test_the_core_that_is_likely_shows_more_of_the_object_than_the_middle_of_its_box() -> None:
    case = case_of(99)
    known = constraints_of(GRID, case.hints, ONE)
    core = place_objects(known, case, ("CT",), ONE, models())[0].likely[1] > 0
    middle = known.likely[1] > 0
    assert dice(core) > dice(np.asarray(middle)) + 0.1


def test_boxes_alone_show_background_in_them_and_boxes_with_a_click_do_not() -> None:
    case = case_of(99)
    click = Points("a", (LOW + HIGH)[None] / 2, np.ones(1))
    for more, shown in (((), True), ((click,), False)):
        hints = (*case.hints, *more)
        known = constraints_of(GRID, hints, ONE)
        case = Case(case.name, case.images, hints)
        likely = place_objects(known, case, ("CT",), ONE, models())[0].likely
        assert bool(((likely[0] > 0) & (likely[0] != known.likely[0])).any()) == shown


def test_nothing_is_likely_outside_of_the_box() -> None:
    case = case_of(99)
    known = constraints_of(GRID, case.hints, ONE)
    likely = place_objects(known, case, ("CT",), ONE, models())[0].likely
    x, y, z = places(GRID)
    inside = (x > 4) & (x < 14) & (y > 4) & (y < 12) & (z > 4) & (z < 10)
    assert likely[1].any()
    assert not likely[1][~inside].any()
    assert not (likely[0] * likely[1]).any()
    assert likely[0][inside].any()  # beside the bar


def egg() -> Bool[np.ndarray, "i j k"]:
    """Return an ellipsoid, 12 mm long and 9 mm wide, that leans along all three axes."""
    apart = places(GRID) - ((LOW + HIGH) / 2)[:, None, None, None]
    along = apart.sum(0) / np.sqrt(3)
    return np.asarray((along / 6) ** 2 + ((apart**2).sum(0) - along**2) / 4.5**2 < 1)


def measured(seed: int) -> Case:
    rng = np.random.default_rng(seed)
    voxels = ((10 * egg() + rng.normal(0, 20, GRID.shape)) * rng.uniform(0.5, 5)).astype(np.float32)
    ball = Diameter("a", (LOW + HIGH) / 2, 12.0)
    return Case(f"c{seed}", {"CT": Volume(voxels, GRID)}, (ball,))


def test_diameters_of_all_cases_show_an_object_that_hardly_stands_out_and_is_no_ball() -> None:
    rng = np.random.default_rng(0)
    samples = [one for seed in range(10) for one in box_samples(measured(seed), ("CT",), rng)]
    case = measured(99)
    known = constraints_of(GRID, case.hints, ONE)
    logs = place_objects(known, case, ("CT",), ONE, fit_box_models(samples, rng))[1]
    assert logs is not None
    away = np.linalg.norm(places(GRID) - ((LOW + HIGH) / 2)[:, None, None, None], axis=0)
    assert dice(logs[1] > logs[0], egg()) > dice(np.asarray(away < 6), egg()) + 0.15


def in_two_tissues(seed: int) -> tuple[Case, Bool[np.ndarray, "i j k"]]:
    """Return a case whose thin bow lies in bright and in dark tissue, which go on beyond its box.

    Tissues divide the box at the same place in every case: what is bright is mostly no object.
    """
    rng = np.random.default_rng(seed)
    grid = plain_grid((24, 24, 24))
    x, y, z = places(grid)
    low = rng.uniform(5, 7, 3)
    wide = rng.uniform(10, 12, 3)
    a, b, c = ((one - start) / size for one, start, size in zip((x, y, z), low, wide, strict=True))
    bow = np.abs(np.hypot(2 * a - 1, 1 - b) - 0.85) < 0.13
    bow &= (a >= 0) & (a <= 1) & (b >= 0) & (b <= 1) & (c >= 0) & (c <= 1)
    bright = ndimage.gaussian_filter(rng.normal(size=grid.shape), 2.0) * 3 + (a - 0.4) > 0
    voxels = np.where(bow, 150.0, np.where(bright, 60.0, -400.0)) + rng.normal(0, 30, grid.shape)
    middles = np.stack([one[bow] for one in (x, y, z)])
    box = Box("a", middles.min(1) - 0.5, middles.max(1) + 0.5)
    return Case(f"c{seed}", {"CT": Volume(voxels.astype(np.float32), grid)}, (box,)), bow


def bow_dice(monkeypatch: pytest.MonkeyPatch, *, faces: bool) -> float:
    rng = np.random.default_rng(0)
    if not faces:
        monkeypatch.setattr(box_model._Facts, "at_faces", lambda _: None)
    taught = [in_two_tissues(seed)[0] for seed in range(12)]
    models = fit_box_models([one for c in taught for one in box_samples(c, ("CT",), rng)], rng)
    found = []
    for seed in range(90, 94):
        case, bow = in_two_tissues(seed)
        known = constraints_of(case.grid, case.hints, ONE)
        logs = place_objects(known, case, ("CT",), ONE, models)[1]
        assert logs is not None
        found.append(dice(logs[1] > logs[0], bow))
    return float(np.mean(found))


def test_an_object_ends_at_the_faces_of_its_box_and_its_surroundings_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told_by_faces = bow_dice(monkeypatch, faces=True)
    assert told_by_faces > bow_dice(monkeypatch, faces=False) + 0.15


def test_places_are_shares_of_the_box_whatever_its_size() -> None:
    (_, sample), *_ = box_samples(case_of(0), ("CT",), np.random.default_rng(0))
    lines = [np.unique(sample.places[:, axis]) for axis in range(3)]
    for line, wide in zip(lines, HIGH - LOW, strict=True):
        assert np.diff(line) == pytest.approx(1 / wide, rel=1e-3)
        assert ((line > 0) & (line < 1)).sum() == wide


def test_planes_are_counted_from_the_faces_in_voxels() -> None:
    along = np.array([-3.5, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5]) / 8  # of a box eight voxels wide
    at = np.full((7, 3), 0.5, np.float32)
    at[:, 1] = along
    planes = box_model._planes(at, np.full(3, 8.0))
    assert planes[:, 1].tolist() == [0, 3, 0, 2, 0, 1, 0]
    assert not planes[:, [0, 2]].any()
    other = at.copy()
    other[:, 0] = 1.1  # beyond another face
    assert not box_model._planes(other, np.full(3, 8.0))[:, 1].any()


def test_few_boxes_and_other_hints_tell_nothing() -> None:
    assert models(count=7) == {}
    rng = np.random.default_rng(0)
    clicked = Case("c", case_of(0).images, (Points("a", np.full((1, 3), 8.0), np.ones(1)),))
    assert list(box_samples(clicked, ("CT",), rng)) == []
    known = constraints_of(GRID, clicked.hints, ONE)
    assert place_objects(known, clicked, ("CT",), ONE, models()) == (known, None)


def test_a_label_that_is_clicked_in_the_box_of_another_is_not_taken_for_background() -> None:
    case = case_of(3)
    hints = (*case.hints, Points("b", np.array([[12.5, 5.5, 8.5]]), np.ones(1)))
    both = Case("c", case.images, hints)
    known = constraints_of(GRID, hints, TWO)
    found, logs = place_objects(known, both, ("CT",), TWO, models())
    assert logs is not None
    assert not found.likely[0].any()
    assert np.array_equal(logs[0], logs[2])  # the box says nothing of it


def test_a_channel_that_is_absent_costs_nothing() -> None:
    rng = np.random.default_rng(0)
    samples = list(box_samples(case_of(0), ("CT", "PET"), rng))
    features = samples[0][1].features
    assert np.isfinite(features).all()
    assert np.ptp(features[:, features.shape[1] // 2 :], axis=0).max() == 0
