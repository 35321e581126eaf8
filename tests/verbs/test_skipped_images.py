"""One bad image costs the others nothing: it is skipped, told of, and done once it is mended."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.files.series import Series
from tests.models.untrained import untrained_model
from tests.phantoms import scan, slanted_grid
from tests.verbs.test_send_back import PLAN as FINE
from tests.verbs.test_send_back import called

from voxhint.core import LabelSet, Volume
from voxhint.files.images import write_image
from voxhint.verbs.mask_maker import MaskMaker

PLAN = replace(FINE, spacing_mm=(4.0, 4.0, 4.0), patch=(8, 8, 8))  # a scan is one tile or two


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return untrained_model(tmp_path / "model", PLAN)


def write(path: Path) -> None:
    write_image(path, scan(slanted_grid(), 1))


def no_numbers(path: Path) -> None:
    write_image(path, Volume(np.full((6, 6, 6), np.nan, np.float32), slanted_grid((6, 6, 6))))


def cut_short(path: Path) -> None:
    write(path)
    path.write_bytes(path.read_bytes()[:-400])


def dangling(path: Path) -> None:
    path.symlink_to(path.parent / "gone")


BAD: dict[str, Callable[[Path], object]] = {
    "empty": Path.touch,
    "cut short": cut_short,
    "no numbers": no_numbers,
    "a folder of nothing": Path.mkdir,
    "a link to nothing": dangling,
}


@pytest.mark.parametrize(
    ("spoil", "numbered"),
    [(spoil, "" if spoil in (cut_short, dangling) else "_0000") for spoil in BAD.values()],
    ids=BAD.keys(),
)
def test_a_bad_image_costs_the_others_nothing(
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], object],
    numbered: str,
) -> None:
    images, out = tmp_path / "images", tmp_path / "out"
    for name in ("a", "c"):
        write(images / f"{name}{numbered}.nii.gz")
    bad = images / f"b{numbered}.nii.gz"
    spoil(bad)
    for _ in range(2):  # asked again, it tells again
        assert called("predict", model, images, "--out", out) == 1
        told = [line for line in capsys.readouterr().err.splitlines() if line[:6] == "error:"]
        assert sum("b_0000" in line or "case b" in line for line in told) == 1
        assert "1 image skipped" in told[-1]
        assert sorted(path.name for path in out.glob("*.nii.gz")) == ["a.nii.gz", "c.nii.gz"]
    (line,) = json.loads((out / "made.json").read_text())["skipped"]
    assert "b_0000" in line or "case b" in line
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.nii.gz")}
    if bad.is_dir():
        bad.rmdir()
    else:
        bad.unlink()
    write(bad)
    assert called("predict", model, images, "--out", out) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert called("predict", model, images, "--out", tmp_path / "whole") == 0
    for mask in (tmp_path / "whole").glob("*.nii.gz"):
        assert mask.read_bytes() == (out / mask.name).read_bytes()
    assert json.loads((out / "made.json").read_text())["skipped"] == []


@pytest.mark.parametrize(
    ("ask", "code"),
    [
        (lambda: np.empty(1 << 50, np.uint8), 1),
        (lambda: torch.empty(1 << 50), 1),
        (lambda: torch.ones(2) @ torch.ones(3), 70),  # a mistake is none of the image
    ],
)
def test_an_image_too_large_for_memory_costs_the_others_nothing(
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    ask: Callable[[], object],
    code: int,
) -> None:
    images, out, prepare = tmp_path / "images", tmp_path / "out", MaskMaker.prepare
    for name, deep in (("a", 10), ("b", 11), ("c", 10)):
        write_image(images / f"{name}.nii.gz", scan(slanted_grid((14, 16, deep)), 1))

    def greedy(maker: MaskMaker, volumes: Mapping[str, Volume]) -> object:
        if volumes["CT"].grid.shape[2] == 11:
            ask()
        return prepare(maker, volumes)

    monkeypatch.setattr(MaskMaker, "prepare", greedy)
    assert called("predict", model, images, "--out", out) == code
    told = capsys.readouterr().err
    if code == 1:
        assert "error: case b: there is not enough memory for it" in told
        assert sorted(path.name for path in out.glob("*.nii.gz")) == ["a.nii.gz", "c.nii.gz"]
        assert "Traceback" not in told


def test_an_image_whose_mask_is_there_may_not_change(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, out = tmp_path / "images", tmp_path / "out"
    write(images / "a.nii.gz")
    assert called("predict", model, images, "--out", out) == 0
    write_image(images / "a.nii.gz", scan(slanted_grid(), 2))
    write(images / "b.nii.gz")
    assert called("predict", model, images, "--out", out) == 1
    assert "inputs.images/a" in capsys.readouterr().err


def test_where_every_image_is_bad_nothing_is_complete(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        cut_short(tmp_path / "images" / f"{name}.nii.gz")
    assert called("predict", model, tmp_path / "images", "--out", tmp_path / "out") == 1
    assert "2 images skipped; none is left" in capsys.readouterr().err
    assert not (tmp_path / "out" / "made.json").exists()


def test_objects_are_written_for_the_series_that_can_be_read(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = {"FrameOfReferenceUID": "1.2.9"}
    for number, name in enumerate(("a", "b")):
        Series(uid=f"1.2.{number}", common=common).write(tmp_path / "images" / f"{name}_0000")
    for path in (tmp_path / "images" / "b_0000").iterdir():
        path.write_bytes(path.read_bytes()[:-7])
    out = tmp_path / "out"
    assert called("predict", model, tmp_path / "images", "--out", out, "--to", "rtstruct") == 1
    assert "case b" in capsys.readouterr().err
    assert sorted(path.name for path in out.glob("*.*")) == [
        "a.nii.gz",
        "a.rtstruct.dcm",
        "made.json",
    ]


def test_no_image_of_a_folder_is_left_out_without_a_word(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = tmp_path / "images"
    for name in ("a", "b"):
        write(images / f"{name}.nii.gz")
    shutil.copyfile(images / "b.nii.gz", images / "b.nii")  # which of the two is the image of b?
    Series().write(images / "deep")
    assert called("predict", model, images, "--out", tmp_path / "out") == 1
    assert "b_0000.nii.gz: is there besides b_0000.nii" in capsys.readouterr().err
    made = sorted(path.name for path in (tmp_path / "out").glob("*.nii.gz"))
    assert made == ["a.nii.gz", "deep.nii.gz"]


def test_only_what_is_lost_is_done_again_whatever_labels_are_called(tmp_path: Path) -> None:
    named = replace(PLAN, labels=LabelSet(("background", "left/right"), (0, 1)))
    model, images, out = untrained_model(tmp_path / "model", named), tmp_path / "in", tmp_path / "o"
    for case in "ab":
        write(images / f"{case}_0000.nii.gz")
    words = ("predict", model, images, "--out", out, "--set", "predict.probabilities=true")
    assert called(*words) == 0
    (out / "a.nii.gz").unlink()
    before = {path: path.stat().st_mtime_ns for path in out.glob("b*.nii.gz")}
    assert len(before) == 2
    assert called(*words) == 0
    assert (out / "a.nii.gz").exists()
    assert {path: path.stat().st_mtime_ns for path in before} == before
