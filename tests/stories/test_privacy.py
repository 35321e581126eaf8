"""No name, number, date or UID of a patient is in any byte written or told, unless asked for."""

import gzip
import io
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from highdicom import sr
from pydicom.sr.codedict import codes
from tests.files.series import MARK, PATIENT, Series
from tests.stories.commands import voxhint
from tests.verbs.test_import_annotations import FRAME, files, structure_set, write_by_highdicom
from tests.verbs.test_import_marks import MM, annotate, between, report

from voxhint.verbs.serve import open_for_review, open_session

UID = "1.2.826.4711"
DATES = {"StudyDate": "20010203", "SeriesDate": "20010204", "AcquisitionDate": "20010205"}
SERIES = Series(
    uid=f"{UID}.3",
    common={
        **DATES,
        "StudyTime": "112233.445566",
        "PatientSex": "F",
        "SliceThickness": 2.5,
        "FrameOfReferenceUID": f"{UID}.9",
        "StudyInstanceUID": f"{UID}.2",
    },
)
SECRETS = (MARK, "Jane", UID, "19870605", "1987-06-05", "112233", *DATES.values(), "2001-02-0")
QUICK = ("--steps", "1", "--width", "4", "--patch-voxels", "500", "--overlap", "0")


def texts(name: str, data: bytes) -> Iterator[bytes]:
    """Yield what a file holds, packed or not, and its name."""
    yield name.encode()
    yield data
    if data[:2] == b"\x1f\x8b":
        yield gzip.decompress(data)
    if data[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            for inner in packed.namelist():
                yield from texts(inner, packed.read(inner))


def require_silent(*places: Path | str) -> None:
    """Search all bytes of folders and texts, also of those in two bytes a letter."""
    for place in places:
        found = [place.encode()] if isinstance(place, str) else []
        for path in place.rglob("*") if isinstance(place, Path) else ():
            data = path.read_bytes() if path.is_file() else b""
            found += texts(path.relative_to(place).as_posix(), data)
        for secret in SECRETS:
            for text in found:
                assert secret.lower().encode() not in text.lower(), (place, secret)
                assert secret.encode("utf-16-le") not in text, (place, secret)


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """Return what a hospital gave: a zip of the patient's name, of slices and all about them."""
    folder = tmp_path / "given" / MARK
    slices = files(SERIES.write(folder / PATIENT))
    drawn = np.zeros((6, 5, 4, 1), np.uint8)
    drawn[2:4, 1:3, 1:3] = 1
    write_by_highdicom(folder / "seg", slices, drawn, "BINARY", ("lesion",))
    rois = {"lesion": [(1, FRAME)], f"{MARK} lesion": [(1, FRAME)]}
    structure_set(slices, rois).save_as(folder / f"{MARK}.dcm")
    annotate(folder, slices[2], ("lesion", 1, 1, 3, 3))
    line = between(slices[3], np.array([[0.5, 1.5], [3.5, 1.5]]))
    number = sr.Measurement(codes.SCT.LongAxis, 1.5, MM, referenced_coordinates=[line])
    report(slices, number).save_as(folder / "report")
    shutil.make_archive(str(tmp_path / "zips" / MARK), "zip", folder)
    return tmp_path / "zips"


@pytest.mark.parametrize("how", [(), ("--as", "hints"), ("--as", "boxes"), ("--as", "truth")])
def test_an_import_names_nobody(export: Path, tmp_path: Path, how: tuple[str, ...]) -> None:
    out = tmp_path / "out"
    words = ("import", "dicom", export, "--out", out, "--label", "lesion=nodule", *how)
    done = voxhint(*words)
    assert done.returncode == 0, done.stderr
    require_silent(out, done.stdout, done.stderr)
    checked = voxhint("check", out)
    require_silent(checked.stdout, checked.stderr)
    if how == ("--as", "hints"):  # nothing is searched in vain
        named = voxhint(*words[:4], tmp_path / "named", *words[5:], "--keep-identifiers")
        assert named.returncode == 0
        with pytest.raises(AssertionError, match=MARK):
            require_silent(tmp_path / "named")


@pytest.mark.slow
def test_a_run_its_report_its_exports_and_its_session_name_nobody(
    export: Path, tmp_path: Path
) -> None:
    study, run = tmp_path / "study", tmp_path / "run"
    words = ("import", "dicom", export, "--out", study, "--as", "hints")
    assert voxhint(*words, "--label", "lesion=nodule").returncode == 0
    told = []
    steps = [("run", study, "--out", run, "--hinted-masks", *QUICK), ("report", run)]
    for to in ("nnunet", "seg-nrrd", "folder", "nnunet-hints"):
        steps.append(("export", run, "--to", to, "--out", tmp_path / "out" / to))
    for step in steps:
        done = voxhint(*step)
        assert done.returncode == 0, done.stderr
        told += [done.stdout, done.stderr]
    session = open_session(open_for_review(study), tmp_path / "session", run=run)
    assert session is not None
    require_silent(study, run, tmp_path / "out", tmp_path / "session", *told)
    given = tmp_path / "given" / MARK / PATIENT
    sent = voxhint("export", run, "--to", "dicom-seg", "--dicom", given, "--out", tmp_path / "dcm")
    require_silent(sent.stdout, sent.stderr)
    made = voxhint("predict", run, given, "--out", tmp_path / "masks")
    assert made.returncode == 0, made.stderr
    require_silent(tmp_path / "masks", made.stdout, made.stderr)
