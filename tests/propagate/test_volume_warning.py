"""How large labels are beside what their hints span."""

import numpy as np
import pytest
from tests.propagate.grids import plain_grid

from voxhint.core import Box, LabelSet, Points, SoftLabel
from voxhint.propagate import constraints_of
from voxhint.propagate.volume_warning import Extent, extents, runaways, typical_volumes

ONE = LabelSet(("background", "a"), (0, 5))
GRID = plain_grid((20, 20, 10), (1.0, 1.0, 2.0))


def soft_of(filled: tuple[slice, slice, slice]) -> SoftLabel:
    probs = np.zeros((2, *GRID.shape), np.float32)
    probs[1][filled] = 1
    probs[0] = 1 - probs[1]
    return SoftLabel(probs, np.ones_like(probs), GRID)


def test_the_hints_span_their_convex_hull_and_the_label_its_voxels() -> None:
    ends = np.array([[a, b, c] for a in (2.5, 11.5) for b in (3.5, 12.5) for c in (1.0, 9.0)])
    constraints = constraints_of(GRID, [Points("a", ends, np.ones(8))], ONE)
    found = extents(soft_of((slice(2, 12), slice(3, 13), slice(0, 5))), constraints, ONE)["a"]
    assert found.span_ml == pytest.approx(1.0)
    assert found.volume_ml == pytest.approx(1.0)


def test_a_click_spans_a_voxel_and_a_box_itself() -> None:
    click = Points("a", np.array([[5.5, 5.5, 5.0]]), np.ones(1))
    box = Box("a", np.array([2.0, 2, 2]), np.array([12.0, 12, 12]))
    whole = soft_of((slice(None), slice(None), slice(None)))
    spans = [
        extents(whole, constraints_of(GRID, [hint], ONE), ONE)["a"].span_ml for hint in (click, box)
    ]
    assert spans[0] == pytest.approx(0.002)
    assert 1.0 <= spans[1] < 3


def test_a_label_that_nothing_shows_has_no_extent() -> None:
    assert (
        extents(soft_of((slice(1), slice(1), slice(1))), constraints_of(GRID, [], ONE), ONE) == {}
    )


def test_a_label_that_fills_a_hundred_times_what_its_hints_span_is_warned_of() -> None:
    sizes = {"one": {"a": Extent(9.0, 0.1)}, "two": {"a": Extent(11.0, 0.1)}}
    (warning,) = runaways(sizes)
    assert "case two: label 'a' fills 11 mL, its hints span 0.1 mL" in warning
    assert typical_volumes(sizes, ONE) == {"a": {"label": 10.0, "hints_span": 0.1, "cases": 2}}
