"""The lines of the docs that make studies of public sets, tried on invented files."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from tests.files.series import Series
from tests.test_docs import ROOT, blocks

from voxhint.files.images import read_ids
from voxhint.verbs.check import check

BTCV, CHAOS = blocks(ROOT / "docs" / "how-to" / "btcv-chaos.md", "python")


def make(lines: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = folder / "make.py"
    script.write_text(lines, "utf-8")
    monkeypatch.chdir(folder)
    runpy.run_path(str(script))


def test_btcv_becomes_a_study_of_three_organs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = np.arange(14, dtype=np.uint8).repeat(4).reshape(2, 7, 4)
    for kind, voxels in (("img", ids.astype(np.int16)), ("label", ids)):
        folder = tmp_path / "RawData" / "Training" / kind
        folder.mkdir(parents=True)
        for number in range(1, 8):
            image = SimpleITK.GetImageFromArray(voxels)
            image.SetSpacing((0.8, 0.8, 3.0))  # type: ignore[no-untyped-call]
            SimpleITK.WriteImage(image, str(folder / f"{kind}{number:04d}.nii.gz"))
    make(BTCV, tmp_path, monkeypatch)
    problems, _ = check(tmp_path / "btcv", dense=True)
    assert [problem for problem in problems if problem.severity == "error"] == []
    assert len(list((tmp_path / "btcv" / "labelsTs").iterdir())) == 5
    mask, _ = read_ids(tmp_path / "btcv" / "denseTr" / "btcv0001.nii.gz")
    wanted = np.select([ids == 1, (ids == 2) | (ids == 3), ids == 6], [1, 2, 3], 0)
    assert np.array_equal(mask.T, wanted)


def test_chaos_becomes_a_study_whose_slices_keep_their_masks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    greys = [0, 63, 126, 189, 252, 60]
    for patient in range(1, 7):
        case = tmp_path / "CHAOS_Train_Sets" / "Train_Sets" / "MR" / str(patient) / "T2SPIR"
        series = Series(common={"Modality": "MR"})
        series.write(case / "DICOM_anon")
        (case / "Ground").mkdir()
        for number, grey in enumerate(greys):
            drawn = SimpleITK.GetImageFromArray(np.full((5, 4), grey, np.uint8))
            SimpleITK.WriteImage(drawn, str(case / "Ground" / f"{(number * 5) % 7}.png"))
    make(CHAOS, tmp_path, monkeypatch)
    problems, _ = check(tmp_path / "chaos", dense=True)
    assert [problem for problem in problems if problem.severity == "error"] == []
    mask, grid = read_ids(tmp_path / "chaos" / "denseTr" / "chaos1.nii.gz")
    assert grid.spacing_mm == pytest.approx([0.5, 0.75, 2.5])
    assert mask[0, 0].tolist() == [0, 3, 2, 2, 1, 3]
