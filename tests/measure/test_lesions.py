"""Lesions one by one: known scenes, and laws of FROC."""

import numpy as np
import pytest

from voxhint.core import Grid
from voxhint.measure.lesions import CaseLesions, are_lesions, case_lesions, summarise_lesions

GRID = Grid((20, 20, 20), np.diag([2.0, 2.0, 2.0, 1.0]))
RNG = np.random.default_rng(0)


def cubes(*corners: tuple[int, int, int], edge: int = 3) -> np.ndarray:
    drawn = np.zeros(GRID.shape, np.bool_)
    for i, j, k in corners:
        drawn[i : i + edge, j : j + edge, k : k + edge] = True
    return drawn


def test_found_missed_and_invented_are_told_apart() -> None:
    truth = cubes((1, 1, 1), (10, 10, 10))
    sure = np.zeros(GRID.shape)
    sure[1, 1, 1], sure[15, 1, 1] = 0.9, 0.6
    told = case_lesions(truth, cubes((1, 1, 1), (15, 1, 1)), GRID, subject="a", probability=sure)
    assert told.scores == (0.9, None)
    assert told.false_scores == (0.6,)
    volume = 27 * 8.0
    assert told.diameters_mm == pytest.approx([(6 * volume / np.pi) ** (1 / 3)] * 2)


def test_a_mask_of_everything_finds_nothing() -> None:
    told = case_lesions(cubes((4, 4, 4)), np.ones(GRID.shape, np.bool_), GRID, subject="a")
    assert told.scores == (None,)
    assert told.false_scores == (1.0,)


def test_a_lesion_in_pieces_is_found_once_and_its_pieces_are_not_false() -> None:
    truth = cubes((4, 4, 4), edge=7)
    told = case_lesions(truth, cubes((4, 4, 4), (8, 8, 8)), GRID, subject="a")
    assert told.scores == (1.0,)
    assert told.false_scores == ()


def test_voxels_that_touch_at_corners_are_one_lesion() -> None:
    told = case_lesions(cubes((1, 1, 1), (4, 4, 4)), cubes(), GRID, subject="a")
    assert told.scores == (None,)


def test_organs_are_no_lesions() -> None:
    one = CaseLesions("a", (30.0,), (1.0,), ())
    none = CaseLesions("b", (), (), (1.0,))
    assert not are_lesions([one, one])
    assert are_lesions([one, none])
    assert not are_lesions([none, none])


def test_counts_rates_and_sizes() -> None:
    cases = [
        CaseLesions("a", (5.0, 8.0), (0.9, None), (0.5,)),
        CaseLesions("b", (12.0,), (0.4,), (0.8, 0.2)),
        CaseLesions("c", (), (), ()),
    ]
    told = summarise_lesions(cases, scored=True, rng=np.random.default_rng(0))
    assert (told.lesions, told.found, told.false_regions) == (3, 2, 3)
    assert told.sensitivity.mean == pytest.approx(2 / 3)
    assert told.false_per_image.mean == pytest.approx(1.0)
    assert told.false_per_image.low is not None
    assert told.false_per_image.low < 1
    assert [(size.lesions, size.found) for size in told.sizes] == [(1, 1), (1, 0), (1, 1)]
    # no false region allowed: only 0.9; one of three images: 0.9 again, as 0.4 lets two in
    assert told.froc == pytest.approx([1 / 3, 1 / 3, 1 / 3, 2 / 3, 2 / 3, 2 / 3, 2 / 3])
    assert [size.cpm for size in told.sizes] == pytest.approx([1.0, 0.0, 4 / 7])
    assert told.cpm == pytest.approx(11 / 21)


def test_froc_never_falls_and_scores_of_nothing_give_no_curve() -> None:
    cases = [
        CaseLesions(str(n), (8.0,), (float(RNG.random()),), tuple(RNG.random(3).tolist()))
        for n in range(30)
    ]
    told = summarise_lesions(cases, scored=True, rng=RNG)
    assert told.froc is not None
    assert (np.diff(told.froc) >= 0).all()
    assert told.froc[-1] == 1
    unscored = summarise_lesions(cases, scored=False, rng=RNG)
    assert unscored.froc is None
    assert {size.cpm for size in unscored.sizes} == {None}
    assert summarise_lesions([], scored=True, rng=RNG).sensitivity.mean is None
