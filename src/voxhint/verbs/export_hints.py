"""Export of hints to nnU-Net: what people drew as partial masks, for its partial loss."""

from collections import Counter

import numpy as np
from jaxtyping import UInt8

from voxhint.core.errors import BadFileError
from voxhint.core.grid import Grid
from voxhint.core.hints import Hint, Points, Strokes
from voxhint.core.labels import UNDRAWN, LabelSet
from voxhint.core.study import CaseFiles, Study
from voxhint.files.dataset_json import IGNORE, NAME
from voxhint.files.images import read_grid, write_ids
from voxhint.files.validate.study import survey
from voxhint.runs import read_made
from voxhint.runs.study_unchanged import study_of
from voxhint.verbs.export_nnunet import describe, write_images
from voxhint.verbs.export_source import ENDING, Job

_UNSAID = {"Tag": "tags", "Box": "boxes", "Diameter": "diameters", "Soft": "soft labels"}


def write_partial_masks(job: Job) -> tuple[str, ...]:
    """Write an nnU-Net v2 raw data set whose labels are strokes, slices and points alone.

    Voxels that nobody spoke of get the label `ignore`, on which nnU-Net takes no loss. Ids are
    class numbers without gaps, as nnU-Net wants them.

    Args:
        job: A study, or a run on one.

    Returns:
        Which hints a partial mask cannot say.

    Raises:
        BadFileError: The study cannot be read, or no hint can be said.
    """
    study = _study(job)
    (job.folder / "labelsTr").mkdir()
    left: Counter[str] = Counter()
    silent, written = [], 0
    for number, files in enumerate(study.training):
        job.tell("export", number, len(study.training), files.name)
        grid = read_grid(next(iter(files.images.values())))
        hints = study.load(files).hints
        left.update(_UNSAID[type(hint).__name__] for hint in hints if _unsaid(hint))
        classes = _partial_mask(grid, hints, study.labels)
        if (classes == UNDRAWN).all():
            silent.append(files.name)
            continue
        _write(job, study, files, classes, grid)
        written += 1
    labels = {name: number for number, name in enumerate((*study.labels.names, IGNORE))}
    if not written:
        msg = f"{job.run}: no case has strokes, slices or points for a partial mask; add some"
        raise BadFileError(msg)
    describe(job.folder, study, labels, written)
    lines = [f"{kind}: no partial mask can say them; left out" for kind in sorted(left)]
    if silent:
        lines.append(f"{len(silent)} cases without strokes, slices or points are left out")
    return tuple(lines)


def _partial_mask(
    grid: Grid, hints: tuple[Hint, ...], labels: LabelSet
) -> UInt8[np.ndarray, "i j k"]:
    """Return the class of each voxel that hints name, `UNDRAWN` elsewhere.

    Args:
        grid: Of the image.
        hints: Of one case; where a point and a stroke differ, the stroke counts.
        labels: The study's.

    Returns:
        Class numbers.
    """
    classes = np.full(grid.shape, UNDRAWN, np.uint8)
    for hint in hints:
        if isinstance(hint, Points):
            index = np.rint(grid.to_index(hint.positions_mm)).astype(int)
            inside = ((index >= 0) & (index < grid.shape)).all(axis=1)
            classes[tuple(index[inside].T)] = labels.number(hint.label)
    for hint in hints:
        if isinstance(hint, Strokes):
            grid.require_same(hint.grid, tol_mm=float(grid.spacing_mm.min()) / 100)
            classes = np.where(hint.classes == UNDRAWN, classes, hint.classes)
    return classes


def _write(
    job: Job, study: Study, files: CaseFiles, classes: UInt8[np.ndarray, "i j k"], grid: Grid
) -> None:
    ignored = np.where(classes == UNDRAWN, np.uint8(len(study.labels.names)), classes)
    write_ids(job.folder / "labelsTr" / f"{files.name}{ENDING}", ignored, grid)
    write_images(job.folder / "imagesTr", study, files)


def _unsaid(hint: Hint) -> bool:
    return not isinstance(hint, Points | Strokes)


def _study(job: Job) -> Study:
    """Return the study that was named, or that a run was made of.

    Raises:
        BadFileError: It cannot be read.
    """
    given = job.run
    made = {} if (given / NAME).is_file() else read_made(given)
    root = study_of(given, made) if made else given
    seen = survey(root, undrawn=made.get("undrawn"))
    if seen.study is None or seen.errors:
        raise BadFileError("\n".join(map(str, seen.errors)))
    return seen.study
