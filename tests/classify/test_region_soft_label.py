"""Regions found from tags become claims that never contradict what hints prove."""

import numpy as np
from tests.propagate.grids import bounds, plain_grid

from voxhint.classify.region_soft_label import Region, with_regions
from voxhint.core import LabelSet, SoftLabel
from voxhint.core.hints import Hint, Points, Tag
from voxhint.propagate import constraints_of, facts_of

LABELS = LabelSet(("background", "nodule", "vessel"), (0, 1, 2))
GRID = plain_grid()
INSIDE = np.zeros(GRID.shape, bool)
INSIDE[4:8, 3:7, 2:6] = True


def laid(hints: tuple[Hint, ...], seen: np.ndarray | None = None) -> SoftLabel:
    evidence = constraints_of(GRID, hints, LABELS)
    region = Region(INSIDE, INSIDE if seen is None else seen)
    return with_regions(facts_of(evidence), evidence, {1: region}, trust=0.8)


def test_the_core_is_believed_and_the_far_is_ruled_out_as_far_as_trust_goes() -> None:
    belief, plausible = bounds(laid(()))
    assert np.isclose(belief[1, 5, 5, 4], 0.8)
    assert np.isclose(plausible[1, 0, 0, 0], 0.2)
    assert belief[1, 0, 0, 0] == 0


def test_trust_is_least_at_the_border() -> None:
    soft = laid(())
    assert soft.trust[1, 3, 5, 4] < soft.trust[1, 5, 5, 4]
    assert soft.trust[1, 3, 5, 4] < soft.trust[1, 0, 5, 4]


def test_evidence_that_the_region_does_not_explain_stays_in_doubt() -> None:
    elsewhere = INSIDE.copy()
    elsewhere[0:2, 0:2, 0:2] = True
    assert laid((), elsewhere).trust[1, 0, 0, 0] < laid(()).trust[1, 0, 0, 0]


def test_background_is_not_claimed_where_another_label_is_possible() -> None:
    belief, _ = bounds(laid(()))
    assert belief[0].max() == 0
    ruled_out = Tag("vessel", "absent")
    belief, _ = bounds(laid((ruled_out,)))
    assert np.isclose(belief[0, 0, 0, 0], 0.8)


def test_what_is_proven_stays_proven() -> None:
    click = Points("background", np.array([[5.5, 5.5, 4.5]]), np.array([1.0]))
    belief, plausible = bounds(laid((click,)))
    assert belief[0, 5, 5, 4] == 1
    assert plausible[1, 5, 5, 4] == 0


def test_beliefs_never_exceed_one_and_lie_below_plausibilities() -> None:
    click = Points("vessel", np.array([[4.5, 3.5, 2.5]]), np.array([0.7]))
    belief, plausible = bounds(laid((click,)))
    assert (belief.sum(0) <= 1 + 1e-5).all()
    assert (belief <= plausible + 1e-5).all()
