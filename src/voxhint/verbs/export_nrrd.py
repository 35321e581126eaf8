"""Export to 3D Slicer: each mask as a segmentation with names, colours and codes."""

from voxhint.files.codes import segments_of
from voxhint.files.formats.segments_out import write_segmentation
from voxhint.verbs.export_source import (
    HINTED,
    PREDICTED,
    Exported,
    Job,
    each,
    open_run,
    read_classes,
)


def write_segmentations(job: Job) -> Exported:
    """Write CASE.seg.nrrd for each mask of a run.

    Args:
        job: What is to be handed on.

    Returns:
        What was odd.
    """
    study, masked = open_run(job.run, HINTED, PREDICTED)
    segments = segments_of(study.labels.foreground, study.root)
    for case in each(job, masked):
        classes, grid = read_classes(case, study)
        path = job.folder / f"{case.name}.seg.nrrd"
        write_segmentation(path, study.labels.to_ids(classes), grid, study.labels, segments)
    unknown = [segment.label for segment in segments if segment.code is None]
    told = f"{', '.join(unknown)}: without a code; add codes.csv to the study to give one"
    return Exported((told,) if unknown else ())
