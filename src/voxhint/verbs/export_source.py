"""What an export starts from: a run that still belongs to its study, and the masks it made."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from voxhint.core.errors import BadFileError, OutputError, about
from voxhint.core.grid import Grid
from voxhint.core.labels import LabelSet
from voxhint.core.progress import Tell
from voxhint.core.study import CaseFiles, Study
from voxhint.files.dicom.write_seg import Kind
from voxhint.files.grid_match import require_place
from voxhint.files.images import read_grid, read_ids
from voxhint.files.validate.study import survey
from voxhint.runs import read_made
from voxhint.runs.study_unchanged import odd_files, require_made_here, require_same, study_of

ENDING = ".nii.gz"
HINTED = "masksTr"
"""Masks of images with hints, in a run."""

_PREDICTED = "masks"
"""Masks of images without."""

EMPTY = "its mask is empty, so no object is written of it; look at the image"

_JOINED = {
    "dataset.json": "so that ids may stand for other labels",
    "imagesTr": "and its masks belong to the images of then",
    "imagesTs": "and its masks belong to the images of then",
    "annotations.csv": "and its masks belong to the images of then",
}


@dataclass(frozen=True, slots=True)
class DicomOptions:
    """Where the series of masks lie, and how masks are stored."""

    folder: Path | None = None
    """Holds any number of series; None where the study holds them itself."""

    kind: Kind = "binary"


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be handed on."""

    run: Path
    folder: Path
    """To fill."""

    name: str
    """Of the folder when it is full."""

    dicom: DicomOptions
    tell: Tell


@dataclass(frozen=True, slots=True)
class Masked:
    """A case and its mask."""

    files: CaseFiles
    mask: Path
    hinted: bool
    """Whether hints for this very image decided part of it."""

    @property
    def name(self) -> str:
        """Return the name of the case."""
        return self.files.name

    @property
    def image(self) -> tuple[str, Path] | None:
        """Return the first channel and its image, on whose grid the mask lies, if it is known."""
        return next(iter(self.files.images.items()), None)


@dataclass(frozen=True, slots=True)
class _Masks:
    """Masks that are to be handed on."""

    labels: LabelSet
    folder: Path
    """May hold codes of labels."""

    cases: tuple[Masked, ...]


def open_masks(job: Job) -> _Masks:
    """Return the masks of a run that still belongs to its study, or those of a prediction.

    Args:
        job: What is to be handed on.

    Raises:
        BadFileError: There are none.
    """
    made = read_made(job.run)
    if made.get("verb") == "predict":
        return _predicted(job, made)
    study, cases = open_run(job.run, HINTED, _PREDICTED)
    return _Masks(study.labels, study.root, cases)


def _predicted(job: Job, made: Mapping[str, Any]) -> _Masks:
    """Return the masks that `voxhint predict` wrote; of their images nothing is known.

    Raises:
        BadFileError: There are none, or nothing says what their ids stand for.
        OutputError: One was changed or lost.
    """
    for name, why in odd_files(job.run):
        if name.endswith(ENDING):
            msg = f"{job.run}: {name} {why}; predict again"
            raise OutputError(msg)
    ids = made.get("labels")
    masks = [path for path in sorted(job.run.glob(f"*{ENDING}")) if "__" not in path.name]
    if not masks or not isinstance(ids, dict):
        msg = f"{job.run}: holds no mask and its labels; name what voxhint predict wrote"
        raise BadFileError(msg)
    hinted = job.run.absolute().name == HINTED
    return _Masks(
        LabelSet(tuple(ids), tuple(ids.values())),
        job.dicom.folder or job.run,
        tuple(Masked(_without_image(mask), mask, hinted) for mask in masks),
    )


def _without_image(mask: Path) -> CaseFiles:
    name = mask.name.removesuffix(ENDING)
    return CaseFiles(name=name, subject=name, images={})


def open_run(run: Path, *folders: str) -> tuple[Study, tuple[Masked, ...]]:
    """Return the study of a run that still belongs to it, and the masks in some of its folders.

    Args:
        run: What `voxhint run` wrote.
        folders: `HINTED`, `_PREDICTED` or both.

    Raises:
        BadFileError: It has no masks there, or the study cannot be read.
    """
    made = read_made(run)
    root = study_of(run, made)
    if not any((run / name).is_dir() for name in folders):
        msg = f"{run}: has no {' and no '.join(folders)}; run with --hinted-masks"
        raise BadFileError(msg)
    require_same(run, _JOINED)
    for name in folders:
        require_made_here(run, name)
    seen = survey(
        root, undrawn=made.get("undrawn")
    )  # of its hints nothing is asked: they may have changed
    if seen.study is None:
        raise BadFileError("\n".join(map(str, seen.errors)))
    cases = {HINTED: seen.study.training, _PREDICTED: seen.study.test}
    masked = tuple(
        Masked(case, mask, hinted=name == HINTED)
        for name in folders
        for case in cases[name]
        if (mask := run / name / f"{case.name}{ENDING}").is_file()
    )
    if not masked:
        told = " and ".join(folders)
        msg = f"{run}: {told} holds no mask of a case of the study; run with --hinted-masks"
        raise BadFileError(msg)
    return seen.study, masked


def each(job: Job, masked: tuple[Masked, ...]) -> Iterator[Masked]:
    """Yield cases, telling how far it is and which case an error is of."""
    for number, case in enumerate(masked):
        job.tell("export", number, len(masked), case.name)
        with about(f"case {case.name}"):
            yield case
    job.tell("export", len(masked), len(masked), "")


def read_classes(case: Masked, labels: LabelSet) -> tuple[UInt8[np.ndarray, "i j k"], Grid]:
    """Return a mask as class numbers, and where it lies.

    Args:
        case: The case.
        labels: What its ids stand for.

    Raises:
        BadFileError: It lies elsewhere than its image, or holds ids that stand for no label.
    """
    ids, grid = read_ids(case.mask)
    if case.image is not None:
        require_place(case.mask, grid, [read_grid(case.image[1])])
    strange = sorted({*np.unique(ids).tolist()} - {*labels.ids})
    if strange:
        msg = f"{case.mask.name}: holds ids {strange[:5]}, which stand for no label of the study; "
        raise BadFileError(msg + "run again")
    return labels.to_classes(ids), grid
