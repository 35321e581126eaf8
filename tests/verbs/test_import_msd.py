"""A folder laid out as WORD gives it out becomes a study."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.phantoms import ball, scan, slanted_grid

from voxhint.cli import main
from voxhint.config import LabelConfig, Machine
from voxhint.core import UNDRAWN, Strokes
from voxhint.core.errors import BadFileError, BadRecipeError
from voxhint.files.images import read_ids, write_ids, write_image
from voxhint.files.study.layout import read_layout
from voxhint.files.validate.study import open_study
from voxhint.verbs.check import check
from voxhint.verbs.import_msd import import_msd
from voxhint.verbs.label import label
from voxhint.verbs.simulate import simulate

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
    told = "3 training cases (1 for design), 1 test case, scribbles for 2;"
    assert made.told.startswith(told)
    problems, _ = check(out)
    assert all(problem.severity == "warning" for problem in problems)
    study, _ = open_study(out)
    assert study.labels.names == ("background", "liver", "spleen")
    assert [files.name for files in study.training] == ["word_0001", "word_0002", "word_0004"]
    assert study.design == {"word_0001"}
    assert [files.name for files in study.test] == ["word_0014"]
    case = study.load(study.training[1], dense=True)
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
    assert "scribbles for 0;" in import_msd(source, out).told
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


def nnunet(folder: Path, *, channels: tuple[str, ...] = ("CT",), lists: bool = False) -> Path:
    """Write a raw folder of nnU-Net v1, whose list leaves channel numbers out."""
    grid = slanted_grid()
    for seed, case in enumerate(("c_0001", "c_0002")):
        for number in range(len(channels)):
            write_image(folder / "imagesTr" / f"{case}_{number:04d}.nii.gz", scan(grid, seed))
        write_ids(folder / "labelsTr" / f"{case}.nii.gz", ball(grid), grid)
    write_image(folder / "imagesTs" / "t_0000.nii.gz", scan(grid, 7))
    rows = [{"image": f"./imagesTr/c_000{n}.nii.gz"} for n in (1, 2)]
    spec = {
        "modality": {str(number): name for number, name in enumerate(channels)},
        "labels": {"0": "background", "1": "lesion"},
        "training": rows if lists else [],
    }
    (folder / "dataset.json").write_text(json.dumps(spec))
    return folder


def told_of(folder: Path, **changed: object) -> None:
    """Change keys of a dataset.json."""
    spec = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps({**spec, **changed}))


@pytest.mark.parametrize("told_by", ["masks", "list", "modalities", "numbers"])
def test_channel_numbers_of_nnunet_are_no_part_of_a_case(tmp_path: Path, told_by: str) -> None:
    channels = ("T1", "T2") if told_by == "modalities" else ("CT",)
    source = nnunet(tmp_path / "Task001", channels=channels, lists=told_by == "list")
    if told_by == "modalities":
        shutil.copy(source / "imagesTs" / "t_0000.nii.gz", source / "imagesTs" / "t_0001.nii.gz")
    if told_by != "masks":
        shutil.rmtree(source / "labelsTr")
    out = tmp_path / "study"
    made = import_msd(source, out)
    assert made.told.startswith("2 training cases (0 for design), 1 test case")
    assert made.warnings == ()
    draft, problems = read_layout(out)
    assert draft is not None
    assert not problems + draft.problems
    assert draft.study.channels == channels
    assert [case.name for case in draft.study.training] == ["c_0001", "c_0002"]
    assert [case.name for case in draft.study.test] == ["t"]
    for number, channel in enumerate(channels):
        image = draft.study.training[1].images[channel]
        assert image.resolve() == source / "imagesTr" / f"c_0002_{number:04d}.nii.gz"
    dense = [case.dense is not None for case in draft.study.training]
    assert dense == [told_by == "masks"] * 2


def test_masks_of_other_names_are_paired_by_the_list(tmp_path: Path) -> None:
    source, out = word(tmp_path / "BTCV"), tmp_path / "study"
    for name in ("labelsTr", "labelsVal", "labelsTs", "scribblesTr"):
        shutil.rmtree(source / name)
    grid = slanted_grid()
    write_ids(source / "labelsTr" / "label0004.nii.gz", ball(grid), grid)
    with pytest.raises(BadFileError, match="none of its 1 masks"):
        import_msd(source, out)
    row = {"image": "imagesTr/word_0004.nii.gz", "label": "labelsTr/label0004.nii.gz"}
    told_of(source, training=[row])
    import_msd(source, out)
    (mask,) = (out / "denseTr").iterdir()
    assert mask.name == "word_0004.nii.gz"
    assert mask.resolve().name == "label0004.nii.gz"


def test_a_label_with_a_slash_is_imported_checked_and_labelled(tmp_path: Path) -> None:
    source, study = word(tmp_path / "AMOS"), tmp_path / "study"
    shutil.rmtree(source / "scribblesTr")
    for name in ("images", "labels"):
        (source / f"{name}Val").rename(source / f"{name}Va")
    told_of(source, labels={"0": "background", "2": "prostate/uterus"})
    assert "(1 for design)" in import_msd(source, study).told
    hinted, labels = tmp_path / "hinted", tmp_path / "labels"
    simulate(study, hint="points:3", out=hinted, seed=0)
    problems, _ = check(hinted)
    assert not [problem for problem in problems if problem.severity == "error"]
    label(hinted, labels, config=LabelConfig(), machine=Machine(device="cpu"))
    assert (labels / "word_0002__prostate-uterus.nii.gz").is_file()


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ({"0": "background", "1": "trust"}, "label 'trust' has a name we use"),
        ({"0": "background", "1": "a__b"}, "holds '__'"),
        ({"0": "background", "1": "a/b", "2": "a-b"}, "files of one name"),
        ({"0": "background", "1": "liver", "2": "liver"}, "label 'liver' has ids 1 and 2"),
        ({"0": "background", "1": ["liver"]}, "labels hold"),
        ({"0": "background", "300": "liver"}, "outside 0 to 254"),
    ],
)
def test_what_check_would_refuse_is_told_at_once(
    tmp_path: Path, labels: dict[str, object], told: str
) -> None:
    source = word(tmp_path / "WORD-V0.1.0")
    told_of(source, labels=labels)
    with pytest.raises(BadFileError, match=told):
        import_msd(source, tmp_path / "study")
    assert not (tmp_path / "study").exists()


def test_a_channel_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    source = nnunet(tmp_path / "Task001", channels=("T1", "T2"))
    with pytest.raises(BadFileError, match="case 't' has no T2"):
        import_msd(source, tmp_path / "study")


def test_names_may_lead_to_ids_as_well(tmp_path: Path) -> None:
    source, out = nnunet(tmp_path / "Task001"), tmp_path / "study"
    told_of(source, labels={"bg": 0, "lesion": 1})
    import_msd(source, out)
    assert json.loads((out / "dataset.json").read_text())["labels"] == {
        "background": 0,
        "lesion": 1,
    }


def test_an_image_in_two_folders_is_refused_and_kept(tmp_path: Path) -> None:
    source = word(tmp_path / "WORD-V0.1.0")
    kept = (source / "imagesTr" / "word_0002.nii.gz").read_bytes()
    shutil.copy(
        source / "imagesVal" / "word_0001.nii.gz", source / "imagesVal" / "word_0002.nii.gz"
    )
    with pytest.raises(BadFileError, match="would both become imagesTr/word_0002_0000"):
        import_msd(source, tmp_path / "study")
    assert (source / "imagesTr" / "word_0002.nii.gz").read_bytes() == kept


def test_masks_of_no_image_are_warned_of(tmp_path: Path) -> None:
    source = nnunet(tmp_path / "Task001")
    shutil.copy(source / "labelsTr" / "c_0001.nii.gz", source / "labelsTr" / "c_0009.nii.gz")
    (warning,) = import_msd(source, tmp_path / "study").warnings
    assert "c_0009" in warning


def test_one_command_makes_the_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = word(tmp_path / "WORD-V0.1.0"), tmp_path / "study"
    with pytest.raises(SystemExit) as end:
        main(["import", "msd", str(source), "--out", str(out)])
    assert end.value.code == 0
    assert (
        "3 training cases (1 for design), 1 test case, scribbles for 2" in capsys.readouterr().out
    )
