"""LUNA16 becomes a study of tagged windows; masks of readers score it and teach nothing."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.files.readings import write_reading
from tests.luna16 import Made, make_luna16, uid

from voxhint.cli import main
from voxhint.core.errors import BadFileError, BadRecipeError, OutputError
from voxhint.files import open_study, read_ids, read_volume, survey
from voxhint.verbs.import_luna16 import Luna16Request, import_luna16
from voxhint.verbs.written import Written

REQUEST = Luna16Request(test_subsets=(1,), window_mm=30.0)


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def luna(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Made]]:
    root, made = make_luna16(tmp_path_factory.mktemp("luna16"))
    return root, {scan.uid: scan for scan in made}


@pytest.fixture(scope="module")
def imported(luna: tuple[Path, dict[str, Made]]) -> Written:
    root, _ = luna
    request = replace(REQUEST, xml=root / "xml")
    return import_luna16(root / "luna", root / "study", request=request)


def part(scan: Made, row: dict[str, str]) -> tuple[slice, ...]:
    lows = [int(row[axis]) for axis in "ijk"]
    counts = [int(count) for count in row["shape"].split(" x ")]
    return tuple(slice(low, low + count) for low, count in zip(lows, counts, strict=True))


def test_the_study_is_one_of_tags_without_problems(imported: Written) -> None:
    assert imported.warnings == ()
    assert not survey(imported.out, deep=True).problems
    study, _ = open_study(imported.out)
    training, test = len(study.training), len(study.test)
    assert study.hint_kinds() == {"tags": training}
    assert imported.told.startswith(f"{training} windows to learn from and {test} to predict")
    assert ", of 6 scans" in imported.told
    assert sorted(path.name for path in (imported.out / "hints").iterdir()) == ["tags.csv"]


def test_subsets_and_subjects_are_kept_apart(imported: Written) -> None:
    study, _ = open_study(imported.out)
    assert {files.subject for files in study.training} == {uid(0), uid(1), uid(2)}
    assert {files.subject for files in study.test} == {uid(3), uid(4), uid(5)}
    tagged = {row["case"] for row in rows(imported.out / "hints" / "tags.csv")}
    assert tagged == {files.name for files in study.training}


def test_a_window_holds_the_scans_own_voxels_in_their_place(
    luna: tuple[Path, dict[str, Made]], imported: Written
) -> None:
    root, scans = luna
    for row in rows(imported.out / "windows.csv"):
        folder = "imagesTs" if row["subset"] == "subset1" else "imagesTr"
        window = read_volume(imported.out / folder / f"{row['case']}_0000.nii.gz", channel="CT")
        scan = scans[row["series"]]
        np.testing.assert_array_equal(window.voxels, scan.hu.astype(np.int16)[part(scan, row)])
        source = read_volume(root / "luna" / row["subset"] / f"{row['series']}.mhd", channel="CT")
        low = np.array([[float(row[axis]) for axis in "ijk"]])
        np.testing.assert_allclose(
            window.grid.to_world(np.zeros((1, 3))), source.grid.to_world(low), atol=1e-3
        )


def test_a_tag_says_what_the_window_holds(
    luna: tuple[Path, dict[str, Made]], imported: Written
) -> None:
    _, scans = luna
    tags = {row["case"]: row["state"] for row in rows(imported.out / "hints" / "tags.csv")}
    for row in rows(imported.out / "windows.csv"):
        inside = scans[row["series"]].truth[part(scans[row["series"]], row)].any()
        assert (row["state"] == "present") == inside
        assert tags.get(row["case"], row["state"]) == row["state"]
    assert set(tags.values()) == {"present", "absent"}


def test_the_truth_of_test_windows_is_what_readers_outlined_flipped_scans_too(
    luna: tuple[Path, dict[str, Made]], imported: Written
) -> None:
    _, scans = luna
    found = 0
    for row in rows(imported.out / "windows.csv"):
        path = imported.out / "labelsTs" / f"{row['case']}.nii.gz"
        assert path.exists() == (row["subset"] == "subset1")
        if path.exists():
            ids, _ = read_ids(path)
            scan = scans[row["series"]]
            np.testing.assert_array_equal(ids > 0, scan.truth[part(scan, row)])
            found += int(ids.any())
    assert found >= 2


def test_masks_change_nothing_that_is_learnt_from(
    luna: tuple[Path, dict[str, Made]], imported: Written, tmp_path: Path
) -> None:
    root, _ = luna
    bare = import_luna16(root / "luna", tmp_path / "bare", request=REQUEST)
    assert not (bare.out / "labelsTs").exists()
    for path in sorted(bare.out.rglob("*")):
        if path.is_file() and path.name != "made.json":
            assert path.read_bytes() == (imported.out / path.relative_to(bare.out)).read_bytes()


def test_a_scan_has_the_same_windows_whatever_else_is_there(
    luna: tuple[Path, dict[str, Made]], imported: Written, tmp_path: Path
) -> None:
    root, _ = luna
    shutil.copytree(root / "luna", tmp_path / "luna")
    (tmp_path / "luna" / "subset0" / f"{uid(0)}.mhd").unlink()
    fewer = import_luna16(tmp_path / "luna", tmp_path / "study", request=REQUEST)
    assert any("without a .mhd file" in line for line in fewer.warnings)
    kept = [row for row in rows(imported.out / "windows.csv") if row["series"] != uid(0)]
    assert rows(tmp_path / "study" / "windows.csv") == kept


def test_what_does_not_fit_is_told_and_the_rest_goes_on(
    luna: tuple[Path, dict[str, Made]], tmp_path: Path
) -> None:
    root, _ = luna
    shutil.copytree(root / "luna", tmp_path / "luna")
    shutil.copytree(root / "xml", tmp_path / "xml")
    (tmp_path / "luna" / "subset0" / f"{uid(2)}.raw").write_bytes(b"short")
    (tmp_path / "xml" / "157" / "003.xml").write_text("<broken")
    write_reading(tmp_path / "xml" / "157" / "004.xml", uid(4), ["", "", "", ""])
    request = replace(REQUEST, xml=tmp_path / "xml")
    made = import_luna16(tmp_path / "luna", tmp_path / "study", request=request)
    told = "\n".join(made.warnings)
    assert f"{uid(2)}.mhd" in told
    assert "157/003.xml: is not XML" in told
    assert f"{uid(3)}: no readable XML tells of it" in told
    assert f"{uid(4)}: no outline of 3 readers lies at the nodule of annotations.csv" in told
    assert len(made.warnings) == 4
    assert ", of 5 scans" in made.told
    scored = {path.name[:-10] for path in (tmp_path / "study" / "labelsTs").iterdir()}
    assert scored == {uid(4), uid(5)}


def test_an_import_by_words_ends_with_what_to_do(
    luna: tuple[Path, dict[str, Made]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, _ = luna
    out = tmp_path / "study"
    words = ["import", "luna16", str(root / "luna"), "--out", str(out), "--window-mm", "30"]
    with pytest.raises(SystemExit) as end:
        main([*words, "--test-subsets", "0", "--windows", "2", "--seed", "3"])
    assert end.value.code == 0
    assert f"voxhint run {out} --out RUN" in capsys.readouterr().out
    made = json.loads((out / "made.json").read_text())
    assert made["verb"] == "import luna16"
    assert made["settings"]["test_subsets"] == [0]
    assert len(rows(out / "windows.csv")) == 12


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (replace(REQUEST, test_subsets=(9,)), "no scan lies in subset9, but in subset0, subset1"),
        (replace(REQUEST, test_subsets=(0, 1)), "nothing is left to learn from"),
        (replace(REQUEST, window_mm=12.0), "windows of 12 mm"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused(
    luna: tuple[Path, dict[str, Made]], tmp_path: Path, wish: Luna16Request, said: str
) -> None:
    root, _ = luna
    with pytest.raises(BadRecipeError, match=said):
        import_luna16(root / "luna", tmp_path / "study", request=wish)
    assert not list(tmp_path.iterdir())


def test_other_folders_are_refused(luna: tuple[Path, dict[str, Made]], tmp_path: Path) -> None:
    root, _ = luna
    with pytest.raises(BadFileError, match=r"has no annotations\.csv"):
        import_luna16(root / "xml", tmp_path / "study")
    with pytest.raises(OutputError, match="lie in each other"):
        import_luna16(root / "luna", root / "luna" / "study")
    request = replace(REQUEST, xml=tmp_path)
    with pytest.raises(BadFileError, match="holds no XML file"):
        import_luna16(root / "luna", tmp_path / "study", request=request)
