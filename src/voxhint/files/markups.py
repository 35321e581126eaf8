"""3D Slicer's markups: points and boxes drawn in a viewer."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from voxhint.core.errors import BadFileError, BadHintError
from voxhint.core.hints import Box, Points
from voxhint.core.labels import LabelSet
from voxhint.files.hints import Placed, Reading, foreground, turn_frame
from voxhint.files.names import plain
from voxhint.files.problems import Problem, problem_of, reading

SUFFIX = ".mrk.json"

_FRAMES = {"LPS": "LPS", "RAS": "RAS", "1": "LPS", "0": "RAS"}  # old Slicers write numbers
_COUNTER = re.compile(r"[-_ ]\d+$")
_UNPLACED = ("undefined", "preview", "missing")


def case_of(name: str, cases: Iterable[str]) -> tuple[str, str] | None:
    """Return the case a markups file speaks of, and what its name says beyond.

    Args:
        name: CASE.mrk.json, or CASE_LABEL.mrk.json; the longest case that fits is meant.
        cases: The names there are.

    Returns:
        The case and the rest of the name, or None if no case fits.
    """
    stem = name.removesuffix(SUFFIX)
    fitting = [
        case
        for case in cases
        if stem == case or (stem.startswith(case) and not stem[len(case)].isalnum())
    ]
    if not fitting:
        return None
    case = max(fitting, key=len)
    return case, stem[len(case) :].lstrip("_- .")


def _label(names: Iterable[object], labels: LabelSet) -> str:
    """Return the first name that is a label, as it is or without its counter.

    Raises:
        BadHintError: None is.
    """
    told = [str(name).strip() for name in names if name]
    for name in told:
        for text in (name, _COUNTER.sub("", name)):
            if text in labels.names:
                return text
    msg = (
        f"none of {', '.join(repr(name) for name in told) or 'its names'} is a label; "
        f"name the point, the markup or the file after one of {', '.join(labels.names)}"
    )
    raise BadHintError(msg)


def _triple(value: object, what: str) -> Float64[np.ndarray, "3"]:
    """Return three finite numbers.

    Raises:
        BadHintError: They are not.
    """
    try:
        triple = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        triple = np.empty(0)
    if triple.shape != (3,) or not np.isfinite(triple).all():
        msg = f"{what} is {value}; it must be three numbers"
        raise BadHintError(msg)
    return triple


def _box(markup: dict[str, Any], frame: str, label: str) -> Box:
    """Return the box along the world's axes around a box that may be turned.

    Raises:
        BadHintError: It has no extent, or means its outside.
    """
    centre = turn_frame(frame, _triple(markup.get("center"), "center"))
    size = _triple(markup.get("size"), "size")
    if markup.get("insideOut"):
        msg = "the box means its outside; untick 'inside out'"
        raise BadHintError(msg)
    if size.min() <= 0:
        msg = f"the box has size {size.tolist()}; draw it with some extent"
        raise BadHintError(msg)
    turn = np.array(markup.get("orientation") or np.eye(3).ravel(), dtype=np.float64)
    if turn.size != 9 or not np.isfinite(turn).all():
        msg = f"orientation is {markup.get('orientation')}; it must be nine numbers"
        raise BadHintError(msg)
    # signs do not matter for the half widths, so LPS and RAS agree here
    half = np.abs(turn.reshape(3, 3)) @ (size / 2)
    return Box(label, centre - half, centre + half)


def _points(
    markup: dict[str, Any], frame: str, names: tuple[object, ...], labels: LabelSet
) -> list[Points]:
    points = []
    for control in markup.get("controlPoints") or []:
        if control.get("positionStatus") in _UNPLACED:
            continue
        label = _label((control.get("label"), *names), labels)
        place = turn_frame(frame, _triple(control.get("position"), "position"))
        points.append(Points(label, place[None], np.ones(1)))
    return points


def _markup(
    markup: dict[str, Any], rest: str, labels: LabelSet
) -> tuple[Points, ...] | tuple[Box] | None:
    """Return the hints of one markup, or None if it is of a kind that says nothing to us.

    Raises:
        BadHintError: It is in a strange frame or unit.
    """
    system = str(markup.get("coordinateSystem", "LPS")).upper()
    unit = markup.get("coordinateUnits", "mm")
    names = (markup.get("name"), rest)
    if system not in _FRAMES or unit != "mm":
        msg = f"coordinates are {system} in {unit}; use LPS or RAS in mm"
        raise BadHintError(msg)
    match markup.get("type"):
        case "Fiducial" | "PointList":
            return tuple(_points(markup, _FRAMES[system], names, labels))
        case "ROI":
            tips = [control.get("label") for control in markup.get("controlPoints") or []]
            label = foreground(labels, _label((*names, *tips), labels))
            return (_box(markup, _FRAMES[system], label),)
        case _:
            return None


def read_markups(
    path: Path, cases: Iterable[str], labels: LabelSet, *, where: str | None = None
) -> Reading:
    """Read points and boxes from a .mrk.json file.

    The label of a point is the first of these that is a label of the study, a counter such as
    "-1" at its end forgiven: its own label, the markup's name, the file name after CASE_.

    Args:
        path: The file, called CASE.mrk.json or CASE_something.mrk.json.
        cases: The names of the cases there are, in form C.
        labels: The study's.
        where: How to call it in problems; its name if None.

    Returns:
        The good markups, and a problem for each bad one.
    """
    where = where or path.name
    found = case_of(plain(path.name), cases)
    if found is None:
        finding = "names no case of the study"
        return Reading(problems=(Problem(where, finding, "call it CASE_LABEL.mrk.json"),))
    case, rest = found
    try:
        markups = _read(path)
    except BadFileError as error:
        return Reading(problems=(problem_of(error, where, case=case),))
    hints: list[Placed] = []
    problems: list[Problem] = []
    for number, markup in enumerate(markups, start=1):
        place = f"{where} markup {number}"
        try:
            marks = _markup(markup, rest, labels)
        except BadHintError as error:
            problems.append(problem_of(error, place, case=case))
            continue
        if marks is None:
            finding = f"markup of type {markup.get('type')} is not read"
            problems.append(Problem(place, finding, "draw points or a box", "warning", case))
        hints += [Placed(case, mark, place) for mark in marks or ()]
    return Reading(tuple(hints), tuple(problems))


def _read(path: Path) -> list[dict[str, Any]]:
    """Return the markups of a file.

    Raises:
        BadFileError: It is not a markups file.
    """
    with reading(path):
        document = json.loads(path.read_text(encoding="utf-8-sig"))
        markups = document.get("markups") if isinstance(document, dict) else None
        shaped = isinstance(markups, list) and all(isinstance(item, dict) for item in markups)
        if not shaped or not markups:
            msg = f"{path.name}: holds no markups; save it from 3D Slicer again"
            raise BadFileError(msg)
        controls = [item.get("controlPoints") or [] for item in markups]
        if not all(isinstance(control, dict) for listed in controls for control in listed):
            msg = f"{path.name}: a control point is not an object; save it from 3D Slicer again"
            raise BadFileError(msg)
        return list(markups)
