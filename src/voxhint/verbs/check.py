"""`voxhint check`: every problem of a study at once."""

from collections.abc import Iterator
from pathlib import Path

from voxhint.config.ranges import Count, Weight, in_range
from voxhint.core.study import Study
from voxhint.core.words import agreeing, counted
from voxhint.files.images import read_volume
from voxhint.files.problems import Problem
from voxhint.files.registration import offset
from voxhint.files.validate.study import survey

_GAIN = 0.03  # nats: what registering channels that lie right gains by chance


def check(
    study: Path,
    *,
    dense: bool = False,
    registration_mm: float | None = None,
    undrawn: int | None = None,
    workers: int = 1,
) -> tuple[tuple[Problem, ...], str]:
    """Look a study over, every voxel included.

    Args:
        study: The study folder.
        dense: Whether dense masks stand in for hints.
        registration_mm: Also tell which channels lie further than this from the first; None does
            not look.
        undrawn: The value that means "not drawn" in drawn maps, if not dataset.json says it.
        workers: Processes that look at cases at the same time.

    Returns:
        The problems found, and one line that says what the study holds.
    """
    in_range(Weight | None, registration_mm, "registration_mm")
    in_range(Count, workers, "workers")
    seen = survey(study, deep=True, dense=dense, undrawn=undrawn, truths=True, workers=workers)
    if seen.study is None:
        return seen.problems, "no study could be read"
    kinds = ", ".join(agreeing(count, kind) for kind, count in seen.study.hint_kinds().items())
    told = (
        f"{len(seen.study.training)} training and {counted(len(seen.study.test), 'test case')}; "
        f"labels {', '.join(seen.study.labels.foreground)}; hints: {kinds or 'none'}"
    )
    apart = () if registration_mm is None else tuple(_apart(seen.study, registration_mm))
    return (*seen.problems, *apart), told


def _apart(study: Study, most_mm: float) -> Iterator[Problem]:
    """Yield a warning for each channel that a registration would move too far."""
    for files in (*study.training, *study.test):
        (first, path), *others = files.images.items()
        if not others:
            continue
        fixed = read_volume(path, channel=first)
        for channel, other in others:
            found = offset(fixed, read_volume(other, channel=channel))
            if found.residual_mm > most_mm and found.gain > _GAIN:
                finding = (
                    f"case '{files.name}': {channel} lies about {found.residual_mm:.1f} mm from "
                    f"{first}"
                )
                advice = "look at both, or move it with voxhint register"
                yield Problem(other.parent.name, finding, advice, "warning", files.name)
