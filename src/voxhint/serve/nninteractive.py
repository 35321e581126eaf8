"""nnInteractive's remote protocol, version 2.6: other viewers' plug-ins click against voxhint.

A client claims a lease, sends an image and prompts on it, and gets back the part of the mask that
changed. Nothing of it is part of the session. Source: the client and server of nnInteractive 2.6.
"""

import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from jaxtyping import Bool, Shaped
from pydantic import BaseModel, Field, ValidationError
from scipy import ndimage
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from voxhint.core import UNDRAWN, Box, Grid, Hint, LabelSet, Points, Strokes, Volume
from voxhint.core.errors import BadHintError, VoxhintError
from voxhint.core.packed import pack, unpack
from voxhint.serve.guard import LARGEST_ARRAY, REMOTE
from voxhint.serve.scene import Answers, OpenImage
from voxhint.serve.undo_redo import Box3

MOST = 4
"""Clients at a time."""

META, LEASE = "X-Meta", "X-Lease-Token"
LABELS = LabelSet(("background", "object"), (0, 1))

_IDLE, _ALIVE = 600.0, 60.0  # seconds without a prompt, and without a sign of life
_CORE = 0.5  # of the depth of a lasso: what lies deeper is taken as drawn
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

Spacing = Annotated[float, Field(gt=0, le=1e4, allow_inf_nan=False)]
Along = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
Range = tuple[Along, Along]


class _ImageMeta(BaseModel):
    """What comes beside an image."""

    class Properties(BaseModel):
        """Of the image; more may be in it."""

        spacing: tuple[Spacing, Spacing, Spacing] | None = None

    image_properties: Properties = Properties()


class _Target(BaseModel):
    """The mask that a client wants."""

    shape: tuple[int, int, int]
    dtype: Literal["bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"]


class _Prompt(BaseModel):
    """What every prompt says beside its place."""

    include_interaction: bool = True
    run_prediction: bool = True


class _Point(_Prompt):
    coordinates: tuple[Along, Along, Along]


class _Box(_Prompt):
    bbox_coords: tuple[Range, Range, Range]


class _Drawn(_Prompt):
    interaction_bbox: tuple[Range, Range, Range] | None = None


class _Seg(BaseModel):
    run_prediction: bool = False


class Client:
    """One client: its image, its prompts in order, and its mask.

    Args:
        open_image: Returns what answers to prompts on an image.
    """

    def __init__(self, open_image: OpenImage) -> None:
        self.lock = threading.Lock()
        self.seen = self.active = time.monotonic()
        self._open_image = open_image
        self._answers: Answers | None = None
        self._grid = Grid((1, 1, 1), np.eye(4))
        self._hints: list[Hint] = []
        self._places: list[Box3] = []
        self._asked = 0  # prompts that the mask has answered
        self._dtype = "uint8"

    def set_image(self, voxels: np.ndarray, spacing_mm: Sequence[float] | None) -> list[int]:
        """Take an image of channels, and forget the one before.

        Args:
            voxels: Of shape (channel, i, j, k).
            spacing_mm: Along i, j and k; 1 mm if not told.

        Returns:
            The shape of the image.

        Raises:
            BadHintError: It is no such image.
        """
        if voxels.ndim != 4 or not voxels.size:
            msg = f"an image of shape {voxels.shape} came; send channel, i, j, k"
            raise BadHintError(msg)
        values = voxels.astype(np.float32)
        if not np.isfinite(values).all():
            msg = "the image holds values that are not finite; mend it"
            raise BadHintError(msg)
        self._grid = Grid(values.shape[1:], np.diag([*(spacing_mm or (1.0, 1.0, 1.0)), 1.0]))
        self._answers = self._open_image([Volume(each, self._grid) for each in values], LABELS)
        self._forget()
        return list(voxels.shape)

    def set_target(self, target: _Target) -> None:
        """Take note of the mask that the client keeps.

        Raises:
            BadHintError: It is of another shape than the image.
        """
        self._ready()
        if target.shape != self._grid.shape:
            msg = f"a mask of shape {target.shape} is wanted, the image is {self._grid.shape}"
            raise BadHintError(msg)
        self._dtype = target.dtype

    def reset(self) -> None:
        """Forget all prompts."""
        answers = self._ready()
        self._forget()
        answers.answer((), None)

    def _forget(self) -> None:
        self._hints, self._places, self._asked = [], [], 0

    def _ready(self) -> Answers:
        if self._answers is None:
            msg = "no image came yet; send it first"
            raise BadHintError(msg)
        return self._answers

    def point(self, told: _Point) -> Box3 | None:
        """Take a click.

        Returns:
            The box of the mask that changed, None without any.

        Raises:
            BadHintError: It lies outside the image.
        """
        at = np.array([told.coordinates], np.float64)
        if not self._grid.holds(self._grid.to_world(at)).all():
            msg = f"the place {told.coordinates} lies outside the image"
            raise BadHintError(msg)
        hint = Points(_label(told), self._grid.to_world(at), np.ones(1))
        return self._add(hint, _around(at, at), told)

    def box(self, told: _Box) -> Box3 | None:
        """Take a box; one on a single slice holds the whole object in that plane alone.

        Returns:
            The box of the mask that changed, None without any.

        Raises:
            BadHintError: It is empty.
        """
        ends = np.sort(np.array(told.bbox_coords, np.float64), 1)
        low, high = ends[:, 0], ends[:, 1]
        if (low == high).any():
            msg = "the box is empty along an axis; drag it over some voxels"
            raise BadHintError(msg)
        self._ready()
        if not told.include_interaction:
            inside = np.zeros(self._grid.shape, np.bool_)
            inside[_around(low[None], high[None] - 1, self._grid.shape)] = True
            return self._strokes(inside, told)
        size = (high - low) * self._grid.spacing_mm
        flat = high - low <= 1
        if flat.any() and not flat.all():  # as deep as it is wide
            half = size[~flat].mean() / 2 / self._grid.spacing_mm
            middle = (low + high) / 2
            low, high = np.where(flat, middle - half, low), np.where(flat, middle + half, high)
        corners = self._grid.to_world(np.stack([low, high]) - 0.5)
        hint = Box("object", corners.min(0), corners.max(0))
        return self._add(hint, _around(low[None], high[None] - 1, self._grid.shape), told)

    def scribble(self, drawn: np.ndarray, told: _Drawn) -> Box3 | None:
        """Take strokes.

        Returns:
            The box of the mask that changed, None without any.
        """
        return self._strokes(self._placed(drawn, told.interaction_bbox), told)

    def lasso(self, drawn: np.ndarray, told: _Drawn) -> Box3 | None:
        """Take a lasso: its inner part is as drawn, its rim is drawn in a hurry.

        Returns:
            The box of the mask that changed, None without any.
        """
        inside = self._placed(drawn, told.interaction_bbox)
        if told.include_interaction and inside.any():
            padded = np.pad(inside, 1)
            flat = [n for n, along in enumerate(np.where(inside)) if np.ptp(along) == 0]
            sampling = np.where(np.isin(range(3), flat), 1e6, self._grid.spacing_mm)
            depth = ndimage.distance_transform_edt(padded, sampling)[1:-1, 1:-1, 1:-1]
            inside = depth > _CORE * depth.max()
        return self._strokes(inside, told)

    def _placed(self, drawn: np.ndarray, box: Sequence[Range] | None) -> Bool[np.ndarray, "i j k"]:
        """Return where something is drawn, on the whole image.

        Raises:
            BadHintError: Nothing is, or the window is another one.
        """
        self._ready()
        whole = np.zeros(self._grid.shape, np.bool_)
        ends = box or [(0, n) for n in self._grid.shape]
        window = tuple(slice(max(0, round(a)), max(0, round(b))) for a, b in ends)
        if drawn.shape != whole[window].shape:
            msg = f"a drawing of shape {drawn.shape} came for a window of {whole[window].shape}"
            raise BadHintError(msg)
        whole[window] = drawn > 0
        if not whole.any():
            msg = "nothing is drawn"
            raise BadHintError(msg)
        return whole

    def _strokes(self, inside: Bool[np.ndarray, "i j k"], told: _Prompt) -> Box3 | None:
        classes = np.full(inside.shape, UNDRAWN, np.uint8)
        classes[inside] = LABELS.number(_label(told))
        ((i, j, k),) = ndimage.find_objects(inside.astype(np.uint8))
        place = (i, j, k)
        return self._add(Strokes(classes, self._grid, complete=False), place, told)

    def _add(self, hint: Hint, place: Box3, told: _Prompt) -> Box3 | None:
        self._ready()
        self._hints.append(hint)
        self._places.append(place)
        return self.predict() if told.run_prediction else None

    def predict(self) -> Box3 | None:
        """Let the mask answer to the prompts that it has not answered yet.

        Returns:
            The box of the mask that changed, None without any.
        """
        answers = self._ready()
        boxes = []
        while self._asked < len(self._hints):
            self._asked += 1
            before = self._hints[: self._asked]
            boxes.append(answers.answer(before, self._places[self._asked - 1])[0])
        return _union(boxes)

    def undo(self) -> Box3 | None:
        """Take back the last prompt.

        Returns:
            The box of the mask that changed, None without any.
        """
        if not self._hints:
            return None
        self._hints.pop()
        place = self._places.pop()
        if self._asked <= len(self._hints):
            return None
        self._asked = len(self._hints)
        return self._ready().answer(self._hints, place)[0]

    def begin_with(self, classes: np.ndarray) -> None:
        """Take a mask to begin with, and forget the prompts before.

        Raises:
            BadHintError: It is of another shape than the image.
        """
        answers = self._ready()
        if classes.shape != self._grid.shape:
            msg = f"a mask of shape {classes.shape} came, the image is {self._grid.shape}"
            raise BadHintError(msg)
        self._forget()
        answers.adopt((classes > 0).astype(np.uint8))

    def part(self, box: Box3) -> Shaped[np.ndarray, "i j k"]:
        """Return a part of the mask, in the type that the client keeps."""
        return self._ready().classes[box].astype(self._dtype)


def _label(told: _Prompt) -> str:
    return "object" if told.include_interaction else "background"


def _around(low: np.ndarray, high: np.ndarray, shape: Sequence[int] = ()) -> Box3:
    """Return the voxels of a box of indices, cut to the image."""
    ends = shape or (2**31,) * 3
    first = np.clip(np.floor(low[0]), 0, np.array(ends) - 1).astype(int)
    last = np.clip(np.ceil(high[0]), first, np.array(ends) - 1).astype(int)
    i, j, k = (slice(int(a), int(b) + 1) for a, b in zip(first, last, strict=True))
    return i, j, k


def _union(boxes: Sequence[Box3 | None]) -> Box3 | None:
    known = [box for box in boxes if box is not None]
    if not known:
        return None
    i, j, k = (
        slice(min(b.start or 0 for b in a), max(b.stop for b in a))
        for a in zip(*known, strict=True)
    )
    return i, j, k


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
    meta = _ImageMeta.model_validate_json(_meta(request))
    shape = client.set_image(unpack(body, most=LARGEST_ARRAY), meta.image_properties.spacing)
    return JSONResponse({"original_image_shape": shape})


def _target(client: Client, _request: Request, body: bytes) -> Response:
    client.set_target(_Target.model_validate_json(body))
    return JSONResponse({})


def _reset(client: Client, _request: Request, _body: bytes) -> Response:
    client.reset()
    return JSONResponse({})


def _undo(client: Client, _request: Request, _body: bytes) -> Response:
    return _told(client, client.undo())


def _point(client: Client, _request: Request, body: bytes) -> Response:
    return _told(client, client.point(_Point.model_validate_json(body)))


def _box(client: Client, _request: Request, body: bytes) -> Response:
    return _told(client, client.box(_Box.model_validate_json(body)))


def _scribble(client: Client, request: Request, body: bytes) -> Response:
    told = _Drawn.model_validate_json(_meta(request))
    return _told(client, client.scribble(unpack(body, most=LARGEST_ARRAY), told))


def _lasso(client: Client, request: Request, body: bytes) -> Response:
    told = _Drawn.model_validate_json(_meta(request))
    return _told(client, client.lasso(unpack(body, most=LARGEST_ARRAY), told))


def _initial(client: Client, request: Request, body: bytes) -> Response:
    _Seg.model_validate_json(_meta(request))
    client.begin_with(unpack(body, most=LARGEST_ARRAY))
    return _told(client, None)
