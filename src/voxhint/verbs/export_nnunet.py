"""Export to nnU-Net: a raw data set whose labels are what a run made of its hints."""

import json
import shutil
from pathlib import Path

from voxhint.core.labels import UNDRAWN, LabelSet
from voxhint.core.study import CaseFiles, Study
from voxhint.files.images import read_volume, write_ids, write_image
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
        write_images(job.folder / "imagesTr", study, case.files)
    numbered = {name: number for number, name in enumerate(names)}
    describe(job.folder, study, numbered, len(masked), undrawn=UNDRAWN)
    pairs = enumerate(zip(names, ids, strict=True))
    moved = [f"{name} {number} for {was}" for number, (name, was) in pairs if number != was]
    told = f"nnU-Net wants ids without gaps, so they are other than the study's: {', '.join(moved)}"
    return () if kept else (told,)


def write_images(folder: Path, study: Study, files: CaseFiles) -> None:
    """Copy the images of a case, each channel under its number; one data set has one ending."""
    folder.mkdir(exist_ok=True)
    for channel, path in files.images.items():
        target = folder / f"{files.name}_{study.channels.index(channel):04d}{ENDING}"
        if path.name.endswith(ENDING):
            shutil.copyfile(path, target)
        else:  # a DICOM series, MetaImage and others
            write_image(target, read_volume(path, channel=channel))


def describe(
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
