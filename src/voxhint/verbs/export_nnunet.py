"""Export to nnU-Net: raw data sets of the masks of a run, or of hints as partial masks."""

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from voxhint.core.errors import BadFileError
from voxhint.core.grid import Grid
from voxhint.core.hints import Hint, Points, Strokes
from voxhint.core.labels import UNDRAWN, LabelSet
from voxhint.core.study import CaseFiles, Study
from voxhint.core.words import counted
from voxhint.files.dataset_json import IGNORE, NAME
from voxhint.files.images import read_grid, read_volume, write_ids, write_image
from voxhint.files.validate.study import survey
from voxhint.runs import read_made
from voxhint.runs.study_unchanged import study_of
from voxhint.verbs.export_source import ENDING, HINTED, Job, each, open_run, read_classes


def write_nnunet(job: Job) -> tuple[str, ...]:
    """Write an nnU-Net v2 raw data set of the hinted images and the run's masks of them.

    Args:
        job: What is to be handed on.

    Returns:
        Which ids are others than the study's, as nnU-Net takes none with gaps.
    """
    study, masked = open_run(job.run, HINTED)
    (job.folder / "labelsTr").mkdir()
    names, ids = study.labels.names, study.labels.ids
    kept = ids == tuple(range(len(ids)))
    for case in each(job, masked):
        classes, grid = read_classes(case, study.labels)
        target = job.folder / "labelsTr" / f"{case.name}{ENDING}"
        if kept:
            shutil.copyfile(case.mask, target)
        else:
            write_ids(target, classes, grid, LabelSet(names, tuple(range(len(ids)))))
        _write_images(job.folder / "imagesTr", study, case.files)
    numbered = {name: number for number, name in enumerate(names)}
    _describe(job.folder, study, numbered, len(masked), undrawn=UNDRAWN)
    pairs = enumerate(zip(names, ids, strict=True))
    moved = [f"{name} {number} for {was}" for number, (name, was) in pairs if number != was]
    told = f"nnU-Net wants ids without gaps, so they are other than the study's: {', '.join(moved)}"
    return () if kept else (told,)


def _write_images(folder: Path, study: Study, files: CaseFiles) -> None:
    """Copy the images of a case, each channel under its number; one data set has one ending."""
    folder.mkdir(exist_ok=True)
    for channel, path in files.images.items():
        target = folder / f"{files.name}_{study.channels.index(channel):04d}{ENDING}"
        if path.name.endswith(ENDING):
            shutil.copyfile(path, target)
        else:  # a DICOM series, MetaImage and others
            write_image(target, read_volume(path, channel=channel))


def _describe(
    folder: Path, study: Study, labels: dict[str, int], cases: int, **more: object
) -> None:
    """Write dataset.json; nnU-Net passes over the keys it does not know."""
    description = {
        "channel_names": {str(n): name for n, name in enumerate(study.channels)},
        "labels": labels,
        "numTraining": cases,
        "file_ending": ENDING,
        **more,
    }
    (folder / "dataset.json").write_text(json.dumps(description, indent=1) + "\n", "utf-8")


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
    _describe(job.folder, study, labels, written)
    lines = [f"{kind}: no partial mask can say them; left out" for kind in sorted(left)]
    if silent:
        lines.append(f"{counted(len(silent), 'case')} without strokes, slices or points left out")
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
    _write_images(job.folder / "imagesTr", study, files)


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
