"""How sure soft labels and masks are, as a run wrote it down."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from voxhint.core.grid import Grid
from voxhint.core.labels import LabelSet
from voxhint.core.volume import SoftLabel
from voxhint.files.images import read_ids, read_probability
from voxhint.files.soft_labels import read_soft_label

_ENDING = ".nii.gz"
_LIKELY = 0.5
_SHOWN = 2**25  # values of a soft label that are held for pictures
_MOST_CASES = 40
_MOST_BYTES = 200_000_000  # some ten seconds to read and unpack


def read_doubt(masks: Path, case: str) -> tuple[Float32[np.ndarray, "i j k"], Grid] | None:
    """Return how unsure the network is of each voxel, 0 to 1, or None if that was not written."""
    path = masks / f"{case}__uncertainty{_ENDING}"
    return read_probability(path) if path.exists() else None


def mask_doubt(masks: Path, case: str) -> float | None:
    """Return which share of the voxels in a mask or in doubt is in doubt, None if nothing tells."""
    unsure = read_doubt(masks, case)
    if unsure is None:
        return None
    ids, _ = read_ids(masks / f"{case}{_ENDING}")
    return doubtful(unsure[0], ids > 0)


def doubtful(unsure: Float32[np.ndarray, "i j k"], inside: np.ndarray) -> float:
    """Return the share of the voxels in a mask or in doubt that are in doubt."""
    doubt = unsure > _LIKELY
    return float(doubt.sum() / max((doubt | inside).sum(), 1))


def affordable(folder: Path, cases: Sequence[str]) -> int:
    """Return of how many cases all files of a folder can be read in short time, by their size."""
    sizes = [path.stat().st_size for case in cases[:1] for path in folder.glob(f"{case}[._]*")]
    return max(1, min(_MOST_CASES, _MOST_BYTES // max(sum(sizes), 1)))


def mean_trust(soft: SoftLabel) -> float | None:
    """Return the mean trust of the likely voxels of all labels, or None if none is likely."""
    likely = soft.probs[1:] > _LIKELY
    return float(soft.trust[1:][likely].mean()) if likely.any() else None


def shown_soft(folder: Path, case: str, grid: Grid | None, names: LabelSet) -> SoftLabel | None:
    """Return the soft label of a case as pictures show it: of whole scans not every voxel.

    Args:
        folder: What `label` wrote.
        case: Its name.
        grid: Where the soft label must lie, if that matters.
        names: Its labels.

    Returns:
        The soft label, or None if none of the case was written.
    """
    soft = read_soft_label(folder, case, names)
    if soft is None:
        return None
    if grid is not None:
        grid.require_same(soft.grid)
    return soft if isinstance(soft, SoftLabel) else soft.thinned(_SHOWN)
