"""dataset.json: the channels and labels of a study."""

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from voxhint.core.errors import BadFileError
from voxhint.core.labels import BACKGROUND, UNDRAWN, LabelSet, file_name
from voxhint.files.problems import Problem, problem_of, reading
from voxhint.files.unicode_names import plain

NAME = "dataset.json"
IGNORE = "ignore"

_TAKEN = ("trust", "uncertainty", "probability", "probabilities")  # end the names of our files
_LONGEST = 100  # bytes; CASE__LABEL__trust.nii.gz must be a file name, which 255 may have


@dataclass(frozen=True, slots=True)
class Description:
    """What a study says of itself."""

    channels: tuple[str, ...]
    """Names in the order of their numbers; file CASE_0000 holds the first."""

    optional: tuple[str, ...]
    """Channels that some cases may lack."""

    labels: LabelSet
    undrawn: int | None = None
    """The value that means "not drawn" in drawn maps; None where nobody said, and 255 does."""


def _has_control(name: str) -> bool:
    """Return whether a name holds signs that steer a terminal instead of being printed."""
    return any(unicodedata.category(sign) == "Cc" for sign in name)


def bad_name(name: str) -> str | None:
    """Return why a case or a label's file cannot be called so, or None if it can."""
    if not name.strip():
        return "is empty"
    if "__" in name:
        return "holds '__', which parts case and label in file names"
    if (
        _has_control(name)
        or name != name.strip()
        or name[0] == "."
        or any(c in name for c in '/\\:"')
    ):
        return "cannot be part of a file name"
    try:
        long = len(name.encode()) > _LONGEST
    except UnicodeEncodeError:  # what Python makes of a file name that is not UTF-8
        return "is not written in UTF-8"
    return f"is longer than {_LONGEST} bytes" if long else None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        ValueError: A key comes twice, of which Python would silently keep the last.
    """
    keys = [key for key, _ in pairs]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        msg = f"key {', '.join(twice)} comes twice"
        raise ValueError(msg)
    return dict(pairs)


def read_object(path: Path, *, exact: bool = False) -> dict[str, Any]:
    """Read a JSON file that holds one object.

    Args:
        path: The file.
        exact: Whether to leave names as they are stored, as where they are those of files; else
            they come in the one form in which names are compared.

    Returns:
        Its keys and values.

    Raises:
        BadFileError: It is not JSON, or not an object.
    """
    with reading(path):
        try:
            text = path.read_text("utf-8-sig")
            value = json.loads(text if exact else plain(text), object_pairs_hook=_unique)
        except ValueError as error:
            msg = f"{path.name}: is not JSON ({error}); mend it"
            raise BadFileError(msg) from error
        if not isinstance(value, dict):
            msg = f"{path.name}: holds a {type(value).__name__}; it must hold an object {{...}}"
            raise BadFileError(msg)
        return value


def _channels(value: object) -> tuple[tuple[str, ...], list[str]]:
    if not isinstance(value, Mapping) or not value:
        return (), ['channel_names must look like {"0": "CT"}']
    keys = [str(number) for number in range(len(value))]
    if sorted(value) != sorted(keys):
        return (), [f"channel_names has keys {', '.join(map(str, value))}; number them from 0"]
    names = tuple(str(value[key]).strip() for key in keys)
    findings = [f"channel '{name}' is named twice" for name in _twice(names)]
    findings += ["a channel has no name"] if "" in names else []
    findings += [
        f"channel '{name}' holds signs that cannot be printed"
        for name in names
        if _has_control(name)
    ]
    return names, findings


def _twice(values: tuple[Any, ...]) -> list[Any]:
    return sorted({value for value in values if values.count(value) > 1})


def _name_findings(names: tuple[str, ...]) -> list[str]:
    files = {name: file_name(name) for name in names}
    findings = [f"label '{name}' {why}" for name, file in files.items() if (why := bad_name(file))]
    findings += [
        f"label '{name}' has a name we use ourselves"
        for name, file in files.items()
        if file.casefold() in _TAKEN
    ]
    for shared in _twice(tuple(file.casefold() for file in files.values())):
        alike = [repr(name) for name, file in files.items() if file.casefold() == shared]
        findings.append(f"labels {' and '.join(alike)} would have files of one name")
    return findings


def _no_ids(ids: Mapping[str, Any]) -> list[str]:
    regions = [name for name, value in ids.items() if isinstance(value, (list, tuple))]
    if regions:
        return [f"labels {', '.join(regions)} are regions (lists of ids), which are not read"]
    odd = [name for name, value in ids.items() if type(value) is not int]
    why = f"labels {', '.join(odd)} have no whole number as id (they map name to id)"
    return [why] if odd else []


def _id_findings(ids: Mapping[str, Any]) -> list[str]:
    if findings := _no_ids(ids):
        return findings
    findings = [f"id {value} stands for two labels" for value in _twice(tuple(ids.values()))]
    findings += [
        f"label '{name}' has id {value}, outside 0 to {UNDRAWN - 1}"
        for name, value in ids.items()
        if not 0 <= value < UNDRAWN
    ]
    if ids.get(BACKGROUND) != 0:
        findings.append(f"label '{BACKGROUND}' must be there with id 0")
    if IGNORE in ids and ids[IGNORE] < max(ids.values()):
        findings.append(f"label '{IGNORE}' must have the highest id")
    if not set(ids) - {BACKGROUND, IGNORE}:
        findings.append("there is no label but background")
    return findings


def _labels(value: object) -> tuple[LabelSet | None, list[str]]:
    if not isinstance(value, Mapping) or not value:
        return None, ['labels must look like {"background": 0, "nodule": 1}']
    findings = _name_findings(tuple(map(str, value))) + _id_findings(value)
    if findings:
        return None, findings
    order = sorted((number, name) for name, number in value.items() if name != IGNORE)
    names, ids = tuple(name for _, name in order), tuple(number for number, _ in order)
    return LabelSet(names, ids, value.get(IGNORE)), []


def _undrawn(value: object, labels: LabelSet | None) -> tuple[int | None, list[str]]:
    """Return the value that means "not drawn", if somebody said, and what is wrong with it."""
    if value is None:
        return None, []
    if type(value) is not int or not 0 <= value <= UNDRAWN:
        return None, [f"undrawn is {value!r}; it must be a whole number of 0 to {UNDRAWN}"]
    taken = {} if labels is None else dict(zip(labels.ids[1:], labels.foreground, strict=True))
    if value in taken:
        return None, [f"undrawn is {value}, which is the id of label '{taken[value]}'"]
    return value, []


def _optional(
    spec: Mapping[str, Any], kind: str, known: tuple[str, ...]
) -> tuple[tuple[str, ...], list[str]]:
    """Return the channels or labels that some cases may lack, and what is wrong with them."""
    key = f"optional_{kind}s"
    value = spec.get(key, [])
    if not isinstance(value, list):
        return (), [f"{key} must be a list of {kind} names"]
    strange = [str(name) for name in value if name not in known]
    if strange:
        return (), [f"{key} names {', '.join(strange)}, which is no {kind}"]
    return tuple(name for name in known if name in value), []


def read_description(
    path: Path, *, undrawn: int | None = None
) -> tuple[Description | None, tuple[Problem, ...]]:
    """Read dataset.json.

    Args:
        path: The file.
        undrawn: The value that means "not drawn", whatever the file says of it.

    Returns:
        What it says, or None if that cannot be used; and every problem in it.
    """
    try:
        spec = read_object(path)
    except BadFileError as error:
        return None, (problem_of(error, NAME),)
    if undrawn is not None:
        spec = {**spec, "undrawn": undrawn}
    return describe(spec)


def describe(
    spec: Mapping[str, Any],
) -> tuple[Description | None, tuple[Problem, ...]]:
    """Read what dataset.json holds, or would hold.

    Returns:
        What it says, or None if that cannot be used; and every problem in it.
    """
    missing = [key for key in ("channel_names", "labels") if key not in spec]
    if missing:
        advice = "write it as for nnU-Net v2 (channel_names, labels, file_ending)"
        return None, (Problem(NAME, f"has no {' and no '.join(missing)}", advice),)
    channels, findings = _channels(spec["channel_names"])
    labels, more = _labels(spec["labels"])
    optional, rest = _optional(spec, "channel", channels)
    some, others = _optional(spec, "label", () if labels is None else labels.foreground)
    undrawn, last = _undrawn(spec.get("undrawn"), labels)
    findings += more + (rest if channels else []) + (others if labels else []) + last
    problems = tuple(Problem(NAME, finding, "mend dataset.json") for finding in findings)
    if problems or labels is None:
        return None, problems
    return Description(channels, optional, replace(labels, optional=some), undrawn), ()
