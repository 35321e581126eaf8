"""Soft labels as files: a probability and a trust for each class."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from voxhint.core import Grid, LabelSet, SoftLabel
from voxhint.core.labels import file_name
from voxhint.core.volume import Floats
from voxhint.files.images import read_probability, write_probability


def soft_label_paths(folder: Path, case: str, labels: LabelSet) -> list[Path]:
    """Return the files of a case: probability and trust of each class."""
    return [
        folder / f"{case}__{file_name(name)}{part}.nii.gz"
        for name in labels.names
        for part in ("", "__trust")
    ]


@runtime_checkable
class ByClass(Protocol):
    """A soft label that tells class after class."""

    @property
    def grid(self) -> Grid:
        """Return where it lies."""

    def by_class(self) -> Iterator[tuple[Floats, Floats]]:
        """Yield probability and trust of each class."""


def write_soft_label(folder: Path, case: str, soft: ByClass, labels: LabelSet) -> None:
    """Write probability and trust of each class, one file each."""
    paths = iter(soft_label_paths(folder, case, labels))
    for pair in soft.by_class():
        for values in pair:
            write_probability(next(paths), values, soft.grid)


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
