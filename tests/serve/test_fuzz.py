"""Requests drawn from the contract, whole and damaged: all are answered, and nothing is lost."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from starlette.testclient import TestClient
from tests.phantoms import HintKind
from tests.serve.desks import MIDDLE, client_of, session_of
from tests.serve.test_rounds import Scripted

from voxhint.serve import Session
from voxhint.serve.contract import Ask, Batch, Edit, Step, Verdict

NAMES = ["c1", "t0", "..", "c0%00", "mask", "truth", "scribbles", "", "<é/"]
BODIES: dict[tuple[str, str], type[BaseModel] | None] = {
    ("GET", "/api/session"): None,
    ("GET", "/api/cases/NAME"): None,
    ("GET", "/api/cases/NAME/images/NUMBER"): None,
    ("GET", "/api/cases/NAME/images/NUMBER/preview"): None,
    ("GET", "/api/cases/NAME/layers/NAME"): None,
    ("POST", "/api/cases/NAME/edits"): Edit,
    ("POST", "/api/cases/NAME/undo"): Step,
    ("POST", "/api/cases/NAME/redo"): Step,
    ("PUT", "/api/cases/NAME/verdict"): Verdict,
    ("POST", "/api/accept"): Batch,
    ("POST", "/api/round"): Ask,
    ("DELETE", "/api/round"): None,
}
ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
)


Schema = dict[str, Any]


def _object(schema: Schema, known: Schema) -> st.SearchStrategy[Any]:
    fields = {name: values_of(part, known) for name, part in schema["properties"].items()}
    needed = {name for name in fields if name in schema.get("required", ()) or name == "kind"}
    return st.fixed_dictionaries(
        {name: fields[name] for name in needed},
        optional={name: fields[name] for name in fields.keys() - needed},
    )


def _array(schema: Schema, known: Schema) -> st.SearchStrategy[Any]:
    parts = schema.get("prefixItems", [])
    if len(parts) == 3:  # a place, mostly in the phantom
        return st.tuples(*(st.floats(m - 7, m + 7) for m in MIDDLE))
    if parts:
        return st.tuples(*(values_of(part, known) for part in parts))
    return st.lists(values_of(schema["items"], known), min_size=1, max_size=2)


def _number(schema: Schema, _known: Schema) -> st.SearchStrategy[Any]:
    low, high = schema.get("minimum", -70), schema.get("maximum", 40)
    return st.floats(max(float(low), -70), min(float(high), 40))


MAKERS: dict[str, Callable[[Schema, Schema], st.SearchStrategy[Any]]] = {
    "object": _object,
    "array": _array,
    "number": _number,
    "integer": lambda schema, _known: st.integers(schema.get("minimum", 0), 12),
    "string": lambda _schema, _known: st.sampled_from(["ball", "ball", "ball", "background", "\n"]),
    "boolean": lambda _schema, _known: st.booleans(),
    "null": lambda _schema, _known: st.none(),
}


def values_of(schema: Schema, known: Schema) -> st.SearchStrategy[Any]:
    """Return a strategy for what a JSON schema allows, leaning to small numbers and known names."""
    if "$ref" in schema:
        return values_of(known[schema["$ref"].rpartition("/")[2]], known)
    ways = schema.get("anyOf") or schema.get("oneOf")
    if ways:
        return st.one_of([values_of(way, known) for way in ways])
    if "const" in schema or "enum" in schema:
        return st.sampled_from(schema.get("enum") or [schema["const"]])
    return MAKERS[schema["type"]](schema, known)


@st.composite
def requests(draw: Callable[..., Any]) -> tuple[str, str, Any]:
    (method, path), kind = draw(st.sampled_from(list(BODIES.items())))
    while "NAME" in path:
        name = "c0" if draw(st.integers(0, 3)) else draw(st.sampled_from(NAMES))
        path = path.replace("NAME", name, 1)
    path = path.replace("NUMBER", str(draw(st.integers(0, 2) | st.integers(-9, 10**30))))
    if kind is None:
        return method, path, None
    schema = kind.model_json_schema()
    body = draw(values_of(schema, schema.get("$defs", {})))
    asks = sorted(set(body) - {"revision", "seconds"})
    if kind is Edit and asks:  # one thing at a time is mostly taken
        body = {"revision": 0, **{name: body[name] for name in draw(st.permutations(asks))[:1]}}
    if draw(st.integers(0, 5)) == 0:
        place = draw(st.sampled_from(list(body or {"x": 0})))
        body = {**body, place: draw(ODD)}
    elif "revision" in body and draw(st.integers(0, 5)):
        body["revision"] = "now"
    return method, path, body


def asked(client: TestClient, method: str, path: str, body: Any) -> None:
    if isinstance(body, dict) and body.get("revision") == "now":
        body["revision"] = client.get("/api/cases/c0").json()["revision"]
    answer = client.request(method, path, content=json.dumps(body) if body is not None else b"")
    assert answer.status_code < 500, (method, path, body, answer.text)
    if answer.status_code >= 400 and path.startswith("/api/cases/c0"):
        assert answer.text
        assert "\n" not in answer.text, answer.text


def state_of(session: Session) -> object:
    rows = [row.model_dump(exclude={"sureness"}) for row in session.overview().cases]
    return rows, [session._cases[name].hints.snapshot() for name in ("c0", "c1")]


@pytest.mark.slow
@given(st.lists(requests(), min_size=4, max_size=12))
@settings(max_examples=60)
def test_no_request_breaks_the_server_or_loses_what_was_done(
    tmp_path_factory: pytest.TempPathFactory, sent: list[tuple[str, str, Any]]
) -> None:
    folder: Path = tmp_path_factory.mktemp("fuzz")
    kinds: tuple[HintKind, ...] = ("points",)
    session = session_of(folder, hints=kinds)
    session.rounds._begin = lambda _minutes: Scripted()
    client = client_of(session)  # never closed: as if the server had been killed
    for method, path, body in sent:
        asked(client, method, path, body)
    session.rounds.stop()
    for name in ("c0", "c1"):
        client.get(f"/api/cases/{name}")
    before = state_of(session)
    session._journal.close()
    again = session_of(folder)
    for name in ("c0", "c1"):
        again.open(name)
    assert state_of(again) == before
    again.close()
