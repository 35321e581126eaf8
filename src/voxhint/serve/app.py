"""The HTTP API of a session, and the page."""

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import anyio
import numpy as np
from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from voxhint.core.errors import BadHintError, OutputError, VoxhintError
from voxhint.core.grid import reordered
from voxhint.core.labels import UNDRAWN
from voxhint.serve.case import StaleError, UnknownError
from voxhint.serve.contract import Ask, Batch, Edit, Step, Verdict
from voxhint.serve.guard import Guard
from voxhint.serve.nninteractive import Remote
from voxhint.serve.rounds import BusyError
from voxhint.serve.session import Session
from voxhint.serve.undo_redo import LAYERS

_PAGE = Path(__file__).parent / "page"
"""The built page."""

BUILD = "scripts/page"

_PREVIEW = 2**22  # voxels of a preview
_PAUSE = 1.0  # seconds between writings of drawings
_LOOK = 0.3  # seconds between looks at news
_ALIVE = 20.0  # seconds after which old news are told again, so that a broken line is noticed
_UNBUILT = f"<!doctype html><title>voxhint</title><p>The page is not built; run {BUILD} first."
_CODES = (
    (UnknownError, 404),
    (StaleError, 409),
    (BusyError, 409),
    (BadHintError, 422),
    (OutputError, 507),
)

_B = TypeVar("_B", bound=BaseModel)
_Work = Callable[[], Any]


def is_built() -> bool:
    """Return whether the page lies where it is served from."""
    return (_PAGE / "index.html").is_file()


def make_app(
    session: Session,
    *,
    token: str,
    hosts: frozenset[str],
    over: Callable[[], bool] = lambda: False,
) -> Starlette:
    """Return the ASGI application of a session.

    Args:
        session: What it serves; closed when the application ends.
        token: What requests must bring along.
        hosts: Names, with the port, under which it may be asked.
        over: Tells when the server ends, so that streams of news do.
    """

    @contextlib.asynccontextmanager
    async def life(_app: Starlette) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_keep_drawings, session)
            yield
            tasks.cancel_scope.cancel()
        session.close()

    case = "/api/cases/{name}"
    routes: list[Route | Mount] = [
        Route("/api/session", _answering(session, _overview)),
        Route("/api/accept", _answering(session, _accept), methods=["POST"]),
        Route(case, _answering(session, _open)),
        Route(f"{case}/images/{{number:int}}", _answering(session, _image)),
        Route(f"{case}/images/{{number:int}}/preview", _answering(session, _image)),
        Route(f"{case}/layers/{{layer}}", _answering(session, _layer)),
        Route(f"{case}/edits", _answering(session, _edit), methods=["POST"]),
        Route(f"{case}/undo", _answering(session, _undo), methods=["POST"]),
        Route(f"{case}/redo", _answering(session, _undo), methods=["POST"]),
        Route(f"{case}/verdict", _answering(session, _judge), methods=["PUT"]),
        Route("/api/round", _answering(session, _begin), methods=["POST"]),
        Route("/api/round", _answering(session, _stop), methods=["DELETE"]),
        Route("/api/events", _events(session, over)),
    ]
    if session.desk.open_image is not None:
        routes += Remote(session.desk.open_image).routes()
    if is_built():
        routes += [Mount("/", StaticFiles(directory=_PAGE, html=True))]
    else:
        routes += [Route("/", lambda _request: HTMLResponse(_UNBUILT, 503))]
    guard = Middleware(Guard, token=token, hosts=hosts)
    return Starlette(routes=routes, middleware=[guard], lifespan=life)


async def _keep_drawings(session: Session) -> None:
    while True:
        await anyio.sleep(_PAUSE)
        await run_in_threadpool(session.keep_drawings)


_Handler = Callable[[Session, Request, bytes], Any]


def _answering(session: Session, handler: _Handler) -> Callable[[Request], Any]:
    """Return a route that works in a thread and tells errors of ours in one line."""

    async def route(request: Request) -> Response:
        body = await request.body()
        try:
            answer = await run_in_threadpool(handler, session, request, body)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            return JSONResponse({"error": f"{place}: {first['msg']}"}, 422)
        except VoxhintError as error:
            code = next((code for kind, code in _CODES if isinstance(error, kind)), 422)
            return JSONResponse({"error": str(error)}, code)
        if isinstance(answer, Response):
            return answer
        return Response(answer.model_dump_json(), media_type="application/json")

    return route


def _events(session: Session, over: Callable[[], bool]) -> Callable[[Request], Any]:
    """Return a route that tells news as server-sent events."""

    async def told() -> AsyncIterator[str]:
        last, quiet = "", 0.0
        while not over():
            news = session.news().model_dump_json()
            if news != last or quiet > _ALIVE:
                yield f"data: {news}\n\n"
                last, quiet = news, 0.0
            await anyio.sleep(_LOOK)
            quiet += _LOOK

    async def route(_request: Request) -> Response:
        return StreamingResponse(told(), media_type="text/event-stream")

    return route


def _name(request: Request) -> str:
    return str(request.path_params["name"])


def _overview(session: Session, _request: Request, _body: bytes) -> BaseModel:
    return session.overview()


def _open(session: Session, request: Request, _body: bytes) -> BaseModel:
    return session.open(_name(request))


def _image(session: Session, request: Request, _body: bytes) -> Response:
    """Return the voxels of an image: 32-bit floats, or 16-bit whole numbers where it holds those.

    Of its preview come so few, evenly spread over the same field of view, that a picture is there
    at once.

    Raises:
        UnknownError: The case has no such image.
    """
    images = list(session.scene(_name(request)).images.values())
    number = int(request.path_params["number"])
    if number >= len(images):
        msg = f"the case has {len(images)} images, none with number {number}"
        raise UnknownError(msg)
    voxels: np.ndarray = images[number].voxels
    if request.url.path.endswith("/preview"):
        less = max(1.0, (voxels.size / _PREVIEW) ** (1 / 3))
        counts = [max(1, int(n / less)) for n in voxels.shape]
        at = [
            ((np.arange(m) + 0.5) * n / m).astype(int)
            for m, n in zip(counts, voxels.shape, strict=True)
        ]
        voxels = voxels[np.ix_(*at)]
    fits = voxels.min() >= -(2**15) and voxels.max() < 2**15
    whole = voxels.astype(np.int16) if fits else voxels
    if not np.array_equal(whole, voxels):
        whole = voxels
    shape = " ".join(map(str, whole.shape))
    return _binary(whole, {"x-voxhint-type": whole.dtype.name, "x-voxhint-shape": shape})


def _layer(session: Session, request: Request, _body: bytes) -> Response:
    layer = str(request.path_params["layer"])
    voxels = session.layer(_name(request), layer)
    if (voxels == (UNDRAWN if layer in LAYERS else 0)).all():
        return Response(status_code=204)
    return _binary(voxels, {})


def _binary(voxels: np.ndarray, headers: dict[str, str]) -> Response:
    """Return voxels, the first axis first, little-endian."""
    little = voxels.astype(voxels.dtype.newbyteorder("<"), copy=False)
    data = reordered(little, "F").ravel("F").data.cast("B")
    return Response(data, media_type="application/octet-stream", headers=headers)


def _edit(session: Session, request: Request, body: bytes) -> BaseModel:
    return session.edit(_name(request), Edit.model_validate_json(body))


def _undo(session: Session, request: Request, body: bytes) -> BaseModel:
    step = Step.model_validate_json(body)
    again = request.url.path.endswith("/redo")
    return session.undo(_name(request), step.revision, step.seconds, again=again)


def _judge(session: Session, request: Request, body: bytes) -> BaseModel:
    return session.judge(_name(request), Verdict.model_validate_json(body))


def _begin(session: Session, _request: Request, body: bytes) -> BaseModel:
    return session.rounds.start(Ask.model_validate_json(body).minutes)


def _stop(session: Session, _request: Request, _body: bytes) -> BaseModel:
    return session.rounds.stop()


def _accept(session: Session, _request: Request, body: bytes) -> Response:
    rows = session.accept_sure(Batch.model_validate_json(body).above)
    return JSONResponse([row.model_dump() for row in rows])
