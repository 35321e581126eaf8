"""Boxes on single slices in PASCAL VOC's XML, a file for each, called like the slice's SOP UID."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from scipy.sparse.csgraph import connected_components

from voxhint.core.box import corners
from voxhint.core.errors import BadFileError
from voxhint.core.hints import Box
from voxhint.files.datasets.lidc import WithoutEntities
from voxhint.files.dicom.stack import Stack
from voxhint.files.problems import reading

_ENDS = ("xmin", "ymin", "xmax", "ymax")
_HALF = 0.5


@dataclass(frozen=True, slots=True)
class FlatBox:
    """A box on one slice."""

    name: str
    ends: tuple[float, float, float, float]
    """Columns and rows of its first and last corner, in pixels."""


def read_flat_boxes(path: Path, name: str) -> list[FlatBox] | None:
    """Read the boxes of a file.

    Returns:
        Its boxes, or None if it is of another kind.

    Raises:
        BadFileError: It is no XML, or a box has no extent.
    """
    with reading(Path(name)):
        try:
            root = ElementTree.parse(
                path, ElementTree.XMLParser(target=WithoutEntities())
            ).getroot()
        except ElementTree.ParseError as error:
            msg = f"{name}: is not XML ({error}); copy it again"
            raise BadFileError(msg) from error
        if root.tag != "annotation":
            return None
        boxes = []
        for item in root.iter("object"):
            ends = tuple(float(item.findtext(f"bndbox/{end}") or "nan") for end in _ENDS)
            if not (ends[0] < ends[2] and ends[1] < ends[3]):
                msg = f"{name}: holds a box from {ends[:2]} to {ends[2:]}; draw it with some extent"
                raise BadFileError(msg)
            boxes.append(FlatBox(item.findtext("name") or "", (ends[0], ends[1], ends[2], ends[3])))
        return boxes


def solid_boxes(flat: Mapping[str, Mapping[int, Sequence[FlatBox]]], stack: Stack) -> Iterator[Box]:
    """Yield a box around those of neighbouring slices that overlap.

    Corners are taken as pixel centres, as Lung-PET-CT-Dx has them; along the normal a box ends at
    the outer faces of its slices.

    Args:
        flat: Of each label, by the number of the slice.
        stack: The slices.
    """
    for label, by_slice in flat.items():
        slices = np.array([number for number, boxes in by_slice.items() for _ in boxes])
        ends = np.array([box.ends for boxes in by_slice.values() for box in boxes])
        near = np.abs(slices[:, None] - slices) <= 1
        overlap = (ends[:, None, :2] <= ends[:, 2:]).all(-1)
        count, groups = connected_components(near & overlap & overlap.T)
        for group in range(count):
            here = groups == group
            pairs = zip(slices[here].tolist(), ends[here].tolist(), strict=True)
            places = np.concatenate([_corners(number, box, stack) for number, box in pairs])
            yield Box(label, places.min(axis=0), places.max(axis=0))


def _corners(number: int, ends: Sequence[float], stack: Stack) -> np.ndarray:
    """Return the corners of a box on a slice, as thick as the slice, in RAS+ millimetres."""
    shift = (0, 0, number) if stack.resampled is None else stack.resampled[number]
    index = corners((*ends[:2], -_HALF), (*ends[2:], _HALF))
    return stack.grid.to_world(index + np.asarray(shift, np.float64))
