"""An export becomes a study: every stack a case, nothing mixed, nobody named."""

import csv
import gzip
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from tests.files.series import MARK, STRAIGHT, TURNED, Series
from tests.files.test_dicom_series import LOCALISER, REFUSED

from voxhint.cli import main
from voxhint.core.errors import BadFileError, BadRecipeError, OutputError
from voxhint.files import read_volume, survey
from voxhint.files.dicom.read_series import read_series
from voxhint.verbs.import_dicom import ImportRequest, import_dicom
from voxhint.verbs.written import Written

JANE, JOHN = {"PatientID": f"{MARK}-jane"}, {"PatientID": f"{MARK}-john"}
MR = {"Modality": "MR", "RescaleSlope": 1, "RescaleIntercept": 0}


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def export(folder: Path) -> Path:
    """Write what a hospital hands out: two patients, five series, and what lies beside them."""
    first = folder / f"{MARK}_Jane" / "study 1"
    Series(uid="1.1", common=JANE).write(first / "a", suffix="")
    Series(uid="1.2", common={**JANE, "RescaleSlope": 0.5}, orientation=TURNED).write(first / "b")
    Series(uid="1.3", common={**JANE, **LOCALISER}).write(first / "c")
    tilted = Series(uid="2.1", common=JOHN, aside=0.3, heights=(0, 2.5, 5, 10, 12.5, 15))
    tilted.write(folder / f"{MARK}_John" / "scan", suffix=".IMA")
    report = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "ImagePositionPatient": None, **JOHN}
    Series(uid="2.2", common=report, heights=(0,)).write(folder / f"{MARK}_John" / "dose")
    Series(uid="2.3", common=JOHN, heights=(0, 2)).write(folder / f"{MARK}_John" / "short")
    (folder / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 20)
    (folder / f"{MARK}.txt").write_text("a viewer's notes")
    (folder / "torn.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\x02\0\0\0UL\x04\0\xff")
    return folder


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Written]:
    place = tmp_path_factory.mktemp("export")
    return place, import_dicom(export(place / "in"), place / "out")


def test_every_stack_is_a_case_and_every_patient_one_subject(
    imported: tuple[Path, Written],
) -> None:
    place, made = imported
    assert made.told.startswith("3 CT cases of 2 subjects;")
    assert rows(place / "out" / "cases.csv") == [
        {"case": "case_001", "subject": "subject_001"},
        {"case": "case_002", "subject": "subject_001"},
        {"case": "case_003", "subject": "subject_002"},
    ]
    told = rows(place / "out" / "series.csv")
    assert [row["shape"] for row in told] == ["4 x 5 x 6", "4 x 5 x 6", "4 x 11 x 7"]
    assert "gantry tilt" in told[2]["note"]
    assert not told[0]["note"]


def test_a_case_has_the_voxels_and_the_grid_of_its_series(
    imported: tuple[Path, Written],
) -> None:
    place, _ = imported
    names = (f"{MARK}_Jane/study 1/a", f"{MARK}_Jane/study 1/b", f"{MARK}_John/scan")
    for number, name in enumerate(names, 1):
        image = place / "out" / "imagesTr" / f"case_{number:03d}_0000.nii.gz"
        volume = read_volume(image, channel="CT")
        voxels, grid = read_series(place / "in" / name)
        assert np.array_equal(volume.voxels, voxels)
        assert volume.grid.same(grid, tol_mm=1e-4)


def test_the_study_is_sound_but_for_its_hints(imported: tuple[Path, Written]) -> None:
    place, _ = imported
    (problem,) = survey(place / "out", deep=True).problems
    assert problem.where == "hints"
    spec = json.loads((place / "out" / "dataset.json").read_text())
    assert spec["channel_names"] == {"0": "CT"}
    assert spec["labels"] == {"background": 0, "lesion": 1}
    assert {path.name for path in (place / "out").iterdir()} == {
        *("imagesTr", "hints", "dataset.json", "cases.csv", "series.csv", "slices.csv", "made.json")
    }


def test_what_is_left_out_has_a_line(imported: tuple[Path, Written]) -> None:
    _, made = imported
    told = "\n".join(made.warnings)
    assert "6 files are passed over: CT: a localiser" in told
    assert "1 files are passed over: CT: no slice (Secondary Capture Image Storage)" in told
    assert "1 files are passed over: no DICOM" in told
    assert "1 files are passed over: cannot be read" in told
    assert "a series of 2 CT slices of 4 x 5 is set aside: holds 2 slices, too few" in told
    assert "case_003: slices are sheared by 16.7 degrees" in told
    assert len(made.warnings) == 6


def everything(folder: Path) -> bytes:
    """Return all names and bytes below a folder, unpacked."""
    text = b""
    for path in folder.rglob("*"):
        text += str(path.relative_to(folder)).encode()
        if path.is_file():
            data = path.read_bytes()
            text += gzip.decompress(data) if path.suffix == ".gz" else data
    return text


def call(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, bytes]:
    with pytest.raises(SystemExit) as caught:
        main([str(word) for word in words])
    told = capsys.readouterr()
    assert isinstance(caught.value.code, int)
    return caught.value.code, (told.out + told.err).encode()


def test_nobody_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = export(tmp_path / "in"), tmp_path / "out"
    code, told = call(capsys, "import", "dicom", source, "--out", out)
    assert code == 0
    for secret in (MARK.encode(), b"19870605", b"1.2.3", b"Jane"):
        assert secret not in told
        assert secret not in everything(out)


def test_who_asks_for_names_gets_them_in_one_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = export(tmp_path / "in"), tmp_path / "out"
    code, told = call(capsys, "import", "dicom", source, "--out", out, "--keep-identifiers")
    assert (code, MARK.encode() in told) == (0, False)
    told_rows = rows(out / "series.csv")
    assert [row["patient_id"][-4:] for row in told_rows] == ["jane", "jane", "john"]
    assert told_rows[0]["series_uid"] == "1.1"
    assert told_rows[0]["folder"] == f"{MARK}_Jane/study 1/a"
    (out / "series.csv").unlink()
    (out / "made.json").unlink()
    assert MARK.encode() not in everything(out)


@pytest.mark.parametrize("kind", REFUSED)
def test_a_refusal_names_nobody_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    """What a study's reader refuses is refused here too, or parted into stacks of their own."""
    series, _ = REFUSED[kind]
    source, out = series.write(tmp_path / MARK / "in", suffix=f"{MARK}.dcm"), tmp_path / "out"
    code, told = call(capsys, "import", "dicom", source, "--out", out)
    assert MARK.encode() not in told
    assert b"Traceback" not in told
    assert (code, out.exists()) in ((0, True), (1, False))
    if out.exists():
        assert MARK.encode() not in everything(out)
        assert b"warning: " in told
    else:
        assert not list(tmp_path.glob(".out*"))


def test_a_mixed_folder_becomes_separate_stacks(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for number, (uid, orientation) in enumerate([("1", STRAIGHT), ("1", TURNED), ("2", STRAIGHT)]):
        for place in range(6):
            series = Series(uid=uid, orientation=orientation)
            folder.mkdir(exist_ok=True)
            series.slice(place).save_as(folder / f"{place}{number}", enforce_file_format=True)
    made = import_dicom(folder, tmp_path / "out")
    assert made.told.startswith("3 ")
    for number, orientation in enumerate((STRAIGHT, TURNED, STRAIGHT), 1):
        alone = Series(orientation=orientation).write(tmp_path / str(number))
        volume = read_volume(tmp_path / "out" / "imagesTr" / f"case_{number:03d}_0000.nii.gz")
        assert np.array_equal(volume.voxels, read_series(alone)[0])


def test_times_of_one_place_become_cases(tmp_path: Path) -> None:
    tags: dict[int, dict[str, Any]] = {
        n: {"TemporalPositionIdentifier": 1 + n // 3} for n in range(6)
    }
    series = Series(heights=(0, 2, 4, 0, 2, 4), tags=tags)
    made = import_dicom(series.write(tmp_path / "in"), tmp_path / "out")
    assert made.told.startswith("2 CT cases of 1 subject;")
    second = read_volume(tmp_path / "out" / "imagesTr" / "case_001_0000.nii.gz").voxels
    first = read_volume(tmp_path / "out" / "imagesTr" / "case_002_0000.nii.gz").voxels
    assert {second[0, 0, 0], first[0, 0, 0]} == {-1024, 2 * 300 - 1024}


def test_an_export_handed_out_twice_is_imported_once(tmp_path: Path) -> None:
    for copy in ("a", "b"):
        Series().write(tmp_path / "in" / copy)
    made = import_dicom(tmp_path / "in", tmp_path / "out")
    assert made.told.startswith("1 ")
    assert made.warnings == (
        "case_001: 6 slices repeat others and are left out; remove the copies",
    )


def test_links_are_followed_and_circles_end(tmp_path: Path) -> None:
    Series().write(tmp_path / "elsewhere")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "round").symlink_to(tmp_path / "in")
    made = import_dicom(tmp_path / "in", tmp_path / "out")
    assert made.told.startswith("1 ")
    assert made.warnings == ()


def test_what_is_no_file_is_passed_over(tmp_path: Path) -> None:
    folder = Series().write(tmp_path / "in")
    os.mkfifo(folder / "pipe")
    (folder / "gone").symlink_to(tmp_path / "nowhere")
    made = import_dicom(folder, tmp_path / "out")
    assert made.warnings == ("2 files are passed over: no DICOM",)


def test_one_import_takes_one_modality(tmp_path: Path) -> None:
    Series(uid="1").write(tmp_path / "in" / "ct")
    Series(uid="2", common=MR).write(tmp_path / "in" / "mr")
    with pytest.raises(BadFileError, match=r"CT \(1 series\), MR \(1 series\).*--modality"):
        import_dicom(tmp_path / "in", tmp_path / "out")
    with pytest.raises(BadFileError, match="no image of PT"):
        import_dicom(tmp_path / "in", tmp_path / "out", request=ImportRequest(modality="PT"))
    assert not (tmp_path / "out").exists()
    request = ImportRequest(("organ", "tumour"), "mr")
    made = import_dicom(tmp_path / "in", tmp_path / "out", request=request)
    assert made.warnings == (
        "1 series of CT are passed over; import them into a study of their own",
    )
    spec = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert spec["channel_names"] == {"0": "MR"}
    assert spec["labels"] == {"background": 0, "organ": 1, "tumour": 2}


def test_a_series_that_is_called_a_localiser_is_one(tmp_path: Path) -> None:
    said = {**MR, "SeriesDescription": "3-plane_loc"}
    Series(uid="1", common=said).write(tmp_path / "in" / "a")
    Series(uid="2", common={**MR, "SeriesDescription": "T1 local shim"}).write(
        tmp_path / "in" / "b"
    )
    made = import_dicom(tmp_path / "in", tmp_path / "out")
    assert made.told.startswith("1 ")
    assert "it is called a localiser" in made.warnings[0]


def test_one_id_for_all_is_pointed_out(tmp_path: Path) -> None:
    for number in range(2):
        Series(uid=str(number)).write(tmp_path / "in" / str(number))
    made = import_dicom(tmp_path / "in", tmp_path / "out")
    assert "count as one subject" in made.warnings[-1]


def test_patients_without_an_id_are_parted_by_study(tmp_path: Path) -> None:
    for number in range(4):
        said = {"PatientID": "", "StudyInstanceUID": f"7.{number // 2}"}
        Series(uid=str(number), common=said).write(tmp_path / "in" / str(number))
    assert "of 2 subjects" in import_dicom(tmp_path / "in", tmp_path / "out").told


def test_whole_numbers_are_stored_small_and_others_exactly(
    imported: tuple[Path, Written],
) -> None:
    images = imported[0] / "out" / "imagesTr"
    kinds = [gzip.decompress(path.read_bytes())[70:72] for path in sorted(images.iterdir())]
    assert kinds == [b"\x04\0", b"\x10\0", b"\x04\0"]  # int16; halves need float32


@pytest.mark.parametrize("labels", [("a", "a"), ("background",), ("trust",), ("a__b",)])
def test_a_label_that_cannot_be_is_refused(tmp_path: Path, labels: tuple[str, ...]) -> None:
    Series().write(tmp_path / "in")
    with pytest.raises(BadRecipeError, match="--label"):
        import_dicom(tmp_path / "in", tmp_path / "out", request=ImportRequest(labels))
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_into_the_export(tmp_path: Path) -> None:
    folder = Series().write(tmp_path / "in")
    for out in (folder, folder / "study", tmp_path):
        with pytest.raises(OutputError, match="lie in each other"):
            import_dicom(folder, out)
    with pytest.raises(BadFileError, match="is no folder"):
        import_dicom(tmp_path / "other", tmp_path / "out")


def test_an_import_is_only_replaced_when_told(tmp_path: Path) -> None:
    folder, out = Series().write(tmp_path / "in"), tmp_path / "out"
    import_dicom(folder, out)
    before = everything(out)
    with pytest.raises(OutputError, match="--overwrite"):
        import_dicom(folder, out)
    import_dicom(folder, out, overwrite=True)
    assert everything(out) == before


def test_zips_are_folders_however_deep_and_a_torn_one_has_a_line(tmp_path: Path) -> None:
    source = tmp_path / "in"
    Series(uid="1").write(tmp_path / "a" / "x")
    Series(uid="2").write(source / "plain")
    inner = Path(shutil.make_archive(str(tmp_path / "b" / "inner"), "zip", tmp_path / "a"))
    shutil.make_archive(str(source / "deep" / "outer"), "zip", inner.parent)
    (source / "torn.ZIP").write_bytes(b"PK\x03\x04 no more")
    made = import_dicom(source, tmp_path / "out")
    assert made.told.startswith("2 ")
    told = "1 zip files are passed over: is damaged and cannot be unpacked"
    assert [line for line in made.warnings if "zip" in line] == [made.warnings[0]]
    assert made.warnings[0].startswith(told)
    alone = import_dicom(inner, tmp_path / "alone", request=ImportRequest(keep_identifiers=True))
    assert alone.told.startswith("1 ")
    assert rows(tmp_path / "alone" / "series.csv")[0]["folder"] == "inner.zip/x"
    assert not list((tmp_path / "alone").glob(".*"))
    (tmp_path / "bad.zip").write_bytes(b"PK\x03\x04 no more")
    with pytest.raises(BadFileError, match="is damaged"):
        import_dicom(tmp_path / "bad.zip", tmp_path / "other")


def test_slices_can_be_joined_to_their_files_again_without_their_uids(tmp_path: Path) -> None:
    """Also on a grid that was made even: k says where a slice lies on it."""
    tilted = Series(uid="2.1", aside=0.3, heights=(0, 2.5, 5, 10, 12.5, 15))
    tilted.write(tmp_path / "in")
    import_dicom(tmp_path / "in", tmp_path / "out")
    told = {row["sop_instance_sha256"]: row for row in rows(tmp_path / "out" / "slices.csv")}
    assert list(next(iter(told.values()))) == ["case", "k", "sop_instance_sha256", "frame"]
    heights = {}
    for path in (tmp_path / "in").iterdir():
        data = pydicom.dcmread(path)
        row = told[hashlib.sha256(data.SOPInstanceUID.encode()).hexdigest()]
        heights[float(row["k"])] = float(data.ImagePositionPatient[2])
    assert [height - 40 for _, height in sorted(heights.items())] == [0, 2.5, 5, 10, 12.5, 15]
    assert sorted(heights) == [0, 1, 2, 4, 5, 6]
    request = ImportRequest(keep_identifiers=True)
    import_dicom(tmp_path / "in", tmp_path / "named", request=request)
    assert rows(tmp_path / "named" / "slices.csv")[0]["sop_instance_uid"] == "2.1.1"
