"""Hints drawn on voxels: scribbles, slices, partial masks and soft masks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from voxhint.core.grid import Grid
from voxhint.core.hints import Soft, Strokes
from voxhint.core.labels import LabelSet
from voxhint.files.images import read_ids, read_probability
from voxhint.files.problems import reading

VoxelKind = Literal["scribbles", "slices", "soft", "labels"]


@dataclass(frozen=True, slots=True)
class VoxelFile:
    """A file of drawn hints, read when its case is loaded."""

    case: str
    kind: VoxelKind
    path: Path
    label: str | None = None
    """The label of a soft mask."""


def read_voxel_hint(file: VoxelFile, labels: LabelSet) -> Strokes | Soft:
    """Read a file of drawn hints.

    Args:
        file: Which, and of what kind.
        labels: The study's.

    Returns:
        Class numbers, `UNDRAWN` where nothing is said; or the probability of one label.
    """
    with reading(file.path):
        if file.label is not None:
            probability, grid = read_probability(file.path)
            return Soft(file.label, probability, grid)
        ids, grid = read_ids(file.path)
        return Strokes(labels.to_classes(ids), grid, complete=file.kind != "scribbles")


def on_grid(hint: Strokes | Soft, grid: Grid) -> Strokes | Soft:
    """Return a drawn hint on a grid of the same shape and place, rounding mended."""
    if isinstance(hint, Strokes):
        return Strokes(hint.classes, grid, hint.complete)
    return Soft(hint.label, hint.probability, grid)
