"""Segmentations and structure sets that lie beside a series: what they drew on its slices."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from jaxtyping import Bool, Float32, Float64, Shaped
from pydicom.tag import Tag

from voxhint.core.errors import BadFileError
from voxhint.files.dicom.contours import filled
from voxhint.files.dicom.headers import Plane, frame_facts, quiet
from voxhint.files.dicom.stack import Stack
from voxhint.files.header_limits import require_sane
from voxhint.files.problems import reading
from voxhint.files.unicode_names import plain

_OFF = 0.05  # of a pixel: how far pixels of an object may lie beside those of a slice
_BESIDE = 0.1  # of the gap: how far a frame or a contour may lie before or behind its slice
_SHORTEST = 3  # letters of a part of a name that gives its patient away
_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_CONTOUR_DATA = Tag("ContourData")

_Drawing = Bool[np.ndarray, "slice row column"] | Float32[np.ndarray, "slice row column"]
"""On the slices of a stack; numbers where an object stores fractions."""


@dataclass(frozen=True, slots=True)
class Structure:
    """One thing that an object drew."""

    number: int
    names: tuple[str, ...]
    """What it may be called, its own name first."""

    naming: bool
    """Whether its name holds a part of the patient's name or number."""


@dataclass(frozen=True, slots=True, eq=False)
class _DicomObject:
    """A segmentation or a structure set."""

    kind: str
    """SEG or RTSTRUCT."""

    structures: tuple[Structure, ...]
    data: pydicom.Dataset

    def stacks(self, stacks: Sequence[Stack]) -> list[int]:
        """Return the numbers of the stacks it speaks of: by slice, by series, or by frame."""
        told = _referred(self.data)
        for attribute, tag in (
            ("instance", "ReferencedSOPInstanceUID"),
            ("series", "SeriesInstanceUID"),
            ("reference", "FrameOfReferenceUID"),
        ):
            found = [
                number
                for number, stack in enumerate(stacks)
                if any(getattr(plane, attribute) in told[tag] for plane in stack.planes)
            ]
            if found:
                return found
        return []

    def draw(self, structure: Structure, stack: Stack) -> tuple[_Drawing | None, tuple[str, ...]]:
        """Return a structure on the slices of a stack, and what is odd about it.

        Args:
            structure: One of its own.
            stack: One that it speaks of.

        Returns:
            None where nothing is drawn.

        Raises:
            BadFileError: It lies beside the pixels or slices, or beyond them.
        """
        draw = _segment if self.kind == "SEG" else _contoured
        drawn, notes = draw(self.data, structure.number, stack)
        return (drawn if drawn.any() else None), notes


def open_object(path: Path, name: str) -> _DicomObject | None:
    """Read a segmentation or a structure set.

    Returns:
        None if it is of another kind.

    Raises:
        BadFileError: It is damaged.
    """
    with reading(Path(name)), quiet():
        data = pydicom.dcmread(path, force=True)
        kind = str(data.get("Modality", ""))
        if kind == "SEG":
            items = data.get("SegmentSequence") or ()
            named = [(item.get("SegmentNumber"), _segment_names(item)) for item in items]
        elif kind == "RTSTRUCT":
            items = data.get("StructureSetROISequence") or ()
            named = [(item.get("ROINumber"), (item.get("ROIName"),)) for item in items]
        else:
            return None
        structures = [
            Structure(int(number), texts(names), naming=names_patient(data, str(names[0] or "")))
            for number, names in named
            if number  # a label map may describe its background, 0
        ]
        return _DicomObject(kind, tuple(structures), data)


def _segment_names(item: pydicom.Dataset) -> tuple[Any, ...]:
    kinds = item.get("SegmentedPropertyTypeCodeSequence") or ()
    return (item.get("SegmentLabel"), *(kind.get("CodeMeaning") for kind in kinds))


def texts(names: Sequence[Any]) -> tuple[str, ...]:
    """Return names as they read, without those that are not there."""
    return tuple(" ".join(plain(str(name)).split()) for name in names if name)


def names_patient(data: pydicom.Dataset, text: str) -> bool:
    """Return whether a text holds a part of the patient's name or number."""
    who = f"{data.get('PatientName', '')} {data.get('PatientID', '')}".casefold()
    parts = {part for part in re.split(r"[\W_]+", who) if len(part) >= _SHORTEST}
    return any(part in text.casefold() for part in parts)


def _referred(data: pydicom.Dataset) -> Mapping[str, set[str]]:
    """Return the UIDs of slices, series and frames that an object names."""
    told: dict[str, set[str]] = {
        "ReferencedSOPInstanceUID": set(),
        "SeriesInstanceUID": set(),
        "FrameOfReferenceUID": {str(data.get("FrameOfReferenceUID", ""))},
    }
    for item in (
        element for sequence in data if sequence.VR == "SQ" for element in _below(sequence)
    ):
        if item.keyword == "ReferencedFrameOfReferenceUID":
            told["FrameOfReferenceUID"].add(str(item.value))
        elif item.keyword in told:
            told[item.keyword].add(str(item.value))
    return {tag: values - {""} for tag, values in told.items()}


def _below(sequence: pydicom.DataElement) -> Iterator[pydicom.DataElement]:
    for item in sequence.value:
        for tag in item.keys() - {_CONTOUR_DATA}:  # which is long to parse
            element = item[tag]
            if element.VR == "SQ":
                yield from _below(element)
            else:
                yield element


def _slice_of(stack: Stack, position: Float64[np.ndarray, "3"], what: str) -> int:
    """Return the slice that a place lies in.

    Raises:
        BadFileError: It lies between slices.
    """
    first = stack.planes[0]
    normal = np.cross(first.along[0], first.along[1])
    heights = np.array([plane.position @ normal for plane in stack.planes])
    apart = np.abs(heights - position @ normal)
    number = int(apart.argmin())
    if apart[number] > _BESIDE * float(np.diff(heights).min()):
        msg = (
            f"{what} lies {apart[number]:.3g} mm beside the nearest of {len(heights)} slices; it "
            "was drawn on another series: import that one"
        )
        raise BadFileError(msg)
    return number


def _segment(data: pydicom.Dataset, number: int, stack: Stack) -> tuple[_Drawing, tuple[str, ...]]:
    """Return a segment on the slices of a stack."""
    kind = str(data.get("SegmentationType", ""))
    frames = np.asarray(_frames(data))
    scale = float(data.get("MaximumFractionalValue") or 1) if kind == "FRACTIONAL" else 0.0
    columns, rows = stack.planes[0].size
    drawn = np.zeros((len(stack.planes), rows, columns), np.float32 if scale else bool)
    each = data.get("PerFrameFunctionalGroupsSequence") or ()
    for frame, facts, groups in zip(frames, frame_facts(data), each, strict=True):
        if kind == "LABELMAP":
            values = frame == number
        elif _number_of(groups, data) == number:
            values = frame / scale if scale else frame > 0
        else:
            continue
        if values.any():
            _lay(drawn, values, _Lattice.of(facts), stack)
    return drawn, ()


def _number_of(groups: pydicom.Dataset, data: pydicom.Dataset) -> int:
    """Return which segment a frame is of; it may be told for all frames at once."""
    for item in (groups, *(data.get("SharedFunctionalGroupsSequence") or ())):
        for told in item.get("SegmentIdentificationSequence") or ():
            return int(told.ReferencedSegmentNumber)
    return 0


def _frames(data: pydicom.Dataset) -> Shaped[np.ndarray, "frame row column"]:
    """Return the stored frames of a segmentation.

    Raises:
        BadFileError: The header promises more than there is.
    """
    shape = (int(data.get("NumberOfFrames") or 1), int(data.Rows), int(data.Columns))
    require_sane(Path("segmentation"), shape, 0, stored=0, compressed=False)
    return np.asarray(data.pixel_array).reshape(shape)


@dataclass(frozen=True, slots=True, eq=False)
class _Lattice:
    """Where the pixels of a frame lie, in DICOM's LPS millimetres."""

    position: Float64[np.ndarray, "3"]
    steps: Float64[np.ndarray, "2 3"]
    """To the next column and to the next row."""

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> "_Lattice":
        down, across = (float(value) for value in facts["PixelSpacing"])
        along = np.array(facts["ImageOrientationPatient"], np.float64).reshape(2, 3)
        position = np.array(facts["ImagePositionPatient"], np.float64)
        return cls(position, along * np.array([[across], [down]]))


def _pixels(places_mm: Float64[np.ndarray, "n 3"], plane: Plane) -> Float64[np.ndarray, "n 2"]:
    """Return (column, row) of places on a slice."""
    return np.asarray((places_mm - plane.position) @ plane.along.T / plane.spacing)


def _lay(
    drawn: _Drawing, values: Shaped[np.ndarray, "down across"], lattice: _Lattice, stack: Stack
) -> None:
    """Lay a frame onto the slice in whose plane it lies, whatever way its rows run.

    Raises:
        BadFileError: Its pixels are not those of the slice.
    """
    number = _slice_of(stack, lattice.position, "a frame")
    rows, columns = np.nonzero(values)
    places = (
        lattice.position + columns[:, None] * lattice.steps[0] + rows[:, None] * lattice.steps[1]
    )
    _ = _slice_of(stack, places[np.abs(places - places[0]).sum(axis=1).argmax()], "a frame")
    pixels = _pixels(places, stack.planes[number])
    whole = np.rint(pixels).astype(np.int64)
    off = float(np.abs(pixels - whole).max())
    size = np.linalg.norm(lattice.steps, axis=1)
    if off > _OFF or not np.allclose(np.sort(size), np.sort(stack.planes[0].spacing), rtol=_OFF):
        told = " x ".join(f"{step:.4g}" for step in size)
        msg = (
            f"its pixels of {told} mm lie up to {off:.2f} of a pixel beside those of the slices; "
            "save it on the grid of the series again"
        )
        raise BadFileError(msg)
    inside = ((whole >= 0) & (whole < drawn.shape[:0:-1])).all(axis=1)
    if not inside.all():
        msg = (
            f"{int((~inside).sum())} of its pixels lie beyond the slices; save it on the grid of "
            "the series again"
        )
        raise BadFileError(msg)
    column, row = whole.T
    drawn[number, row, column] = np.maximum(drawn[number, row, column], values[rows, columns])


def _contoured(
    data: pydicom.Dataset, number: int, stack: Stack
) -> tuple[_Drawing, tuple[str, ...]]:
    """Return a structure of contours on the slices of a stack, and what is odd about it.

    Raises:
        BadFileError: A contour lies between slices, or runs across them.
    """
    rings, left = _rings(_contours(data, number), stack)
    notes = [f"{left} contours are points or open lines and are left out"] if left else []
    columns, rows = stack.planes[0].size
    drawn = np.zeros((len(stack.planes), rows, columns), bool)
    if not rings:
        return drawn, tuple(notes)
    crossings = 0
    for slice_, found in rings.items():
        drawn[slice_], crossing = filled(found, (rows, columns))
        crossings += crossing
    notes += (
        [f"contours cross on {crossings} slices and are joined; look at them"] if crossings else []
    )
    if skipped := max(rings) - min(rings) + 1 - len(rings):
        notes.append(
            f"{skipped} slices between its contours have none and stay empty; look at them"
        )
    return drawn, tuple(notes)


def _contours(data: pydicom.Dataset, number: int) -> Iterator[pydicom.Dataset]:
    for roi in data.get("ROIContourSequence") or ():
        if roi.ReferencedROINumber == number:
            yield from roi.get("ContourSequence") or ()


def _rings(
    contours: Iterable[pydicom.Dataset], stack: Stack
) -> tuple[dict[int, list[Float64[np.ndarray, "n 2"]]], int]:
    """Return closed contours as (row, column) by the slice they lie on, and how many are not.

    Raises:
        BadFileError: One lies between slices, or runs across them.
    """
    rings: dict[int, list[np.ndarray]] = {}
    left = 0
    for contour in contours:
        places = np.array(contour.get("ContourData") or (), np.float64).reshape(-1, 3)
        if contour.get("ContourGeometricType") not in _CLOSED or not len(places):
            left += 1
            continue
        first, last = (_slice_of(stack, place, "a contour") for place in _ends(places, stack))
        if first != last:
            msg = "a contour runs across slices; draw it on the slices of the series"
            raise BadFileError(msg)
        rings.setdefault(first, []).append(_pixels(places, stack.planes[first])[:, ::-1])
    return rings, left


def _ends(places: Float64[np.ndarray, "n 3"], stack: Stack) -> Float64[np.ndarray, "2 3"]:
    """Return the places of a contour that lie lowest and highest along the normal."""
    first = stack.planes[0]
    heights = places @ np.cross(first.along[0], first.along[1])
    return np.stack([places[heights.argmin()], places[heights.argmax()]])


def on_grid(
    drawn: Shaped[np.ndarray, "slice row column"], stack: Stack
) -> tuple[Shaped[np.ndarray, "i j k"], tuple[str, ...]]:
    """Return a drawing on the grid of its stack; where that was made even, of the nearest slice.

    Returns:
        The same values on the grid, and what a person should know of it.
    """
    turned = drawn.transpose(2, 1, 0)
    if stack.resampled is None:
        return np.ascontiguousarray(turned), ()
    moved = np.zeros(stack.grid.shape, drawn.dtype)
    heights = stack.resampled[:, 2]
    for level in range(stack.grid.shape[2]):
        nearest = int(np.abs(heights - level).argmin())
        i, j = np.rint(stack.resampled[nearest, :2]).astype(np.int64)
        part = turned[: moved.shape[0] - i, : moved.shape[1] - j, nearest]
        moved[i : i + part.shape[0], j : j + part.shape[1], level] = part
    return moved, (
        "slices are no even stack: each voxel takes what is drawn nearest to it, up to half a "
        "voxel aside, and missing slices take their neighbour's; look at borders",
    )
