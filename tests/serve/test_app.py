"""The HTTP API: hints are kept, masks answer, and strangers are refused."""

import base64
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.phantoms import LABELS, ball, slanted_grid
from tests.serve.desks import HOST, MIDDLE, TOKEN, client_of, edited, point, session_of

from voxhint.core import Volume
from voxhint.files.images import read_ids, write_ids
from voxhint.files.validate.study import survey
from voxhint.serve.guard import LARGEST
from voxhint.verbs.session_model import SessionModel


def mask_of(client: object, case: str = "c0") -> np.ndarray:
    opened = client.get(f"/api/cases/{case}").json()  # type: ignore[attr-defined]
    answer = client.get(f"/api/cases/{case}/layers/mask")  # type: ignore[attr-defined]
    empty = bytes(np.prod(opened["shape"]))
    data = empty if answer.status_code == 204 else answer.content
    return np.frombuffer(data, np.uint8).reshape(opened["shape"], order="F")


def test_a_click_changes_the_mask_and_the_patch_says_how(tmp_path: Path) -> None:
    with client_of(session_of(tmp_path)) as client:
        before = mask_of(client)
        assert not before.any()
        answer = edited(client, "c0", 0, add=[point()], seconds=1.5)
        after = mask_of(client)
        assert after.any()
        (patch,) = answer["patches"]
        low, size = patch["low"], patch["size"]
        part = np.frombuffer(zlib.decompress(base64.b64decode(patch["voxels"])), np.uint8)
        patched = before.copy()
        box = tuple(slice(a, a + n) for a, n in zip(low, size, strict=True))
        patched[box] = part.reshape(size, order="F")
        assert np.array_equal(patched, after)
        assert answer["row"]["seconds"] == 1.5


@pytest.mark.parametrize("most", [2**22, 200])
def test_a_preview_is_a_coarse_picture_of_the_same_field_of_view(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr("voxhint.serve.app._PREVIEW", most)
    with client_of(session_of(tmp_path)) as client:
        pictures = []
        for path in ("images/0", "images/0/preview"):
            answer = client.get(f"/api/cases/c0/{path}")
            shape = [int(n) for n in answer.headers["x-voxhint-shape"].split()]
            kind = answer.headers["x-voxhint-type"]
            pictures.append(np.frombuffer(answer.content, kind).reshape(shape, order="F"))
        whole, preview = pictures
        assert preview.size <= max(most, 1) or preview.shape == whole.shape
        at = [(np.arange(m) + 0.5) * n / m for m, n in zip(preview.shape, whole.shape, strict=True)]
        assert np.array_equal(preview, whole[np.ix_(*(a.astype(int) for a in at))])
        assert np.array_equal(preview, whole) == (most > whole.size)


def test_the_mask_of_a_click_keeps_to_what_was_clicked_on(tmp_path: Path) -> None:
    with client_of(session_of(tmp_path)) as client:
        edited(client, "c0", 0, add=[point()])
        mask = mask_of(client) > 0
        truth = np.frombuffer(client.get("/api/cases/c0/layers/truth").content, np.uint8) > 0
        both = truth.reshape(mask.shape, order="F") & mask
        assert mask.sum() > 20
        assert both.sum() > 0.9 * mask.sum()


def test_a_session_is_a_study_with_the_hints_made_in_it_and_the_study_stays(tmp_path: Path) -> None:
    session = session_of(tmp_path, hints=("points",))
    before = {p: p.read_bytes() for p in (tmp_path / "study").rglob("*") if p.is_file()}
    with client_of(session) as client:
        opened = client.get("/api/cases/c0").json()
        first = opened["marks"][0]["id"]
        away = [MIDDLE[0] + 4, MIDDLE[1], MIDDLE[2]]
        edited(client, "c0", 0, add=[point("background", away)], remove=[first])
        box = {
            "kind": "box",
            "label": "ball",
            "low": [m - 5 for m in MIDDLE],
            "high": [m + 5 for m in MIDDLE],
        }
        edited(client, "c0", 1, add=[box])
        edited(client, "c1", 0, paint={"layer": "scribbles", "label": "ball", "runs": [[700, 3]]})
    assert {p: p.read_bytes() for p in (tmp_path / "study").rglob("*") if p.is_file()} == before
    seen = survey(tmp_path / "session")
    assert not seen.errors
    assert seen.study is not None
    assert seen.study.hint_kinds() == {"points": 4, "boxes": 1, "scribbles": 1}
    drawn = seen.study.load(seen.study.training[1]).hints[-1]
    assert (drawn.classes != 255).sum() == 3  # type: ignore[union-attr]


def test_a_session_goes_on_where_it_was_left_whatever_was_closed(tmp_path: Path) -> None:
    session = session_of(tmp_path)
    client = client_of(session)  # never closed: as if the server had been killed
    edited(client, "c0", 0, add=[point(), point("background", MIDDLE)], seconds=2)
    edited(client, "c0", 1, paint={"layer": "scribbles", "label": "ball", "runs": [[700, 3]]})
    client.post("/api/cases/c0/undo", json={"revision": 2})
    client.put("/api/cases/c1/verdict", json={"state": "rejected", "note": "moved, a lot"})
    client.get("/api/cases/c0")
    told = session._cases["c0"].hints.snapshot()
    session._journal.close()
    journal = tmp_path / "session" / ".steps.jsonl"
    with journal.open("ab") as file:
        file.write(b'{"case":"c0","do":"ed')  # a kill cuts a line short
    again = session_of(tmp_path)
    with client_of(again) as client:
        opened = client.get("/api/cases/c0").json()
        assert again._cases["c0"].hints.snapshot() == told
        assert (opened["undo"], opened["redo"], len(opened["marks"])) == (1, 1, 2)
        rows = {row["name"]: row for row in client.get("/api/session").json()["cases"]}
        assert (rows["c1"]["state"], rows["c1"]["note"]) == ("rejected", "moved, a lot")
        assert rows["c0"]["seconds"] == 2
        client.post("/api/cases/c0/redo", json={"revision": opened["revision"]})
    assert (read_ids(tmp_path / "session/hints/scribbles/c0.nii.gz")[0] != 255).sum() == 3


def test_an_accepted_mask_is_a_mask_of_the_study_until_it_is_changed(tmp_path: Path) -> None:
    kept = tmp_path / "session" / "labelsTr" / "c0.nii.gz"
    with client_of(session_of(tmp_path)) as client:
        edited(client, "c0", 0, add=[point()])
        row = client.put("/api/cases/c0/verdict", json={"state": "accepted"}).json()
        assert row["state"] == "accepted"
        ids, grid = read_ids(kept)
        assert grid.same(slanted_grid())
        assert set(np.unique(ids)) == {0, LABELS.ids[1]}
        assert ((ids > 0) & (ball(grid) > 0)).sum() > 0.6 * (ids > 0).sum()
        edited(client, "c0", 1, add=[point("background", MIDDLE)])
        assert not kept.exists()
        assert client.get("/api/session").json()["cases"][0]["state"] == "open"


def test_masks_of_a_run_are_shown_and_hints_correct_them(tmp_path: Path) -> None:
    grid = slanted_grid()
    truth = ball(grid)
    wrong = truth.copy()
    wrong[:7] = 0  # half of the ball is missing
    write_ids(tmp_path / "run" / "masksTr" / "c0.nii.gz", LABELS.to_ids(wrong), grid)
    with client_of(session_of(tmp_path, run=tmp_path / "run")) as client:
        assert (mask_of(client) > 0).sum() == wrong.sum()
        missing = grid.to_world(np.argwhere(truth.astype(bool) & (wrong == 0))[[40]].astype(float))
        edited(client, "c0", 0, add=[point("ball", missing[0].tolist())])
        shown = np.frombuffer(client.get("/api/cases/c0/layers/truth").content, np.uint8) > 0
        better = mask_of(client).ravel(order="F") > 0
        assert (better & shown).sum() > wrong.sum()


def test_test_cases_are_judged_but_take_no_hints(tmp_path: Path) -> None:
    with client_of(session_of(tmp_path)) as client:
        answer = client.post("/api/cases/t0/edits", json={"revision": 0, "add": [point()]})
        assert answer.status_code == 422
        assert "imagesTs" in answer.json()["error"]
        assert client.put("/api/cases/t0/verdict", json={"state": "accepted"}).status_code == 200
    assert (tmp_path / "session" / "masks" / "t0.nii.gz").exists()


def test_a_change_made_in_another_window_is_not_written_over(tmp_path: Path) -> None:
    with client_of(session_of(tmp_path)) as client:
        edited(client, "c0", 0, add=[point()])
        answer = client.post("/api/cases/c0/edits", json={"revision": 0, "add": [point()]})
        assert answer.status_code == 409
        assert "another window" in answer.json()["error"]
        assert len(client.get("/api/cases/c0").json()["marks"]) == 1


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"x-voxhint-token": "wrong"}, 401),
        ({"x-voxhint-token": ""}, 401),
        ({"host": "evil.example"}, 403),
        ({"host": "127.0.0.1:9"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": f"http://{HOST}"}, 200),
        ({"content-length": str(LARGEST + 1)}, 413),
    ],
)
def test_only_our_own_page_is_answered(tmp_path: Path, headers: dict[str, str], code: int) -> None:
    with client_of(session_of(tmp_path)) as client:
        assert client.get("/api/session", headers=headers).status_code == code


def test_a_body_is_bounded_whatever_its_header_says(tmp_path: Path) -> None:
    with client_of(session_of(tmp_path)) as client:
        chunks = (b" " * 2**20 for _ in range(LARGEST // 2**20 + 1))
        answer = client.post("/api/cases/c0/edits", content=chunks)
        assert answer.status_code == 413


def test_every_answer_forbids_foreign_scripts(tmp_path: Path) -> None:
    with client_of(session_of(tmp_path)) as client:
        for path in ("/", "/api/session", "/api/cases/none"):
            headers = client.get(path).headers
            assert "script-src 'self'" in headers["content-security-policy"]
            assert "unsafe-inline" not in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "/api/cases/..%2f..%2fetc",
        "/api/cases/c0/layers/..%2f..%2fdataset.json",
        "/api/cases/c0/images/9",
        "/..%2f..%2fpyproject.toml",
        "/%2e%2e/%2e%2e/pyproject.toml",
        "/api/cases/c0/../../../app.py",
    ],
)
def test_no_path_leads_out_of_the_session(tmp_path: Path, path: str) -> None:
    with client_of(session_of(tmp_path)) as client:
        answer = client.get(path)
        assert answer.status_code in (404, 503)
        assert b"voxhint" not in answer.content or b"page is not built" in answer.content


FIELDS = st.sampled_from(
    ["kind", "label", "at", "low", "high", "runs", "layer", "plane", "state", "centre"]
)
ODD = st.recursive(
    st.none() | st.integers() | st.floats() | st.text(max_size=9) | st.just("ball"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner),
)


@given(
    st.dictionaries(st.sampled_from(["revision", "add", "remove", "paint", "seconds", "x"]), ODD)
)
def test_odd_requests_are_refused_in_one_line_and_change_nothing(
    tmp_path: Path, body: dict[str, object]
) -> None:
    session = session_of(tmp_path)
    client = client_of(session)
    client.get("/api/cases/c0")
    before = session._cases["c0"].hints.snapshot()
    answer = client.post("/api/cases/c0/edits", content=json.dumps(body))
    assert answer.status_code in (200, 409, 422)
    if answer.status_code != 200:
        assert "\n" not in answer.json()["error"]
        assert session._cases["c0"].hints.snapshot() == before
    session._journal.close()
    (tmp_path / "session" / ".steps.jsonl").unlink(missing_ok=True)


def test_a_token_is_needed_for_nothing_but_the_api(tmp_path: Path) -> None:
    with client_of(session_of(tmp_path)) as client:
        assert client.get("/", headers={"x-voxhint-token": ""}).status_code in (200, 503)
        assert TOKEN not in client.get("/").text


def test_without_masks_the_model_is_asked_when_the_mask_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, ...]] = []

    def ask(_self: object, run: Path, images: dict[str, Volume]) -> np.ndarray:
        assert run == tmp_path / "run"
        (image,) = images.values()
        asked.append(image.voxels.shape)
        inside = np.full(image.voxels.shape, 0.4, np.float32)
        inside[4:9, 4:9, 3:6] = 0.9
        said: np.ndarray = np.stack([1 - inside, inside])
        return said

    monkeypatch.setattr(SessionModel, "ask", ask)
    (tmp_path / "run" / "model").mkdir(parents=True)
    (tmp_path / "run" / "model" / "plan.json").write_text("{}")
    with client_of(session_of(tmp_path, run=tmp_path / "run")) as client:
        client.get("/api/cases/c0")
        client.get("/api/cases/c0/images/0")
        assert not asked  # the picture does not wait for it
        mask = mask_of(client)
        assert mask[4:9, 4:9, 3:6].all()
        assert mask.sum() == 75
        mask_of(client)
        assert len(asked) == 1
        rows = {row["name"]: row for row in client.get("/api/session").json()["cases"]}
        assert rows["c0"]["sureness"] == pytest.approx(0.8, abs=0.02)


def test_the_case_that_needs_a_person_most_is_read_while_the_browser_starts(tmp_path: Path) -> None:
    session = session_of(tmp_path, cases=11)
    with client_of(session) as client:
        client.put("/api/cases/c0/verdict", json={"state": "skipped"})
        session.open_first()
        assert list(session._open) == ["c1"]  # not c10, and no case without hints to make
