"""`voxhint report`: one page about a run."""

import dataclasses
from pathlib import Path

from voxhint.core.errors import OutputError
from voxhint.files.atomic import write_text
from voxhint.review.gather import gather
from voxhint.review.report import write_report
from voxhint.runs import record
from voxhint.runs.provenance import changed_inputs, odd_files


def report(run: Path) -> Path:
    """Write `report.html` into a run's folder.

    Args:
        run: What `voxhint run` wrote, complete or not.

    Returns:
        The absolute path of the page.
    """
    page = run.absolute() / "report.html"
    facts = gather(run)
    changed = _changed(run)
    told = (
        f"{', '.join(changed)}: changed in the study since the run; pictures show it as it is now"
    )
    odd = [f"{name}: {why}" for name, why in odd_files(run) if name != page.name]
    problems = (*facts.problems, *([told] if changed else []), *odd)
    write_text(page, write_report(dataclasses.replace(facts, problems=problems)))
    record(run, page.name)
    return page


def _changed(run: Path) -> tuple[str, ...]:
    """Return what of its study is not as a run read it; nothing where that cannot be told."""
    try:
        return changed_inputs(run)
    except OutputError:
        return ()
