"""Soft labels from a user's own nnInteractive server, asked over its remote protocol (2.6).

The server's weights are its owner's: their licence is asked for and told.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import numpy as np
from jaxtyping import Float32, UInt8

from voxhint.core import Box, Diameter, Grid, Hint, LabelSet, Points, Strokes, Volume
from voxhint.core.box import corners
from voxhint.core.errors import NotAvailableError
from voxhint.core.labels import UNDRAWN
from voxhint.core.packed import pack, unpack

KEY = "NN_INTERACTIVE_API_KEY"
"""Environment variable of the server's key, as its own client has it."""

_PATIENCE = 600.0  # seconds for one answer: whole scans are prepared first
_SURE = 0.9  # probability of a label inside the only mask that holds a voxel
_FEW = 200  # clicks of one label that are sent; more say the same again

_Masks = UInt8[np.ndarray, "label i j k"]


class Server:
    """A server that is asked over HTTP.

    Args:
        url: Where it listens, such as http://127.0.0.1:1527.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        key = os.environ.get(KEY)
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._told: Mapping[str, Any] | None = None

    @property
    def licence(self) -> str:
        """Return what the server says of the licence of its weights."""
        return str(self._capabilities.get("license") or "not told")

    @property
    def _capabilities(self) -> Mapping[str, Any]:
        if self._told is None:
            self._told = self._json(self._ask("/capabilities")[0])
        return self._told

    @contextmanager
    def _lease(self) -> Iterator[None]:
        lease = self._json(self._ask("/claim", b"")[0])["lease_token"]
        self._headers["X-Lease-Token"] = str(lease)
        try:
            yield
        finally:
            self._ask("/release", b"")
            del self._headers["X-Lease-Token"]

    def masks(self, image: Volume, hints: Sequence[Hint], labels: LabelSet) -> _Masks:
        """Return what the server makes of the hints of each label.

        Args:
            image: What it sees.
            hints: Of one case, on the image's grid.
            labels: Names of the classes.

        Returns:
            1 inside, for each label of the foreground; 0 everywhere where it was given no hint.

        Raises:
            NotAvailableError: The server does not answer as it should.
        """
        shape = image.grid.shape
        found = np.zeros((len(labels.foreground), *shape), np.uint8)
        with self._lease():
            spacing = {"spacing": image.grid.spacing_mm.tolist()}
            self._send("/set_image", {"image_properties": spacing}, image.voxels[None])
            self._post("/set_target_buffer", {"shape": shape, "dtype": "uint8"})
            for mask, label in zip(found, labels.foreground, strict=True):
                asked = list(_prompts(hints, label, labels, image.grid, self._supports))
                if not any(include for _, _, _, include in asked):
                    continue
                self._post("/reset_interactions", {})
                for number, (path, told, drawn, include) in enumerate(asked, 1):
                    how = {"include_interaction": include, "run_prediction": number == len(asked)}
                    answer = (
                        self._post(path, {**told, **how})
                        if drawn is None
                        else self._send(path, {**told, **how}, drawn)
                    )
                    _patch(mask, answer)
        return found

    def _supports(self, prompt: str) -> bool:
        return bool(self._capabilities.get("supported_interactions", {}).get(prompt))

    def _post(self, path: str, told: Mapping[str, Any]) -> tuple[bytes, Mapping[str, str]]:
        return self._ask(path, json.dumps(told).encode(), {"Content-Type": "application/json"})

    def _send(
        self, path: str, told: Mapping[str, Any], array: np.ndarray
    ) -> tuple[bytes, Mapping[str, str]]:
        headers = {"Content-Type": "application/octet-stream", "X-Meta": json.dumps(told)}
        return self._ask(path, pack(array), headers)

    def _ask(
        self, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[bytes, Mapping[str, str]]:
        """Return what the server answers.

        Raises:
            NotAvailableError: It refuses, or is not there.
        """
        request = Request(self._url + path, body, {**self._headers, **(headers or {})})
        try:
            with urlopen(request, timeout=_PATIENCE) as answer:
                return answer.read(), dict(answer.headers.items())
        except HTTPError as error:
            why = error.read(500).decode("utf-8", "replace").partition("\n")[0]
            msg = f"{self._url}: refuses {path} ({error.code} {why}); look at the server, or {KEY}"
        except (URLError, OSError, ValueError) as error:
            why = str(getattr(error, "reason", error))
            msg = f"{self._url}: does not answer ({why}); start the server, or mend --server"
        raise NotAvailableError(msg)

    def _json(self, body: bytes) -> Mapping[str, Any]:
        """Return an answer's object.

        Raises:
            NotAvailableError: It is none.
        """
        try:
            told = json.loads(body)
        except ValueError:
            told = None
        if not isinstance(told, dict):
            msg = f"{self._url}: does not speak nnInteractive's protocol; mend --server"
            raise NotAvailableError(msg)
        return told


def _patch(mask: UInt8[np.ndarray, "i j k"], answer: tuple[bytes, Mapping[str, str]]) -> None:
    """Lay the part of a mask that changed over it."""
    body, headers = answer
    box = json.loads({k.lower(): v for k, v in headers.items()}.get("x-meta", "{}")).get("bbox")
    if box and body:
        part = unpack(body, most=8 * mask.size)
        mask[tuple(slice(int(a), int(b)) for a, b in box)] = part > 0


_Prompt = tuple[str, Mapping[str, Any], UInt8[np.ndarray, "i j k"] | None, bool]


def _prompts(
    hints: Sequence[Hint],
    label: str,
    labels: LabelSet,
    grid: Grid,
    supports: Any,  # noqa: ANN401
) -> Iterator[_Prompt]:
    """Yield what the hints of a case are for one label: path, words, drawing, inside or outside.

    What shows another label lies outside. Tags and soft masks are no prompts.
    """
    for hint in hints:
        match hint:
            case Points():
                for at in grid.to_index(hint.positions_mm)[:_FEW]:
                    place = {"coordinates": [round(float(v)) for v in at]}
                    yield "/add_point_interaction", place, None, hint.label == label
            case Box() if hint.label == label:
                yield _box(hint.low_mm, hint.high_mm, grid, supports)
            case Diameter() if hint.label == label:
                half = np.full(3, hint.diameter_mm / 2)
                yield _box(hint.centre_mm - half, hint.centre_mm + half, grid, supports)
            case Strokes():
                yield from _scribbles(hint.classes, labels.number(label))
            case _:
                pass


def _scribbles(classes: UInt8[np.ndarray, "i j k"], number: int) -> Iterator[_Prompt]:
    inside = classes == number
    for include, drawn in ((True, inside), (False, ~inside & (classes != UNDRAWN))):
        if drawn.any():
            yield "/add_scribble_interaction", {}, drawn.astype(np.uint8), include


def _box(low: np.ndarray, high: np.ndarray, grid: Grid, supports: Any) -> _Prompt:  # noqa: ANN401
    """Return a box in voxels, its middle slice where the server knows no deeper ones."""
    index = grid.to_index(corners(low, high))
    first = np.clip(np.round(index.min(0)), 0, np.array(grid.shape) - 1).astype(int)
    last = np.clip(np.round(index.max(0)) + 1, first + 1, grid.shape).astype(int)
    if not supports("bbox3d"):
        thick = int(np.argmax(grid.spacing_mm))
        first[thick] = (first[thick] + last[thick]) // 2
        last[thick] = first[thick] + 1
    ends = [[int(a), int(b)] for a, b in zip(first, last, strict=True)]
    return "/add_bbox_interaction", {"bbox_coords": ends}, None, True


def weighed(
    masks: _Masks,
) -> tuple[Float32[np.ndarray, "class i j k"], Float32[np.ndarray, "i j k"]]:
    """Return probability of each class, and trust: masks that overlap share their voxels.

    Args:
        masks: 1 inside, for each label of the foreground.
    """
    count = masks.sum(0)
    probs = np.zeros((len(masks) + 1, *masks.shape[1:]), np.float32)
    probs[1:] = _SURE * masks / np.maximum(count, 1)
    probs[0] = 1 - probs[1:].sum(0)
    trust = np.where(count > 1, 0.5, _SURE) if count.any() else np.zeros(count.shape)
    return probs, trust.astype(np.float32)
