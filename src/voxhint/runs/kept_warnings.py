"""What a person should know that was found by work which is not done again when a job goes on."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from voxhint.core.errors import BadFileError
from voxhint.files.atomic import write_json
from voxhint.files.dataset_json import read_object
from voxhint.files.problems import Problem

NOTES = ".notes.json"
"""Lies in a folder in progress; `made.json` holds the same once it is complete."""

_PROBLEMS = "problems"


def kept(out: Path) -> dict[str, list[Any]]:
    """Return what is kept in a folder in progress, by what it is about."""
    try:
        return read_object(out / NOTES, exact=True) if (out / NOTES).is_file() else {}
    except BadFileError:  # what it told is found again or lost; no result hangs on it
        return {}


def keep_notes(out: Path, what: str, notes: Iterable[Any]) -> list[Any]:
    """Keep notes beside those that were kept before.

    Returns:
        All notes about it, each once, in the order in which they were found.
    """
    known = kept(out)
    before = known.get(what, [])
    together = [*before, *(note for note in notes if note not in before)]
    if together != before:
        write_json(out / NOTES, {**known, what: together})
    return together


def keep_problems(out: Path, problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Keep the problems of a study, of which a job that goes on looks for the quick ones alone.

    Returns:
        Those found now and before.
    """
    plain = keep_notes(out, _PROBLEMS, [dataclasses.asdict(problem) for problem in problems])
    return tuple(Problem(**told) for told in plain)
