"""`voxhint report`: one page about a run."""

import dataclasses
from pathlib import Path

from voxhint.core.errors import OutputError
from voxhint.core.progress import Tell, silent, tell_found
from voxhint.files.atomic import write_text
from voxhint.review.gather_report import gather
from voxhint.review.report import write_report
from voxhint.runs import record
from voxhint.runs.lock import LOCK, held
from voxhint.runs.resumable_folder import set_aside_changed
from voxhint.runs.study_unchanged import changed_inputs, odd_files


def report(run: Path, *, tell: Tell = silent) -> Path:
    """Write `report.html` into a run's folder; one that somebody changed is kept in `changed`.

    Args:
        run: What `voxhint run` wrote, complete or not.
        tell: Hears of a page that was changed.

    Returns:
        The absolute path of the page.

    Raises:
        OutputError: Another process is at work in the folder, or nothing can be written there.
    """
    if not run.is_dir():
        return write_page(run, tell)  # which says what is missing
    with held(run / LOCK, run):
        return write_page(run, tell)


def write_page(run: Path, tell: Tell = silent) -> Path:
    """Return the path of the page of a run whose lock is held, written now."""
    page = run.absolute() / "report.html"
    facts = gather(run)
    changed = _changed(run)
    told = (
        f"{', '.join(changed)}: changed in the study since the run; pictures show it as it is now"
    )
    odd = [f"{name}: {why}" for name, why in odd_files(run) if name != page.name]
    kept = set_aside_changed(run, page.name)
    tell_found(tell, kept)
    problems = (*facts.problems, *([told] if changed else []), *odd, *kept)
    write_text(page, write_report(dataclasses.replace(facts, problems=problems)))
    record(run, page.name)
    return page


def _changed(run: Path) -> tuple[str, ...]:
    """Return what of its study is not as a run read it; nothing where that cannot be told."""
    try:
        return changed_inputs(run)
    except OutputError:
        return ()
