"""Hints become prompts on a user's own nnInteractive server, and its masks soft labels."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import numpy as np
import pytest
from tests.phantoms import LABELS

from voxhint.config import LabelConfig, require_effect
from voxhint.core import UNDRAWN, Box, Diameter, Grid, Hint, Points, Strokes, Tag, Volume
from voxhint.core.errors import BadRecipeError, NotAvailableError
from voxhint.core.packed import pack, unpack
from voxhint.propagate.nninteractive import KEY, Server, weighed

GRID = Grid((12, 11, 10), np.diag([2.0, 1.0, 1.5, 1.0]))


class StandIn(BaseHTTPRequestHandler):
    """Speaks the protocol; its mask is a cube of 3 around every prompt inside."""

    heard: ClassVar[list[tuple[str, Any]]] = []
    deep = True
    key = ""

    def log_message(self, *_words: object) -> None:  # type: ignore[explicit-override]
        pass

    def do_GET(self) -> None:
        self.told({"supported_interactions": {"bbox3d": self.deep}, "license": "CC BY-NC 4.0"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        told = json.loads(self.headers.get("X-Meta") or "null")
        array = unpack(body, most=2**20) if told is not None else None
        told = told if told is not None else json.loads(body or b"{}")
        self.heard.append((self.path, array if array is not None else told))
        if self.headers.get("Authorization", "") != (f"Bearer {self.key}" if self.key else ""):
            self.send_error(401)
        elif self.path == "/claim":
            self.told({"lease_token": "l"})
        elif told.get("run_prediction") and self.path == "/add_point_interaction":
            assert self.headers["X-Lease-Token"] == "l"
            box = [[n - 1, n + 2] for n in told["coordinates"]]
            self.told({"bbox": box}, pack(np.ones((3, 3, 3), np.uint8)))
        else:
            self.told({"bbox": None})

    def told(self, about: dict[str, Any], body: bytes | None = None) -> None:
        body = json.dumps(about).encode() if body is None else body
        self.send_response(200)
        self.send_header("x-meta", json.dumps(about))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.delenv(KEY, raising=False)
    monkeypatch.setattr(StandIn, "heard", [])
    http = ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield Server(f"http://127.0.0.1:{http.server_port}/")
    http.shutdown()
    thread.join()
    http.server_close()


def image() -> Volume:
    return Volume(np.zeros(GRID.shape, np.float32), GRID)


def points(label: str, *at: tuple[int, int, int]) -> Points:
    return Points(label, GRID.to_world(np.array(at, np.float64)), np.ones(len(at)))


def test_points_become_a_mask_where_the_server_lays_it(server: Server) -> None:
    hints = [points("background", (1, 1, 1)), points("ball", (3, 3, 3), (6, 5, 4))]
    masks = server.masks(image(), hints, LABELS)
    assert masks[0, 5:8, 4:7, 3:6].all()
    assert masks.sum() == 27
    asked = [told for path, told in StandIn.heard if path == "/add_point_interaction"]
    assert [told["coordinates"] for told in asked] == [[1, 1, 1], [3, 3, 3], [6, 5, 4]]
    assert [told["include_interaction"] for told in asked] == [False, True, True]
    assert [told["run_prediction"] for told in asked] == [False, False, True]
    assert StandIn.heard[-1][0] == "/release"
    assert server.licence == "CC BY-NC 4.0"


@pytest.mark.parametrize(("deep", "depth"), [(True, [2, 5]), (False, [3, 4])])
def test_boxes_scribbles_and_diameters_are_prompts_too(
    server: Server, monkeypatch: pytest.MonkeyPatch, *, deep: bool, depth: list[int]
) -> None:
    monkeypatch.setattr(StandIn, "deep", deep)
    corners = GRID.to_world(np.array([[2, 2, 2], [4, 5, 6]], np.float64))
    drawn = np.full(GRID.shape, UNDRAWN, np.uint8)
    drawn[3, 3, 3], drawn[0] = 1, 0
    ball = Diameter("ball", corners[0], 4.0)
    hints: list[Hint] = [
        Box("ball", corners[0], corners[1]),
        Strokes(drawn, GRID, complete=False),
        ball,
        Tag("ball", "present"),
    ]
    server.masks(image(), hints, LABELS)
    boxes = [told["bbox_coords"] for path, told in StandIn.heard if path.startswith("/add_bbox")]
    assert boxes[0] == [[depth[0], depth[1]], [2, 6], [2, 7]]
    sent = [told for path, told in StandIn.heard if path.startswith("/add_scribble")]
    assert [int(each.sum()) for each in sent] == [1, 110]
    assert len(boxes) == 2


def test_a_label_without_a_hint_is_not_asked_for(server: Server) -> None:
    masks = server.masks(image(), [points("background", (1, 1, 1))], LABELS)
    assert not masks.any()
    assert not weighed(masks)[1].any()  # then nothing is known


def test_masks_that_overlap_share_their_voxels() -> None:
    masks = np.zeros((2, 3, 1, 1), np.uint8)
    masks[0, :2], masks[1, 1:2] = 1, 1
    probs, trust = weighed(masks)
    assert np.allclose(probs.sum(0), 1)
    assert probs[1, 0] > 0.8
    assert probs[1, 1] == probs[2, 1]
    assert trust[1] < trust[0]


def test_a_server_that_refuses_or_is_not_there_is_told_in_one_line(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StandIn, "key", "k")
    with pytest.raises(NotAvailableError, match="401") as no:
        server.masks(image(), [points("ball", (3, 3, 3))], LABELS)
    assert "\n" not in str(no.value)
    monkeypatch.setenv(KEY, "k")
    assert Server(server._url).masks(image(), [points("ball", (3, 3, 3))], LABELS).any()
    with pytest.raises(NotAvailableError, match="does not answer"):
        _ = Server("http://127.0.0.1:9").licence


def test_the_method_needs_a_server_and_a_server_the_method() -> None:
    with pytest.raises(BadRecipeError, match="--server"):
        LabelConfig(method="nninteractive").require_sense()
    with pytest.raises(BadRecipeError, match="server has an effect only with"):
        require_effect(LabelConfig(server="http://a"))
