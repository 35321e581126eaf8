"""The DICOM series that an image came from: found again, and masks laid back onto its slices."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pydicom
from jaxtyping import Float32, UInt8
from scipy import ndimage

from voxhint.core.errors import BadFileError
from voxhint.core.grid import Grid, Turn
from voxhint.core.volume import Volume
from voxhint.files.dicom.export_contents import scan_export
from voxhint.files.dicom.headers import Plane, quiet
from voxhint.files.dicom.read_series import open_series
from voxhint.files.dicom.stack import Stack, build_stack, read_stack
from voxhint.files.problems import reading

_OFF = 0.05  # of a voxel: headers of other formats round places by far less
_SAME = 0.99  # of the voxels: converters fill what lies outside the field of view as they like
_ROUND = 1e-3  # of the span of values
_SPAN = (1, 99)  # percent


# what a header must hold, if only empty, and anonymisers take out
_EMPTY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"),
    *("StudyDate", "StudyTime", "ReferringPhysicianName"),
)


@dataclass(frozen=True, eq=False)
class Source:
    """A series, and how an image made of it lies on it."""

    stack: Stack
    turn: Turn
    """Takes an array of the image to the stack's grid."""

    @property
    def planes(self) -> tuple[Plane, ...]:
        """Return the slices, in order along their normal."""
        return self.stack.planes

    @cached_property
    def headers(self) -> tuple[pydicom.Dataset, ...]:
        """Return the header of the file of each slice; slices of one file share it.

        Raises:
            BadFileError: A header lacks what an object that refers to it needs.
        """
        read = {plane.path: _header(plane) for plane in self.planes}
        headers = tuple(read[plane.path] for plane in self.planes)
        for what in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
            values = {str(header.get(what, "")) for header in headers}
            if len(values) > 1 or not values - {""}:
                told = f"{len(values)} of them" if len(values) > 1 else "none"
                msg = f"the slices have no {what} in common ({told}); export the series again"
                raise BadFileError(msg)
        return headers

    def ids(self, ids: UInt8[np.ndarray, "i j k"]) -> UInt8[np.ndarray, "slice row column"]:
        """Return a mask on the slices; where they make no even stack, of the nearest voxels."""
        turned = self.turn.apply(ids)
        if self.stack.resampled is None:
            return np.ascontiguousarray(turned.transpose(2, 1, 0))
        near = [np.rint(index).astype(np.intp) for index in self._places()]
        return np.ascontiguousarray(turned[near[0], near[1], near[2]])

    def chances(
        self, values: Float32[np.ndarray, "i j k"]
    ) -> Float32[np.ndarray, "slice row column"]:
        """Return probabilities on the slices, linear between voxels where they lie aside."""
        turned = self.turn.apply(values)
        if self.stack.resampled is None:
            return np.ascontiguousarray(turned.transpose(2, 1, 0))
        return np.asarray(ndimage.map_coordinates(turned, self._places(), order=1, mode="nearest"))

    def _places(self) -> Float32[np.ndarray, "3 slice row column"]:
        """Return where each pixel of each slice lies on the stack's grid, in voxels."""
        places = self.stack.resampled
        columns, rows = self.planes[0].size
        index = np.empty((3, len(self.planes), rows, columns), np.float32)
        for number, (i, j, k) in enumerate(places if places is not None else ()):
            index[0, number] = i + np.arange(columns)
            index[1, number] = j + np.arange(rows)[:, None]
            index[2, number] = k
        top = np.array(self.stack.grid.shape, np.float32)[:, None, None, None] - 1
        return np.clip(index, 0, top)


def _header(plane: Plane) -> pydicom.Dataset:
    """Return the header of a slice's file, without pixels."""
    with reading(Path(plane.name)), quiet():
        header = pydicom.dcmread(plane.path, stop_before_pixels=True, force=True)
        for tag in _EMPTY:
            if tag not in header:
                setattr(header, tag, "")
        return header


@dataclass(frozen=True, slots=True, eq=False)
class Export:
    """Every series below a folder that makes an image."""

    stacks: tuple[Stack, ...]

    def find(self, image: Volume) -> Source:
        """Return the series that an image was made of: of its place, with its values.

        Args:
            image: Of whatever format, its axes in whatever order.

        Raises:
            BadFileError: No series is it, or two are.
        """
        placed = self._placed(image.grid)
        same = [source for source in placed if _alike(image, source)]
        if len(same) == 1:
            return same[0]
        found = "are the same" if same else "has the image's place and other values"
        advice = (
            "leave one of them in the folder" if same else "name the folder of the image's series"
        )
        msg = f"{len(same) or len(placed)} series {found}; {advice}"
        raise BadFileError(msg)

    def at(self, grid: Grid) -> Source:
        """Return the only series that lies where a mask does, of whatever values.

        Raises:
            BadFileError: No series lies there, or several do.
        """
        placed = self._placed(grid)
        if len(placed) > 1:
            msg = f"{len(placed)} series lie where the mask does; name the folder of its series"
            raise BadFileError(msg)
        return placed[0]

    def _placed(self, grid: Grid) -> list[Source]:
        """Return the series that lie where a grid does.

        Raises:
            BadFileError: None does.
        """
        placed = [
            Source(stack, turn)
            for stack in self.stacks
            if (turn := _onto(grid, stack.grid)) is not None
        ]
        if not placed:
            raise BadFileError(_nowhere(grid, self.stacks))
        return placed


def open_export(folder: Path, hear: Callable[[int, int], None] = lambda _d, _a: None) -> Export:
    """Read the headers of every DICOM file below a folder.

    Args:
        folder: Holds any number of series.
        hear: Is told how many files of how many are read.

    Returns:
        The series that make images.

    Raises:
        BadFileError: There is none.
    """
    if not folder.is_dir():
        msg = f"{folder}: is no folder; name the folder of the DICOM series"
        raise BadFileError(msg)
    stacks, flaws = [], []
    for slices in scan_export([folder], hear).groups:
        try:
            if not slices.flaw:
                stacks.append(build_stack(slices.planes))
            else:
                flaws.append(slices.flaw)
        except BadFileError as error:
            flaws.append(str(error))
    if not stacks:
        told = f" ({flaws[0].replace('; ', ': ')})" if flaws else ""
        msg = f"{folder}: holds no series that makes an image{told}; name the folder of the series"
        raise BadFileError(msg)
    return Export(tuple(stacks))


def open_source(folder: Path) -> Source:
    """Return the series of a folder that a study or a prediction reads as it is."""
    return Source(open_series(folder), Turn((0, 1, 2), (False, False, False)))


def _onto(grid: Grid, wanted: Grid) -> Turn | None:
    """Return the turn after which a grid is another, or None if it lies elsewhere."""
    turn = grid.turn_along(wanted)
    turned = grid.turned(turn)
    fits = turned.shape == wanted.shape and wanted.distance_voxels(turned) <= _OFF
    return turn if fits else None


def _alike(image: Volume, source: Source) -> bool:
    """Return whether an image has the values of a series, but for what fills it up."""
    ours, theirs = source.turn.apply(image.voxels), read_stack(source.stack)
    measured = theirs > theirs.min()
    if not measured.any():
        return bool(np.array_equal(ours, theirs))
    ours, theirs = ours[measured], theirs[measured]
    low, high = np.percentile(theirs, _SPAN)
    room = _ROUND * (high - low)
    return float((np.abs(ours - theirs) <= room).mean()) >= _SAME


def _nowhere(grid: Grid, stacks: tuple[Stack, ...]) -> str:
    """Return how far the nearest series lies from an image that is of none."""
    turned = [grid.turned(grid.turn_along(stack.grid)) for stack in stacks]
    shaped = [
        stack.grid.distance_voxels(other)
        for stack, other in zip(stacks, turned, strict=True)
        if stack.grid.shape == other.shape
    ]
    wanted = " x ".join(map(str, grid.shape))
    if not shaped:
        sizes = sorted({" x ".join(map(str, stack.grid.shape)) for stack in stacks})
        told = f"none of {len(stacks)} series has {wanted} voxels (but {', '.join(sizes[:3])})"
        return f"{told}; name the folder of the image's series"
    return (
        f"none of {len(stacks)} series lies where the image does: the nearest of {wanted} voxels "
        f"is up to {min(shaped):.3g} voxels off (allowed {_OFF}); name the folder of the image's "
        "series"
    )


def told_resampled(source: Source) -> str:
    """Return what a person should know of masks that go back onto uneven slices, or nothing."""
    if source.stack.resampled is None:
        return ""
    return (
        f"slices are no even stack: each pixel of the {len(source.planes)} original slices takes "
        "the nearest voxel of the mask, up to half a voxel aside; look at borders"
    )
