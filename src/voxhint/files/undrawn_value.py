"""Which voxels of a drawn map were drawn: 0 may mean background, or that nobody drew there."""

from typing import Literal

import numpy as np
from jaxtyping import Bool, UInt8
from scipy import ndimage

from voxhint.core.box import bounding_box
from voxhint.core.errors import BadFileError
from voxhint.core.grid import Grid
from voxhint.core.labels import UNDRAWN, LabelSet, counts_of, told_ids
from voxhint.core.study import VoxelKind

_Form = Literal["solid", "specks", "thin"]

_LONG = 5  # voxels: what is longer and has no inside is a stroke or a slice, not a small object
_INSIDE = 3  # planes an axis needs before a voxel can have both neighbours on it
_COARSE = 1.5  # times the other spacings: people draw across the coarsest axis

_Ids = UInt8[np.ndarray, "i j k"]


def _drawn_background(labels: LabelSet) -> int | None:
    """Return the id of background strokes where 0 means not drawn: the one after the highest."""
    highest = max(*labels.ids, labels.ignore or 0)
    return highest + 1 if highest + 1 < UNDRAWN else None


def require_labels(ids: _Ids, labels: LabelSet, *, undrawn: int | None = None) -> None:
    """Refuse a mask whose values are not those of the study, 0 and 255 alone included.

    Args:
        ids: A mask, a truth or a prediction.
        labels: The study's.
        undrawn: What the study says that means not drawn; None where it does not say.

    Raises:
        BadFileError: An id is unknown, or the only value beside 0 is 255.
    """
    labels.to_classes(ids)
    counts = counts_of(ids)
    if undrawn != UNDRAWN and UNDRAWN in counts and _is_silent(counts, labels):
        _refuse_255(counts, labels)


def _is_silent(counts: dict[int, int], labels: LabelSet) -> bool:
    """Return whether no voxel has the id of a foreground label, nor the ignore id."""
    return not set(counts) - {0, UNDRAWN}.difference({labels.ignore})


def _refuse_255(counts: dict[int, int], labels: LabelSet) -> None:
    """Refuse a mask of 0 and 255.

    Raises:
        BadFileError: Always.
    """
    msg = (
        f"holds 0 in {counts.get(0, 0)} voxels and {UNDRAWN} in {counts[UNDRAWN]}, and no id of "
        f"a label, where {told_ids(labels.ids)} are expected and {UNDRAWN} means not drawn; "
        f"store the label's id, or say --undrawn {UNDRAWN} if nothing was drawn there"
    )
    raise BadFileError(msg)


def drawn_classes(
    ids: _Ids, grid: Grid, labels: LabelSet, *, kind: VoxelKind, undrawn: int | None
) -> UInt8[np.ndarray, "i j k"]:
    """Turn a drawn map into class numbers.

    Where the study does not say which value means not drawn, it is 255; then a map of label ids
    and 0 without any 255 is refused, unless it is a mask of `labelsTr` whose objects are solid
    (one voxel at least has its own label on all sides, which no stroke and no slice has).

    Args:
        ids: As stored.
        grid: Where they lie.
        labels: The study's.
        kind: Whether these are scribbles, slices or a mask of `labelsTr`.
        undrawn: The value that means not drawn, or None where nobody said.

    Returns:
        Class numbers, `UNDRAWN` where nothing was drawn.

    Raises:
        BadFileError: An id is unknown, or what 0 means cannot be told.
    """
    counts = counts_of(ids)
    if undrawn == 0:
        return _drawn_without_zero(ids, grid, labels, kind)
    if undrawn not in (None, UNDRAWN):
        ids = np.where(ids == undrawn, np.uint8(UNDRAWN), ids)
    classes = labels.to_classes(ids)
    if undrawn is not None:
        return classes
    if UNDRAWN in counts and _is_silent(counts, labels) and not _is_blank(ids, kind):
        _refuse_255(counts, labels)
    said = {UNDRAWN, labels.ignore} & set(counts)
    if 0 in counts and not said and _is_unlike_masks(classes, kind):
        msg = (
            f"holds 0 in {counts[0]} voxels, label ids in {ids.size - counts[0]} and {UNDRAWN} in "
            f"none, so that {counts[0]} voxels would be certain background; "
            f'say --undrawn 0 (or "undrawn": 0 in dataset.json) if 0 means not drawn, '
            f"--undrawn {UNDRAWN} if it means background"
        )
        raise BadFileError(msg)
    return classes


def _is_blank(ids: _Ids, kind: VoxelKind) -> bool:
    """Return whether 0 and 255 alone may be background drawn in few places: strokes, or slices."""
    if kind == "scribbles":
        return 2 * int((ids == 0).sum()) < ids.size
    even = [(np.ptp(np.moveaxis(ids, axis, 0), axis=(1, 2)) == 0).all() for axis in range(ids.ndim)]
    return kind == "slices" and any(even)


def _is_unlike_masks(classes: _Ids, kind: VoxelKind) -> bool:
    return kind != "labels" or form_of(classes) == "thin"


def form_of(classes: _Ids) -> _Form:
    """Return what a map without undrawn voxels looks like.

    Args:
        classes: Class numbers, 0 the background.

    Returns:
        Solid if some voxel has its own label on all sides, or nothing is drawn at all; thin if
        something without an inside is long, as strokes and slices are; else specks, which may be
        small objects as well as clicks.
    """
    drawn = classes > 0
    if not drawn.any():
        return "solid"
    wide = bounding_box(drawn, (1, 1, 1))
    inner = drawn[wide].copy()
    for axis, count in enumerate(classes.shape):
        if count >= _INSIDE:
            along = np.moveaxis(classes[wide], axis, 0)
            same = np.zeros(along.shape, np.bool_)
            same[1:-1] = (along[1:-1] == along[:-2]) & (along[1:-1] == along[2:])
            inner &= np.moveaxis(same, 0, axis)
    if inner.any():
        return "solid"
    parts, _ = ndimage.label(drawn[wide], np.ones((3, 3, 3)))
    boxes = ndimage.find_objects(parts)
    long = any(part.stop - part.start >= _LONG for box in boxes for part in box)
    return "thin" if long else "specks"


def _drawn_without_zero(ids: _Ids, grid: Grid, labels: LabelSet, kind: VoxelKind) -> _Ids:
    """Return class numbers of a map in which 0 means not drawn.

    Raises:
        BadFileError: An id is unknown, or the slices cannot be told apart.
    """
    background = _drawn_background(labels)
    counts = counts_of(ids)
    known = {0, UNDRAWN, *labels.ids, labels.ignore, background}
    if strange := sorted(set(counts) - known):
        msg = (
            f"ids {strange[:5]} are not in dataset.json; use {told_ids(labels.ids[1:])}, "
            f"{background} for drawn background, or 0 for not drawn"
        )
        raise BadFileError(msg)
    if UNDRAWN in counts and not set(counts) - {0, UNDRAWN}:
        _refuse_255(counts, labels)
    told = np.where(ids == 0, np.uint8(UNDRAWN), ids)
    if background is not None:
        told[ids == background] = 0
    classes = labels.to_classes(told)
    if kind == "slices" and (classes != UNDRAWN).any():
        axis = _slice_axis(classes != UNDRAWN, grid)
        planes = np.moveaxis(classes, axis, 0)
        drawn = (planes != UNDRAWN).any(axis=(1, 2))
        planes[drawn] = np.where(planes[drawn] == UNDRAWN, np.uint8(0), planes[drawn])
    return classes


def _slice_axis(drawn: Bool[np.ndarray, "i j k"], grid: Grid) -> int:
    """Return the axis across which slices were drawn: along it no drawn voxel has a neighbour.

    Raises:
        BadFileError: That is so of no axis or of several, and no axis is coarser than the others.
    """
    single = []
    for axis in range(drawn.ndim):
        planes = np.moveaxis(drawn, axis, 0)
        if not (planes[1:] & planes[:-1]).any():
            single.append(axis)
    if len(single) == 1:
        return single[0]
    spacing = grid.spacing_mm
    coarse = int(spacing.argmax())
    if coarse in (single or (coarse,)) and spacing[coarse] >= _COARSE * np.sort(spacing)[-2]:
        return coarse
    msg = (
        "which way its slices lie cannot be told, as they touch or hold single voxels; "
        f"fill what was not drawn with {UNDRAWN}, and 0 on the slices that were drawn"
    )
    raise BadFileError(msg)
