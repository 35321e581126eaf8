"""Labels that a case does not show cost nothing, and what is said of all others is the same."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.phantoms import hints_of, scan, slanted_grid

from voxhint.config import LabelConfig
from voxhint.core import Box, Case, Hint, LabelSet, Points, SoftLabel, Strokes, Tag
from voxhint.core.sparse_constraints import SparseConstraints
from voxhint.files.soft_labels import read_soft_label, write_soft_label
from voxhint.propagate import constraints_of
from voxhint.propagate.shown_labels import shown_labels
from voxhint.propagate.soft_label import propagate_hints
from voxhint.propagate.study import constraints_for

GRID = slanted_grid()
MANY = LabelSet(("background", "a", "ball", "c", "d", "rim", "f"), (0, 2, 3, 5, 7, 8, 9))


def hints(kind: str) -> tuple[Hint, ...]:
    """Return hints of the ball, whose number is 2 here, and of the rim."""
    one = hints_of(GRID)[kind]  # type: ignore[index]
    if isinstance(one, Strokes):
        one = replace(one, classes=np.where(one.classes == 1, 2, one.classes).astype(np.uint8))
    rim = Points("rim", GRID.to_world(np.array([[1.0, 2, 3]])), np.ones(1))
    return (one, rim, Tag("f", "absent"))


@pytest.mark.parametrize("kind", sorted(hints_of(GRID)))
@pytest.mark.parametrize("method", ["geodesic", "none", "pw4medseg"])
def test_working_out_one_silent_label_for_all_changes_nothing(
    kind: str, method: str, tmp_path: Path
) -> None:
    case = Case("x", {"CT": scan(GRID, 0)}, hints(kind))
    config = LabelConfig(method=method)  # type: ignore[arg-type]
    caps = dict.fromkeys(MANY.names, 8.0)
    images = tuple(case.images.values())
    whole = propagate_hints(
        constraints_of(GRID, case.hints, MANY), images, MANY, caps_mm=caps, config=config
    )
    shown = shown_labels(case, MANY)
    assert shown.labels.names == ("background", "a", "ball", "rim", "f")
    assert shown.numbers == (0, 1, 2, 1, 1, 3, 4)
    few = propagate_hints(
        constraints_of(GRID, shown.case.hints, shown.labels),
        images,
        shown.labels,
        caps_mm=caps,
        config=config,
    )
    spread = shown.spread(few).dense()
    np.testing.assert_array_equal(spread.probs, whole.probs)
    np.testing.assert_array_equal(spread.trust, whole.trust)
    largest = shown.spread(few).largest_class()
    np.testing.assert_array_equal(largest, whole.largest_class())
    for name, soft in (("one", whole), ("two", shown.spread(few))):
        write_soft_label(tmp_path / name, "x", soft, MANY)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
    again = read_soft_label(tmp_path / "two", "x", MANY)
    assert isinstance(again, SoftLabel)
    assert np.allclose(again.probs, whole.probs, atol=2.0**-15)


def test_a_case_that_speaks_of_every_label_is_left_as_it_is() -> None:
    case = Case("x", {"CT": scan(GRID, 0)}, tuple(Tag(n, "present") for n in MANY.foreground))
    shown = shown_labels(case, MANY)
    assert (shown.labels, shown.numbers) == (MANY, tuple(range(len(MANY.names))))


def test_no_array_and_no_file_is_made_for_each_of_very_many_labels() -> None:
    many = LabelSet(("background", *(f"l{n}" for n in range(1, 255))), tuple(range(255)))
    at = GRID.to_world(np.array([[1.0, 2, 3], [6, 7, 5]]))
    case = Case("x", {"CT": scan(GRID, 0)}, (Points("l7", at, np.ones(2)),))
    known = constraints_for(case, many)
    assert isinstance(known, SparseConstraints)
    assert known.proven.shape == (255, 2)
    box = replace(case, hints=(*case.hints, Box("l9", at[0] - 1, at[0] + 4)))
    assert shown_labels(box, many).labels.names == ("background", "l1", "l7", "l9")
