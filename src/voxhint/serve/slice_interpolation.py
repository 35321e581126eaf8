"""Drawings that follow from others: what lies between drawn slices, and labels that are locked."""

from itertools import pairwise, product

import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8
from scipy import ndimage, special

from voxhint.core.box import bounding_box
from voxhint.core.errors import BadHintError
from voxhint.core.labels import UNDRAWN, LabelSet
from voxhint.serve.contract import Paint
from voxhint.serve.undo_redo import Drawn

_DOUBT = 0.25  # millimetres of doubt about a border for each to the nearest drawn slice
_RIM = 2  # voxels around a locked label that are locked too
_AROUND_MM = 10.0  # around the labels, in which they are said not to be


def between_slices(
    slices: Drawn, spacing_mm: tuple[float, float, float]
) -> dict[int, Float32[np.ndarray, "i j k"]]:
    """Return what drawn slices say of those between them, from signed distances to the borders.

    How far a border may lie from where it is expected grows with the distance to the drawn slices.
    Within that rim nothing is said; beyond it the chance follows the logistic distribution.

    Args:
        slices: Class numbers of slices that are drawn whole, `UNDRAWN` elsewhere.
        spacing_mm: Of the voxels.

    Returns:
        The chance of each class that is drawn but background; NaN where nothing is said.

    Raises:
        BadHintError: No two slices along one axis are drawn with a gap between them.

    Source:
        Raya and Udupa 1990, shape-based interpolation, doi:10.1109/42.52980.
    """
    axis, planes = _drawn_planes(slices)
    turned = np.moveaxis(slices, axis, 0)
    in_plane = np.delete(np.array(spacing_mm, np.float64), axis)
    found = {
        int(n): np.full(slices.shape, np.nan, np.float32)
        for n in np.unique(turned[planes])
        if n not in (0, UNDRAWN)
    }
    for (a, b), number in product(pairwise(planes), found):
        ends = _distances(turned[a] == number, turned[b] == number, in_plane)
        if ends is None:
            continue
        for n in range(a + 1, b):
            share = (n - a) / (b - a)
            depth = (1 - share) * ends[0] + share * ends[1]
            doubt = _DOUBT * min(n - a, b - n) * spacing_mm[axis] + in_plane.max() / 2
            said = (np.abs(depth) > doubt) & (depth > -doubt - _AROUND_MM)
            chance = np.where(said, special.expit(2 * depth / doubt), np.nan)
            np.moveaxis(found[number], axis, 0)[n] = chance
    return found


def _drawn_planes(slices: Drawn) -> tuple[int, list[int]]:
    """Return the axis along which most slices are drawn whole, and their numbers.

    Raises:
        BadHintError: There are no two with a gap between them.
    """
    best: tuple[int, list[int]] = (0, [])
    for axis in range(3):
        others = tuple(n for n in range(3) if n != axis)
        whole = np.flatnonzero((slices != UNDRAWN).all(others)).tolist()
        if len(whole) > len(best[1]) and whole[-1] - whole[0] >= len(whole):
            best = axis, whole
    if len(best[1]) < 2:
        msg = "fill two slices in one direction, with a gap between them, and ask again"
        raise BadHintError(msg)
    return best


def _distances(
    first: Bool[np.ndarray, "a b"], second: Bool[np.ndarray, "a b"], spacing_mm: np.ndarray
) -> tuple[Float64[np.ndarray, "a b"], Float64[np.ndarray, "a b"]] | None:
    """Return signed distances to the borders of a label, positive inside; None where it is not.

    Where one slice lacks the label, the other's shape shrinks to nothing there.
    """
    if not first.any() and not second.any():
        return None
    depths = [_signed(mask, spacing_mm) if mask.any() else None for mask in (first, second)]
    known = next(depth for depth in depths if depth is not None)
    a, b = (np.full(known.shape, -float(known.max())) if d is None else d for d in depths)
    return a, b


def _signed(mask: Bool[np.ndarray, "a b"], spacing_mm: np.ndarray) -> Float64[np.ndarray, "a b"]:
    inside = ndimage.distance_transform_edt(np.pad(mask, 1), spacing_mm)[1:-1, 1:-1]
    outside = ndimage.distance_transform_edt(~mask, spacing_mm)
    half = float(spacing_mm.min()) / 2
    return np.where(mask, inside - half, half - outside)


def with_rim(
    classes: UInt8[np.ndarray, "i j k"], inside: Bool[np.ndarray, "i j k"]
) -> UInt8[np.ndarray, "i j k"]:
    """Return the classes of a region and of the voxels around it, without which it would grow.

    Args:
        classes: Of all voxels.
        inside: The region.

    Returns:
        Class numbers, `UNDRAWN` elsewhere.
    """
    found = np.full(classes.shape, UNDRAWN, np.uint8, order="F")
    if not inside.any():
        return found
    part = bounding_box(inside, (_RIM, _RIM, _RIM))
    held = ndimage.binary_dilation(inside[part], np.ones((3, 3, 3), np.bool_), _RIM)
    found[part] = np.where(held, classes[part], UNDRAWN)
    return found


def paints_of(classes: UInt8[np.ndarray, "i j k"], onto: Drawn, labels: LabelSet) -> list[Paint]:
    """Return classes as scribbles where nothing is drawn yet.

    Args:
        classes: What is to be drawn, `UNDRAWN` where nothing is.
        onto: Scribbles that stay as they are.
        labels: Names of the classes.
    """
    flat = np.where(onto == UNDRAWN, classes, UNDRAWN).reshape(-1, order="F")
    paints = []
    for number, name in enumerate(labels.names):
        edges = np.diff(np.concatenate([[0], (flat == number).astype(np.int8), [0]]))
        starts, ends = np.flatnonzero(edges > 0), np.flatnonzero(edges < 0)
        if starts.size:
            runs = [(int(a), int(b - a)) for a, b in zip(starts, ends, strict=True)]
            paints.append(Paint(layer="scribbles", label=name, runs=runs))
    return paints
