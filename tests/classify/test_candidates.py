"""Several places of one image, each with its own region."""

import numpy as np
from tests.classify.test_refinement import LUNG, SPACING, ball, blurred, dice, seen

from voxhint.classify.candidates import candidates
from voxhint.classify.refinement import refine
from voxhint.config.tags import Refinement

ONE, TWO = ball((9.0, 16.0, 11.0), 3.0), ball((25.0, 16.0, 11.0), 4.0)
IMAGE = blurred(ONE | TWO)
EVIDENCE = seen((9.0, 16.0, 11.0)) + 0.6 * seen((25.0, 16.0, 11.0))


def found(mask: np.ndarray, method: Refinement = "half-maximum") -> list[np.ndarray]:
    return list(candidates(EVIDENCE, mask, IMAGE, spacing_mm=SPACING, contrast=LUNG, method=method))


def test_each_place_that_is_seen_has_a_region_the_strongest_first() -> None:
    first, second = found(EVIDENCE > 0.3)
    assert dice(first, ONE) > 0.8
    assert dice(second, TWO) > 0.8
    assert not (first & second).any()


def test_the_first_region_is_that_of_the_whole_map_seen_or_not() -> None:
    whole = refine(EVIDENCE, IMAGE, spacing_mm=SPACING, contrast=LUNG)
    (only,) = found(np.zeros_like(ONE))
    assert np.array_equal(only, whole)
    assert np.array_equal(found(EVIDENCE > 0.3)[0], whole)


def test_no_region_is_ever_empty() -> None:
    nothing = np.zeros_like(EVIDENCE)
    assert not list(
        candidates(nothing, ONE, IMAGE, spacing_mm=SPACING, contrast=LUNG, method="half-maximum")
    )


def test_without_refinement_what_is_seen_is_the_one_region() -> None:
    (only,) = found(TWO, method="none")
    assert np.array_equal(only, TWO)
    assert not found(np.zeros_like(TWO), method="none")
