"""What hints cost: the seconds a person would need to give them.

Measured times are for photographs; what turns them into times for scans are assumptions of ours,
marked as such in `PRICES`, and written beside every forecast.

Source:
    Bearman et al. 2016, "What's the Point: Semantic Segmentation with Point Supervision",
    arXiv:1506.02106, section 4; Papadopoulos et al. 2017, "Extreme Clicking for Efficient Object
    Annotation", arXiv:1708.02750; Lin et al. 2014, "Microsoft COCO", arXiv:1405.0312.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import assert_never

import cc3d
import numpy as np
from jaxtyping import UInt8

from voxhint.core import UNDRAWN, Box, Diameter, Hint, Mask, Points, Soft, Strokes, Tag
from voxhint.simulate.strokes import drawing_axis


@dataclass(frozen=True, slots=True)
class _Price:
    """The time one act takes."""

    seconds: float
    why: str
    measured: bool
    """Whether people were timed; else it is an assumption of ours."""


_BEARMAN = "Bearman et al. 2016, photographs"

PRICES: Mapping[str, _Price] = {
    "open a scan": _Price(20.0, "load it, set the window, page through it once", measured=False),
    "find a slice": _Price(2.0, "scroll to the next place to mark", measured=False),
    "tag": _Price(1.0, f"say of one class whether it occurs: {_BEARMAN}", measured=True),
    "first point": _Price(2.4, f"first click on a class: {_BEARMAN}", measured=True),
    "further point": _Price(0.9, f"each further click on a class: {_BEARMAN}", measured=True),
    "stroke": _Price(10.9, f"one squiggle in a class on one slice: {_BEARMAN}", measured=True),
    "box": _Price(
        10.5,
        "six extreme points: 1.5 times the 7 s of four in a photograph (Papadopoulos et al. 2017)",
        measured=False,
    ),
    "diameter": _Price(3.3, "two clicks on one slice, timed as points", measured=False),
    "outline": _Price(
        79.0, "outline of one object on one slice: Lin et al. 2014, photographs", measured=True
    ),
    "empty slice": _Price(1.0, "say that nothing is there, timed as a tag", measured=False),
    "probability": _Price(10.0, "look over one map made by another method", measured=False),
}
"""Seconds per act. A box in a scan adds two slices to find: its first and its last."""


def seconds_of(hints: Iterable[Hint]) -> float:
    """Forecast how long a person needs to give the hints of one case.

    Args:
        hints: All hints of the case.

    Returns:
        Seconds; 0 without hints.
    """
    given = tuple(hints)
    if not given:
        return 0.0
    return _price("open a scan") + sum(_seconds(hint) for hint in given)


def seconds_dense(truth: Mask) -> float:
    """Forecast how long a person needs to outline every object on every slice.

    Args:
        truth: The dense mask of one case.

    Returns:
        Seconds. For an abdominal organ on some tens of slices this gives the 30 to 60 minutes
        that Qu et al. 2023 ("AbdomenAtlas-8K", arXiv:2305.09666) report per organ and scan.
    """
    classes = truth.names.to_classes(truth.ids)
    every = Strokes(np.where(classes == UNDRAWN, np.uint8(0), classes), truth.grid, complete=True)
    return _price("open a scan") + _drawn_seconds(every)


def _price(act: str) -> float:
    return PRICES[act].seconds


def _seconds(hint: Hint) -> float:
    find = _price("find a slice")
    match hint:
        case Tag():
            seconds = _price("tag")
        case Points():
            count = len(hint.positions_mm)
            first, further = min(count, 1), max(count - 1, 0)
            clicks = _price("first point") * first + _price("further point") * further
            seconds = clicks + find * count
        case Box():
            seconds = _price("box") + 2 * find
        case Diameter():
            seconds = _price("diameter") + find
        case Strokes():
            seconds = _drawn_seconds(hint)
        case Soft():
            seconds = _price("probability")
        case _:
            assert_never(hint)
    return seconds


def _drawn_seconds(hint: Strokes) -> float:
    """Return the time for all slices drawn on."""
    slices = np.moveaxis(hint.classes, drawing_axis(hint.grid), 0)
    touched = (slices != UNDRAWN).any(axis=(1, 2))
    on_a_slice = _outline_seconds if hint.complete else _stroke_seconds
    drawn = sum(on_a_slice(sheet) for sheet in slices[touched])
    return drawn + _price("find a slice") * int(touched.sum())


def _stroke_seconds(sheet: UInt8[np.ndarray, "a b"]) -> float:
    """Return the time for one slice of scribbles: a squiggle per class."""
    return _price("stroke") * len(set(np.unique(sheet).tolist()) - {UNDRAWN})


def _outline_seconds(sheet: UInt8[np.ndarray, "a b"]) -> float:
    """Return the time for one whole slice: an outline per piece of each class."""
    objects = np.where(sheet == UNDRAWN, np.uint8(0), sheet)
    pieces = int(cc3d.connected_components(objects, connectivity=8).max())
    return _price("outline") * pieces if pieces else _price("empty slice")
