"""Whether a run still belongs to its study, and holds what it made."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from voxhint.core.errors import OutputError
from voxhint.verbs.job import read_made, study_inputs

OUTPUTS = "outputs"
"""Key of `made.json`: the SHA-256 of every file that was made, by its name in the folder."""


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def study_of(run: Path, made: Mapping[str, Any]) -> Path:
    """Return the study of a run.

    Args:
        run: The run's folder, which a relative path starts from.
        made: Its `made.json`.

    Returns:
        A folder that is there.

    Raises:
        OutputError: It is not there, or the folder holds something else than a run.
    """
    told = made.get("study")
    if made.get("verb") != "run" or not isinstance(told, str):
        msg = f"{run}: was not made by voxhint run; name the folder of a run"
        raise OutputError(msg)
    study = run / told
    if not study.is_dir():
        msg = f"{run}: its study {told} is not there any more; put it back, or run again"
        raise OutputError(msg)
    return study


def changed_inputs(run: Path) -> tuple[str, ...]:
    """Return what of its study is not as a run read it, such as `imagesTr`.

    Args:
        run: A run's folder.
    """
    made = read_made(run)
    told = made.get("inputs")
    known: dict[str, Any] = told if isinstance(told, dict) else {}
    today = study_inputs(study_of(run, made), known)
    return tuple(part for part, value in known.items() if today.get(part) != value)


def require_same(run: Path, parts: Mapping[str, str]) -> None:
    """Refuse to join a run to a study that has changed since.

    Args:
        run: A run's folder.
        parts: What must be as it was, by name, and why.

    Raises:
        OutputError: It is not.
    """
    for part in changed_inputs(run):
        if part in parts:
            msg = (
                f"{run}: {part} of its study has changed since the run, {parts[part]}; "
                "run again, or put the study back as it was"
            )
            raise OutputError(msg)


def require_made_here(run: Path, folder: str) -> None:
    """Refuse files in a folder of a run that the run did not make, or that were changed or lost.

    A run of a voxhint that kept no record of its files is taken as it lies.

    Args:
        run: A run's folder.
        folder: Name of a folder in it.

    Raises:
        OutputError: There is one.
    """
    outputs = read_made(run).get(OUTPUTS)
    if not isinstance(outputs, dict):
        return
    for name, why in _odd(run, folder, outputs):
        msg = f"{run}: {name} {why}; move it away and run again, which makes what is missing"
        raise OutputError(msg)


def _odd(run: Path, folder: str, outputs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    made = {name: value for name, value in outputs.items() if name.startswith(f"{folder}/")}
    for path in sorted((run / folder).rglob("*")):
        name = path.relative_to(run).as_posix()
        if path.is_file() and not path.name.startswith(".") and name not in made:
            yield name, "was not made by the run"
    for name, value in made.items():
        path = run / name
        if not path.is_file():
            yield name, "is gone since the run"
        elif sha256_of(path) != value:
            yield name, "was changed since the run"
