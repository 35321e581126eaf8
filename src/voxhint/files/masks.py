"""Masks in the ids of a study, from files that hold ids or named segments."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from voxhint.core.errors import BadFileError
from voxhint.core.grid import Grid
from voxhint.core.labels import LabelSet
from voxhint.files.formats.read_seg_nrrd import has_segments, on_image, read_segmentation
from voxhint.files.images import read_grid, read_ids
from voxhint.files.problems import reading
from voxhint.files.undrawn_value import require_labels


def read_mask(
    path: Path, labels: LabelSet, grids: Sequence[Grid] = (), *, undrawn: int | None = None
) -> tuple[UInt8[np.ndarray, "i j k"], Grid]:
    """Read a mask that a person or a program drew: a truth, a dense mask, a prediction.

    Args:
        path: A file of label ids, or one of 3D Slicer with named segments.
        labels: The study's.
        grids: Of the images it may belong to; a cropped segmentation is laid onto one of them.
        undrawn: What the study says that means not drawn; None where it does not say.

    Returns:
        Ids of the study, and where they lie.

    Raises:
        BadFileError: It cannot be read, or holds something else than labels of the study.
    """
    with reading(path):
        if has_segments(path):
            found = on_image(read_segmentation(path, labels), grids)
            return found.ids, found.grid
        ids, grid = read_ids(path)
    try:
        require_labels(ids, labels, undrawn=undrawn)
    except BadFileError as error:
        msg = f"{path.name}: {error}"
        raise BadFileError(msg) from None
    return ids, grid


def mask_grid(path: Path, labels: LabelSet, grids: Sequence[Grid] = ()) -> Grid:
    """Return where a mask lies, from its header where that tells."""
    with reading(path):
        named = has_segments(path)
    return read_mask(path, labels, grids)[1] if named else read_grid(path)
