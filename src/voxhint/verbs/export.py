"""`voxhint export`: hand the result of a run to other tools."""

import json
import shutil
from pathlib import Path

from voxhint.core.errors import BadFileError, NotAvailableError
from voxhint.files.images import read_volume, write_image
from voxhint.files.inspection import open_study
from voxhint.verbs.folders import MADE, building
from voxhint.verbs.job import read_made

_ENDING = ".nii.gz"
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
        BadFileError: The run has no masks of hinted images.
    """
    if to in LATER:
        msg = f"export to {to} is not available in this version; use --to nnunet"
        raise NotAvailableError(msg)
    made = read_made(run)
    masks = run / "masksTr"
    if not masks.is_dir():
        msg = f"{run}: has no masksTr, which nnU-Net would learn from; run with hints first"
        raise BadFileError(msg)
    study, _ = open_study(Path(made["study"]), skip_bad=True)
    with building(out, overwrite=overwrite) as folder:
        for below in ("imagesTr", "labelsTr"):
            (folder / below).mkdir()
        count = 0
        for case in study.training:
            mask = masks / f"{case.name}.nii.gz"
            if mask.exists():
                count += 1
                shutil.copyfile(mask, folder / "labelsTr" / mask.name)
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
            "numTraining": count,
            "file_ending": _ENDING,
        }
        (folder / "dataset.json").write_text(json.dumps(description, indent=1) + "\n", "utf-8")
        (folder / MADE).write_text(
            json.dumps({"verb": "export", "run": str(run.absolute()), "to": to}) + "\n", "utf-8"
        )
    return out
