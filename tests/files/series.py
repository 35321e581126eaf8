"""DICOM series made slice by slice, so that each thing can be wrong alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int16
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian

PATIENT = "Qxmark^Jane"
MARK = "Qxmark"
"""Stands in every tag that names somebody, and may come out nowhere."""

NAMING = {
    "PatientName": PATIENT,
    "PatientID": f"{MARK}1",
    "PatientBirthDate": "19870605",
    "PatientAddress": f"{MARK} Street",
    "OtherPatientIDs": f"{MARK}2",
    "AccessionNumber": f"{MARK}3",
    "InstitutionName": f"{MARK} Hospital",
    "InstitutionAddress": f"{MARK} Lane",
    "ReferringPhysicianName": f"{MARK}^Doctor",
    "OperatorsName": f"{MARK}^Operator",
    "StationName": f"{MARK}4",
    "StudyID": f"{MARK}5",
    "StudyDescription": f"{MARK} study",
    "SeriesDescription": f"{MARK} series",
    "ProtocolName": f"{MARK} protocol",
    "ImageComments": f"{MARK} comment",
}

STRAIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
TURNED = (0.8, 0.6, 0.0, 0.0, 0.0, -1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Six slices of 5 rows and 4 columns, unlike along every axis."""

    orientation: tuple[float, ...] = STRAIGHT
    heights: tuple[float, ...] = (0, 2.5, 5, 7.5, 10, 12.5)
    """Millimetres along the normal."""

    aside: float = 0.0
    """Millimetres each slice moves along its columns per millimetre of height."""

    tags: dict[int, dict[str, Any]] = field(default_factory=dict)
    """What some slices say otherwise; None takes a tag away."""

    origin: tuple[float, float, float] = (-20.0, 30.0, 40.0)

    common: dict[str, Any] = field(default_factory=dict)
    """What all slices say otherwise."""

    uid: str = "1.2.3"

    def position(self, number: int) -> Float64[np.ndarray, "3"]:
        """Return the first voxel of a slice in LPS."""
        row, column = np.array(self.orientation[:3]), np.array(self.orientation[3:])
        height = self.heights[number]
        moved = height * (np.cross(row, column) + self.aside * column)
        return np.asarray(np.array(self.origin) + moved)

    def stored(self, number: int) -> Int16[np.ndarray, "row column"]:
        """Return the stored values of a slice: no two voxels alike."""
        return (np.arange(20, dtype=np.int16) + np.int16(100 * number)).reshape(5, 4)

    def write(self, folder: Path, *, suffix: str = ".dcm", syntax: UID | None = None) -> Path:
        """Write the series, file names in no order of place."""
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(len(self.heights)):
            data = self.slice(number)
            if syntax is not None:
                data.compress(syntax)
            data.save_as(folder / f"{(number * 5) % 7}{suffix}", enforce_file_format=True)
        return folder

    def slice(self, number: int) -> FileDataset:
        """Return one slice, not yet written."""
        data = _bare(f"{self.uid}.{number + 1}")
        data.SeriesInstanceUID, data.StudyInstanceUID = self.uid, "1.2"
        data.ImagePositionPatient = [f"{value:.6f}" for value in self.position(number)]
        data.ImageOrientationPatient = list(self.orientation)
        data.PixelSpacing = [0.75, 0.5]  # between rows, between columns
        data.RescaleSlope, data.RescaleIntercept = 2, -1024
        data.PixelData = self.stored(number).tobytes()
        for tag, value in {**self.common, **self.tags.get(number, {})}.items():
            if value is None:
                delattr(data, tag)
            elif isinstance(value, DataElement):
                data.add(value)
            else:
                setattr(data, tag, value)
        return data

    def enhanced(self, order: Sequence[int] | None = None) -> FileDataset:
        """Return the same series as one file of many frames.

        Args:
            order: Of the slices in the file.
        """
        slices = [self.slice(number) for number in order or range(len(self.heights))]
        data = _bare(f"{self.uid}.99")
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
        data.SeriesInstanceUID, data.NumberOfFrames = self.uid, len(slices)
        shared, measures, facing = Dataset(), Dataset(), Dataset()
        measures.PixelSpacing = slices[0].PixelSpacing
        facing.ImageOrientationPatient = slices[0].ImageOrientationPatient
        shared.PixelMeasuresSequence = Items([measures])
        shared.PlaneOrientationSequence = Items([facing])
        data.SharedFunctionalGroupsSequence = Items([shared])
        data.PerFrameFunctionalGroupsSequence = Items([_groups(one) for one in slices])
        data.PixelData = b"".join(one.PixelData for one in slices)
        return data


def _groups(one: Dataset) -> Dataset:
    """Return the functional groups of one frame."""
    groups, place, values = Dataset(), Dataset(), Dataset()
    place.ImagePositionPatient = one.ImagePositionPatient
    values.RescaleSlope, values.RescaleIntercept = one.RescaleSlope, one.RescaleIntercept
    groups.PlanePositionSequence = Items([place])
    groups.PixelValueTransformationSequence = Items([values])
    return groups


def _bare(uid: str) -> FileDataset:
    """Return a slice without a place."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = UID(uid)
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, UID(uid)
    data.Modality, data.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    for tag, value in NAMING.items():
        setattr(data, tag, value)
    data.Rows, data.Columns, data.SamplesPerPixel = 5, 4, 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
    data.PixelRepresentation = 1
    return data
