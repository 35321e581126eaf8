"""Export to nnU-Net: a raw data set whose labels are what a run made of its hints."""

import json
import shutil
from pathlib import Path

from voxhint.core.study import CaseFiles, Study
from voxhint.files.images import read_volume, write_image
from voxhint.verbs.export_source import ENDING, HINTED, Exported, Job, each, open_run, read_classes


def write_nnunet(job: Job) -> Exported:
    """Write an nnU-Net v2 raw data set of the hinted images and the run's masks of them.

    Args:
        job: What is to be handed on.

    Returns:
        Nothing odd.
    """
    study, masked = open_run(job.run, HINTED)
    (job.folder / "labelsTr").mkdir()
    for case in each(job, masked):
        read_classes(case, study.labels)
        shutil.copyfile(case.mask, job.folder / "labelsTr" / f"{case.name}{ENDING}")
        write_images(job.folder / "imagesTr", study, case.files)
    labels = dict(zip(study.labels.names, study.labels.ids, strict=True))
    describe(job.folder, study, labels, len(masked))
    return Exported()


def write_images(folder: Path, study: Study, files: CaseFiles) -> None:
    """Copy the images of a case, each channel under its number; one data set has one ending."""
    folder.mkdir(exist_ok=True)
    for channel, path in files.images.items():
        target = folder / f"{files.name}_{study.channels.index(channel):04d}{ENDING}"
        if path.name.endswith(ENDING):
            shutil.copyfile(path, target)
        else:  # a DICOM series, MetaImage and others
            write_image(target, read_volume(path, channel=channel))


def describe(folder: Path, study: Study, labels: dict[str, int], cases: int) -> None:
    """Write dataset.json."""
    description = {
        "channel_names": {str(n): name for n, name in enumerate(study.channels)},
        "labels": labels,
        "numTraining": cases,
        "file_ending": ENDING,
    }
    (folder / "dataset.json").write_text(json.dumps(description, indent=1) + "\n", "utf-8")
