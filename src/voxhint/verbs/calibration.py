"""Whether the probabilities of a model can be believed."""

from pathlib import Path

import numpy as np

from voxhint.config.ranges import Natural, in_range
from voxhint.core.errors import about
from voxhint.core.progress import Tell, silent
from voxhint.core.volume import with_background
from voxhint.files.masks import read_mask
from voxhint.measure.calibration import CaseTrust, TrustTable, score_trust, tabulate_trust
from voxhint.verbs.measure import Truth, read_chance, read_truth


def measure_trust(
    folder: Path, truth: Path | Truth, *, seed: int = 0, tell: Tell = silent
) -> TrustTable:
    """Hold probabilities against truth.

    Args:
        folder: Of CASE__LABEL.nii.gz, as `predict` writes them.
        truth: A folder of CASE.nii.gz drawn by people, or what was found in one.
        seed: Of the bootstrap.
        tell: Hears of progress.

    Returns:
        Calibration, and risk over coverage.
    """
    rng = np.random.default_rng(in_range(Natural, seed, "seed"))
    told = truth if isinstance(truth, Truth) else read_truth(truth)
    rows = []
    for number, case in enumerate(told.masks):
        tell("measure probabilities", number, len(told.masks), case)
        with about(f"case {case}"):
            rows.append(_score(folder, told, case))
    return tabulate_trust(rows, rng=rng)


def _score(folder: Path, truth: Truth, case: str) -> CaseTrust:
    """Score the probabilities of a case; the background is what foreground labels leave.

    Returns:
        Calibration and risks of the case.
    """
    found = [read_chance(folder, case, name) for name in truth.labels.foreground]
    grids = [where for _, where in found]
    ids, grid = read_mask(truth.masks[case], truth.labels, grids, undrawn=truth.undrawn)
    for where in grids:
        grid.require_same(where)
    foreground = np.stack([values for values, _ in found])
    return score_trust(
        with_background(foreground),
        truth.labels.to_classes(ids),
        case=case,
        subject=truth.subjects.get(case, case),
    )
