"""Export to DICOM: masks as segmentation objects or structure sets, on their own series."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from jaxtyping import Float32, UInt8

from voxhint.core.errors import BadFileError
from voxhint.core.labels import file_name
from voxhint.core.words import counted
from voxhint.files.dicom.source_series import (
    Export,
    Source,
    open_export,
    open_source,
    told_resampled,
)
from voxhint.files.dicom.web import store_objects
from voxhint.files.dicom.write_rtstruct import write_rtstruct
from voxhint.files.dicom.write_seg import Origin, write_seg
from voxhint.files.images import read_grid, read_probability, read_volume
from voxhint.files.label_codes import Segment, require_codes, segments_of
from voxhint.runs import read_made
from voxhint.verbs.export_source import (
    EMPTY,
    ENDING,
    Job,
    Masked,
    each,
    open_masks,
    read_classes,
)

_FOUND_BY_PLACE = "its series was found by the place of the mask alone; look at it once"


@dataclass(frozen=True, slots=True, eq=False)
class _Laid:
    """A mask laid onto its series."""

    case: Masked
    source: Source
    classes: UInt8[np.ndarray, "slice row column"]
    segments: tuple[Segment, ...]
    path: Path
    """Where its object goes."""


def write_segs(job: Job) -> tuple[str, ...]:
    """Write a segmentation object for each mask of a run or a prediction.

    Args:
        job: What is to be handed on; every label needs a code.

    Returns:
        What was odd.
    """
    weights = str(read_made(job.run).get("inputs", {}).get("weights", ""))
    parameters = {"weights": weights} if weights else {}
    kind = job.dicom.kind

    def write(laid: _Laid) -> None:
        origin = Origin(hinted=laid.case.hinted, parameters=parameters)
        values: Any = laid.classes
        if kind == "fractional":
            values = chances_on(laid.source, laid.case.mask, laid.segments)
        write_seg(laid.path, values, laid.source, laid.segments, kind=kind, origin=origin)

    return _write_all(job, write, coded=True)


def write_structures(job: Job) -> tuple[str, ...]:
    """Write a structure set for each mask of a run or a prediction.

    Args:
        job: What is to be handed on.

    Returns:
        What was odd.
    """

    def write(laid: _Laid) -> None:
        hinted = laid.case.hinted
        write_rtstruct(laid.path, laid.classes, laid.source, laid.segments, hinted=hinted)

    return _write_all(job, write, coded=False)


def _write_all(job: Job, write: Callable[[_Laid], None], *, coded: bool) -> tuple[str, ...]:
    """Lay each mask onto its series and write it.

    Returns:
        What was odd.

    Raises:
        BadFileError: A label has no code, a series is not found, or all masks are empty.
    """
    masks = open_masks(job)
    segments = segments_of(masks.labels.foreground, masks.folder)
    if coded:
        require_codes(segments)
    series_of = _finder(job)
    lines: list[str] = []
    for case in each(job, masks.cases):
        source = series_of(case)
        classes = source.ids(read_classes(case, masks.labels)[0])
        if not classes.any():
            lines.append(f"{case.name}: {EMPTY}")
            continue
        write(_Laid(case, source, classes, segments, job.folder / f"{case.name}.dcm"))
        told = [told_resampled(source), _FOUND_BY_PLACE if case.image is None else ""]
        lines += [f"{case.name}: {line}" for line in told if line]
    if not any(job.folder.glob("*.dcm")):
        raise BadFileError("\n".join(lines))
    return tuple(lines)


def _finder(job: Job) -> Callable[[Masked], Source]:
    """Return what finds the series of a case: in the folder that was named, or in the study.

    Raises:
        BadFileError: The folder holds no series.
    """
    folder = job.dicom.folder
    if folder is not None:
        found = open_export(folder, lambda done, total: job.tell("read headers", done, total, ""))
        return lambda case: _series_of(case, found)
    return _own_series


def _series_of(case: Masked, export: Export) -> Source:
    """Return the series of a case: of the place and values of its image, or of its mask's place."""
    if case.image is None:
        return export.at(read_grid(case.mask))
    return export.find(read_volume(case.image[1], channel=case.image[0]))


def _own_series(case: Masked) -> Source:
    """Return the series that is a case's image.

    Raises:
        BadFileError: It is of another format.
    """
    if case.image is None or not case.image[1].is_dir():
        name = case.mask.name if case.image is None else case.image[1].name
        msg = f"{name}: is of no DICOM series; name the folder of its series with --dicom"
        raise BadFileError(msg)
    return open_source(case.image[1])


def chances_on(
    source: Source, mask: Path, segments: Sequence[Segment]
) -> Float32[np.ndarray, "class slice row column"]:
    """Return the probability of each label on the slices of a series.

    Args:
        source: The series.
        mask: CASE.nii.gz, beside which the probabilities lie.
        segments: One for each label.

    Raises:
        BadFileError: There are none.
    """
    values = []
    for segment in segments:
        path = chances_path(mask, segment.label)
        if not path.is_file():
            msg = f"{path.parent.name}: holds no {path.name}; run with --probabilities"
            raise BadFileError(msg)
        values.append(source.chances(read_probability(path)[0]))
    return np.stack(values)


def chances_path(mask: Path, label: str) -> Path:
    """Return where the probability of a label lies, beside CASE.nii.gz."""
    return mask.with_name(f"{mask.name.removesuffix(ENDING)}__{file_name(label)}{ENDING}")


def store(out: Path, archive: str) -> str:
    """Store the objects of an export in a DICOMweb archive.

    Args:
        out: The export, whole.
        archive: The archive's address.

    Returns:
        How many were stored, in words.
    """
    paths = sorted(out.glob("*.dcm"))
    store_objects(archive, paths)
    return f"{counted(len(paths), 'object')} stored in {urlsplit(archive).hostname}"
