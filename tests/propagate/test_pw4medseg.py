"""Point labels as published."""

import numpy as np
from tests.propagate.grids import places, plain_grid

from voxhint.core import LabelSet, Points
from voxhint.propagate import constraints_of
from voxhint.propagate.pw4medseg import point_labels

TWO = LabelSet(("background", "a", "b"), (0, 1, 2))
GRID = plain_grid((20, 18, 10), (1.0, 1.0, 2.0))


def test_a_label_is_the_half_height_of_its_stretched_bells_and_the_height_its_weight() -> None:
    at = np.array([[6.5, 6.5, 9.0], [9.5, 7.5, 9.0]])
    soft = point_labels(constraints_of(GRID, [Points("a", at, np.ones(2))], TWO), sigma_mm=3.0)
    away = places(GRID)[:, None] - at.T[:, :, None, None, None]
    bells = np.exp(-0.5 * (away**2).sum(0) / 9).sum(0)
    height = (bells - bells.min()) / (bells.max() - bells.min())
    assert np.allclose(soft.trust[1], np.where(height > 0.5, height, 1 - height), atol=1e-5)
    assert np.array_equal(soft.probs[1] == 1, height > 0.5)
    assert np.array_equal(soft.probs[0] == 1, height <= 0.5)


def test_of_two_labels_the_higher_bell_has_the_voxel() -> None:
    hints = [
        Points(name, np.array([[x, 8.5, 9.0]]), np.ones(1)) for name, x in (("a", 5.5), ("b", 11.5))
    ]
    soft = point_labels(constraints_of(GRID, hints, TWO), sigma_mm=5.0)
    assert soft.probs[1, 5, 8, 4] == 1
    assert soft.probs[2, 11, 8, 4] == 1
    assert (soft.probs.sum(0) == 1).all()


def test_without_a_point_nothing_is_claimed() -> None:
    assert not point_labels(constraints_of(GRID, [], TWO), sigma_mm=3.0).trust.any()
