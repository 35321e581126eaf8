"""nnInteractive's remote protocol, version 2.6: other viewers' plug-ins click against voxhint.

A client claims a lease, sends an image and prompts on it, and gets back the part of the mask that
changed. Nothing of it is part of the session. Source: the client and server of nnInteractive 2.6.
"""

import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from voxhint.core.errors import VoxhintError
from voxhint.core.packed import pack, unpack
from voxhint.serve.guard import LARGEST_ARRAY, REMOTE
from voxhint.serve.remote_client import (
    BoxPrompt,
    Client,
    DrawnPrompt,
    ImageMeta,
    PointPrompt,
    SegPrompt,
    TargetMask,
)
from voxhint.serve.scene import OpenImage
from voxhint.serve.undo_redo import Box3

MOST = 4
"""Clients at a time."""

META, LEASE = "X-Meta", "X-Lease-Token"

_IDLE, _ALIVE = 600.0, 60.0  # seconds without a prompt, and without a sign of life
_PROMPTS = {
    "points": True,
    "bbox2d": True,
    "bbox3d": True,
    "scribble": True,
    "lasso": True,
    "initial_seg": True,
}
_CAPABILITIES = {
    "supported_interactions": _PROMPTS,
    "channel_mapping": {"initial_seg": 0, "bbox2d": [1, 2], "bbox3d": [1, 2], "lasso": [1, 2]}
    | {"points": [3, 4], "scribble": [5, 6]},
    "num_interaction_channels": 7,
    "supports_initial_label": True,
    "supports_zero_shot_label_refinement": True,
    "preferred_scribble_thickness": [2, 2, 2],
    "interaction_decay": None,
    "patch_size": None,
    "do_autozoom": False,
    "inference_session_version": 6,
    "license": "Apache-2.0 (voxhint: no network weights)",
    "supports_undo": True,
}


class Remote:
    """All clients, by their leases."""

    def __init__(self, open_image: OpenImage) -> None:
        self._open_image = open_image
        self._clients: dict[str, Client] = {}
        self._lock = threading.Lock()

    def routes(self) -> list[Mount]:
        """Return the routes of the protocol."""

        def post(path: str, act: Callable[[Client, Request, bytes], Response]) -> Route:
            return Route(path, self._answering(act), methods=["POST"])

        return [
            Mount(
                f"/{REMOTE}",
                routes=[
                    Route("/healthz", lambda _request: JSONResponse({"ok": True})),
                    Route("/capabilities", lambda _request: JSONResponse(_CAPABILITIES)),
                    Route("/claim", self._claim, methods=["POST"]),
                    Route("/release", self._release, methods=["POST"]),
                    Route("/lease_status", self._answering(_status, active=False)),
                    Route("/heartbeat", self._answering(_status, active=False), methods=["POST"]),
                    post("/set_image", _image),
                    post("/set_target_buffer", _target),
                    post("/set_do_autozoom", lambda _client, _request, _body: JSONResponse({})),
                    post("/reset_interactions", _reset),
                    post("/undo", _undo),
                    post(
                        "/predict", lambda client, _request, _body: _told(client, client.predict())
                    ),
                    post("/add_point_interaction", _point),
                    post("/add_bbox_interaction", _box),
                    post("/add_scribble_interaction", _scribble),
                    post("/add_lasso_interaction", _lasso),
                    post("/add_initial_seg_interaction", _initial),
                ],
            )
        ]

    def _claim(self, _request: Request) -> Response:
        now = time.monotonic()
        with self._lock:
            self._clients = {
                lease: client
                for lease, client in self._clients.items()
                if now - client.seen < _ALIVE and now - client.active < _IDLE
            }
            if len(self._clients) >= MOST:
                return JSONResponse({"detail": f"{MOST} clients are at work already"}, 503)
            lease = secrets.token_hex(16)
            self._clients[lease] = Client(self._open_image)
        told = {"idle_timeout_seconds": _IDLE, "liveness_timeout_seconds": _ALIVE}
        return JSONResponse({"lease_token": lease, "max_sessions": MOST, **told})

    def _release(self, request: Request) -> Response:
        with self._lock:
            self._clients.pop(request.headers.get(LEASE, ""), None)
        return JSONResponse({"released": True})

    def _answering(
        self, act: Callable[[Client, Request, bytes], Response], *, active: bool = True
    ) -> Callable[[Request], Any]:
        """Return a route of a client that holds a lease."""

        async def route(request: Request) -> Response:
            client = self._clients.get(request.headers.get(LEASE, ""))
            if client is None:
                return JSONResponse({"detail": "the lease ended; connect again"}, 410)
            client.seen = time.monotonic()
            if active:
                client.active = client.seen
            body = await request.body()

            def work() -> Response:
                with client.lock:
                    return act(client, request, body)

            try:
                return await run_in_threadpool(work)
            except ValidationError as error:
                first = error.errors()[0]
                place = ".".join(map(str, first["loc"]))
                return JSONResponse({"detail": f"{place}: {first['msg']}"}, 400)
            except VoxhintError as error:
                return JSONResponse({"detail": str(error)}, 400)

        return route


def _status(client: Client, _request: Request, _body: bytes) -> Response:
    left = max(0.0, _IDLE - (time.monotonic() - client.active))
    return JSONResponse({"remaining_seconds": left, "idle_timeout_seconds": _IDLE})


def _meta(request: Request) -> str:
    return request.headers.get(META, "{}")


def _told(client: Client, box: Box3 | None, *, ran: bool | None = None) -> Response:
    """Return what of the mask changed."""
    about: Mapping[str, object] = {"ran_prediction": bool(ran or box), "bbox": None}
    data = b""
    if box is not None:
        part = client.part(box)
        start = [(s.start or 0, (s.start or 0) + n) for s, n in zip(box, part.shape, strict=True)]
        kind = {"dtype": part.dtype.name, "shape": part.shape}
        about, data = {"ran_prediction": True, "bbox": start, **kind}, pack(part)
    headers = {META: json.dumps(about)}
    return Response(data, media_type="application/octet-stream", headers=headers)


def _image(client: Client, request: Request, body: bytes) -> Response:
    meta = ImageMeta.model_validate_json(_meta(request))
    shape = client.set_image(unpack(body, most=LARGEST_ARRAY), meta.image_properties.spacing)
    return JSONResponse({"original_image_shape": shape})


def _target(client: Client, _request: Request, body: bytes) -> Response:
    client.set_target(TargetMask.model_validate_json(body))
    return JSONResponse({})


def _reset(client: Client, _request: Request, _body: bytes) -> Response:
    client.reset()
    return JSONResponse({})


def _undo(client: Client, _request: Request, _body: bytes) -> Response:
    return _told(client, client.undo())


def _point(client: Client, _request: Request, body: bytes) -> Response:
    return _told(client, client.point(PointPrompt.model_validate_json(body)))


def _box(client: Client, _request: Request, body: bytes) -> Response:
    return _told(client, client.box(BoxPrompt.model_validate_json(body)))


def _scribble(client: Client, request: Request, body: bytes) -> Response:
    told = DrawnPrompt.model_validate_json(_meta(request))
    return _told(client, client.scribble(unpack(body, most=LARGEST_ARRAY), told))


def _lasso(client: Client, request: Request, body: bytes) -> Response:
    told = DrawnPrompt.model_validate_json(_meta(request))
    return _told(client, client.lasso(unpack(body, most=LARGEST_ARRAY), told))


def _initial(client: Client, request: Request, body: bytes) -> Response:
    SegPrompt.model_validate_json(_meta(request))
    client.begin_with(unpack(body, most=LARGEST_ARRAY))
    return _told(client, None)
