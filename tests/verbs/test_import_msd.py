"""A folder laid out as WORD gives it out becomes a study."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.phantoms import ball, scan, slanted_grid

from voxhint.cli import main
from voxhint.core import UNDRAWN, Strokes
from voxhint.core.errors import BadFileError, BadRecipeError
from voxhint.files.images import read_ids, write_ids, write_image
from voxhint.files.inspection import open_study
from voxhint.files.study import load_case
from voxhint.verbs.check import check
from voxhint.verbs.import_msd import import_msd

CASES = {"Tr": ("word_0002", "word_0004"), "Val": ("word_0001",), "Ts": ("word_0014",)}
NOT_DRAWN = 17


def word(folder: Path) -> Path:
    """Write a small folder with the layout of WORD."""
    grid = slanted_grid()
    truth = 2 * ball(grid)
    strokes = np.full(grid.shape, NOT_DRAWN, np.uint8)
    strokes[6:8, 8, 5], strokes[0:3, 1, 5] = 2, 0
    for part, cases in CASES.items():
        for seed, case in enumerate(cases):
            write_image(folder / f"images{part}" / f"{case}.nii.gz", scan(grid, seed))
            write_ids(folder / f"labels{part}" / f"{case}.nii.gz", truth, grid)
            if part == "Tr":
                write_ids(folder / "scribblesTr" / f"{case}.nii.gz", strokes, grid)
    spec = {
        "name": "WORD",
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "liver", "2": "spleen"},
        "training": [{"image": f"./imagesTr/{case}.nii.gz"} for case in CASES["Tr"]],
    }
    (folder / "dataset.json").write_text(json.dumps(spec))
    return folder


def test_images_masks_and_strokes_take_their_places(tmp_path: Path) -> None:
    source, out = word(tmp_path / "WORD-V0.1.0"), tmp_path / "study"
    made = import_msd(source, out)
    assert (made.training, made.design, made.test, made.scribbled) == (3, 1, 1, 2)
    problems, _ = check(out)
    assert all(problem.severity == "warning" for problem in problems)
    study, _ = open_study(out)
    assert study.labels.names == ("background", "liver", "spleen")
    assert [files.name for files in study.training] == ["word_0001", "word_0002", "word_0004"]
    assert study.design == {"word_0001"}
    assert [files.name for files in study.test] == ["word_0014"]
    case = load_case(study, study.training[1], dense=True)
    assert case.images["CT"].unit == "HU"
    (hint,) = case.hints
    assert isinstance(hint, Strokes)
    assert not hint.complete
    drawn = hint.classes != UNDRAWN
    assert drawn.sum() == 5
    assert case.truth is not None
    assert np.array_equal(hint.classes[drawn], case.truth.names.to_classes(case.truth.ids)[drawn])


def test_a_data_set_without_strokes_gives_a_study_to_simulate_from(tmp_path: Path) -> None:
    source, out = word(tmp_path / "WORD-V0.1.0"), tmp_path / "study"
    shutil.rmtree(source / "scribblesTr")
    assert import_msd(source, out).scribbled == 0
    assert not (out / "hints").exists()
    assert len(list((out / "denseTr").iterdir())) == 3


def test_the_id_of_what_is_not_drawn_is_asked_for_where_it_is_not_plain(tmp_path: Path) -> None:
    source, out = word(tmp_path / "WORD-V0.1.0"), tmp_path / "study"
    for path in (source / "scribblesTr").iterdir():
        ids, grid = read_ids(path)
        write_ids(path, np.where(ids == NOT_DRAWN, 0, ids).astype(np.uint8), grid)
    with pytest.raises(BadRecipeError, match="say it with --undrawn"):
        import_msd(source, out)
    assert not out.exists()
    import_msd(source, out, undrawn=0)
    ids, _ = read_ids(out / "hints" / "scribbles" / "word_0002.nii.gz")
    assert set(np.unique(ids)) == {2, UNDRAWN}


def test_a_stroke_of_no_label_is_refused(tmp_path: Path) -> None:
    source = word(tmp_path / "WORD-V0.1.0")
    with pytest.raises(BadFileError, match="id 17 is no label"):
        import_msd(source, tmp_path / "study", undrawn=3)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"channel_names": {"0": "CT"}}, "is it a study already"),
        ({"modality": {"0": "T1", "1": "T2"}, "labels": {"0": "background"}}, "2 modalities"),
    ],
)
def test_another_layout_is_refused_in_a_line(
    tmp_path: Path, spec: dict[str, object], told: str
) -> None:
    source = word(tmp_path / "WORD-V0.1.0")
    (source / "dataset.json").write_text(json.dumps(spec))
    with pytest.raises(BadFileError, match=told):
        import_msd(source, tmp_path / "study")


def test_one_command_makes_the_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = word(tmp_path / "WORD-V0.1.0"), tmp_path / "study"
    with pytest.raises(SystemExit) as end:
        main(["import", "msd", str(source), "--out", str(out)])
    assert end.value.code == 0
    assert (
        "3 training cases (1 for design), 1 test cases, scribbles for 2" in capsys.readouterr().out
    )
