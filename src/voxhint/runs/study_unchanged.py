"""Whether a run still belongs to its study, and holds what it made."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from voxhint.core.errors import OutputError
from voxhint.runs import read_made, study_inputs
from voxhint.runs.files_unchanged import differences, recorded
from voxhint.runs.study_path import find_study


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
    study = find_study(run, made)
    if study is None:
        msg = (
            f"{run}: its study {Path(told).name} is not there any more; put it back, or give the "
            "command of the run again with where it lies now"
        )
        raise OutputError(msg)
    return study


def changed_inputs(run: Path) -> tuple[str, ...]:
    """Return what of its study is not as a run read it, such as `imagesTr`."""
    made = read_made(run)
    told = made.get("inputs")
    known: dict[str, Any] = told if isinstance(told, dict) else {}
    today = study_inputs(study_of(run, made), known)
    return tuple(
        part
        for part, value in known.items()
        if part != "backbone_weights" and today.get(part) != value
    )


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
    for name, why in odd_files(run):
        if name.startswith(f"{folder}/"):
            msg = f"{run}: {name} {why}; move it away and run again, which makes what is missing"
            raise OutputError(msg)


def odd_files(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield what lies in a folder otherwise than it was made, and how that shows.

    Args:
        folder: With a `made.json`; one that keeps no record of its files tells nothing.
    """
    if not recorded(folder):
        return
    found = differences(folder)
    for names, why in (
        (found.gone, "is gone since it was made"),
        (found.changed, "was changed since it was made"),
        (found.foreign, "was not made by voxhint"),
    ):
        yield from ((name, why) for name in names)
