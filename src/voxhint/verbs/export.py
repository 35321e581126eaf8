"""`voxhint export`: hand the result of a run to other tools."""

import json
import shutil
from pathlib import Path

import numpy as np

from voxhint.core.errors import BadFileError, BadRecipeError, NotAvailableError, about
from voxhint.core.study import CaseFiles, Study
from voxhint.files.images import read_grid, read_ids, read_volume, write_image
from voxhint.files.places import require_place
from voxhint.files.validate.study import survey
from voxhint.runs import MADE, atomic_folder, read_made
from voxhint.runs.provenance import require_made_here, require_same, study_of

_ENDING = ".nii.gz"
_MASKS = "masksTr"
_JOINED = {
    "dataset.json": "so that ids may stand for other labels",
    "imagesTr": "and its masks belong to the images of then",
    "annotations.csv": "and its masks belong to the images of then",
}
LATER = ("dicom-seg", "rtstruct", "monai-bundle")


def export(run: Path, *, to: str, out: Path, overwrite: bool = False) -> Path:
    """Write what a run made in the layout of another tool.

    Args:
        run: What `voxhint run` wrote.
        to: `nnunet`: an nnU-Net v2 raw data set whose labels are the run's masks of the hinted
            images. Other targets are not available yet.
        out: The folder to make.
        overwrite: Whether an earlier export may be replaced.

    Returns:
        The folder.

    Raises:
        NotAvailableError: The target is not available yet.
        BadRecipeError: The target is unknown.
        BadFileError: The run has no masks of hinted images, or one that does not fit its image.
        OutputError: It is no run, its study has changed since, or it holds masks it did not make.
    """
    if to in LATER:
        msg = f"export to {to} is not available in this version; use --to nnunet"
        raise NotAvailableError(msg)
    if to != "nnunet":
        msg = f"export to '{to}' is unknown; use --to nnunet"
        raise BadRecipeError(msg)
    study = _study_of(run)
    masked = {case.name: run / _MASKS / f"{case.name}{_ENDING}" for case in study.training}
    cases = [case for case in study.training if masked[case.name].is_file()]
    if not cases:
        msg = f"{run}: {_MASKS} holds no mask of a case of the study; run with --hinted-masks"
        raise BadFileError(msg)
    with atomic_folder(out, verb="export", overwrite=overwrite) as folder:
        for below in ("imagesTr", "labelsTr"):
            (folder / below).mkdir()
        for case in cases:
            with about(f"case {case.name}"):
                _require_mask(masked[case.name], study, case)
            shutil.copyfile(masked[case.name], folder / "labelsTr" / f"{case.name}{_ENDING}")
            for channel, path in case.images.items():
                number = study.channels.index(channel)
                target = folder / "imagesTr" / f"{case.name}_{number:04d}{_ENDING}"
                if path.name.endswith(_ENDING):
                    shutil.copyfile(path, target)
                else:  # a DICOM series, MetaImage and others: one data set has one ending
                    write_image(target, read_volume(path, channel=channel))
        description = {
            "channel_names": {str(n): name for n, name in enumerate(study.channels)},
            "labels": dict(zip(study.labels.names, study.labels.ids, strict=True)),
            "numTraining": len(cases),
            "file_ending": _ENDING,
        }
        (folder / "dataset.json").write_text(json.dumps(description, indent=1) + "\n", "utf-8")
        (folder / MADE).write_text(
            json.dumps({"verb": "export", "run": run.absolute().name, "to": to}) + "\n", "utf-8"
        )
    return out


def _study_of(run: Path) -> Study:
    """Return the study of a run that has masks and still belongs to it.

    Raises:
        BadFileError: It has no masks, or the study cannot be read.
    """
    made = read_made(run)
    root = study_of(run, made)
    if not (run / _MASKS).is_dir():
        msg = f"{run}: has no {_MASKS}, which nnU-Net would learn from; run with --hinted-masks"
        raise BadFileError(msg)
    require_same(run, _JOINED)
    require_made_here(run, _MASKS)
    seen = survey(
        root, undrawn=made.get("undrawn")
    )  # of its hints nothing is asked: they may have changed
    if seen.study is None:
        raise BadFileError("\n".join(map(str, seen.errors)))
    return seen.study


def _require_mask(path: Path, study: Study, case: CaseFiles) -> None:
    """Refuse a mask of another grid than its image's, or of ids that stand for no label.

    Raises:
        BadFileError: It is one.
    """
    ids, grid = read_ids(path)
    require_place(path, grid, [read_grid(next(iter(case.images.values())))])
    strange = sorted({*np.unique(ids).tolist()} - {*study.labels.ids})
    if strange:
        msg = f"{path.name}: holds ids {strange[:5]}, which stand for no label of the study; "
        raise BadFileError(msg + "run again")
