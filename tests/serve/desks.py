"""Sessions about small invented studies, and what drives them."""

from pathlib import Path
from typing import Any

from starlette.testclient import TestClient
from tests.phantoms import HintKind, centre_mm, make_study, slanted_grid

from voxhint.serve import Session, make_app
from voxhint.verbs.serve import open_for_review, open_session

TOKEN = "secret"
HOST = "127.0.0.1:8000"
MIDDLE = [round(float(v), 3) for v in centre_mm(slanted_grid())]


def session_of(
    folder: Path, *, hints: tuple[HintKind, ...] = (), run: Path | None = None, cases: int = 2
) -> Session:
    """Return a session in folder/session about folder/study, made if it is not there."""
    study = folder / "study"
    if not study.exists():
        make_study(study, hints=hints, cases=cases, dense=True)
    return open_session(open_for_review(study), folder / "session", run=run)


def client_of(session: Session) -> TestClient:
    """Return a client that knows the token."""
    app = make_app(session, token=TOKEN, hosts=frozenset({HOST}))
    return TestClient(app, base_url=f"http://{HOST}", headers={"x-voxhint-token": TOKEN})


def point(label: str = "ball", at: list[float] | None = None) -> dict[str, Any]:
    """Return a click as the page sends it."""
    return {"kind": "point", "label": label, "at": MIDDLE if at is None else at}


def edited(client: TestClient, case: str, revision: int, **what: Any) -> dict[str, Any]:
    """Send an edit that must be taken, and return its answer."""
    answer = client.post(f"/api/cases/{case}/edits", json={"revision": revision, **what})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found
