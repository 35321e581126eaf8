"""A study as a value: which files make a case, and how one case is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from voxhint.core.case import Case
from voxhint.core.errors import BadFileError
from voxhint.core.grid import Grid
from voxhint.core.hints import Box, Diameter, Hint, Points, Soft, Strokes, Tag
from voxhint.core.labels import UNDRAWN, LabelSet
from voxhint.core.volume import Mask
from voxhint.files.hints import Placed
from voxhint.files.images import read_volume
from voxhint.files.masks import read_mask
from voxhint.files.places import require_place
from voxhint.files.problems import Problem
from voxhint.files.strokes import VoxelFile, on_grid, read_drawn, read_voxel_hint


@dataclass(frozen=True, slots=True)
class CaseFiles:
    """The files of one case."""

    name: str
    subject: str
    """The patient; the case's own name where nobody said."""

    images: Mapping[str, Path]
    """By channel name, in channel order; absent optional channels are left out."""

    site: str | None = None
    truth: Path | None = None
    """`labelsTs` of a test case: for `measure` alone."""

    dense: Path | None = None
    """`denseTr` of a training case: for `simulate` and dense supervision alone."""


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """A study folder, its hints read and its images left on disk."""

    root: Path
    channels: tuple[str, ...]
    optional_channels: tuple[str, ...]
    labels: LabelSet
    training: tuple[CaseFiles, ...]
    """Sorted by name."""

    test: tuple[CaseFiles, ...] = ()
    hints: Mapping[str, tuple[Hint, ...]] = field(default_factory=dict)
    """Tags, points, boxes and diameters, by case."""

    stroke_files: Mapping[str, tuple[VoxelFile, ...]] = field(default_factory=dict)
    """Scribbles, slices, soft and partial masks, by case; read when the case is loaded."""

    design: frozenset[str] = frozenset()
    """Training cases whose dense masks developers may look at; a run never does."""

    undrawn: int | None = None
    """The value that means "not drawn" in drawn maps; None where nobody said, and 255 does."""


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """A study as found, before its hints were held against its images."""

    study: Study
    placed: tuple[Placed, ...]
    voxel_files: tuple[VoxelFile, ...]
    problems: tuple[Problem, ...]


def _truth(study: Study, files: CaseFiles, grids: list[Grid]) -> Mask | None:
    """Return the dense mask of a training case, or None if it has none.

    Raises:
        BadFileError: It lies elsewhere than the images, or `denseTr` has gaps.
    """
    drawn = [f for f in study.stroke_files.get(files.name, ()) if f.kind == "labels"]
    if files.dense:
        ids, grid = read_mask(files.dense, study.labels, grids, undrawn=study.undrawn)
        if (study.labels.to_classes(ids) == UNDRAWN).any():
            msg = f"{files.dense.name}: leaves voxels undrawn; a dense mask must fill them all"
            raise BadFileError(msg)
        return Mask(ids, require_place(files.dense, grid, grids), study.labels)
    for file in drawn:
        hint = read_drawn(file, study.labels, grids)
        if (hint.classes != UNDRAWN).all():
            place = require_place(file.path, hint.grid, grids)
            return Mask(study.labels.to_ids(hint.classes), place, study.labels)
    return None


def load_case(study: Study, files: CaseFiles, *, hints: bool = True, dense: bool = False) -> Case:
    """Read the images of a case, and what is asked of its hints.

    Args:
        study: Where the case belongs.
        files: One of its training or test cases.
        hints: Whether to read the hints; test cases have none.
        dense: Whether to read the dense mask of a training case into `truth`: `denseTr`, or a
            mask of `labelsTr` without a gap. The truth of test cases is never read here.

    Returns:
        The case, channels in order.

    Raises:
        BadFileError: A file cannot be read, or a mask lies on no channel's grid.
    """
    images = {
        channel: read_volume(files.images[channel], channel=channel)
        for channel in study.channels
        if channel in files.images
    }
    grids = [image.grid for image in images.values()]
    training = any(files.name == other.name for other in study.training)
    drawn: list[Hint] = []
    for file in study.stroke_files.get(files.name, ()) if hints and training else ():
        hint = read_voxel_hint(file, study.labels, grids)
        drawn.append(on_grid(hint, require_place(file.path, hint.grid, grids)))
    written = study.hints.get(files.name, ()) if hints and training else ()
    truth = _truth(study, files, grids) if dense and training else None
    return Case(files.name, images, (*written, *drawn), truth)


def hint_kinds(study: Study) -> dict[str, int]:
    """Return how many hints of each kind the study holds; kinds without any are left out."""
    counts: dict[str, int] = {}
    for hints in study.hints.values():
        for hint in hints:
            kind, count = _counted(hint)
            counts[kind] = counts.get(kind, 0) + count
    for files in study.stroke_files.values():
        for file in files:
            counts[file.kind] = counts.get(file.kind, 0) + 1
    return counts


def _counted(hint: Hint) -> tuple[str, int]:
    match hint:
        case Tag():
            return "tags", 1
        case Points():
            return "points", len(hint.positions_mm)
        case Box():
            return "boxes", 1
        case Diameter():
            return "diameters", 1
        case Strokes() | Soft():
            return "strokes", 1
