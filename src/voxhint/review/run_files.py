"""The small files of a run: JSON objects, tables of training and scores, facts of a classifier."""

import csv
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from voxhint.core.errors import BadFileError
from voxhint.measure.score_table import ScoreTable
from voxhint.review.report_data import LabelVolume, TagRanking

_T = TypeVar("_T")


def read_object(path: Path) -> Mapping[str, Any]:
    """Read a JSON object.

    Args:
        path: A `.json` file.

    Returns:
        Its values.

    Raises:
        BadFileError: It cannot be read, or holds something else.
    """
    try:
        found = json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        msg = f"{path.name}: not JSON ({error}); run the step that writes it again"
        raise BadFileError(msg) from error
    if not isinstance(found, dict):
        msg = f"{path.name}: holds no object; run the step that writes it again"
        raise BadFileError(msg)
    return found


def read_history(path: Path) -> tuple[Mapping[str, float | None], ...]:
    """Read the rows of a training history; cells without a finite number become None.

    Args:
        path: A `.csv` file with a header.

    Returns:
        A row per line, by column name.
    """
    rows = csv.DictReader(_text(path).splitlines())
    return tuple(
        {name: _number(cell) for name, cell in row.items() if isinstance(name, str)} for row in rows
    )


def read_scores(path: Path) -> ScoreTable:
    """Return the table of a `scores.json`."""
    return ScoreTable.from_json(_text(path))


def read_classifier(path: Path) -> Mapping[str, TagRanking]:
    """Read how well a classifier of tags tells which images hold a label.

    Args:
        path: The `made.json` of soft labels.

    Returns:
        By label; empty without a classifier.

    Raises:
        BadFileError: It cannot be read, or its facts are none of a classifier.
    """
    return _told(path, "classifier", _CLASSIFIER.validate_python, "a classifier")


def read_weights(path: Path) -> Mapping[str, Mapping[str, str]]:
    """Read which networks were not trained on the study, and whose terms they come with.

    Args:
        path: The `made.json` of soft labels.

    Returns:
        name, licence, data and more of each, by what it is. Empty if all were trained on the study.

    Raises:
        BadFileError: It cannot be read, or says it in another way.
    """
    return _told(path, "weights", _WEIGHTS.validate_python, "weights")


def read_findings(path: Path) -> Mapping[str, float]:
    """Read how likely each image holds a label, as an image-level classifier tells.

    Args:
        path: A table with the columns `case` and `probability`.

    Returns:
        By case, the highest probability over labels; cases without one are left out.
    """
    found: dict[str, float] = {}
    for row in csv.DictReader(_text(path).splitlines()):
        case, chance = row.get("case"), _number(row.get("probability"))
        if case and chance is not None:
            found[case] = max(found.get(case, 0.0), chance)
    return found


def read_volumes(path: Path) -> Mapping[str, LabelVolume]:
    """Read how large labels came out of their hints.

    Args:
        path: The `made.json` of soft labels.

    Returns:
        By label; empty for soft labels that say nothing of it.

    Raises:
        BadFileError: It cannot be read, or says it in another way.
    """
    return _told(path, "volumes_ml", _VOLUMES.validate_python, "volumes")


def _told(
    path: Path, key: str, validated: Callable[[object], dict[str, _T]], what: str
) -> dict[str, _T]:
    """Return what a file says under one key; nothing if it says nothing.

    Raises:
        BadFileError: It cannot be read, or says it in another way.
    """
    try:
        return validated(read_object(path).get(key, {}))
    except ValidationError as error:
        msg = f"{path.name}: tells nothing of {what} that could be read; label the study again"
        raise BadFileError(msg) from error


_CLASSIFIER = TypeAdapter(dict[str, TagRanking])
_VOLUMES = TypeAdapter(dict[str, LabelVolume])
_WEIGHTS = TypeAdapter(dict[str, dict[str, str]])


def _text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        BadFileError: It cannot be read as text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        msg = f"{path.name}: cannot be read ({error}); run the step that writes it again"
        raise BadFileError(msg) from error


def _number(cell: object) -> float | None:
    try:
        value = float(str(cell))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
