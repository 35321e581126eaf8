"""What travels between the page and the server: every request and every answer, typed."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

_Millimetres = Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6)]
_Place = tuple[_Millimetres, _Millimetres, _Millimetres]
"""World millimetres, RAS+ (NIfTI)."""

_Index = Annotated[int, Field(ge=0, lt=2**31)]
_Run = tuple[_Index, Annotated[int, Field(ge=1, lt=2**31)]]
"""First voxel of a run, and how many: numbers on the page's grid, along the first axis first."""

_Seconds = Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)]
_Name = Annotated[str, Field(min_length=1, max_length=200)]
Layer = Literal["scribbles", "slices"]
State = Literal["open", "accepted", "corrected", "rejected", "skipped"]


class _Contract(BaseModel):
    """Of the wire: nothing unknown is taken."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PointMark(_Contract):
    """A click that lies in one label, `background` included."""

    kind: Literal["point"] = "point"
    label: _Name
    at: _Place
    confidence: Annotated[float, Field(gt=0, le=1)] = 1.0


class BoxMark(_Contract):
    """A box along the world's axes around a label's object."""

    kind: Literal["box"] = "box"
    label: _Name
    low: _Place
    high: _Place


class DiameterMark(_Contract):
    """The centre and the longest diameter of a roundish object."""

    kind: Literal["diameter"] = "diameter"
    label: _Name
    centre: _Place
    diameter_mm: Annotated[float, Field(gt=0, le=2000, allow_inf_nan=False)]


class TagMark(_Contract):
    """Whether a label occurs in the image, or between two heights of it."""

    kind: Literal["tag"] = "tag"
    label: _Name
    state: Literal["present", "absent", "unknown"]
    z_range: tuple[_Millimetres, _Millimetres] | None = None


Mark = Annotated[PointMark | BoxMark | DiameterMark | TagMark, Field(discriminator="kind")]


class Paint(_Contract):
    """Voxels drawn with a brush, erased, or filled on a slice."""

    layer: Layer
    label: _Name | None
    """None takes away what was drawn there."""

    runs: Annotated[list[_Run], Field(max_length=2_000_000)]
    plane: tuple[Literal[0, 1, 2], _Index] | None = None
    """Axis and number of a slice that is now drawn whole: background where nothing else is."""


class Edit(_Contract):
    """One step of a person's work: it is undone as a whole."""

    revision: Annotated[int, Field(ge=0)]
    """Of the case as the page knows it; a change made elsewhere since then is not overwritten."""

    add: Annotated[list[Mark], Field(max_length=1000)] = []
    remove: Annotated[list[_Index], Field(max_length=1000)] = []
    paint: Paint | None = None
    fills: Annotated[list[Paint], Field(max_length=256)] = []
    """More paintings of the same step."""

    between: bool = False
    """Take what lies between the drawn slices for soft hints, which follow the slices."""

    lock: _Name | None = None
    """Scribble what the mask shows of a label, so that no later hint changes it; the server then
    fills `fills`."""

    seconds: _Seconds = 0.0
    """What the step cost the person."""

    @property
    def paints(self) -> tuple[Paint, ...]:
        """Return all paintings."""
        return (*((self.paint,) if self.paint else ()), *self.fills)


class Step(_Contract):
    """Undo or redo."""

    revision: Annotated[int, Field(ge=0)]
    seconds: _Seconds = 0.0


class Verdict(_Contract):
    """What a person makes of a case."""

    state: State
    note: Annotated[str, Field(max_length=2000)] = ""
    seconds: _Seconds = 0.0


class Batch(_Contract):
    """Accept all cases that nobody judged and whose mask is at least this sure."""

    above: Annotated[float, Field(ge=0, le=1)]


class Ask(_Contract):
    """Begin a round: labels, a model and masks from all that was said so far."""

    minutes: Annotated[float, Field(gt=0, le=7 * 24 * 60, allow_inf_nan=False)] = 10.0
    """For training; it ends before where held-out hints no longer get better."""


class Label(BaseModel):
    """A class of the study."""

    name: str
    id: int
    colour: tuple[int, int, int]


class Row(BaseModel):
    """A case in the list."""

    name: str
    state: State
    note: str
    hints: int
    seconds: float
    sureness: float | None
    """Mean lead of the first class over the second where the mask is not background; None where
    nothing is known of it."""

    takes_hints: bool
    """Cases of `imagesTs` are looked at and judged, but take no hints."""


class Overview(BaseModel):
    """The session."""

    study: str
    labels: list[Label]
    channels: list[str]
    cases: list[Row]
    run: str | None


class NumberedMark(BaseModel):
    """A mark and the number by which it is removed."""

    id: int
    mark: Mark


class Patch(BaseModel):
    """A box of voxels of a layer that changed, along the first axis first."""

    layer: Literal["mask", "scribbles", "slices"]
    low: tuple[int, int, int]
    size: tuple[int, int, int]
    voxels: str
    """Class numbers, a byte each, packed with zlib, as base64; 255 where nothing is drawn."""


class Change(BaseModel):
    """What a step changed."""

    revision: int
    marks: list[NumberedMark]
    patches: list[Patch]
    undo: int
    redo: int
    row: Row
    answer_ms: float
    note: str = ""
    """What a person should know of the answer, such as that it is coarse."""


class Channel(BaseModel):
    """An image of a case."""

    name: str
    unit: str
    low: float
    high: float
    """Values between which it is shown first."""


class Opened(BaseModel):
    """A case that was opened."""

    name: str
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    affine: list[list[float]]
    """Of the page's grid, whose axes run to the right, to the front and up."""

    channels: list[Channel]
    layers: list[str]
    """Beside mask, scribbles and slices: what else can be shown, such as truth."""

    revision: int
    marks: list[NumberedMark]
    undo: int
    redo: int
    row: Row


class Round(BaseModel):
    """How far a round is."""

    state: Literal["none", "running", "done", "failed", "stopped"] = "none"
    step: str = ""
    done: int = 0
    total: int = 0
    note: str = ""
    """The case at work, or why it failed."""

    seconds: float = 0.0
    """Since it began."""

    left_s: float | None = None
    """Seconds until the step is done, None where it cannot be told yet."""


class News(BaseModel):
    """What happened without a request of the page: an event of the stream."""

    round: Round
    masks: int = 0
    """Counts up when masks come in; the page then asks for the list and for the open case again."""


class _Problem(BaseModel):
    """Why a request was refused."""

    error: str
