"""Overlap of masks: known shares, and every empty case by name."""

import numpy as np
import pytest

from voxhint.measure.overlap import dice, volume_error, volume_ml, which_empty

NOTHING = np.zeros((4, 5, 6), bool)
BLOCK = NOTHING.copy()
BLOCK[1:3, 1:3, 1:3] = True


def test_a_mask_equal_to_the_truth_scores_one() -> None:
    assert dice(BLOCK, BLOCK) == 1.0


def test_a_mask_beside_the_truth_scores_zero() -> None:
    assert dice(BLOCK, np.roll(BLOCK, 2, axis=2)) == 0.0


def test_half_a_block_scores_two_thirds() -> None:
    half = BLOCK.copy()
    half[2] = False
    assert dice(BLOCK, half) == pytest.approx(2 / 3)
    assert dice(half, BLOCK) == pytest.approx(2 / 3)


def test_empty_masks_are_named_and_not_numbered() -> None:
    assert dice(NOTHING, NOTHING) == "both empty"
    assert dice(NOTHING, BLOCK) == "truth empty"
    assert dice(BLOCK, NOTHING) == "mask empty"
    assert which_empty(BLOCK, BLOCK) is None


def test_volumes_are_millilitres() -> None:
    assert volume_ml(BLOCK, voxel_mm3=125.0) == pytest.approx(1.0)


def test_a_mask_twice_as_large_misses_by_one_whole_truth() -> None:
    error = volume_error(truth_ml=1.5, mask_ml=3.0)
    assert (error.ml, error.relative) == (1.5, 1.0)


def test_the_relative_error_of_an_empty_truth_does_not_exist() -> None:
    assert volume_error(truth_ml=0.0, mask_ml=3.0).relative is None
