"""`voxhint export`: hand the result of a run to other tools."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from voxhint.core.errors import BadRecipeError
from voxhint.core.progress import Tell, silent
from voxhint.files.formats.write_seg_nrrd import write_segmentation
from voxhint.files.label_codes import segments_of
from voxhint.runs import MADE, atomic_folder
from voxhint.verbs.export_dicom import write_segs, write_structures
from voxhint.verbs.export_model import write_model
from voxhint.verbs.export_monai import write_bundle
from voxhint.verbs.export_network import write_onnx, write_torchscript
from voxhint.verbs.export_nnunet import write_nnunet, write_partial_masks
from voxhint.verbs.export_source import (
    DicomOptions,
    Job,
    each,
    open_masks,
    read_classes,
)
from voxhint.verbs.written import Written


def _write_segmentations(job: Job) -> tuple[str, ...]:
    """Write CASE.seg.nrrd for each mask of a run or a prediction.

    Args:
        job: What is to be handed on.

    Returns:
        What was odd.
    """
    masks = open_masks(job)
    segments = segments_of(masks.labels.foreground, masks.folder)
    for case in each(job, masks.cases):
        classes, grid = read_classes(case, masks.labels)
        path = job.folder / f"{case.name}.seg.nrrd"
        write_segmentation(path, masks.labels.to_ids(classes), grid, masks.labels, segments)
    unknown = [segment.label for segment in segments if segment.code is None]
    told = f"{', '.join(unknown)}: without a code; add codes.csv to the study to give one"
    return (told,) if unknown else ()


_TARGETS: Mapping[str, Callable[[Job], tuple[str, ...]]] = {
    "nnunet": write_nnunet,
    "nnunet-hints": write_partial_masks,
    "seg-nrrd": _write_segmentations,
    "dicom-seg": write_segs,
    "rtstruct": write_structures,
    "folder": write_model,
    "onnx": write_onnx,
    "torchscript": write_torchscript,
    "monai-bundle": write_bundle,
}


def export(
    run: Path,
    *,
    to: str,
    out: Path,
    dicom: DicomOptions | None = None,
    overwrite: bool = False,
    tell: Tell = silent,
) -> Written:
    """Write what a run made in the layout of another tool.

    Args:
        run: What `voxhint run` wrote; for `nnunet-hints` a study will do, for `seg-nrrd`,
            `dicom-seg` and `rtstruct` the masks of `voxhint predict`.
        to: `nnunet`: an nnU-Net v2 raw data set whose labels are the run's masks of the hinted
            images. `nnunet-hints`: one whose labels are strokes, slices and points, the rest
            ignored. `seg-nrrd`: each mask for 3D Slicer. `dicom-seg`, `rtstruct`: an object for
            each mask, on its DICOM series. `folder`: the model as one file, with its card. `onnx`,
            `torchscript`: the network for other runtimes. `monai-bundle`: for MONAI's.
        out: The folder to make.
        dicom: Where the series lie, and how masks are stored in them.
        overwrite: Whether an earlier export may be replaced.
        tell: Hears of progress.

    Returns:
        The folder, and what was odd.

    Raises:
        BadRecipeError: The target is unknown.
        BadFileError: The run has no masks, or one that does not fit its image or series.
        OutputError: It is no run, its study has changed since, or it holds masks it did not make.
    """
    if to not in _TARGETS:
        msg = f"export to '{to}' is unknown; use --to with one of {', '.join(_TARGETS)}"
        raise BadRecipeError(msg)
    with atomic_folder(out, verb="export", overwrite=overwrite) as folder:
        lines = _TARGETS[to](Job(run, folder, out.absolute().name, dicom or DicomOptions(), tell))
        made = {"verb": "export", "run": run.absolute().name, "to": to, "warnings": [*lines]}
        (folder / MADE).write_text(json.dumps(made) + "\n", "utf-8")
    return Written(out, warnings=lines)
