"""Boxes on slices and diameters of reports come in at their place in the patient."""

import csv
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pytest
from highdicom import sr
from highdicom.spatial import ImageToReferenceTransformer
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from tests.files.series import TURNED, Series
from tests.verbs.test_import_annotations import SERIES, files, taken

from voxhint.core.errors import BadFileError
from voxhint.files import survey

CHEST = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "chest-dicom"
MM, CM = (sr.CodedConcept(unit, "UCUM", unit) for unit in ("mm", "cm"))
BOX = "<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox>"


def table(out: Path, name: str) -> list[dict[str, str]]:
    with (out / "hints" / name).open(newline="") as file:
        return list(csv.DictReader(file))


def annotate(folder: Path, slice_: Dataset, *boxes: tuple[str, int, int, int, int]) -> None:
    inner = "".join(f"<object><name>{name}</name>{BOX.format(*n)}</object>" for name, *n in boxes)
    path = folder / f"{slice_.SOPInstanceUID}.xml"
    path.write_text(f"<annotation><filename>x</filename>{inner}</annotation>")


def test_boxes_of_neighbouring_slices_that_overlap_are_one(tmp_path: Path) -> None:
    slices = files(SERIES.write(tmp_path / "in" / "series"))
    for number in (1, 2, 4):
        annotate(tmp_path / "in", slices[number], ("A", 0, 1, number, 2), ("B", 3, 3, 4, 4))
    (tmp_path / "in" / "notes.xml").write_text("<other/>")
    (tmp_path / "in" / "1.2.3.xml").write_text("<annotation/>")
    made = taken(tmp_path / "in", tmp_path / "out", "boxes", "tumour=A")
    told = "\n".join(made.warnings)
    assert "1 other XML files beside the slices" in told
    assert "1 XML files of boxes beside the slices are left out; they are called like no" in told
    assert "3 structures are left out: 'B' (3)" in told
    rows = [
        list(map(float, list(row.values())[2:])) for row in table(tmp_path / "out", "boxes.csv")
    ]
    assert rows == [[19, -31.5, 41.25, 20, -30.75, 46.25], [18, -31.5, 48.75, 20, -30.75, 51.25]]


def test_a_box_without_extent_or_in_broken_xml_is_set_aside(tmp_path: Path) -> None:
    slices = files(SERIES.write(tmp_path / "in" / "series"))
    annotate(tmp_path / "in", slices[1], ("A", 3, 1, 3, 2))
    (tmp_path / "in" / "x.xml").write_text("<annotation>")
    with pytest.raises(BadFileError, match=r"(?s)is not XML.*nothing that can be taken"):
        taken(tmp_path / "in", tmp_path / "out", "boxes")


@pytest.mark.real
@pytest.mark.skipif(not CHEST.is_dir(), reason="the real scans are not here")
def test_the_boxes_of_a_radiologist_become_the_box_of_the_tumour(tmp_path: Path) -> None:
    shutil.copytree(CHEST / "annotations", tmp_path / "in")
    (tmp_path / "in" / "series").symlink_to(CHEST / "imagesTr" / "A0002_0000")
    made = taken(tmp_path / "in", tmp_path / "out", "boxes", "tumour=A")
    assert not made.warnings
    (row,) = table(tmp_path / "out", "boxes.csv")
    with (CHEST / "hints" / "boxes.csv").open(newline="") as file:
        (known,) = csv.DictReader(file)
    for side in list(known)[2:]:
        assert float(row[side]) == pytest.approx(float(known[side]), abs=0.006)


def report(
    slices: Sequence[Dataset], measurement: sr.Measurement, region: sr.ImageRegion | None = None
) -> highdicom.sr.Comprehensive3DSR:
    """Write a report of one measurement, as highdicom does."""
    tracking = sr.TrackingIdentifier(uid=highdicom.UID(), identifier="lesion 1")
    group: Any
    if region is None:
        group = sr.MeasurementsAndQualitativeEvaluations(
            tracking, finding_type=codes.SCT.Nodule, measurements=[measurement]
        )
    else:
        group = sr.PlanarROIMeasurementsAndQualitativeEvaluations(
            tracking, region, finding_type=codes.SCT.Nodule, measurements=[measurement]
        )
    person = sr.PersonObserverIdentifyingAttributes(name="Qxmark^Reader")
    context = sr.ObservationContext(
        observer_person_context=sr.ObserverContext(codes.DCM.Person, person)
    )
    content = sr.MeasurementReport(context, codes.LN.CTUnspecifiedBodyRegion, [group])
    return sr.Comprehensive3DSR(
        evidence=list(slices),
        content=content,
        series_instance_uid=highdicom.UID(),
        series_number=3,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="another",
    )


def between(one: Dataset, ends: np.ndarray) -> sr.CoordinatesForMeasurement:
    """Return a line between two places of pixel centres, counted from the corner."""
    image = sr.SourceImageForRegion(one.SOPClassUID, one.SOPInstanceUID)
    return sr.CoordinatesForMeasurement(sr.GraphicTypeValues.POLYLINE, ends, image)


def length_mm(one: Dataset, ends: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the middle (RAS) and the length of a line on a slice, as highdicom places it."""
    places = ImageToReferenceTransformer(
        image_position=one.ImagePositionPatient,
        image_orientation=one.ImageOrientationPatient,
        pixel_spacing=one.PixelSpacing,
    )(ends)
    return places.mean(axis=0) * [-1, -1, 1], float(np.linalg.norm(places[1] - places[0]))


@pytest.mark.parametrize("series", [SERIES, replace(SERIES, orientation=TURNED)])
@pytest.mark.parametrize("unit", ["mm", "cm"])
def test_a_diameter_lies_in_the_middle_of_its_line(
    tmp_path: Path, series: Series, unit: str
) -> None:
    slices = files(series.write(tmp_path / "in" / "series"))
    ends = np.array([[0.5, 1.5], [3.5, 4.0]])
    middle, length = length_mm(slices[3], ends)
    scale, code = (1, MM) if unit == "mm" else (10, CM)
    number = sr.Measurement(
        codes.SCT.LongAxis, length / scale, code, referenced_coordinates=[between(slices[3], ends)]
    )
    report(slices, number).save_as(tmp_path / "in" / "report.dcm")
    made = taken(tmp_path / "in", tmp_path / "out", "hints", "nodule")
    assert not made.warnings
    (row,) = table(tmp_path / "out", "diameters.csv")
    assert [float(row[axis]) for axis in "xyz"] == pytest.approx(middle, abs=1e-4)
    assert float(row["diameter_mm"]) == pytest.approx(length, abs=1e-3)
    assert not survey(tmp_path / "out").problems


def test_a_diameter_beside_a_region_lies_in_the_middle_of_it(tmp_path: Path) -> None:
    slices = files(SERIES.write(tmp_path / "in" / "series"))
    corners = np.array([[0.5, 1.5], [2.5, 1.5], [2.5, 3.5], [0.5, 3.5], [0.5, 1.5]])
    image = sr.SourceImageForRegion(slices[2].SOPClassUID, slices[2].SOPInstanceUID)
    region = sr.ImageRegion(sr.GraphicTypeValues.POLYLINE, corners, image)
    number = sr.Measurement(codes.SCT.Diameter, 1.5, MM)
    report(slices, number, region).save_as(tmp_path / "in" / "report.dcm")
    taken(tmp_path / "in", tmp_path / "out", "hints", "lesion=Lesion 1")
    (row,) = table(tmp_path / "out", "diameters.csv")
    middle, _ = length_mm(slices[2], np.array([[1.5, 2.5], [1.5, 2.5]]))
    assert [float(row[axis]) for axis in "xyz"] == pytest.approx(middle, abs=1e-4)


def test_a_diameter_that_its_line_contradicts_is_set_aside(tmp_path: Path) -> None:
    slices = files(SERIES.write(tmp_path / "in" / "series"))
    line = between(slices[3], np.array([[0.5, 1.5], [3.5, 1.5]]))
    number = sr.Measurement(codes.SCT.LongAxis, 30, MM, referenced_coordinates=[line])
    report(slices, number).save_as(tmp_path / "in" / "report.dcm")
    told = r"(?s)says 30.0 mm where its ends are 1.5 mm apart.*nothing that can be taken"
    with pytest.raises(BadFileError, match=told):
        taken(tmp_path / "in", tmp_path / "out", "hints")
    with pytest.raises(BadFileError, match=r"1 reports .* they are no masks"):
        taken(tmp_path / "in", tmp_path / "out", "truth")
