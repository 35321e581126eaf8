"""DICOM series made slice by slice, so that each thing can be wrong alone."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int16
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

PATIENT = "Doe^Jane"

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

    def position(self, number: int) -> Float64[np.ndarray, "3"]:
        """Return the first voxel of a slice in LPS."""
        row, column = np.array(self.orientation[:3]), np.array(self.orientation[3:])
        height = self.heights[number]
        moved = height * (np.cross(row, column) + self.aside * column)
        return np.asarray(np.array(self.origin) + moved)

    def stored(self, number: int) -> Int16[np.ndarray, "row column"]:
        """Return the stored values of a slice: no two voxels alike."""
        return (np.arange(20, dtype=np.int16) + np.int16(100 * number)).reshape(5, 4)

    def write(self, folder: Path) -> Path:
        """Write the series, file names in no order of place."""
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(len(self.heights)):
            data = self._slice(number)
            for tag, value in self.tags.get(number, {}).items():
                if value is None:
                    delattr(data, tag)
                else:
                    setattr(data, tag, value)
            data.save_as(folder / f"{(number * 5) % 7}.dcm", enforce_file_format=True)
        return folder

    def _slice(self, number: int) -> FileDataset:
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = UID(f"1.2.3.{number + 1}")
        data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        data.SOPClassUID = CTImageStorage
        data.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
        data.PatientName = PATIENT
        data.Modality, data.SeriesInstanceUID = "CT", "1.2.3"
        data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        data.ImagePositionPatient = [f"{value:.6f}" for value in self.position(number)]
        data.ImageOrientationPatient = list(self.orientation)
        data.PixelSpacing = [0.75, 0.5]  # between rows, between columns
        data.Rows, data.Columns, data.SamplesPerPixel = 5, 4, 1
        data.PhotometricInterpretation = "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
        data.PixelRepresentation = 1
        data.RescaleSlope, data.RescaleIntercept = 2, -1024
        data.PixelData = self.stored(number).tobytes()
        return data
