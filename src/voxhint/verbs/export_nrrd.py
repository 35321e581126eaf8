"""Export to 3D Slicer: each mask as a segmentation with names, colours and codes."""

from voxhint.files.formats.write_seg_nrrd import write_segmentation
from voxhint.files.label_codes import segments_of
from voxhint.verbs.export_source import (
    Job,
    each,
    open_masks,
    read_classes,
)


def write_segmentations(job: Job) -> tuple[str, ...]:
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
