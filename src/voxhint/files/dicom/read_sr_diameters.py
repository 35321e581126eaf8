"""Diameters in DICOM structured reports, as readers write them with lines on slices (TID 1500)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from jaxtyping import Float64
from pydicom.dataset import Dataset

from voxhint.core.errors import BadFileError
from voxhint.files.dicom.headers import quiet
from voxhint.files.dicom.read_seg_rtstruct import Structure, names_patient, texts
from voxhint.files.dicom.stack import Stack
from voxhint.files.formats.metaimage_nrrd import LPS_TO_RAS
from voxhint.files.problems import reading

_GROUP = "125007"
_LENGTHS = {  # SNOMED CT, its older SRT form, and DICOM's own; the first that a group has counts
    **dict.fromkeys(("103339001", "G-A185", "131187009", "G-A193"), 0),  # long axis, major axis
    **dict.fromkeys(("81827009", "M-02550"), 1),  # diameter
    **dict.fromkeys(("410668003", "G-D7FE", "121206"), 2),  # length, distance
}
_NAMES = ("121071", "112039", "363698007", "G-C0E3")  # finding, tracking identifier, finding site
_UNITS_MM = {"mm": 1.0, "cm": 10.0, "m": 1000.0, "um": 0.001}
_ENDS = 2
_ROUNDING_MM, _ROUNDING = 1.0, 0.02


@dataclass(frozen=True, slots=True, eq=False)
class _Measured:
    """A diameter, and the points that it was taken between or at."""

    finding: Structure
    diameter_mm: float
    line: bool
    """Whether the points are the two ends of a line."""

    image: str
    """SOP instance UID of the slice that the points lie on; empty if they lie in the patient."""

    frame: int
    """Of that image, from 0."""

    reference: str
    """Frame of reference of points in the patient."""

    points: Float64[np.ndarray, "n dim"]
    """(column, row) from the corner of the first pixel; or LPS millimetres."""

    def centre(self, stack: Stack) -> Float64[np.ndarray, "3"] | None:
        """Return its middle in RAS+ millimetres, or None if it speaks of other slices.

        Raises:
            BadFileError: The line between its ends has another length.

        Source:
            DICOM PS3.3, C.18.6.1.1: the centre of the first pixel is (0.5, 0.5).
        """
        places = self._places(stack)
        if places is None:
            return None
        if self.line:
            apart = float(np.linalg.norm(places[1] - places[0]))
            if abs(apart - self.diameter_mm) > _ROUNDING_MM + _ROUNDING * apart:
                msg = (
                    f"says {self.diameter_mm:.1f} mm where its ends are {apart:.1f} mm apart; "
                    "measure it again"
                )
                raise BadFileError(msg)
        middle = (places.min(axis=0) + places.max(axis=0)) / 2
        return np.asarray(LPS_TO_RAS[:3, :3] @ middle)

    def _places(self, stack: Stack) -> Float64[np.ndarray, "n 3"] | None:
        """Return its points in LPS millimetres, if they are of a stack."""
        if not self.image:
            inside = stack.grid.holds(self.points @ LPS_TO_RAS[:3, :3]).all()
            return self.points if inside and stack.planes[0].reference == self.reference else None
        for plane in stack.planes:
            if (plane.instance, plane.frame) == (self.image, self.frame):
                steps = (self.points - 0.5) * plane.spacing
                return np.asarray(plane.position + steps @ plane.along)
        return None


def read_measurements(path: Path, name: str) -> tuple[list[_Measured], int]:
    """Read the diameters of a structured report.

    Returns:
        Each, and how many groups of measurements have none with a place.

    Raises:
        BadFileError: It is damaged.
    """
    with reading(Path(name)), quiet():
        data = pydicom.dcmread(path, force=True)
        groups = [item for item in _items(data) if _concept(item) == _GROUP]
        read = [_measured(group, data) for group in groups]
        return [one for one in read if one is not None], read.count(None)


def _items(item: Dataset) -> Iterator[Dataset]:
    """Yield what an item of a report holds, however deep."""
    for inner in item.get("ContentSequence") or ():
        yield inner
        yield from _items(inner)


def _concept(item: Dataset, tag: str = "ConceptNameCodeSequence") -> str:
    return "".join(str(code.get("CodeValue", "")) for code in item.get(tag) or ())


def _measured(group: Dataset, data: Dataset) -> _Measured | None:
    """Return the diameter of a group, or None if it has none with a place."""
    number = _length(group)
    if number is None:
        return None
    diameter_mm = _millimetres(number)
    where = next(_regions(number), None) or next(_regions(group), None)
    slice_ = None if where is None else _slice(where)
    if diameter_mm is None or where is None or slice_ is None:
        return None
    image, frame = slice_
    points = np.array(where.GraphicData, np.float64).reshape(-1, 2 if image else 3)
    return _Measured(
        finding=_finding(group, data),
        diameter_mm=diameter_mm,
        line=len(points) == _ENDS and where.get("GraphicType") == "POLYLINE",
        image=image,
        frame=frame,
        reference=str(where.get("ReferencedFrameOfReferenceUID", "")),
        points=points,
    )


def _length(group: Dataset) -> Dataset | None:
    """Return the number of a group that says most of a diameter."""
    numbers = [
        item
        for item in group.get("ContentSequence") or ()
        if item.get("ValueType") == "NUM" and _concept(item) in _LENGTHS
    ]
    return min(numbers, key=lambda item: _LENGTHS[_concept(item)], default=None)


def _millimetres(number: Dataset) -> float | None:
    value = (number.get("MeasuredValueSequence") or [Dataset()])[0]
    unit = _UNITS_MM.get(_concept(value, "MeasurementUnitsCodeSequence"))
    told = value.get("NumericValue")
    return None if unit is None or told is None else float(told) * unit


def _slice(where: Dataset) -> tuple[str, int] | None:
    """Return the image and its frame that a region lies on, if it lies on one and says so."""
    if where.get("ValueType") != "SCOORD":
        return "", 0
    for item in _items(where):
        for image in item.get("ReferencedSOPSequence") or ():
            frame = image.get("ReferencedFrameNumber")
            number = int(frame) if isinstance(frame, int | str) else 1
            return str(image.ReferencedSOPInstanceUID), number - 1
    return None


def _regions(item: Dataset) -> Iterator[Dataset]:
    for inner in item.get("ContentSequence") or ():
        if inner.get("ValueType") in ("SCOORD", "SCOORD3D"):
            yield inner


def _finding(group: Dataset, data: Dataset) -> Structure:
    """Return what a group of measurements is of, and what it may be called."""
    told: dict[str, str] = {}
    for item in group.get("ContentSequence") or ():
        words = [code.get("CodeMeaning") for code in item.get("ConceptCodeSequence") or ()]
        told.setdefault(_concept(item), str(item.get("TextValue") or next(iter(words), "")))
    names = texts([told.get(code) for code in _NAMES])
    return Structure(0, names, naming=bool(names) and names_patient(data, names[0]))


def diameters(
    found: Sequence[_Measured], stacks: Sequence[Stack]
) -> Iterator[tuple[_Measured, int, Float64[np.ndarray, "3"]] | str]:
    """Yield each diameter with the number of its stack and its centre, or why it has none."""
    for number, measured in enumerate(found, 1):
        placed = False
        for case, stack in enumerate(stacks):
            try:
                centre = measured.centre(stack)
            except BadFileError as error:
                placed = True
                yield f"diameter {number} is set aside: {error}"
                continue
            if centre is not None:
                placed = True
                yield measured, case, centre
        if not placed:
            yield f"diameter {number} is set aside: it lies on no slice that is imported"
