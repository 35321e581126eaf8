"""Outlines of a flat mask: closed polygons between pixel centres, and the pixels in polygons."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64
from scipy import ndimage
from skimage import measure

_measure: Any = measure  # untyped

Ring = Float64[np.ndarray, "_point 2"]
"""Places (row, column) in pixels, the first not repeated at the end."""

_ON = 0.01  # of a pixel: coordinates are written with few digits


def outlines(inside: Bool[np.ndarray, "row column"]) -> list[Ring]:
    """Return polygons that hold the centres of exactly the pixels of a mask.

    Their corners lie midway between two pixel centres, so that rounding moves no pixel. Each
    patch of pixels that share edges has one polygon. A hole is a keyhole: a channel of no width
    leads from the outline around it to the hole and back, along a line between two rows of
    pixels. So every reader fills the same pixels, whether it joins polygons or takes turns.

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


def filled(
    rings: Sequence[Ring], shape: tuple[int, int]
) -> tuple[Bool[np.ndarray, "row column"], bool]:
    """Return the pixels whose centres lie in polygons, or on their outlines.

    A polygon in another is a hole in it, and one in the hole an island (even-odd). Polygons that
    cross each other, neither in the other, are joined.

    Args:
        rings: Polygons; a repeated one counts once.
        shape: Rows and columns.

    Returns:
        The mask, and whether polygons cross.
    """
    different = {np.round(ring, 3).tobytes(): ring for ring in rings}
    windows = [(ring, _window(ring, shape)) for ring in different.values()]
    parts = [(window, *_crossed(ring, window)) for ring, window in windows]
    inside, on = np.zeros(shape, bool), np.zeros(shape, bool)
    for window, part, edge in parts:
        inside[window] ^= part
        on[window] |= edge
    crossing = False
    for number, (window, part, _) in enumerate(parts):
        for other, its, _ in parts[:number]:
            both = _shared(window, other)
            if both[0].stop == both[0].start or both[1].stop == both[1].start:
                continue
            shared = _cut(part, window, both) & _cut(its, other, both)
            if 0 < shared.sum() < min(part.sum(), its.sum()):
                crossing = True
                inside[both] |= shared
    return inside | on, crossing


_Window = tuple[slice, slice]


def _window(ring: Ring, shape: tuple[int, int]) -> _Window:
    """Return the part of an image that a polygon may touch."""
    low, high = np.floor(ring.min(axis=0)).astype(int), np.ceil(ring.max(axis=0)).astype(int) + 1
    (top, left), (bottom, right) = np.clip(low, 0, shape), np.clip(high, 0, shape)
    return slice(top, bottom), slice(left, right)


def _shared(one: _Window, other: _Window) -> _Window:
    starts = [max(a.start, b.start) for a, b in zip(one, other, strict=True)]
    stops = [min(a.stop, b.stop) for a, b in zip(one, other, strict=True)]
    rows, columns = (slice(a, max(a, b)) for a, b in zip(starts, stops, strict=True))
    return rows, columns


def _cut(
    part: Bool[np.ndarray, "row column"], window: _Window, both: _Window
) -> Bool[np.ndarray, "down across"]:
    """Return what of a window's mask lies in a window that it shares."""
    rows, columns = (
        slice(b.start - w.start, b.stop - w.start) for w, b in zip(window, both, strict=True)
    )
    return part[rows, columns]


def _crossed(
    ring: Ring, window: _Window
) -> tuple[Bool[np.ndarray, "row column"], Bool[np.ndarray, "row column"]]:
    """Return the pixels in a polygon by the crossings of each row, and those on its outline."""
    shape = (window[0].stop - window[0].start, window[1].stop - window[1].start)
    ring = ring - np.array([window[0].start, window[1].start])
    ends = np.roll(ring, -1, axis=0)
    turns = np.zeros((shape[0], shape[1] + 1), np.int64)
    edge = np.zeros(shape, bool)
    for upright in (True, False):  # a step along the rows meets columns, and the other way round
        start, end = (ring, ends) if upright else (ring[:, ::-1], ends[:, ::-1])
        low, high = np.minimum(start[:, 0], end[:, 0]), np.maximum(start[:, 0], end[:, 0])
        first = np.ceil(low - _ON).astype(np.int64)
        count = np.maximum(np.floor(high + _ON).astype(np.int64) - first + 1, 0)
        owner = np.repeat(np.arange(len(ring)), count)
        line = first[owner] + np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        run = end[owner, 0] - start[owner, 0]
        part = np.clip((line - start[owner, 0]) / np.where(run == 0, 1, run), 0, 1)
        place = start[owner, 1] + part * (end[owner, 1] - start[owner, 1])
        if upright:
            met = (low[owner] <= line) & (line < high[owner]) & (line >= 0) & (line < shape[0])
            after = np.clip(np.floor(place[met]) + 1, 0, shape[1]).astype(np.int64)
            np.add.at(turns, (line[met], after), 1)
        near = np.abs(place - np.rint(place)) <= _ON
        rows, columns = line[near], np.rint(place[near]).astype(np.int64)
        rows, columns = (rows, columns) if upright else (columns, rows)
        known = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
        edge[rows[known], columns[known]] = True
    return np.cumsum(turns, axis=1)[:, :-1] % 2 == 1, edge


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
