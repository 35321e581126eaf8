"""Who may ask what: the right host and page, the token of the link, and bodies of bounded size."""

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import JSONResponse

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_App = Callable[[_Scope, _Receive, _Send], Awaitable[None]]

_TOKEN = "x-voxhint-token"
LARGEST = 8 * 2**20
"""Bytes of a request."""

LARGEST_ARRAY = 2**31
"""Bytes of an image that a client of nnInteractive's protocol sends."""

REMOTE = "nninteractive"
"""Where that protocol is spoken; the token comes as a bearer's."""

_LINK = "use the link that voxhint printed"
_TOO_MUCH = f"more than {LARGEST // 2**20} MiB at once; draw in smaller steps"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


@dataclass(frozen=True, slots=True)
class _RefusedError(Exception):
    code: int
    why: str


class Guard:
    """Refuses what does not come from our own page.

    Args:
        app: Hears what is let through.
        token: What requests to the API must bring along, from the link.
        hosts: What the header Host may say, with the port.
    """

    def __init__(self, app: _App, *, token: str, hosts: frozenset[str]) -> None:
        self._app = app
        self._token = token
        self._hosts = hosts

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Let a request through, or refuse it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        async def guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        try:
            self._look_at(scope)
            await self._app(scope, _bounded(receive, _largest(scope)), guarded)
        except _RefusedError as refusal:
            answer = JSONResponse({"error": refusal.why}, refusal.code)
            await answer(scope, receive, guarded)

    def _look_at(self, scope: _Scope) -> None:
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        if headers.get("host", "") not in self._hosts:
            raise _RefusedError(403, f"asked under a foreign name; {_LINK}")
        origin = headers.get("origin")
        if origin is not None and origin not in {f"http://{host}" for host in self._hosts}:
            raise _RefusedError(403, f"asked by a foreign page; {_LINK}")
        keys = {
            "api": headers.get(_TOKEN, ""),
            REMOTE: headers.get("authorization", "").removeprefix("Bearer "),
        }
        given = keys.get(_room(scope))
        if given is not None and not hmac.compare_digest(given.encode(), self._token.encode()):
            raise _RefusedError(401, f"wrong or no token; {_LINK}")
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > _largest(scope):
            raise _RefusedError(413, _TOO_MUCH)


def _room(scope: _Scope) -> str:
    """Return the first word of a path."""
    return str(scope["path"]).lstrip("/").partition("/")[0]


def _largest(scope: _Scope) -> int:
    """Return how many bytes a request may have."""
    return LARGEST_ARRAY if _room(scope) == REMOTE else LARGEST


def _bounded(receive: _Receive, largest: int) -> _Receive:
    """Return what reads a body, and stops where it is too large, whatever its header says."""
    read = 0

    async def bounded() -> MutableMapping[str, Any]:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > largest:
            raise _RefusedError(413, _TOO_MUCH)
        return message

    return bounded
