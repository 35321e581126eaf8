"""Loading one case of a study."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from voxhint.core.case import Case
from voxhint.core.errors import BadFileError
from voxhint.core.grid import Grid
from voxhint.core.hints import Hint
from voxhint.core.labels import UNDRAWN
from voxhint.core.study import CaseFiles, Study, VoxelFile
from voxhint.core.volume import Mask, Volume
from voxhint.files.grid_match import require_place
from voxhint.files.hint_tables import Placed
from voxhint.files.images import read_grid, read_volume
from voxhint.files.masks import read_mask
from voxhint.files.problems import Problem
from voxhint.files.study.drawn_hints import on_grid, read_drawn, read_voxel_hint


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


def load_case(
    study: Study, files: CaseFiles, *, hints: bool, dense: bool, voxels: bool = True
) -> Case:
    """Return a case of a study; see `Study.load`."""
    images = {
        name: read_volume(path, channel=name) if voxels else _empty(read_grid(path))
        for name, path in _paths(study, files)
    }
    grids = [image.grid for image in images.values()]
    training = any(files.name == other.name for other in study.training)
    told: tuple[Hint, ...] = ()
    if hints and training:
        told = (*study.hints.get(files.name, ()), *_drawn(study, files, grids))
    truth = _truth(study, files, grids) if dense and training else None
    return Case(files.name, images, told, truth)


def _paths(study: Study, files: CaseFiles) -> Iterator[tuple[str, Path]]:
    """Yield the channels that a case has, in the order of the study, and where they lie."""
    for name in study.channels:
        if name in files.images:
            yield name, files.images[name]


def _empty(grid: Grid) -> Volume:
    """Return an image without voxels of its own, which takes no memory."""
    return Volume(np.broadcast_to(np.zeros((), np.float32), grid.shape), grid)


def _drawn(study: Study, files: CaseFiles, grids: Sequence[Grid]) -> Iterator[Hint]:
    for file in study.stroke_files.get(files.name, ()):
        hint = read_voxel_hint(file, study.labels, grids)
        yield on_grid(hint, require_place(file.path, hint.grid, grids))
