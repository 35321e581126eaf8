"""Drawings that follow from others: between slices, and locked labels."""

from pathlib import Path

import numpy as np
import pytest
from tests.phantoms import LABELS
from tests.serve.desks import MIDDLE, client_of, edited, point, session_of
from tests.serve.test_app import mask_of

from voxhint.core.errors import BadHintError
from voxhint.core.labels import UNDRAWN
from voxhint.serve.fill import between_slices, paints_of

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
    found = between_slices(drawn, tuple(spacing))
    sure = found != UNDRAWN
    assert np.array_equal(found[sure], truth[sure])
    inside, turned = np.moveaxis(truth, axis, 0)[5:12] > 0, np.moveaxis(found, axis, 0)
    assert (turned[5:12] == 1)[inside].mean() > 0.4
    assert (turned[:5] == UNDRAWN).all()  # beyond the outermost slices nothing is said
    assert (turned[12] == UNDRAWN).all()


def test_a_label_that_ends_shrinks_to_nothing() -> None:
    drawn = np.full(SHAPE, UNDRAWN, np.uint8, order="F")
    drawn[:, :, 2], drawn[:, :, 10] = cone()[:, :, 2], 0
    found = between_slices(drawn, SPACING)
    areas = [(found[:, :, n] == 1).sum() for n in range(3, 10)]
    assert areas == sorted(areas, reverse=True)
    assert areas[-1] == 0


@pytest.mark.parametrize("planes", [(), (3,), (3, 4)])
def test_slices_without_a_gap_between_them_are_refused(planes: tuple[int, ...]) -> None:
    drawn = np.full(SHAPE, UNDRAWN, np.uint8, order="F")
    for n in planes:
        drawn[:, :, n] = 0
    with pytest.raises(BadHintError, match="gap"):
        between_slices(drawn, SPACING)


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
