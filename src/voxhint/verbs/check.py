"""`voxhint check`: every problem of a study at once."""

from pathlib import Path

from voxhint.files.inspection import survey
from voxhint.files.problems import Problem
from voxhint.files.study import hint_kinds


def check(study: Path, *, dense: bool = False) -> tuple[tuple[Problem, ...], str]:
    """Look a study over, every voxel included.

    Args:
        study: The study folder.
        dense: Whether dense masks stand in for hints.

    Returns:
        The problems found, and one line that says what the study holds.
    """
    seen = survey(study, deep=True, dense=dense)
    if seen.study is None:
        return seen.problems, "no study could be read"
    kinds = ", ".join(f"{count} {kind}" for kind, count in hint_kinds(seen.study).items())
    told = (
        f"{len(seen.study.training)} training and {len(seen.study.test)} test cases; "
        f"labels {', '.join(seen.study.labels.foreground)}; hints: {kinds or 'none'}"
    )
    return seen.problems, told
