"""Where one more click is asked for."""

import numpy as np
import pytest
from tests.phantoms import LABELS, slanted_grid

from voxhint.core import SoftLabel
from voxhint.review.next_hints import expected_gain, next_hints


def soft_of(prob: np.ndarray) -> SoftLabel:
    ball = prob.astype(np.float32)
    grid = slanted_grid(ball.shape)
    return SoftLabel(np.stack([1 - ball, ball]), np.ones((2, *ball.shape), np.float32), grid)


def test_what_a_click_may_gain_is_the_dice_that_the_likely_voxels_lack() -> None:
    prob = np.zeros((4, 4, 4), np.float32)
    prob[:2, :2, :2] = 1
    assert expected_gain(prob) == 0
    prob[2:, :, 0], prob[2:, :, 1] = 0.25, 0.25  # 16 voxels, of which 4 belong to it
    assert expected_gain(prob) == pytest.approx(1 - 2 * 8 / (8 + 12))


def test_the_click_lies_in_the_middle_of_the_thickest_doubt_in_world_millimetres() -> None:
    prob = np.zeros((14, 16, 10))
    prob[2:12, 2:14, 2:8] = 0.9
    prob[2, 2:14, 2:8] = 0.5  # a border, one voxel thick
    prob[6:11, 5:8, 4:7] = 0.4  # and a lump, three voxels thick and more
    (hint,) = next_hints("case", soft_of(prob), LABELS)
    assert (hint.case, hint.label) == ("case", "ball")
    expected = slanted_grid().to_world(np.array([[8.0, 6.0, 5.0]]))[0]
    np.testing.assert_allclose(hint.position_mm, expected)


def test_a_label_that_is_nowhere_likely_is_not_asked_for() -> None:
    assert not list(next_hints("case", soft_of(np.full((6, 6, 6), 0.5)), LABELS))
