"""Borders follow the image where a label may be, and nothing changes elsewhere."""

import numpy as np
import pytest

from voxhint.classify.contrast import Contrast
from voxhint.classify.predicted_borders import refine_boundaries

SPACING = (1.0, 1.0, 2.0)
CONTRAST = Contrast(0.0, 1.0)
SHAPE = (40, 40, 16)


def ball(middle: tuple[float, float, float], radius_mm: float) -> np.ndarray:
    away = [(np.arange(n) - m) * s for n, m, s in zip(SHAPE, middle, SPACING, strict=True)]
    i, j, k = np.meshgrid(*away, indexing="ij")
    return np.asarray(i**2 + j**2 + k**2 <= radius_mm**2)


TRUTH = ball((12, 14, 8), 5)
OTHER = ball((30, 28, 7), 4)
IMAGE = (TRUTH | OTHER).astype(np.float32)


def shy(middle: tuple[float, float, float], peak: float) -> np.ndarray:
    """Return probabilities of background and label that fade from a middle: the network is shy."""
    away = [(np.arange(n) - m) * s for n, m, s in zip(SHAPE, middle, SPACING, strict=True)]
    i, j, k = np.meshgrid(*away, indexing="ij")
    chance = peak * np.exp(-(i**2 + j**2 + k**2) / (2 * 3.0**2))
    return np.stack([1 - chance, chance]).astype(np.float32)


def dice(one: np.ndarray, two: np.ndarray) -> float:
    return float(2 * np.count_nonzero(one & two) / (one.sum() + two.sum()))


def firmed(probs: np.ndarray, gain: float = 0.45, shown: float = 1.0) -> np.ndarray:
    return refine_boundaries(
        probs, 1, IMAGE, spacing_mm=SPACING, contrast=CONTRAST, shown=shown, gain=gain
    )


def test_a_faded_border_moves_to_the_edge_in_the_image() -> None:
    probs = shy((12, 14, 8), 0.6)
    assert dice(probs.argmax(0) == 1, TRUTH) < 0.4
    assert dice(firmed(probs).argmax(0) == 1, TRUTH) > 0.9


def test_each_place_is_asked_for_its_own_border() -> None:
    one, two = shy((12, 14, 8), 0.6), shy((30, 28, 7), 0.5)
    chance = np.maximum(one[1], two[1])
    found = firmed(np.stack([1 - chance, chance])).argmax(0) == 1
    assert dice(found, TRUTH | OTHER) > 0.9


def test_what_no_border_supports_keeps_its_probability() -> None:
    probs = shy((12, 14, 8), 0.6)
    far = ~ball((12, 14, 8), 12)
    assert np.array_equal(firmed(probs)[:, far], probs[:, far])


@pytest.mark.parametrize("peak", [0.05, 0.0])
def test_a_place_that_is_hardly_likely_gains_nothing(peak: float) -> None:
    probs = shy((12, 14, 8), peak)
    assert np.array_equal(firmed(probs), probs)


def test_without_gain_the_network_has_the_last_word() -> None:
    probs = shy((12, 14, 8), 0.6)
    assert np.array_equal(firmed(probs, gain=0.0), probs)


@pytest.mark.parametrize("gain", [0.2, 1.0])
def test_classes_still_share_one(gain: float) -> None:
    label = shy((12, 14, 8), 0.7)[1]
    third = np.full(SHAPE, 0.1, np.float32) * (1 - label)
    probs = np.stack([1 - label - third, label, third])
    found = firmed(probs, gain)
    assert found.sum(0) == pytest.approx(1, abs=1e-5)
    assert found.min() >= 0
    # what the label gains is taken from the others in their proportion
    left = found[2] > 0
    assert found[2][left] / found[0][left] == pytest.approx(third[left] / probs[0][left], rel=1e-3)


def gained(probs: np.ndarray, region: np.ndarray, shown: float) -> float:
    """Return what a region gains in the mean."""
    return float((firmed(probs, gain=0.1, shown=shown)[1] - probs[1])[region].mean())


def test_the_gain_is_full_from_even_odds_and_grows_with_the_chance_that_the_label_is_shown() -> (
    None
):
    probs = shy((12, 14, 8), 0.6)
    said = [gained(probs, TRUTH, shown) for shown in (0.0, 0.002, 0.02, 0.2, 0.5, 1.0)]
    assert said[0] == 0
    assert np.all(np.diff(said[:-1]) > 0)
    assert said[-2] == said[-1]


def sure(*middles: tuple[float, float, float], chance: float = 0.9) -> np.ndarray:
    """Return probabilities that are as high all over the middle of a place."""
    inside = np.any([ball(middle, 3) for middle in middles], axis=0)
    label = np.where(inside, chance, 0).astype(np.float32)
    return np.stack([1 - label, label])


def test_of_two_places_as_likely_the_smaller_region_gains_more() -> None:
    probs = sure((12, 14, 8), (30, 28, 7))
    rims = [region & (probs[1] == 0) for region in (OTHER, TRUTH)]
    small, large = (gained(probs, rim, 0.002) for rim in rims)
    assert 1.2 < small / large < TRUTH.sum() / OTHER.sum()


def test_a_sure_network_speaks_for_a_region_that_the_classifier_doubts() -> None:
    firm, shyer = sure((12, 14, 8)), sure((12, 14, 8), chance=0.5)
    rim = TRUTH & (firm[1] == 0)
    assert gained(firm, rim, 0.002) > 5 * gained(shyer, rim, 0.002)
