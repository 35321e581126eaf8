"""Segmentations of 3D Slicer: NRRD files whose segments have names, layers, and little margin."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from jaxtyping import Shaped, UInt8

from voxhint.core.errors import BadFileError
from voxhint.core.grid import Grid
from voxhint.core.labels import BACKGROUND, UNDRAWN, LabelSet
from voxhint.files.dataset_json import IGNORE
from voxhint.files.formats.metaimage_nrrd import read_itk_layers
from voxhint.files.unicode_names import plain

_KEY = re.compile(rb"^Segment(\d+)_(Name|LabelValue|Layer):=(.*?)\r?$", re.MULTILINE)
_LONGEST_HEADER = 2**20
_OFF = 0.01  # of a voxel: how far a cropped segmentation may lie beside the voxels of its image


@dataclass(frozen=True, slots=True)
class _Segment:
    name: str
    value: int
    layer: int


@dataclass(frozen=True, slots=True, eq=False)
class _Segmentation:
    """What a file of named segments holds, in the ids of the study."""

    ids: UInt8[np.ndarray, "i j k"]
    """0 outside all segments; 255 there if one of them is called background."""

    grid: Grid
    background: bool
    """Whether a segment is called background."""


def has_segments(path: Path) -> bool:
    """Return whether a file is a NRRD that names its segments."""
    return path.name.lower().endswith(".nrrd") and bool(_KEY.search(_header(path)))


def _header(path: Path) -> bytes:
    with path.open("rb") as file:
        return re.split(rb"\r?\n\r?\n", file.read(_LONGEST_HEADER), maxsplit=1)[0]


def _segments(path: Path) -> tuple[_Segment, ...]:
    """Return the segments that a header names.

    Raises:
        BadFileError: A segment lacks its name or its value.
    """
    found: dict[int, dict[str, str]] = {}
    for number, key, value in _KEY.findall(_header(path)):
        found.setdefault(int(number), {})[key.decode()] = value.decode("utf-8", "replace").strip()
    segments = []
    for number, keys in sorted(found.items()):
        told = (keys.get("LabelValue", "1"), keys.get("Layer", "0"))
        if "Name" not in keys or not all(text.isdecimal() for text in told):
            msg = f"{path.name}: segment {number} lacks its name or value; save it again"
            raise BadFileError(msg)
        segments.append(_Segment(keys["Name"], int(told[0]), int(told[1])))
    return tuple(segments)


def read_segmentation(path: Path, labels: LabelSet) -> _Segmentation:
    """Read a segmentation; names decide which label a segment is, whatever its value.

    Args:
        path: A NRRD file of which `has_segments` is true; ITK's errors pass through.
        labels: The study's.

    Returns:
        Ids of the study, on the file's own grid, which may be smaller than the image's.

    Raises:
        BadFileError: A segment that is drawn has no label's name, two have one voxel, or a voxel
            has a value of no segment.
    """
    segments = _segments(path)
    layers, grid = read_itk_layers(path)
    ids = np.zeros(grid.shape, np.uint8)
    owner = np.full(grid.shape, -1, np.int16)
    _require_named(path, segments, layers)
    for number, segment in enumerate(segments):
        drawn = layers[segment.layer] == segment.value
        if not drawn.any():
            continue
        value = _id_of(path, segment.name, labels)
        other = owner[drawn & (owner >= 0) & (ids != value)]
        if other.size:
            msg = (
                f"{path.name}: {other.size} voxels are both '{segments[other[0]].name}' and "
                f"'{segment.name}'; a voxel may have one label: take one of them away in Slicer"
            )
            raise BadFileError(msg)
        ids[drawn], owner[drawn] = value, number
    background = any(_plain(segment.name) == BACKGROUND for segment in segments)
    if background:
        ids[owner < 0] = UNDRAWN
    return _Segmentation(ids, grid, background)


def _require_named(
    path: Path, segments: Sequence[_Segment], layers: Shaped[np.ndarray, "layer i j k"]
) -> None:
    """Refuse voxels of no segment, and segments in a layer that is not there.

    Raises:
        BadFileError: There are some.
    """
    named: Mapping[int, set[int]] = {number: {0} for number in range(len(layers))}
    for segment in segments:
        if segment.layer not in named or segment.value in named[segment.layer]:
            msg = (
                f"{path.name}: segment '{segment.name}' has value {segment.value} in layer "
                f"{segment.layer}, as another one, or there is no such layer; save it again"
            )
            raise BadFileError(msg)
        named[segment.layer].add(segment.value)
    for number, values in named.items():
        strange = sorted(set(np.unique(layers[number]).tolist()) - values)
        if strange:
            msg = (
                f"{path.name}: holds value {strange[0]:g}, which no segment has "
                f"({', '.join(repr(s.name) for s in segments)}); save it from Slicer again"
            )
            raise BadFileError(msg)


def _plain(name: str) -> str:
    return " ".join(plain(name).split()).casefold()


def _id_of(path: Path, name: str, labels: LabelSet) -> int:
    """Return the id of the label that a segment is called after, capitals forgiven.

    Raises:
        BadFileError: None is, or several are.
    """
    if name in labels.names:
        return labels.ids[labels.names.index(name)]
    if labels.ignore is not None and _plain(name) == IGNORE:
        return labels.ignore
    fitting = [
        value
        for label, value in zip(labels.names, labels.ids, strict=True)
        if _plain(label) == _plain(name)
    ]
    if len(fitting) != 1:
        msg = (
            f"{path.name}: segment '{name}' is no label of dataset.json; "
            f"rename it to one of {', '.join(labels.names)}, or remove it in Slicer"
        )
        raise BadFileError(msg)
    return fitting[0]


def on_image(found: _Segmentation, grids: Sequence[Grid]) -> _Segmentation:
    """Return a segmentation on the grid of the image it was cropped from.

    Slicer writes no more than the box around all segments; outside of it nothing was drawn.

    Args:
        found: As the file has it.
        grids: Of the images it may belong to.

    Returns:
        The segmentation on the first grid whose voxels its own coincide with; itself if there is
        none.
    """
    ends = np.array(list(product(*[(0, count - 1) for count in found.grid.shape])), np.float64)
    for grid in grids:
        index = grid.to_index(found.grid.to_world(ends))
        start = np.rint(index[0]).astype(int)
        aligned = np.abs(index - start - ends).max() <= _OFF
        if aligned and (start >= 0).all() and (start + found.grid.shape <= grid.shape).all():
            ids = np.full(grid.shape, UNDRAWN if found.background else 0, np.uint8)
            within = zip(start, found.grid.shape, strict=True)
            ids[tuple(slice(first, first + count) for first, count in within)] = found.ids
            return _Segmentation(ids, grid, found.background)
    return found
