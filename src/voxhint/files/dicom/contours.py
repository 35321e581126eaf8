"""Outlines of a flat mask: closed polygons between pixel centres, holes joined by keyholes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64
from scipy import ndimage
from skimage import measure

_measure: Any = measure  # untyped

Ring = Float64[np.ndarray, "_point 2"]
"""Places (row, column) in pixels, the first not repeated at the end."""


def outlines(inside: Bool[np.ndarray, "row column"]) -> list[Ring]:
    """Return polygons that hold the centres of exactly the pixels of a mask.

    Their corners lie midway between two pixel centres, so that rounding moves no pixel. Each
    patch of pixels that share edges has one polygon. A hole is a keyhole: a channel of no width
    leads from the outline around it to the hole and back, along a line between two rows of
    pixels. So every reader fills the same pixels, whether it joins polygons or takes turns.

    Args:
        inside: The mask.

    Returns:
        Polygons, none of which is inside another.

    Source:
        DICOM PS3.3, C.8.8.6.3: "keyhole" technique for closed planar contours with holes.
    """
    labels, _ = ndimage.label(inside)
    rings = []
    for number, part in enumerate(ndimage.find_objects(labels), 1):
        corner = np.array([part[0].start, part[1].start], dtype=np.float64) - 1
        patch = np.pad(labels[part] == number, 1).astype(np.float64)
        rings.append(
            _joined([_corners(ring) for ring in _measure.find_contours(patch, 0.5)]) + corner
        )
    return rings


def _corners(closed: Ring) -> Ring:
    """Return a ring without its last point, which is the first, and those on straight lines."""
    ring = closed[:-1]
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    turns = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    return np.asarray(ring[turns])


def _area(ring: Ring) -> float:
    rows, columns = ring.T
    return float(rows @ np.roll(columns, -1) - columns @ np.roll(rows, -1)) / 2


def _joined(rings: Sequence[Ring]) -> Ring:
    """Return the outline of a patch with its holes joined to it, from left to right."""
    outer, *holes = sorted(rings, key=lambda ring: -abs(_area(ring)))
    for hole in sorted(map(_from_entry, holes), key=lambda ring: float(ring[0, 1])):
        outer = _with_hole(outer, hole)
    return outer


def _from_entry(hole: Ring) -> Ring:
    """Return a hole that begins at its leftmost point between two rows of pixel centres.

    Every hole has one where it begins: its highest points lie between a row and the next.
    """
    between = np.flatnonzero(hole[:, 0] % 1 == 0.5)
    first = between[np.argmin(hole[between, 1])]
    return np.roll(hole, -first, axis=0)


def _with_hole(outer: Ring, hole: Ring) -> Ring:
    """Return an outline that goes left of a hole's first point to the hole, round it and back."""
    row, column = hole[0]
    ends = np.roll(outer, -1, axis=0)
    crossing = (outer[:, 0] <= row) != (ends[:, 0] <= row)
    edges = np.flatnonzero(crossing)
    part = (row - outer[edges, 0]) / (ends[edges, 0] - outer[edges, 0])
    places = outer[edges, 1] + part * (ends[edges, 1] - outer[edges, 1])
    nearest = int(np.where(places < column, places, -np.inf).argmax())
    door = np.array([[row, places[nearest]]])
    after = int(edges[nearest]) + 1
    return np.concatenate([outer[:after], door, hole, hole[:1], door, outer[after:]])
