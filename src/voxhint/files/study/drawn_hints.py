"""Hints drawn on voxels: scribbles, slices, partial masks and soft masks."""

from collections.abc import Sequence

from voxhint.core.grid import Grid
from voxhint.core.hints import Soft, Strokes
from voxhint.core.labels import LabelSet
from voxhint.core.study import VoxelFile
from voxhint.files.formats.read_seg_nrrd import has_segments, on_image, read_segmentation
from voxhint.files.images import read_ids, read_probability
from voxhint.files.problems import reading
from voxhint.files.undrawn_value import drawn_classes


def read_voxel_hint(
    file: VoxelFile, labels: LabelSet, grids: Sequence[Grid] = ()
) -> Strokes | Soft:
    """Read a file of drawn hints.

    Args:
        file: Which, and of what kind.
        labels: The study's.
        grids: Of the images of the case; a segmentation that was cropped is laid onto one of them.

    Returns:
        Class numbers, `UNDRAWN` where nothing is said; or the probability of one label.
    """
    if file.label is None:
        return read_drawn(file, labels, grids)
    with reading(file.path):
        probability, grid = read_probability(file.path, gaps=True)
        return Soft(file.label, probability, grid)


def read_drawn(file: VoxelFile, labels: LabelSet, grids: Sequence[Grid] = ()) -> Strokes:
    """Read scribbles, slices or a mask of `labelsTr`.

    Args:
        file: Which, and of what kind.
        labels: The study's.
        grids: Of the images of the case; a segmentation that was cropped is laid onto one of them.

    Returns:
        Class numbers, `UNDRAWN` where nothing is said.
    """
    with reading(file.path):
        whole = file.kind != "scribbles"
        if not has_segments(file.path):
            ids, grid = read_ids(file.path)
        else:
            found = on_image(read_segmentation(file.path, labels), grids)
            if found.background:
                return Strokes(labels.to_classes(found.ids), found.grid, complete=whole)
            ids, grid = found.ids, found.grid
        classes = drawn_classes(ids, grid, labels, kind=file.kind, undrawn=file.undrawn)
        return Strokes(classes, grid, complete=whole)


def on_grid(hint: Strokes | Soft, grid: Grid) -> Strokes | Soft:
    """Return a drawn hint on a grid of the same shape and place, rounding mended."""
    if isinstance(hint, Strokes):
        return Strokes(hint.classes, grid, hint.complete)
    return Soft(hint.label, hint.probability, grid)
