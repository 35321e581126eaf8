"""Propagation over whole scans says what propagation over small ones says, in 8 bytes a voxel."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from tests.propagate.grids import plain_grid
from tests.propagate.test_golden import hinted, taught, teaching
from tests.shapes import hints_for

from voxhint.config import LabelConfig
from voxhint.core import Grid, Hint, LabelSet, Points, Soft, SoftLabel, Tag, Turn, Volume
from voxhint.core.compact import CompactSoftLabel
from voxhint.core.errors import BadFileError
from voxhint.core.sparse_constraints import SparseConstraints
from voxhint.files.soft_labels import read_soft_label, write_soft_label
from voxhint.propagate import constraints_of, distance_caps, measure_marks, propagate_hints
from voxhint.propagate.boxed_scan import fill_rooms
from voxhint.propagate.shown_labels import ShownLabels, every_label
from voxhint.propagate.sparse_hints import sparse_constraints_of
from voxhint.propagate.whole_scan import propagate_over_scan
from voxhint.simulate.abdomen_phantom import ORGANS

CONFIG = LabelConfig()
KINDS = ("points:12", "scribbles", "slices:3")


def both(kind: str, *more: Hint) -> tuple[SoftLabel, CompactSoftLabel]:
    case = hinted(kind)
    hints = (*case.hints, *more)
    images = list(case.images.values())
    known = constraints_of(case.grid, hints, ORGANS)
    caps = distance_caps([measure_marks(known, ORGANS)], [case.grid], ORGANS)
    sparse = sparse_constraints_of(case.grid, hints, ORGANS)
    one = propagate_hints(known, images, ORGANS, caps_mm=caps, config=CONFIG)
    return one, propagate_over_scan(sparse, images, ORGANS, caps_mm=caps)


def sparse_of(*hints: Hint) -> SparseConstraints:
    return sparse_constraints_of(hinted("points:12").grid, hints, ORGANS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_labels_come_out_as_with_an_array_for_each_class(kind: str) -> None:
    exact, compact = both(kind)
    one, two = exact.largest_class(), compact.largest_class()
    assert np.array_equal(two, compact.dense().largest_class())
    for number in range(len(ORGANS.names)):
        same = (one == number) & (two == number)
        assert 2 * same.sum() >= 0.99 * ((one == number).sum() + (two == number).sum())
    dense = compact.dense()
    assert np.abs(dense.belief - exact.belief).mean() < 0.02
    assert np.abs(dense.plausibility - exact.plausibility).mean() < 0.03


def test_labels_that_reach_unlike_far_come_out_as_with_an_array_for_each_class() -> None:
    case = hinted("points:12")
    images, sparse = list(case.images.values()), sparse_of(*case.hints)
    caps = dict(zip(ORGANS.foreground, (80.0, 10.0, 14.0, 25.0), strict=True))
    known = constraints_of(case.grid, case.hints, ORGANS)
    one = propagate_hints(known, images, ORGANS, caps_mm=caps, config=CONFIG).largest_class()
    two = propagate_over_scan(sparse, images, ORGANS, caps_mm=caps).largest_class()
    assert (one == two).mean() > 0.995


def alike(one: SoftLabel, two: CompactSoftLabel, labels: LabelSet) -> None:
    """Require a Dice of 0.99 of each label, and beliefs that hardly differ."""
    masks = one.largest_class(), two.largest_class()
    for number in range(1, len(labels.names)):
        first, second = (mask == number for mask in masks)
        assert 2 * (first & second).sum() >= 0.99 * (first.sum() + second.sum())
    assert np.abs(two.dense().belief - one.belief).mean() < 0.03


@pytest.mark.parametrize(("hints", "limit"), [("clicks", np.inf), ("slices", 2.0)])
def test_what_cases_teach_each_other_comes_out_as_with_an_array_for_each_class(
    hints: str, limit: float
) -> None:
    scans, known, case = teaching(hints)
    labels, image = scans[0].truth.names, scans[0].image
    caps = distance_caps([measure_marks(one, labels) for one in known], [image.grid], labels)
    sparse = sparse_constraints_of(image.grid, hints_for(scans[0].truth, hints, 0), labels)
    soft = propagate_over_scan(
        sparse, [image], labels, caps_mm=caps, taught=case, distance_limit=limit
    )
    alone = propagate_over_scan(sparse, [image], labels, caps_mm=caps)
    alike(taught(hints, limit), soft, labels)
    assert (alone.largest_class() != soft.largest_class()).mean() > 0.01  # others matter


def test_a_label_whose_ways_are_detours_comes_out_as_with_an_array_for_each_class() -> None:
    one = LabelSet(("background", "rough"), (0, 1))
    grid, rng = plain_grid((60, 24, 20)), np.random.default_rng(0)
    inside = np.zeros(grid.shape, np.bool_)
    inside[4:56, 8:16, 6:14] = True
    voxels = np.where(inside, rng.normal(0, 1, grid.shape), rng.normal(0, 0.02, grid.shape))
    image = Volume(voxels.astype(np.float32), grid)
    at = np.stack([np.linspace(6, 53, 8), np.full(8, 12.0), np.full(8, 10.0)], 1)
    hints = (
        Points("rough", grid.to_world(at), np.ones(8)),
        Points("background", grid.to_world(at + np.array([0, 9, 0])), np.ones(8)),
    )
    caps = {"rough": 4.5}
    known, sparse = constraints_of(grid, hints, one), sparse_constraints_of(grid, hints, one)
    exact = propagate_hints(known, [image], one, caps_mm=caps, config=CONFIG)
    alike(exact, propagate_over_scan(sparse, [image], one, caps_mm=caps), one)


def test_thick_slices_say_the_same_whichever_axis_they_lie_along() -> None:
    rng = np.random.default_rng(0)
    grid = Grid((24, 30, 14), np.diag([1.0, 1.0, 3.0, 1.0]))
    voxels = ndimage.gaussian_filter(rng.normal(0, 1, grid.shape), 2).astype(np.float32)
    labels = LabelSet(("background", "one", "two"), (0, 1, 2))
    at = rng.integers(2, 12, (3, 9, 3)) + np.array([[[0, 0, 0]], [[8, 4, 0]], [[4, 14, 0]]])
    clicks = zip(labels.names, at, strict=True)
    hints: list[Hint] = [
        Points(name, grid.to_world(index * 1.0), np.ones(9)) for name, index in clicks
    ]
    hints.append(Tag("two", "absent", (30.0, 50.0)))
    caps, turn = {"one": 9.0, "two": 6.0}, (0, 2, 1)
    turned = Grid((24, 14, 30), grid.affine[:, [*turn, 3]])
    soft = [
        propagate_over_scan(
            sparse_constraints_of(where, hints, labels),
            [Volume(np.ascontiguousarray(values), where)],
            labels,
            caps_mm=caps,
        )
        for where, values in ((grid, voxels), (turned, voxels.transpose(turn)))
    ]
    assert (soft[0].first > 0).mean() > 0.1
    assert (soft[0].first == soft[1].first.transpose(turn)).mean() > 0.999
    assert (soft[0].second == soft[1].second.transpose(turn)).mean() > 0.99
    trusts = soft[0].trust / 2.0**15, soft[1].trust.transpose(turn) / 2.0**15
    assert np.abs(trusts[0] - trusts[1]).max() < 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_marks_are_measured_alike(kind: str) -> None:
    case = hinted(kind)
    sparse = sparse_of(*case.hints)
    known = constraints_of(case.grid, case.hints, ORGANS)
    assert measure_marks(sparse, ORGANS) == measure_marks(known, ORGANS)
    for number in range(len(ORGANS.names)):
        assert np.array_equal(sparse.shown(number), known.shown(number))


def test_what_hints_prove_and_rule_out_stays() -> None:
    exact, compact = both("points:12", Tag("spleen", "absent"))
    dense = compact.dense()
    proven = exact.belief >= 0.999
    assert np.allclose(dense.belief[proven], exact.belief[proven], atol=1e-3)
    ruled_out = exact.plausibility <= 0.001
    assert np.allclose(dense.plausibility[ruled_out], 0, atol=1e-3)


def test_a_label_that_nobody_showed_stays_unknown() -> None:
    case = hinted("points:12")
    hints = [hint for hint in case.hints if getattr(hint, "label", "") != "spleen"]
    sparse = sparse_constraints_of(case.grid, hints, ORGANS)
    caps = dict.fromkeys(ORGANS.names, 20.0)
    images = list(case.images.values())
    soft = propagate_over_scan(sparse, images, ORGANS, caps_mm=caps).dense()
    known = constraints_of(case.grid, hints, ORGANS)
    exact = propagate_hints(known, images, ORGANS, caps_mm=caps, config=CONFIG)
    assert np.array_equal(soft.belief[2] > 0, exact.belief[2] > 0)
    assert np.abs(soft.plausibility - exact.plausibility).mean() < 0.02


def boxed(kind: str) -> tuple[SoftLabel, CompactSoftLabel]:
    case = hinted(kind)
    known = constraints_of(case.grid, case.hints, ORGANS)
    caps = distance_caps([measure_marks(known, ORGANS)], [case.grid], ORGANS)

    def by_class(shown: ShownLabels) -> SoftLabel:
        small, labels = shown.case, shown.labels
        seen = constraints_of(small.grid, small.hints, labels)
        images = list(small.images.values())
        return propagate_hints(seen, images, labels, caps_mm=caps, config=CONFIG)

    sparse = sparse_of(*case.hints)
    soft = propagate_over_scan(sparse, list(case.images.values()), ORGANS, caps_mm=caps)
    fill_rooms(soft, case, ORGANS, by_class)
    return by_class(every_label(case, ORGANS)), soft


@pytest.mark.parametrize("kind", ["boxes", "diameters"])
@pytest.mark.parametrize("values", [2**25, 60_000], ids=["fine", "coarse"])
def test_boxes_and_balls_say_the_same_without_an_array_for_each_class(
    kind: str, values: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("voxhint.propagate.boxed_scan._VALUES", values)
    exact, soft = boxed(kind)
    dense, one, two = soft.dense(), exact.largest_class(), soft.largest_class()
    dice = [
        2 * ((one == n) & (two == n)).sum() / ((one == n).sum() + (two == n).sum())
        for n in range(1, len(ORGANS.names))
    ]
    assert np.mean(dice) > (0.94 if values > 60_000 else 0.9)
    assert np.abs(dense.belief - exact.belief).mean() < 0.01
    # an oblique box holds more than what it is the box of, and rules out less
    assert not ((dense.plausibility < 0.01) & (exact.plausibility > 0.5)).any()
    write_soft_label(tmp_path, "one", soft, ORGANS)
    again = read_soft_label(tmp_path, "one", ORGANS)
    assert again is not None
    assert np.array_equal(again.dense().plausibility, dense.plausibility)


def test_what_a_box_rules_out_is_ruled_out_of_a_turned_grid() -> None:
    case = hinted("boxes")
    sparse = sparse_of(*case.hints)
    turn = Turn((2, 0, 1), (True, False, True))
    planes = slice(3, 9)
    _, plausible = sparse.bounds(planes, turn)
    for number, room in sparse.room_of.items():
        inside = np.zeros(case.grid.shape, np.float32)
        inside[room] = 1
        assert np.array_equal(plausible[number], turn.apply(inside)[planes])
        assert set(np.unique(sparse.shown(number)[:, 0])) == {room[0].start, room[0].stop - 1}


def against(*hints: Hint) -> tuple[SoftLabel, CompactSoftLabel]:
    """Return the soft label of some hints with and without an array for each class."""
    case = hinted("points:12")
    images, caps = list(case.images.values()), dict.fromkeys(ORGANS.names, 20.0)
    known = constraints_of(case.grid, hints, ORGANS)
    exact = propagate_hints(known, images, ORGANS, caps_mm=caps, config=CONFIG)
    return exact, propagate_over_scan(sparse_of(*hints), images, ORGANS, caps_mm=caps)


def test_a_label_is_ruled_out_of_a_range_of_slices() -> None:
    hints = (*hinted("points:12").hints, Tag("liver", "absent", (-40.0, 10.0)))
    exact, compact = against(*hints)
    dense, number = compact.dense(), ORGANS.number("liver")
    assert (exact.plausibility[number] == 0).sum() > 1000
    np.testing.assert_array_equal(dense.plausibility[number] == 0, exact.plausibility[number] == 0)
    assert (exact.largest_class() == compact.largest_class()).mean() > 0.995


def soft_hints(*, silent: bool) -> tuple[Soft, ...]:
    """Return soft hints of all labels, that of the liver without a word of some planes."""
    softs = [hint for hint in hinted("soft").hints if isinstance(hint, Soft)]
    if not silent:
        return tuple(softs)
    probability = softs[0].probability.copy()
    probability[20:] = np.nan
    return (replace(softs[0], probability=probability),)


@pytest.mark.parametrize("more", [(), hinted("points:12").hints], ids=["alone", "with clicks"])
@pytest.mark.parametrize("silent", [False, True], ids=["all labels", "one label, in a part"])
def test_soft_hints_say_the_same_without_an_array_for_each_class(
    silent: bool, more: tuple[Hint, ...], tmp_path: Path
) -> None:
    softs = soft_hints(silent=silent)
    exact, compact = against(*softs, *more)
    write_soft_label(tmp_path, "one", compact, ORGANS)
    again = read_soft_label(tmp_path, "one", ORGANS)
    assert isinstance(again, CompactSoftLabel)
    dense = again.dense()
    for hint in softs:
        told = ~np.isnan(hint.probability)
        number = ORGANS.number(hint.label)
        for one, two in ((dense.belief, exact.belief), (dense.plausibility, exact.plausibility)):
            np.testing.assert_allclose(one[number][told], two[number][told], atol=1e-3)
    assert np.abs(dense.belief - exact.belief).mean() < 0.02
    assert np.abs(dense.plausibility - exact.plausibility).mean() < 0.02
    assert (again.largest_class() == exact.largest_class()).mean() > 0.99
    thin = again.thinned(again.dense().probs.size)  # every voxel, but for what marks prove
    assert np.abs(thin.belief - dense.belief).mean() < 0.01


@pytest.mark.parametrize("kind", ["soft", "boxes", "points:12"])
def test_single_voxels_and_planes_say_what_an_array_for_each_class_says(kind: str) -> None:
    hints = (*hinted(kind).hints, Tag("liver", "absent", (-40.0, 10.0)))
    known, sparse = constraints_of(hinted(kind).grid, hints, ORGANS), sparse_of(*hints)
    proven, possible = sparse.at(np.arange(known.proven[0].size))
    for planes, turn in ((slice(3, 9), Turn((2, 0, 1), (True, False, True))),):
        least, most = sparse.bounds(planes, turn)
        np.testing.assert_allclose(turn.apply(proven.reshape(known.proven.shape))[:, planes], least)
        most_of = np.maximum(possible, proven).reshape(known.proven.shape)
        np.testing.assert_allclose(turn.apply(most_of)[:, planes], most)
    if kind != "boxes":  # a room holds more than an oblique box
        np.testing.assert_allclose(proven.reshape(known.proven.shape), known.proven, atol=1e-4)
        np.testing.assert_allclose(possible.reshape(known.proven.shape), known.possible, atol=1e-4)


def test_a_case_without_any_possible_label_is_background() -> None:
    exact, compact = against(*(Tag(name, "absent") for name in ORGANS.foreground))
    np.testing.assert_array_equal(compact.dense().belief, exact.belief)


def test_a_compact_label_takes_six_bytes_a_voxel_and_two_on_disk(tmp_path: Path) -> None:
    _, compact = both("points:12")
    arrays = (compact.first, compact.second, compact.first_prob, compact.trust)
    assert sum(array.nbytes for array in arrays) == 6 * compact.first.size
    write_soft_label(tmp_path, "one", compact, ORGANS)
    (path,) = tmp_path.iterdir()
    hints_and_names = 2048  # bytes that do not grow with the image
    assert path.stat().st_size <= 2 * compact.first.size + hints_and_names
    again = read_soft_label(tmp_path, "one", ORGANS)
    assert isinstance(again, CompactSoftLabel)
    assert again.grid.same(compact.grid)
    for one, two in zip(again.by_class(), compact.by_class(), strict=True):
        assert np.array_equal(one, two)
    before = path.read_bytes()
    write_soft_label(tmp_path, "one", again, ORGANS, nifti=True)
    assert path.read_bytes() == before
    path.unlink()
    dense = read_soft_label(tmp_path, "one", ORGANS)
    assert isinstance(dense, SoftLabel)
    assert np.allclose(dense.belief, compact.dense().belief, atol=1e-4)


def test_a_compact_label_is_thinned_for_pictures() -> None:
    _, compact = both("points:12")
    thin, dense = compact.thinned(compact.first.size // 4), compact.dense()
    assert thin.probs.size <= compact.first.size // 4
    step = -(-compact.first.shape[0] // thin.grid.shape[0])
    apart = np.abs(thin.belief - dense.belief[:, ::step, ::step, ::step])
    assert np.quantile(apart, 0.95) < 1e-3  # but for what hints prove
    corner = np.array([[1.0, 1, 1]])
    assert np.allclose(thin.grid.to_world(corner), compact.grid.to_world(step * corner))


def test_soft_labels_that_are_damaged_or_of_other_labels_are_refused(tmp_path: Path) -> None:
    _, compact = both("points:12")
    write_soft_label(tmp_path, "one", compact, ORGANS)
    other = LabelSet(("background", "kidney"), (0, 1))
    with pytest.raises(BadFileError, match=r"one__soft.npz: is of .* run voxhint label again"):
        read_soft_label(tmp_path, "one", other)
    path = tmp_path / "one__soft.npz"
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(BadFileError, match=r"one__soft.npz: cannot be read"):
        read_soft_label(tmp_path, "one", ORGANS)
