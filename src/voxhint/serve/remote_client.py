"""One client of nnInteractive's remote protocol: its image, its prompts and its mask."""

import threading
import time
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Bool, Shaped
from pydantic import BaseModel, Field
from scipy import ndimage

from voxhint.core import UNDRAWN, Box, Grid, Hint, LabelSet, Points, Strokes, Volume
from voxhint.core.box import bounding_box
from voxhint.core.errors import BadHintError
from voxhint.serve.scene import Answers, OpenImage
from voxhint.serve.undo_redo import Box3

_LABELS = LabelSet(("background", "object"), (0, 1))

_CORE = 0.5  # of the depth of a lasso: what lies deeper is taken as drawn

_Spacing = Annotated[float, Field(gt=0, le=1e4, allow_inf_nan=False)]
_Along = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
_Range = tuple[_Along, _Along]


class ImageMeta(BaseModel):
    """What comes beside an image."""

    class Properties(BaseModel):
        """Of the image; more may be in it."""

        spacing: tuple[_Spacing, _Spacing, _Spacing] | None = None

    image_properties: Properties = Properties()


class TargetMask(BaseModel):
    """The mask that a client wants."""

    shape: tuple[int, int, int]
    dtype: Literal["bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"]


class _Prompt(BaseModel):
    """What every prompt says beside its place."""

    include_interaction: bool = True
    run_prediction: bool = True


class PointPrompt(_Prompt):
    """A click."""

    coordinates: tuple[_Along, _Along, _Along]


class BoxPrompt(_Prompt):
    """A box, half open along each axis."""

    bbox_coords: tuple[_Range, _Range, _Range]


class DrawnPrompt(_Prompt):
    """A scribble or lasso on the image, or on a window of it."""

    interaction_bbox: tuple[_Range, _Range, _Range] | None = None


class SegPrompt(BaseModel):
    """A mask to begin with."""

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
        self._answers = self._open_image([Volume(each, self._grid) for each in values], _LABELS)
        self._forget()
        return list(voxels.shape)

    def set_target(self, target: TargetMask) -> None:
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

    def point(self, told: PointPrompt) -> Box3 | None:
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

    def box(self, told: BoxPrompt) -> Box3 | None:
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

    def scribble(self, drawn: np.ndarray, told: DrawnPrompt) -> Box3 | None:
        """Take strokes.

        Returns:
            The box of the mask that changed, None without any.
        """
        return self._strokes(self._placed(drawn, told.interaction_bbox), told)

    def lasso(self, drawn: np.ndarray, told: DrawnPrompt) -> Box3 | None:
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

    def _placed(self, drawn: np.ndarray, box: Sequence[_Range] | None) -> Bool[np.ndarray, "i j k"]:
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
        classes[inside] = _LABELS.number(_label(told))
        strokes = Strokes(classes, self._grid, complete=False)
        return self._add(strokes, bounding_box(inside), told)

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
