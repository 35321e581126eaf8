"""Masks of a prediction on DICOM, sent back as objects on their series in the same command."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from voxhint.core.errors import BadFileError, about
from voxhint.files.dataset_json import NAME
from voxhint.files.dicom.source_series import Source, open_source, told_resampled
from voxhint.files.dicom.write_rtstruct import write_rtstruct
from voxhint.files.dicom.write_seg import Origin, write_seg
from voxhint.files.images import image_warnings, read_ids
from voxhint.files.label_codes import Segment, require_codes, segments_of
from voxhint.files.study.images_alone import as_cases
from voxhint.models.folder import plan_of
from voxhint.models.image_description import cases_for
from voxhint.models.single_file import unpacked
from voxhint.prepare import Plan
from voxhint.runs import record
from voxhint.verbs.export_dicom import chances_on, chances_path
from voxhint.verbs.export_source import EMPTY

_ObjectKind = Literal["dicom-seg", "rtstruct"]
"""What of DICOM a mask becomes."""

_ENDINGS = {"dicom-seg": "seg.dcm", "rtstruct": "rtstruct.dcm"}


def require_series(model: Path, images: Path, *, to: _ObjectKind) -> None:
    """Refuse images whose masks could not go back into DICOM, before they are predicted.

    Args:
        model: What `train` wrote, a run that holds it, or a file of one.
        images: What is to be predicted.
        to: What is wanted.

    Raises:
        BadFileError: An image is no DICOM series, or a label has no code.
    """
    with unpacked(model) as place:
        plan = plan_of(place)
    if to == "dicom-seg":
        require_codes(_segments(images, plan))
    with _series(images, plan) as series:
        readable = []
        for case, folder in series.items():
            if not folder.is_dir():
                msg = f"case {case} is no DICOM series; leave --to out, or name a folder of slices"
                raise BadFileError(msg)
            with suppress(BadFileError):  # a damaged series is skipped, and told of, later
                image_warnings(folder)
                readable.append((case, folder))
        for case, folder in readable:
            with about(f"case {case}"):
                _ = open_source(folder).headers


def write_objects(model: Path, images: Path, out: Path, *, to: _ObjectKind) -> tuple[str, ...]:
    """Write an object for each mask beside it; those that are there, and empty masks, are left.

    Args:
        model: What predicted.
        images: What was predicted.
        out: Where CASE.nii.gz lies; CASE.seg.dcm or CASE.rtstruct.dcm goes beside it. A
            segmentation object holds the probabilities, where they lie there too.
        to: What to write.

    Returns:
        What a person should know of it.
    """
    lines = []
    with unpacked(model) as place:
        plan = plan_of(place)
    segments = _segments(images, plan)
    with _series(images, plan) as series:
        for case, folder in series.items():
            if not (out / f"{case}.nii.gz").is_file():  # skipped
                continue
            path, source = out / f"{case}.{_ENDINGS[to]}", open_source(folder)
            classes = source.ids(plan.labels.to_classes(read_ids(out / f"{case}.nii.gz")[0]))
            told = told_resampled(source) if classes.any() else EMPTY
            lines += [f"{case}: {told}"] if told else []
            if path.is_file() or not classes.any():
                continue
            with about(f"case {case}"):
                if to == "rtstruct":
                    write_rtstruct(path, classes, source, segments, hinted=False)
                else:
                    _write_seg(path, classes, source, segments, out / f"{case}.nii.gz")
            record(out, path.name)
    return tuple(lines)


def _write_seg(
    path: Path,
    classes: UInt8[np.ndarray, "slice row column"],
    source: Source,
    segments: Sequence[Segment],
    mask: Path,
) -> None:
    """Write a segmentation object; of probabilities, where they lie beside the mask."""
    origin = Origin(hinted=False)
    if all(chances_path(mask, segment.label).is_file() for segment in segments):
        chances = chances_on(source, mask, segments)
        write_seg(path, chances, source, segments, kind="fractional", origin=origin)
    else:
        write_seg(path, classes, source, segments, kind="binary", origin=origin)


@contextmanager
def _series(images: Path, plan: Plan) -> Iterator[Mapping[str, Path]]:
    """Give the first channel of each case, on whose grid its mask lies."""
    with as_cases(images, channels=plan.needed) as folder:
        cases = cases_for(folder, plan)[0]
        yield {case: next(iter(by_channel.values())) for case, by_channel in cases.items()}


def _segments(images: Path, plan: Plan) -> tuple[Segment, ...]:
    """Return the segments, by the `codes.csv` of the study or beside the image if there is one."""
    parent = images.absolute().parent
    folder = parent if images.is_file() or (parent / NAME).exists() else images
    return segments_of(plan.labels.foreground, folder)
