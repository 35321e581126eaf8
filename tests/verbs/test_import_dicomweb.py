"""A study comes from an archive on loopback as it does from a folder; failures have one line."""

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.files.series import MARK, Series
from tests.stories.commands import voxhint
from tests.verbs.test_import_dicom import everything

from voxhint.core.errors import BadRecipeError
from voxhint.files.dicom.web import fetch_study, store_objects
from voxhint.files.images import read_grid, read_ids, write_ids
from voxhint.runs import study_inputs
from voxhint.verbs.import_dicom import import_dicom

pytest.importorskip("dicomweb_client")
PLUGIN = next(iter(sorted(Path("/usr").glob("**/libOrthancDicomWeb.so"))), None)
ARCHIVE = shutil.which("Orthanc")
STUDY = "1.2.826.77"
SERIES = Series(
    uid=f"{STUDY}.1",
    common={"FrameOfReferenceUID": f"{STUDY}.9", "StudyInstanceUID": STUDY, "StudyID": "1"},
)

needs_archive = pytest.mark.skipif(
    ARCHIVE is None or PLUGIN is None, reason="Debian's orthanc and orthanc-dicomweb are not here"
)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start Orthanc, and yield its address."""
    folder, port = tmp_path_factory.mktemp("orthanc"), free_port()
    settings = {
        "StorageDirectory": str(folder),
        "IndexDirectory": str(folder),
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    words = [str(ARCHIVE), str(folder / "orthanc.json")]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            for _ in range(300):
                try:
                    urllib.request.urlopen(f"{url}/dicom-web/studies", timeout=1).close()
                    break
                except OSError:
                    time.sleep(0.1)
            yield url
        finally:
            process.terminate()


@needs_archive
@pytest.mark.slow
def test_a_study_of_an_archive_is_the_study_of_its_files(archive: str, tmp_path: Path) -> None:
    folder = SERIES.write(tmp_path / "in")
    for path in folder.iterdir():
        request = urllib.request.Request(f"{archive}/instances", data=path.read_bytes())
        urllib.request.urlopen(request, timeout=10).close()
    out = tmp_path / "out"
    done = voxhint(*("import", "dicomweb", f"{archive}/dicom-web", "--study", STUDY, "--out", out))
    assert done.returncode == 0, done.stderr
    import_dicom(folder, tmp_path / "same")
    for name in ("cases.csv", "series.csv", "slices.csv", "dataset.json", "imagesTr"):
        one, other = out / name, tmp_path / "same" / name
        if one.is_dir():
            assert everything(one) == everything(other)
        else:
            assert one.read_bytes() == other.read_bytes()
    for secret in (MARK, STUDY):
        assert secret not in done.stdout + done.stderr
        assert secret.encode() not in everything(out)


@needs_archive
@pytest.mark.slow
def test_what_is_stored_comes_back(archive: str, tmp_path: Path) -> None:
    other = "1.2.826.78"
    series = Series(uid=f"{other}.1", common={"StudyInstanceUID": other, "StudyID": "2"})
    folder = series.write(tmp_path / "in")
    store_objects(f"{archive}/dicom-web", sorted(folder.iterdir()))
    (tmp_path / "back").mkdir()
    assert fetch_study(f"{archive}/dicom-web", other, tmp_path / "back") == 6
    import_dicom(folder, tmp_path / "one")
    import_dicom(tmp_path / "back", tmp_path / "two")
    assert everything(tmp_path / "one" / "imagesTr") == everything(tmp_path / "two" / "imagesTr")


@needs_archive
@pytest.mark.slow
def test_a_study_that_is_not_there_has_one_line(archive: str, tmp_path: Path) -> None:
    done = voxhint(
        *("import", "dicomweb", f"{archive}/dicom-web", "--study", "1.99", "--out", tmp_path / "x")
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "127.0.0.1: has no" in done.stderr
    assert not (tmp_path / "x").exists()


def test_an_archive_that_does_not_answer_has_one_line(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}/dicom-web"
    done = voxhint("import", "dicomweb", url, "--study", "1.2", "--out", tmp_path / "x")
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert "does not answer" in done.stderr


@pytest.mark.parametrize("url", ["archive", "ftp://archive", "https://jane:secret@archive/web"])
def test_an_address_that_is_none_or_holds_a_password_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(BadRecipeError) as caught:
        fetch_study(url, "1.2", tmp_path)
    assert "secret" not in str(caught.value)


@needs_archive
@pytest.mark.slow
def test_masks_go_back_into_the_archive_and_lie_on_their_study(
    archive: str, tmp_path: Path
) -> None:
    """There and back: what is exported is imported as truth, voxel by voxel."""
    url = f"{archive}/dicom-web"
    uid = "1.2.826.79"
    said = {"FrameOfReferenceUID": f"{uid}.9", "StudyInstanceUID": uid, "StudyID": "3"}
    series = Series(uid=f"{uid}.1", common=said)
    store_objects(url, sorted(series.write(tmp_path / "in").iterdir()))
    study, run = tmp_path / "study", tmp_path / "run"
    fetch = ("import", "dicomweb", url, "--study", uid)
    assert voxhint(*fetch, "--out", study, "--label", "liver").returncode == 0
    (study / "hints" / "tags.csv").write_text("case,label,state\ncase_001,liver,present\n")
    grid = read_grid(study / "imagesTr" / "case_001_0000.nii.gz")
    ids = np.random.default_rng(0).integers(0, 2, grid.shape).astype(np.uint8)
    write_ids(run / "masksTr" / "case_001.nii.gz", ids, grid)
    inputs = study_inputs(study, ("dataset.json", "imagesTr", "hints"))
    (run / "made.json").write_text(
        json.dumps({"verb": "run", "study": str(study), "inputs": inputs})
    )
    words = ("export", run, "--to", "dicomweb", "--dicom", tmp_path / "in", "--out", tmp_path / "o")
    assert voxhint(*words).returncode == 1  # no address
    done = voxhint(*words, "--url", url)
    assert done.stdout.splitlines()[-1] == "1 object stored in 127.0.0.1", done.stderr
    back = voxhint(*fetch, "--out", tmp_path / "back", "--as", "truth")
    assert back.returncode == 0, back.stderr
    read, _ = read_ids(tmp_path / "back" / "denseTr" / "case_001.nii.gz")
    np.testing.assert_array_equal(read, ids)
