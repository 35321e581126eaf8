"""A round in the background: masks come in, and what was accepted stays."""

import json
import multiprocessing
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient
from tests.phantoms import LABELS
from tests.serve.desks import HOST, MIDDLE, TOKEN, client_of, edited, point, session_of

from voxhint.core.errors import BadStudyError
from voxhint.files.images import read_ids
from voxhint.runs import is_started
from voxhint.serve import Session, make_app
from voxhint.serve.contract import Round
from voxhint.serve.rounds import Renewed, Rounds
from voxhint.verbs.session_model import SessionModel
from voxhint.verbs.session_training import _FOLDER


class Scripted:
    """Work that goes on until it is let go."""

    def __init__(self, error: str = "") -> None:
        self.gate = multiprocessing.Event()
        self.error = error

    def progress(self) -> Iterator[tuple[str, int, int, str]]:
        yield "train", 0, 10, ""
        yield "train", 5, 10, "case"
        assert self.gate.wait(10)
        if self.error:
            raise BadStudyError(self.error)

    def finish(self) -> Renewed:
        return Renewed("round 1", {"c0": 0.5})

    def stop(self) -> None:
        self.error = "stopped"
        self.gate.set()


def until(rounds: Rounds, state: str) -> None:
    for _ in range(1000):
        if rounds.status.state == state:
            return
        time.sleep(0.005)
    pytest.fail(f"{rounds.status}")


def test_a_round_tells_how_far_it_is_and_hands_over_what_it_made() -> None:
    made: list[Renewed] = []
    work = Scripted()
    rounds = Rounds(lambda _minutes: work, made.append)
    assert rounds.start(1.0).state == "running"
    while rounds.status.done < 5:
        time.sleep(0.005)
    assert (rounds.status.step, rounds.status.total, rounds.status.note) == ("train", 10, "case")
    assert rounds.status.left_s is not None
    with pytest.raises(Exception, match="already"):
        rounds.start(1.0)
    work.gate.set()
    until(rounds, "done")
    assert made == [Renewed("round 1", {"c0": 0.5})]


@pytest.mark.parametrize(("error", "state"), [("", "stopped"), ("no hints; add some", "failed")])
def test_a_round_that_ends_early_hands_nothing_over(error: str, state: str) -> None:
    made: list[Renewed] = []
    work = Scripted(error)
    rounds = Rounds(lambda _minutes: work, made.append)
    rounds.start(1.0)
    if error:
        work.gate.set()
        until(rounds, "failed")
        assert rounds.status.note == error
    else:
        rounds.stop()
    assert rounds.status.state == state
    assert not made
    work.gate.clear()
    assert rounds.start(1.0).state == "running"  # another may begin
    rounds.stop()


def ended(session: Session) -> dict[str, object]:
    for _ in range(12_000):
        status = session.rounds.status
        if status.state not in ("none", "running"):
            return dict(status.model_dump())
        time.sleep(0.05)
    raise AssertionError(session.rounds.status)


@pytest.mark.slow
def test_masks_of_a_round_come_in_and_accepted_ones_stay(  # noqa: PLR0915 - told in order
    tmp_path: Path,
) -> None:
    session = session_of(tmp_path, cases=3)
    with client_of(session) as client:
        away = [MIDDLE[0] + 5, MIDDLE[1], MIDDLE[2]]
        edited(client, "c0", 0, add=[point(), point("background", away)])
        edited(client, "c1", 0, add=[point(), point("background", away)])
        client.put("/api/cases/c1/verdict", json={"state": "accepted"})
        kept = (tmp_path / "session" / "labelsTr" / "c1.nii.gz").read_bytes()
        accepted = client.get("/api/cases/c1/layers/mask").content
        assert client.post("/api/round", json={"minutes": 0.05}).json()["state"] == "running"
        assert client.post("/api/round", json={"minutes": 1}).status_code == 409
        assert edited(client, "c2", 0, add=[point()])["row"]["hints"] == 1  # work goes on
        end = ended(session)
        assert end["state"] == "done", end
        overview = client.get("/api/session").json()
        assert overview["run"] == "round 1"
        rows = {row["name"]: row for row in overview["cases"]}
        assert rows["c1"]["state"] == "accepted"
        assert "run" in client.get("/api/cases/t0").json()["layers"]
        assert (tmp_path / "session" / "labelsTr" / "c1.nii.gz").read_bytes() == kept
        assert client.get("/api/cases/c1/layers/mask").content == accepted
        assert session.news().masks == 1
        # the next one begins with the weights of this one, and only the newest is kept
        client.post("/api/round", json={"minutes": 0.05})
        assert ended(session)["state"] == "done"
    rounds = tmp_path / "session" / _FOLDER
    assert [path.name for path in rounds.iterdir()] == ["2"]
    assert "begin" in (rounds / "2" / "run" / "made.json").read_text()
    again = session_of(tmp_path)  # it goes on with the newest masks
    assert again.overview().run == "round 2"
    scene = again.scene("c0")
    said = SessionModel(LABELS).ask(rounds / "2" / "run", scene.images)  # where there are no masks
    assert said is not None
    assert said.shape[1:] == scene.grid.shape
    assert np.allclose(said.sum(0), 1, atol=1e-3)
    ids, _ = read_ids(rounds / "2" / "run" / "masksTr" / "c0.nii.gz")
    assert set(np.unique(ids)) <= set(LABELS.ids)


@pytest.mark.slow
def test_a_round_without_hints_says_so(tmp_path: Path) -> None:
    session = session_of(tmp_path)
    with client_of(session) as client:
        client.post("/api/round", json={"minutes": 1})
        end = ended(session)
    assert end["state"] == "failed"
    assert "hint" in str(end["note"])
    assert not is_started(tmp_path / "session" / _FOLDER / "1" / "run")


def test_news_come_as_events_until_the_server_ends(tmp_path: Path) -> None:
    ends = iter([False, False])
    app = make_app(
        session_of(tmp_path), token=TOKEN, hosts=frozenset({HOST}), over=lambda: next(ends, True)
    )
    with TestClient(app, base_url=f"http://{HOST}", headers={"x-voxhint-token": TOKEN}) as client:
        answer = client.get("/api/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    (event,) = answer.text.strip().split("\n\n")  # nothing happened since the first
    assert json.loads(event.removeprefix("data: ")) == {"round": Round().model_dump(), "masks": 0}
