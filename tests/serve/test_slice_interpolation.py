"""Drawings that follow from others: between slices, and locked labels."""

from pathlib import Path

import numpy as np
import pytest
from tests.phantoms import LABELS
from tests.serve.desks import MIDDLE, client_of, edited, point, session_of
from tests.serve.test_app import mask_of
from tests.stories.commands import voxhint

from voxhint.core import Soft, SoftLabel
from voxhint.core.errors import BadHintError
from voxhint.core.labels import UNDRAWN
from voxhint.files.images import read_probability
from voxhint.files.soft_labels import read_soft_label
from voxhint.files.validate.study import survey
from voxhint.propagate.constraints import constraints_of
from voxhint.serve import Session
from voxhint.serve.slice_interpolation import between_slices, paints_of

SHAPE = (30, 26, 24)
SPACING = (1.0, 1.2, 2.0)


def cone() -> np.ndarray:
    """Return a cone along the third axis: what lies between two slices is known."""
    i, j, k = np.indices(SHAPE)
    away = np.hypot((i - 15) * SPACING[0], (j - 13) * SPACING[1])
    inside: np.ndarray = away < 4 + 0.3 * k
    return inside.astype(np.uint8)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_what_lies_between_drawn_slices_is_right_wherever_it_is_sure(axis: int) -> None:
    truth = np.moveaxis(cone(), 2, axis)
    spacing = np.insert(np.array(SPACING[:2]), axis, SPACING[2]).tolist()
    drawn = np.full(truth.shape, UNDRAWN, np.uint8, order="F")
    for n in (4, 12, 20):
        at = (slice(None),) * axis + (n,)
        drawn[at] = truth[at]
    (chance,) = between_slices(drawn, tuple(spacing)).values()
    said = ~np.isnan(chance)
    assert np.array_equal(chance[said] > 0.5, truth[said] > 0)
    assert np.abs(chance[said] - 0.5).min() > 0.35  # what is unsure is not said
    assert chance[said].max() < 1  # nothing is said for sure
    inside, turned = np.moveaxis(truth, axis, 0)[5:12] > 0, np.moveaxis(said, axis, 0)
    assert turned[5:12][inside].mean() > 0.4
    assert not turned[:5].any()  # beyond the outermost slices nothing is said
    assert not turned[12].any()


def test_a_label_that_ends_shrinks_to_nothing() -> None:
    drawn = np.full(SHAPE, UNDRAWN, np.uint8, order="F")
    drawn[:, :, 2], drawn[:, :, 10] = cone()[:, :, 2], 0
    (chance,) = between_slices(drawn, SPACING).values()
    areas = [(chance[:, :, n] > 0.5).sum() for n in range(3, 10)]
    assert areas == sorted(areas, reverse=True)
    assert areas[-1] == 0


@pytest.mark.parametrize("planes", [(), (3,), (3, 4)])
def test_slices_without_a_gap_between_them_are_refused(planes: tuple[int, ...]) -> None:
    drawn = np.full(SHAPE, UNDRAWN, np.uint8, order="F")
    for n in planes:
        drawn[:, :, n] = 0
    with pytest.raises(BadHintError, match="gap"):
        between_slices(drawn, SPACING)


SOFT = "hints/soft/c0__ball.nii.gz"


def _fill(plane: int, rows: range) -> dict[str, object]:
    """Return what the page sends when a rectangle is outlined on an axial slice of the phantom."""
    runs = [[4 + 14 * (row + 16 * plane), 5] for row in rows]
    return {"layer": "slices", "label": "ball", "runs": runs, "plane": [2, plane]}


def _learnt(session: Session, folder: Path) -> np.ndarray:
    """Return the chance of the ball as `label` reads it, on the page's grid."""
    session.keep_drawings()
    seen = survey(folder)
    assert not seen.errors
    assert seen.study is not None
    hints = seen.study.load(seen.study.training[0]).hints
    (hint,) = [hint for hint in hints if isinstance(hint, Soft)]
    known = constraints_of(hint.grid, hints, LABELS)
    drawn, said = known.proven.max(0) == 1, ~np.isnan(hint.probability)
    assert np.allclose(known.proven[1][said & ~drawn], hint.probability[said & ~drawn])
    assert (known.possible[1][~said & ~drawn] == 1).all()
    return hint.grid.turn_to_ras().apply(hint.probability)


def test_between_drawn_slices_lie_soft_hints_that_follow_them(tmp_path: Path) -> None:
    session = session_of(tmp_path)
    client = client_of(session)  # not entered: nothing but the test writes files
    refused = client.post("/api/cases/c0/edits", json={"revision": 0, "between": True})
    assert (refused.status_code, "gap" in refused.json()["error"]) == (422, True)
    for revision, plane in enumerate((1, 7)):
        edited(client, "c0", revision, paint=_fill(plane, range(4, 9)))
    answer = edited(client, "c0", 2, between=True)
    chance = _learnt(session, tmp_path / "session")
    said = ~np.isnan(chance)
    assert np.array_equal(mask_of(client)[said] == 1, chance[said] > 0.5)
    assert answer["row"]["hints"] == 3
    refused = client.post("/api/cases/c0/edits", json={"revision": 3, "between": True})
    assert "follows them already" in refused.json()["error"]
    edited(client, "c0", 3, paint=_fill(4, range(4, 6)))
    narrower = _learnt(session, tmp_path / "session")
    assert (narrower[..., 2:7] > 0.5).sum() < (chance[..., 2:7] > 0.5).sum()
    assert np.isnan(narrower[..., 4]).all()  # now drawn
    session.close()


def test_what_is_between_slices_goes_and_comes_with_its_step(tmp_path: Path) -> None:
    with client_of(session_of(tmp_path)) as client:
        for revision, plane in enumerate((1, 7)):
            edited(client, "c0", revision, paint=_fill(plane, range(4, 9)))
        edited(client, "c0", 2, between=True)
    first = (tmp_path / "session" / SOFT).read_bytes()
    again = session_of(tmp_path)
    client = client_of(again)
    for step, there in (("undo", False), ("redo", True), ("undo", False), ("redo", True)):
        revision = client.get("/api/cases/c0").json()["revision"]
        client.post(f"/api/cases/c0/{step}", json={"revision": revision})
        again.keep_drawings()
        assert (tmp_path / "session" / SOFT).exists() == there
    assert (tmp_path / "session" / SOFT).read_bytes() == first
    again.close()


def test_what_is_drawn_already_stays() -> None:
    classes = np.full((3, 2, 2), UNDRAWN, np.uint8, order="F")
    classes[:2] = 1
    onto = np.full((3, 2, 2), UNDRAWN, np.uint8, order="F")
    onto[1, 0, 0] = 0
    (paint,) = paints_of(classes, onto, LABELS)
    assert paint.runs == [(0, 1), (3, 2), (6, 2), (9, 2)]


def test_a_locked_label_stays_as_it_is_until_it_is_undone(tmp_path: Path) -> None:
    with client_of(session_of(tmp_path)) as client:
        edited(client, "c0", 0, add=[point()])
        before = mask_of(client)
        answer = edited(client, "c0", 1, lock="ball")
        assert answer["undo"] == 2
        again = client.post("/api/cases/c0/edits", json={"revision": 2, "lock": "ball"})
        assert again.status_code == 422
        assert "drawn already" in again.json()["error"]
        near = [MIDDLE[0] + 2, MIDDLE[1], MIDDLE[2]]
        edited(client, "c0", 2, add=[point("background", [near[0] + 2, *near[1:]])])
        assert (mask_of(client)[before > 0] == 0).sum() <= 1  # the click itself
    again_open = session_of(tmp_path)  # the journal holds what was drawn
    with client_of(again_open) as client:
        assert client.get("/api/cases/c0").json()["undo"] == 3
        client.post("/api/cases/c0/undo", json={"revision": 3})
        client.post("/api/cases/c0/undo", json={"revision": 4})
        assert client.get("/api/cases/c0/layers/scribbles").status_code == 204


@pytest.mark.slow
def test_label_says_between_slices_what_the_session_does(tmp_path: Path) -> None:
    with client_of(session_of(tmp_path)) as client:
        for revision, plane in enumerate((1, 7)):
            edited(client, "c0", revision, paint=_fill(plane, range(4, 9)))
        edited(client, "c0", 2, between=True)
    done = voxhint("label", tmp_path / "session", "--out", tmp_path / "labels")
    assert done.returncode == 0, done.stderr
    soft = read_soft_label(tmp_path / "labels", "c0", LABELS)
    assert isinstance(soft, SoftLabel)
    chance, _ = read_probability(tmp_path / "session" / SOFT, gaps=True)
    said = ~np.isnan(chance)
    assert said.sum() > 500
    assert np.allclose(soft.probs[1][said], chance[said], atol=1e-3)
    assert (soft.trust[1][said] == 1).all()
