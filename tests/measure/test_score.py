"""Scores of one case: the policy for empty masks, unlabelled voxels and unequal grids."""

from collections.abc import Mapping

import numpy as np
import pytest

from voxhint.core import Grid, LabelSet, Mask
from voxhint.core.errors import GridMismatchError
from voxhint.measure.score import CaseScore, score_case

NAMES = LabelSet(names=("background", "liver", "tumour"), ids=(0, 1, 7), ignore=9)
GRID = Grid((10, 12, 8), np.diag([1.0, 1.0, 2.5, 1.0]))


def mask(*blocks: tuple[int, tuple[slice, slice, slice]], grid: Grid = GRID) -> Mask:
    ids = np.zeros(grid.shape, np.uint8)
    for value, place in blocks:
        ids[place] = value
    return Mask(ids, grid, NAMES)


LIVER = (1, (slice(1, 6), slice(1, 6), slice(1, 6)))
TUMOUR = (7, (slice(2, 4), slice(2, 4), slice(2, 4)))


def scored(truth: Mask, judged: Mask) -> Mapping[str, CaseScore]:
    rows = score_case(truth, judged, case="a", subject="p", tolerance_mm=1.0)
    return {row.label: row for row in rows}


def test_a_perfect_mask_scores_perfectly_label_by_label() -> None:
    rows = scored(mask(LIVER, TUMOUR), mask(LIVER, TUMOUR))
    assert list(rows) == ["liver", "tumour"]
    for row in rows.values():
        assert (row.dice, row.nsd, row.hd95_mm, row.assd_mm) == (1.0, 1.0, 0.0, 0.0)
        assert (row.volume_error_ml, row.volume_error_relative, row.empty) == (0.0, 0.0, None)
    assert rows["tumour"].truth_ml == pytest.approx(8 * 2.5 / 1000)


def test_a_missed_label_scores_zero_and_lies_an_image_diagonal_away() -> None:
    row = scored(mask(LIVER, TUMOUR), mask(LIVER))["tumour"]
    assert (row.dice, row.nsd, row.empty) == (0.0, 0.0, "mask empty")
    assert row.hd95_mm == row.assd_mm == pytest.approx(float(np.hypot(np.hypot(10, 12), 20)))
    assert row.volume_error_relative == -1.0


def test_a_label_the_truth_lacks_has_a_volume_but_no_overlap() -> None:
    row = scored(mask(LIVER), mask(LIVER, TUMOUR))["tumour"]
    assert (row.dice, row.nsd, row.hd95_mm, row.assd_mm) == (None, None, None, None)
    assert row.volume_error_relative is None
    assert row.empty == "truth empty"
    assert row.mask_ml == pytest.approx(0.02)


def test_an_optional_label_is_not_scored_where_the_truth_does_not_outline_it() -> None:
    names = LabelSet(NAMES.names, NAMES.ids, NAMES.ignore, optional=("tumour",))
    truth, judged = mask(LIVER), mask(LIVER, TUMOUR)
    assert list(scored(Mask(truth.ids, GRID, names), judged)) == ["liver"]
    assert list(scored(Mask(judged.ids, GRID, names), truth)) == ["liver", "tumour"]


def test_a_label_both_lack_is_said_so() -> None:
    row = scored(mask(LIVER), mask(LIVER))["tumour"]
    assert (row.dice, row.mask_ml, row.empty) == (None, 0.0, "both empty")


@pytest.mark.parametrize("unsaid", [9, 255])
def test_what_the_truth_leaves_unsaid_counts_neither_way(unsaid: int) -> None:
    unlabelled = (unsaid, (slice(8, 10), slice(None), slice(None)))
    beyond = (1, (slice(8, 10), slice(0, 5), slice(0, 5)))
    assert scored(mask(LIVER, unlabelled), mask(LIVER, beyond))["liver"].dice == 1.0


def test_masks_on_another_grid_are_refused() -> None:
    moved = Grid(GRID.shape, np.diag([1.0, 1.0, 2.4, 1.0]))
    with pytest.raises(GridMismatchError, match="corners differ"):
        scored(mask(LIVER), mask(LIVER, grid=moved))
