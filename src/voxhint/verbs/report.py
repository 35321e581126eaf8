"""`voxhint report`: one page about a run."""

from pathlib import Path

from voxhint.files.atomic import write_text
from voxhint.review.gather import gather
from voxhint.review.report import write_report


def report(run: Path) -> Path:
    """Write `report.html` into a run's folder.

    Args:
        run: What `voxhint run` wrote, complete or not.

    Returns:
        The absolute path of the page.
    """
    page = run.absolute() / "report.html"
    write_text(page, write_report(gather(run)))
    return page
