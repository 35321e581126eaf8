"""How sure soft labels and masks are, as a run wrote it down."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from voxhint.core.grid import Grid
from voxhint.core.labels import LabelSet, file_name
from voxhint.core.volume import SoftLabel
from voxhint.files.images import read_ids, read_probability

_ENDING = ".nii.gz"
_LIKELY = 0.5
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


def soft_trust(labels: Path, case: str, names: LabelSet) -> float | None:
    """Return the mean trust where a soft label is likely, None if no label is likely anywhere."""
    total, count = 0.0, 0
    for label in names.foreground:
        probability, trust = _files(labels, case, label)
        if probability.exists():
            likely = read_probability(probability)[0] > _LIKELY
            total += float(read_probability(trust)[0][likely].sum(dtype=np.float64))
            count += int(likely.sum())
    return total / count if count else None


def affordable(folder: Path, cases: Sequence[str]) -> int:
    """Return of how many cases all files of a folder can be read in short time, by their size."""
    sizes = [path.stat().st_size for case in cases[:1] for path in folder.glob(f"{case}[._]*")]
    return max(1, min(_MOST_CASES, _MOST_BYTES // max(sum(sizes), 1)))


def mean_trust(soft: SoftLabel) -> float | None:
    """Return the mean trust of the likely voxels of all labels, or None if none is likely."""
    likely = soft.probs[1:] > _LIKELY
    return float(soft.trust[1:][likely].mean()) if likely.any() else None


def read_soft(folder: Path, case: str, grid: Grid, names: LabelSet) -> SoftLabel | None:
    """Return the soft label of a case.

    Args:
        folder: What `label` wrote.
        case: Its name.
        grid: Where the soft label must lie.
        names: Its labels.

    Returns:
        The soft label, or None if no label of the case was written.
    """
    probs = np.zeros((len(names.names), *grid.shape), np.float32)
    trust = np.zeros_like(probs)
    found = False
    for number, label in enumerate(names.foreground, start=1):
        probability, beside = _files(folder, case, label)
        if probability.exists():
            found = True
            probs[number], place = read_probability(probability)
            grid.require_same(place)
            trust[number], _ = read_probability(beside)
    probs[0] = np.clip(1 - probs.sum(axis=0), 0, 1)
    trust[0] = trust[1:].min(axis=0)
    return SoftLabel(probs, trust, grid) if found else None


def _files(folder: Path, case: str, label: str) -> tuple[Path, Path]:
    """Return where the probability and the trust of a label lie."""
    stem = f"{case}__{file_name(label)}"
    return folder / f"{stem}{_ENDING}", folder / f"{stem}__trust{_ENDING}"
