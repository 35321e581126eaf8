"""What single voxels that hints prove stand for."""

import numpy as np
import pytest

from voxhint.core.voronoi import voxels_nearest


def facts_at(*places: tuple[int, int, int]) -> np.ndarray:
    facts = np.zeros((12, 10, 8), np.bool_)
    facts[tuple(np.transpose(places))] = True
    return facts


def test_two_facts_share_a_field_by_its_middle() -> None:
    weights = voxels_nearest(facts_at((1, 5, 4), (6, 5, 4)), (1.0, 1.0, 1.0))
    assert weights.tolist() == [4 * 80, 8 * 80]


def test_spacing_decides_who_is_near() -> None:
    facts = facts_at((0, 0, 0), (0, 9, 0), (11, 0, 0))
    near, _, far = voxels_nearest(facts, (1.0, 100.0, 1.0))
    assert near + far == facts.size / 2
    assert near == far


def test_a_crowd_at_one_place_counts_as_one() -> None:
    crowd = [(1 + i, 4 + j, 3) for i in range(3) for j in range(3)]
    *nine, other = voxels_nearest(facts_at(*crowd, (10, 5, 3)), (1.0, 1.0, 1.0))
    alone, across = voxels_nearest(facts_at((2, 5, 3), (10, 5, 3)), (1.0, 1.0, 1.0))
    assert sum(nine) / other == pytest.approx(alone / across, rel=0.25)


@pytest.mark.parametrize("count", [1, 7, 900])
def test_all_voxels_are_given_away(count: int) -> None:
    facts = np.zeros((12, 10, 8), np.bool_)
    chosen = np.random.default_rng(count).choice(facts.size, count, replace=False)
    facts.ravel()[chosen] = True
    weights = voxels_nearest(facts, (0.7, 1.0, 3.0))
    assert len(weights) == count
    assert weights.sum() == facts.size


def test_many_facts_stand_for_the_same_each_and_none_for_nothing() -> None:
    facts = np.arange(20 * 20 * 20).reshape(20, 20, 20) % 3 == 0
    weights = voxels_nearest(facts, (1.0, 1.0, 1.0))
    assert np.ptp(weights) == 0
    assert weights.sum() == pytest.approx(facts.size, rel=1e-5)
    assert voxels_nearest(np.zeros_like(facts), (1.0, 1.0, 1.0)).size == 0
