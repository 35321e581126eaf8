"""Doubt is 0 where one class is sure, 1 where all are alike, and between elsewhere."""

import numpy as np
import pytest

from voxhint.predict import entropy


@pytest.mark.parametrize("classes", [2, 3, 14])
def test_a_sure_voxel_has_no_doubt_whatever_its_class(classes: int) -> None:
    sure = np.eye(classes, dtype=np.float32).reshape(classes, classes, 1, 1)
    assert np.allclose(entropy(sure), 0, atol=1e-6)


@pytest.mark.parametrize("classes", [2, 3, 14])
def test_a_voxel_of_which_nothing_is_known_has_all_the_doubt(classes: int) -> None:
    level = np.full((classes, 2, 3, 4), 1 / classes, np.float32)
    assert np.allclose(entropy(level), 1, atol=1e-6)


def test_doubt_lies_between_and_grows_towards_the_middle() -> None:
    chance = np.linspace(0, 0.5, 50, dtype=np.float32)
    doubt = entropy(np.stack([chance, 1 - chance]).reshape(2, 50, 1, 1)).ravel()
    assert (np.diff(doubt) > 0).all()
    assert doubt[0] == pytest.approx(0, abs=1e-6)
    assert doubt[-1] == pytest.approx(1, abs=1e-6)


def test_doubt_does_not_depend_on_the_order_of_the_classes() -> None:
    probs = np.random.default_rng(0).dirichlet(np.ones(4), (3, 4, 5)).astype(np.float32)
    probs = probs.transpose(3, 0, 1, 2)
    assert np.allclose(entropy(probs), entropy(probs[[2, 0, 3, 1]]), atol=1e-6)


def test_a_network_of_one_class_is_sure() -> None:
    assert np.allclose(entropy(np.ones((1, 2, 2, 2), np.float32)), 0)
