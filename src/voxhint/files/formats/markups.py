"""3D Slicer's markups: points, boxes and lines drawn in a viewer."""

import csv
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from voxhint.core.errors import BadFileError, BadHintError
from voxhint.core.hints import Box, Diameter, Points
from voxhint.core.labels import LabelSet
from voxhint.files.hint_tables import Placed, Reading, foreground, turn_frame
from voxhint.files.problems import Problem, problem_of, reading
from voxhint.files.unicode_names import plain

SUFFIXES = (".mrk.json", ".fcsv")

_FRAMES = {"LPS": "LPS", "RAS": "RAS", "1": "LPS", "0": "RAS"}  # old Slicers write numbers
_COUNTER = re.compile(r"[-_ ]\d+$")
_UNPLACED = ("undefined", "preview", "missing")
_UNITS = ("mm", "millimeter", "millimetre", "millimeters", "millimetres")
_STRAIGHT = 1e-3  # how far the axes of a box may be from unit length and right angles


def _case_of(name: str, cases: Iterable[str]) -> tuple[str, str] | None:
    """Return the case a markups file speaks of, and what its name says beyond.

    Args:
        name: CASE.mrk.json, or CASE_LABEL.mrk.json, or .fcsv; the longest case that fits is meant.
        cases: The names there are.

    Returns:
        The case and the rest of the name, or None if no case fits.
    """
    stem = name
    for suffix in SUFFIXES:
        stem = stem.removesuffix(suffix)
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
    # signs do not matter for the half widths, so LPS and RAS agree here
    half = np.abs(_turn(markup.get("orientation"))) @ (size / 2)
    return Box(label, centre - half, centre + half)


def _turn(value: object) -> Float64[np.ndarray, "3 3"]:
    """Return the axes of a box; the world's where none are given.

    Raises:
        BadHintError: They are not nine numbers, or not of unit length at right angles.
    """
    try:
        turn = np.array(value or np.eye(3).ravel(), dtype=np.float64)
    except (TypeError, ValueError):
        turn = np.empty(0)
    if turn.size != 3 * 3 or not np.isfinite(turn).all():
        msg = f"orientation is {value}; it must be nine numbers"
        raise BadHintError(msg)
    turn = turn.reshape(3, 3)
    if np.abs(turn.T @ turn - np.eye(3)).max() > _STRAIGHT:
        lengths = ", ".join(f"{length:.3g}" for length in np.linalg.norm(turn, axis=0))
        msg = (
            f"orientation has axes of length {lengths}, or not at right angles; "
            "save it from 3D Slicer again (its size gives the extent)"
        )
        raise BadHintError(msg)
    return turn


def _line(markup: dict[str, Any], frame: str, label: str) -> Diameter:
    """Return the ball across which a line is the longest diameter.

    Raises:
        BadHintError: It does not have two ends apart.
    """
    ends = [
        turn_frame(frame, _triple(control.get("position"), "position"))
        for control in markup.get("controlPoints") or []
        if control.get("positionStatus") not in _UNPLACED
    ]
    if len(ends) != 2:
        msg = f"the line has {len(ends)} of its 2 ends; place both, or remove it"
        raise BadHintError(msg)
    length = float(np.linalg.norm(ends[1] - ends[0]))
    if length <= 0:
        msg = "the line has both ends at one place; draw it across the object, or remove it"
        raise BadHintError(msg)
    return Diameter(label, (ends[0] + ends[1]) / 2, length)


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


def _unit(markup: dict[str, Any]) -> object:
    unit: object = markup.get("coordinateUnits", "mm")
    if isinstance(unit, list) and unit:  # a coded entry: value, scheme, meaning
        return unit[0]
    return unit


def _markup(
    markup: dict[str, Any], rest: str, labels: LabelSet
) -> tuple[Points, ...] | tuple[Box | Diameter] | None:
    """Return the hints of one markup, or None if it is of a kind that says nothing to us.

    Raises:
        BadHintError: It is in a strange frame or unit.
    """
    system = str(markup.get("coordinateSystem", "LPS")).upper()
    unit = _unit(markup)
    names = (markup.get("name"), rest)
    if system not in _FRAMES or unit not in _UNITS:
        msg = f"coordinates are {system} in {unit}; use LPS or RAS in mm"
        raise BadHintError(msg)
    match markup.get("type"):
        case "Fiducial" | "PointList":
            return tuple(_points(markup, _FRAMES[system], names, labels))
        case "ROI" | "Line" as kind:
            tips = [control.get("label") for control in markup.get("controlPoints") or []]
            label = foreground(labels, _label((*names, *tips), labels))
            shape = _box if kind == "ROI" else _line
            return (shape(markup, _FRAMES[system], label),)
        case _:
            return None


def read_markups(
    path: Path, cases: Iterable[str], labels: LabelSet, *, where: str | None = None
) -> Reading:
    """Read points, boxes and lines from a .mrk.json file, or points from a .fcsv file.

    The label of a point is the first of these that is a label of the study, a counter such as
    "-1" at its end forgiven: its own label, the markup's name, the file name after CASE_.

    Args:
        path: The file, called CASE.mrk.json or CASE_something.mrk.json, or the same with .fcsv.
        cases: The names of the cases there are, in form C.
        labels: The study's.
        where: How to call it in problems; its name if None.

    Returns:
        The good markups, and a problem for each bad one.
    """
    where = where or path.name
    found = _case_of(plain(path.name), cases)
    if found is None:
        finding = "names no case of the study"
        return Reading(problems=(Problem(where, finding, "call it CASE_LABEL.mrk.json"),))
    case, rest = found
    try:
        markups = _read_list(path) if path.suffix == ".fcsv" else _read(path)
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
            problems.append(
                Problem(place, finding, "draw points, a box or a line", "warning", case)
            )
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
        for item in markups:
            if not all(isinstance(one, dict) for one in item.get("controlPoints") or []):
                msg = f"{path.name}: a control point is not an object; save it from 3D Slicer again"
                raise BadFileError(msg)
        return list(markups)


def _said(notes: list[str]) -> dict[str, str]:
    """Return what the lines "# key = value" at the head of a .fcsv file say."""
    parts = (note.lstrip("# ").partition("=") for note in notes)
    return {key.strip().lower(): value.strip().lower() for key, _, value in parts}


_COLUMNS = "id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID"


def _read_list(path: Path) -> list[dict[str, Any]]:
    """Return the points of a .fcsv file of Slicer 4 as one markup.

    Raises:
        BadFileError: It is not such a file, or does not say its frame.
    """
    with reading(path):
        lines = plain(path.read_text(encoding="utf-8-sig")).splitlines()
        said = _said([line for line in lines if line.startswith("#")])
        columns = said.get("columns", _COLUMNS.lower()).split(",")
        frame = said.get("coordinatesystem")
        if frame is None or not {"x", "y", "z"} <= set(columns):
            msg = (
                f"{path.name}: does not say CoordinateSystem or columns; save it from Slicer again"
            )
            raise BadFileError(msg)
        rows = csv.reader(filter(str.strip, (line for line in lines if not line.startswith("#"))))
        cells = [dict(zip(columns, row, strict=False)) for row in rows]
        if not cells:
            msg = f"{path.name}: holds no points; place some, or remove it"
            raise BadFileError(msg)
        controls = [
            {"label": row.get("label"), "position": [*map(row.get, "xyz")]} for row in cells
        ]
        return [{"type": "Fiducial", "coordinateSystem": frame, "controlPoints": controls}]
