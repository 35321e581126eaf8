"""One case: its images read, and its hints held against them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from voxhint.core.errors import BadFileError
from voxhint.core.grid import Grid
from voxhint.core.hints import Hint, Soft, Strokes, Tag
from voxhint.core.labels import UNDRAWN, counts_of
from voxhint.core.study import CaseFiles, Study, VoxelFile
from voxhint.core.volume import Volume
from voxhint.files.grid_match import Place, place_of
from voxhint.files.hint_tables import Placed
from voxhint.files.images import image_warnings, read_grid, read_volume
from voxhint.files.masks import mask_grid, read_mask
from voxhint.files.problems import Problem, problem_of
from voxhint.files.study.drawn_hints import read_voxel_hint
from voxhint.files.undrawn_value import form_of
from voxhint.files.validate.annotation_warnings import double_clicks
from voxhint.files.validate.hints import (
    channel_problems,
    contradictions,
    drawn_problems,
    place_problems,
)


@dataclass(frozen=True, slots=True)
class Depth:
    """How much is read."""

    deep: bool
    """Whether every voxel of every image is."""

    dense: bool
    """Whether dense masks of training images count."""

    truths: bool = False
    """Whether the voxels of truths of test images are held against the labels."""


@dataclass(frozen=True, slots=True)
class Examined:
    """What the hints of a case tell of, and what is wrong with the case."""

    labels: frozenset[str]
    """Labels some hint tells of; empty for an unlabelled case."""

    problems: tuple[Problem, ...]


def _grids(study: Study, files: CaseFiles, depth: Depth) -> tuple[dict[str, Grid], list[Problem]]:
    """Return the grids of a case's channels, and what is wrong with its images."""
    grids: dict[str, Grid] = {}
    problems = []
    for channel, path in files.images.items():
        where = path.relative_to(study.root).as_posix()
        try:
            volume = read_volume(path, channel=channel) if depth.deep else None
            grids[channel] = read_grid(path) if volume is None else volume.grid
            problems += [_warning(told, where, files.name) for told in image_warnings(path)]
            if volume is not None:
                problems += [_warning(told, where, files.name) for told in _odd(volume)]
        except BadFileError as error:
            problems.append(problem_of(error, where, case=files.name))
    if len(grids) > 1:
        folder = next(iter(files.images.values())).parent.relative_to(study.root).as_posix()
        problems += channel_problems(files.name, list(grids.items()), folder)
    return grids, problems


def _odd(volume: Volume) -> Iterator[str]:
    """Yield what is odd about the voxels of an image."""
    yield from volume.notes
    if np.ptp(volume.voxels) == 0:
        yield f"every voxel is {volume.voxels.flat[0]:g}; check it"


def _warning(told: str, where: str, case: str) -> Problem:
    finding, _, advice = told.partition("; ")
    return Problem(where, finding, advice, "warning", case)


def _mask_problems(
    study: Study, path: Path, case: str, grids: Sequence[Grid], depth: Depth
) -> Iterator[Problem]:
    """Yield what is wrong with a dense mask or a truth; its voxels are read only when deep."""
    where = path.relative_to(study.root).as_posix()
    try:
        if depth.deep:
            ids, grid = read_mask(path, study.labels, grids, undrawn=study.undrawn)
            if depth.dense and (study.labels.to_classes(ids) == UNDRAWN).any():
                yield Problem(where, "leaves voxels undrawn", "fill them", case=case)
        else:
            grid = mask_grid(path, study.labels, grids)
    except BadFileError as error:
        yield problem_of(error, where, case=case)
        return
    yield from _off_grid(grid, grids, where, case)


def _off_grid(grid: Grid, grids: Sequence[Grid], where: str, case: str) -> Iterator[Problem]:
    """Yield what is odd about the place of a mask, if the images could be read."""
    place = place_of(grid, grids) if grids else Place(None)
    if place.told:
        finding, _, advice = place.told.partition("; ")
        yield Problem(where, finding, advice, "warning" if place.grid else "error", case)


def _drawn(
    study: Study, file: VoxelFile, placed: Sequence[Placed], grids: Sequence[Grid]
) -> Examined:
    """Return what one file of drawn hints says, and what is wrong with it."""
    where = file.path.relative_to(study.root).as_posix()
    try:
        hint = read_voxel_hint(file, study.labels, grids)
    except BadFileError as error:
        return Examined(frozenset(), (problem_of(error, where, case=file.case),))
    problems = list(_off_grid(hint.grid, grids, where, file.case))
    if isinstance(hint, Soft):
        return Examined(frozenset({hint.label}), tuple(problems))
    problems += drawn_problems(hint, file.case, study.labels, placed, where)
    counts = counts_of(hint.classes)
    unsaid = file.kind if file.undrawn is None else None
    if unsaid == "labels" and UNDRAWN not in counts:
        problems += _specks(hint.classes, where, file.case)
    numbers = counts.keys() - {UNDRAWN}
    if unsaid == "scribbles" and numbers == {0}:
        finding = f"draws background alone (0 in {counts[0]} voxels, {UNDRAWN} in the others)"
        advice = f"if {UNDRAWN} stands for a label there, store the label's id"
        problems.append(Problem(where, finding, advice, "warning", file.case))
    return Examined(frozenset(study.labels.names[number] for number in numbers), tuple(problems))


def _specks(classes: UInt8[np.ndarray, "i j k"], where: str, case: str) -> Iterator[Problem]:
    """Yield a warning if a mask of `labelsTr` may hold clicks rather than whole small objects."""
    if form_of(classes) == "specks":
        drawn = int((classes > 0).sum())
        finding = (
            f"holds label ids in {drawn} voxels that have no inside, and 0 in the other "
            f"{classes.size - drawn}, which count as background"
        )
        advice = f"say --undrawn 0 if 0 means not drawn, --undrawn {UNDRAWN} if it is right so"
        yield Problem(where, finding, advice, "warning", case)


def _hinted(hint: Hint) -> str | None:
    """Return the label a written hint tells of, if it tells anything."""
    match hint:
        case Tag(state="unknown") | Strokes():
            return None
        case _:
            return hint.label


def examine_training(
    study: Study,
    files: CaseFiles,
    hints: tuple[Sequence[Placed], Sequence[VoxelFile]],
    *,
    depth: Depth,
) -> Examined:
    """Read a training case, and hold its hints against its images.

    Args:
        study: Where the case belongs.
        files: The case.
        hints: Its written hints, and its files of drawn ones.
        depth: How much to read.

    Returns:
        The labels told of, and every problem.
    """
    placed, drawn = hints
    grids, problems = _grids(study, files, depth)
    known = list(grids.values())
    if known:
        problems += place_problems(placed, known)
        problems += contradictions(placed, known)
        problems += double_clicks(placed, known[0])
    labels = {label for item in placed if (label := _hinted(item.hint))}
    for file in drawn:
        told = _drawn(study, file, placed, known)
        labels |= told.labels
        problems += told.problems
    if depth.dense and files.dense:
        problems += _mask_problems(study, files.dense, files.name, known, depth)
    return Examined(frozenset(labels), tuple(problems))


def examine_test(study: Study, files: CaseFiles, *, depth: Depth) -> tuple[Problem, ...]:
    """Return what is wrong with a test case, its truth included, from which nothing is learnt.

    Returns:
        Every problem.
    """
    grids, problems = _grids(study, files, depth)
    if files.truth:
        truth = Depth(depth.truths, dense=False)
        problems += _mask_problems(study, files.truth, files.name, list(grids.values()), truth)
    return tuple(problems)
