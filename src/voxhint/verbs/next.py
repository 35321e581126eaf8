"""`voxhint next`: where one more click would tell most, as a table."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from voxhint.core.errors import BadFileError
from voxhint.core.hints import Points
from voxhint.core.progress import Tell, silent
from voxhint.core.study import Study
from voxhint.files.atomic import write_text
from voxhint.files.csv_tables import table_text
from voxhint.files.validate.study import open_study
from voxhint.review.doubt import shown_soft
from voxhint.review.next_hints import NextHint, next_hints
from voxhint.runs.lock import require_apart
from voxhint.simulate.cost import PRICES, seconds_of
from voxhint.verbs.measure import require_free

_COLUMNS = ("rank", "case", "label", "kind", "x", "y", "z", "expected_gain", "seconds")


def rank_next_hints(
    study: Path,
    run: Path,
    out: Path,
    *,
    undrawn: int | None = None,
    overwrite: bool = False,
    tell: Tell = silent,
) -> Sequence[NextHint]:
    """Write a table of places to click, the one with the greatest expected gain first.

    Args:
        study: The study folder.
        run: What `voxhint run` or `voxhint label` made of it.
        out: The table: one row for each case and label, with what a person needs for it in
            seconds; a case is opened once.
        undrawn: The value that means "not drawn" in drawn maps, if not dataset.json says it.
        overwrite: Replace a table that is there already.
        tell: Hears of progress.

    Returns:
        The rows.

    Raises:
        BadFileError: There is no soft label of any case of the study.
    """
    require_apart(study, out)
    require_free(out, overwrite=overwrite)
    opened, _ = open_study(study, skip_bad=True, undrawn=undrawn)
    folder = run / "labels" if (run / "labels").is_dir() else run
    found = list(_found(opened, folder, tell))
    if not found:
        msg = f"{run}: holds no soft labels of this study; name what voxhint run has written"
        raise BadFileError(msg)
    ranked = sorted(found, key=lambda hint: (-hint.expected_gain, hint.case, hint.label))
    write_text(out, table_text(_rows(ranked), _COLUMNS))
    return ranked


def _found(study: Study, folder: Path, tell: Tell) -> Iterator[NextHint]:
    for done, files in enumerate(study.training, 1):
        soft = shown_soft(folder, files.name, None, study.labels)
        if soft is not None:
            yield from next_hints(files.name, soft, study.labels)
        tell("next", done, len(study.training), files.name)


def _rows(ranked: Sequence[NextHint]) -> Iterator[dict[str, str]]:
    seen: set[str] = set()
    for rank, hint in enumerate(ranked, 1):
        click = Points(hint.label, np.array([hint.position_mm]), np.ones(1))
        seconds = seconds_of([click])
        if hint.case in seen:
            seconds -= PRICES["open a scan"].seconds
        seen.add(hint.case)
        x, y, z = (f"{value:.2f}" for value in hint.position_mm)
        told = (rank, hint.case, hint.label, "points", x, y, z)
        gain = f"{hint.expected_gain:.3f}"
        yield dict(zip(_COLUMNS, (*map(str, told), gain, f"{seconds:.1f}"), strict=True))
