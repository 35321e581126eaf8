"""Two processes, or a cluster, write what one process writes, to the byte, and say the same."""

import json
from pathlib import Path

import pytest
from tests.core.test_workers import address as cluster_address
from tests.phantoms import make_study, scan, slanted_grid
from tests.verbs.test_skipped_images import cut_short
from tests.verbs.test_skipped_images import model as model_folder

from voxhint.cli.main import main
from voxhint.files.images import write_image


def called(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([*map(str, words)])
    return int(ended.value.code or 0)


model, address = model_folder, cluster_address


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.nii.gz"))}


@pytest.mark.slow
@pytest.mark.parametrize("by", ["workers", "cluster"])
def test_many_do_what_one_does(
    by: str,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    many = ("--workers", 2)
    if by == "cluster":
        many = ("--cluster", request.getfixturevalue("address"))
    study, images = make_study(tmp_path / "study", tests=2, hints=("points",)), tmp_path / "in"
    for name in ("a", "b", "d"):
        write_image(images / f"{name}_0000.nii.gz", scan(slanted_grid(), ord(name)))
    cut_short(images / "c_0000.nii.gz")
    labels, masks, scores, told = [], [], [], []
    for number, how in enumerate(((), many)):
        here = tmp_path / str(number)
        assert called("label", study, "--out", here / "labels", "--threads", 1, *how) == 0
        out = here / "masks"
        assert called("predict", model, images, "--out", out, "--threads", 1, *how) == 1
        labels.append(files(here / "labels"))
        masks.append(files(out))
        assert "case c" in json.loads((out / "made.json").read_text())["skipped"][0]
        truth = study / "labelsTs"
        result = here / "scores.json"
        assert called("measure", truth, truth, "--out", result, *how) == 0
        scores.append(result.read_text())
        capsys.readouterr()
        called("check", study, *how)
        told.append(capsys.readouterr().out)
    assert labels[0]
    assert labels[0] == labels[1]
    assert list(masks[0]) == ["a.nii.gz", "b.nii.gz", "d.nii.gz"]
    assert masks[0] == masks[1]
    assert scores[0] == scores[1]
    assert told[0] == told[1]


def test_workers_are_refused_where_there_are_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = make_study(tmp_path / "study")
    assert called("train", study, "--out", tmp_path / "model", "--workers", 2) == 2
    assert "no option --workers" in capsys.readouterr().err
    assert called("check", study, "--workers", 0) == 1
    assert "workers" in capsys.readouterr().err
