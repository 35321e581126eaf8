"""Soft labels as files: a probability and a trust for each class."""

from pathlib import Path

import numpy as np

from voxhint.core import LabelSet, SoftLabel
from voxhint.core.labels import file_name
from voxhint.files.images import read_probability, write_probability


def soft_label_paths(folder: Path, case: str, labels: LabelSet) -> list[Path]:
    """Return the files of a case: probability and trust of each class."""
    return [
        folder / f"{case}__{file_name(name)}{part}.nii.gz"
        for name in labels.names
        for part in ("", "__trust")
    ]


def write_soft_label(folder: Path, case: str, soft: SoftLabel, labels: LabelSet) -> None:
    """Write probability and trust of each class, one file each."""
    arrays = [values for pair in zip(soft.probs, soft.trust, strict=True) for values in pair]
    for path, values in zip(soft_label_paths(folder, case, labels), arrays, strict=True):
        write_probability(path, values, soft.grid)


def read_soft_label(folder: Path, case: str, labels: LabelSet) -> SoftLabel | None:
    """Read the soft label of a case.

    Args:
        folder: What `label` wrote.
        case: Its name.
        labels: Names of the classes.

    Returns:
        The soft label, or None if the folder has none for this case.
    """
    paths = soft_label_paths(folder, case, labels)
    if not paths[0].exists():
        return None
    arrays = [read_probability(path) for path in paths]
    probs = np.stack([values for values, _ in arrays[::2]])
    trust = np.stack([values for values, _ in arrays[1::2]])
    return SoftLabel(probs, trust, arrays[0][1])
