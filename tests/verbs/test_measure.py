"""Masks against truth, read from folders: names, labels, subjects and refusals."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import UInt8
from tests.phantoms import LABELS, ball, make_study, slanted_grid

from voxhint.config import MeasureConfig
from voxhint.core.errors import BadFileError, OutputError
from voxhint.files.images import write_ids
from voxhint.measure.score_table import ScoreTable
from voxhint.verbs.measure import measure, summary_lines, write_scores

CONFIG = MeasureConfig()
GRID = slanted_grid()
TRUE = LABELS.to_ids(ball(GRID))


def masks_in(folder: Path, **masks: UInt8[np.ndarray, "i j k"]) -> Path:
    """Write masks by the names of their cases."""
    for case, ids in masks.items():
        write_ids(folder / f"{case}.nii.gz", ids, GRID)
    return folder


def score(masks: Path, truth: Path, **others: Path) -> ScoreTable:
    return measure(masks, truth, config=CONFIG, compare_with=others.get("against"))


def test_the_truth_itself_is_perfect(tmp_path: Path) -> None:
    study = make_study(tmp_path, tests=2)
    ball_row = score(study / "labelsTs", study / "labelsTs").labels["ball"]
    assert (ball_row.dice.mean, ball_row.nsd.mean, ball_row.hd95_mm.mean) == (1, 1, 0)
    assert ball_row.dice.n == 2


def test_empty_masks_score_nothing(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", tests=2)
    empty = np.zeros_like(TRUE)
    masks = masks_in(tmp_path / "masks", t0=empty, t1=empty)
    row = score(masks, study / "labelsTs").labels["ball"]
    assert (row.dice.mean, row.missed) == (0, 1)


def test_without_a_study_every_id_is_a_label(tmp_path: Path) -> None:
    two = TRUE.copy()
    two[0, 0, 0] = 7
    truth = masks_in(tmp_path / "truth", a=two, b=TRUE)
    table = score(truth, truth)
    assert list(table.labels) == ["label 3", "label 7"]
    assert table.labels["label 7"].dice.n == 1


def test_cases_of_one_subject_count_as_one_subject(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", tests=2)
    half = TRUE.copy()
    half[: half.shape[0] // 2] = 0
    masks = masks_in(tmp_path / "masks", t0=TRUE, t1=half)
    apart = score(masks, study / "labelsTs").labels["ball"].dice
    (study / "cases.csv").write_text("case,subject\nt0,anna\nt1,anna\n", "utf-8")
    together = score(masks, study / "labelsTs").labels["ball"].dice
    assert apart.mean == together.mean
    assert apart.low is not None
    assert together.low is None  # one subject says nothing of others


def test_one_seed_gives_one_table(tmp_path: Path) -> None:
    truth = masks_in(tmp_path / "truth", **{f"c{n}": TRUE for n in range(4)})
    masks = {f"c{n}": TRUE.copy() for n in range(4)}
    for number, ids in enumerate(masks.values()):
        ids[: 4 + number] = 0
    drawn = masks_in(tmp_path / "masks", **masks)
    assert score(drawn, truth).to_json() == score(drawn, truth).to_json()


def test_masks_are_compared_case_by_case(tmp_path: Path) -> None:
    truth = masks_in(tmp_path / "truth", **{f"c{n}": TRUE for n in range(3)})
    worse = TRUE.copy()
    worse[: worse.shape[0] // 2] = 0
    others = masks_in(tmp_path / "others", **{f"c{n}": worse for n in range(3)})
    assert score(truth, truth).compare is None
    compared = score(truth, truth, against=others).compare
    assert compared is not None
    told = score(truth, truth, against=others).to_json()
    assert f"{tmp_path.name}/others" in told
    assert str(others) not in told  # whoever reads it need not know where it lies


def refused(masks: Path, truth: Path, what: str) -> BadFileError:
    with pytest.raises(BadFileError, match=what) as caught:
        score(masks, truth)
    assert len(str(caught.value).splitlines()) == 1
    return caught.value


def test_a_truth_without_masks_is_refused(tmp_path: Path) -> None:
    truth = masks_in(tmp_path / "truth", a=TRUE)
    refused(truth, tmp_path / "nowhere", "holds no mask")
    (tmp_path / "empty").mkdir()
    refused(truth, tmp_path / "empty", "holds no mask")


def test_a_case_without_a_mask_is_refused_by_name(tmp_path: Path) -> None:
    truth = masks_in(tmp_path / "truth", a=TRUE, b=TRUE)
    refused(masks_in(tmp_path / "masks", a=TRUE), truth, re.escape("has no mask of b,"))


def test_masks_of_cases_the_truth_lacks_are_no_matter(tmp_path: Path) -> None:
    truth = masks_in(tmp_path / "truth", a=TRUE)
    masks = masks_in(tmp_path / "masks", a=TRUE, z=np.zeros_like(TRUE))
    assert score(masks, truth).labels["label 3"].dice.n == 1


def test_an_id_that_is_no_label_is_refused_with_the_case(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study")
    strange = TRUE.copy()
    strange[0, 0, 0] = 9
    masks = masks_in(tmp_path / "masks", t0=strange)
    error = refused(masks, study / "labelsTs", r"ids \[9\] are not in dataset.json")
    assert error.__notes__ == ["while working on case t0"]


def test_a_damaged_mask_is_refused_with_the_case(tmp_path: Path) -> None:
    truth = masks_in(tmp_path / "truth", a=TRUE)
    masks = masks_in(tmp_path / "masks", a=TRUE)
    path = masks / "a.nii.gz"
    path.write_bytes(path.read_bytes()[:40])
    assert refused(masks, truth, "a.nii.gz").__notes__ == ["while working on case a"]


def named(study: Path, masks: Path, where: str, **ids: int) -> Path:
    """Return masks that say what their ids stand for, and give a study two labels: ball and rim."""
    for path, labels in ((study / "dataset.json", {"ball": 3, "rim": 5}), (masks / where, ids)):
        spec = {
            "channel_names": {"0": "CT"},
            "labels": {"background": 0, **labels},
            "verb": "predict",
        }
        path.write_text(json.dumps(spec))
    return masks


@pytest.mark.parametrize("where", ["made.json", "dataset.json", "../dataset.json"])
def test_ids_that_stand_for_other_labels_are_refused_wherever_it_is_said(
    tmp_path: Path, where: str
) -> None:
    study = make_study(tmp_path / "study")
    masks = masks_in(tmp_path / "run" / "masks", t0=TRUE)
    named(study, masks, where, ball=3, rim=5)
    assert list(score(masks, study / "labelsTs").labels) == ["ball", "rim"]
    named(study, masks, where, ball=5, rim=3)
    refused(masks, study / "labelsTs", f"{Path(where).name}.*5 is ball, there rim")
    with pytest.raises(BadFileError, match="5 is ball, there rim"):
        score(study / "labelsTs", study / "labelsTs", against=masks)
    named(study, masks, where, ball=4)
    refused(masks, study / "labelsTs", "4 is ball, there ball is 3")


def test_other_names_of_the_same_ids_are_told_and_no_names_are_no_matter(tmp_path: Path) -> None:
    study, told = make_study(tmp_path / "study"), list[str]()
    masks = named(study, masks_in(tmp_path / "masks", t0=TRUE), "made.json", sphere=3)

    def tell(_what: str, _done: int, _total: int, note: str, /) -> None:
        told.append(note)

    measure(masks, study / "labelsTs", config=CONFIG, tell=tell)
    assert "3 is sphere, there ball; they are compared by their ids" in told[0]
    truth = masks_in(tmp_path / "truth", t0=TRUE)
    told.clear()
    measure(masks, truth, config=CONFIG, tell=tell)
    assert told == ["t0"]


def test_scores_are_written_once_unless_told_otherwise(tmp_path: Path) -> None:
    truth = masks_in(tmp_path / "truth", a=TRUE)
    table, path = score(truth, truth), tmp_path / "scores.json"
    write_scores(table, path, overwrite=False)
    assert path.read_text("utf-8") == table.to_json()
    with pytest.raises(OutputError, match="is there already"):
        write_scores(table, path, overwrite=False)
    write_scores(table, path, overwrite=True)


def test_every_label_gets_a_line_and_the_mean_the_last(tmp_path: Path) -> None:
    two = TRUE.copy()
    two[0, 0, 0] = 7
    truth = masks_in(tmp_path / "truth", a=two)
    lines = summary_lines(score(truth, truth))
    assert [line.split(":")[0] for line in lines] == ["label 3", "label 7", "mean over labels"]
    assert "Dice 1.000" in lines[0]


def test_a_label_no_truth_has_is_told_as_none(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study")
    empty = masks_in(tmp_path / "study" / "labelsTs", t0=np.zeros_like(TRUE))
    assert "Dice none" in summary_lines(score(empty, study / "labelsTs"))[0]


def test_every_case_is_told(tmp_path: Path) -> None:
    truth, told = masks_in(tmp_path / "truth", a=TRUE, b=TRUE), []

    def tell(what: str, done: int, total: int, note: str, /) -> None:
        told.append((what, done, total, note))

    measure(truth, truth, config=CONFIG, tell=tell)
    assert told == [("measure", 0, 2, "a"), ("measure", 1, 2, "b")]


def test_the_median_distance_counts_a_missed_label_as_the_whole_image(tmp_path: Path) -> None:
    """Cases without the label count in neither mean nor median."""
    empty = np.zeros_like(TRUE)
    truth = masks_in(tmp_path / "truth", a=TRUE, b=TRUE, c=TRUE, d=empty)
    masks = masks_in(tmp_path / "masks", a=TRUE, b=empty, c=empty, d=TRUE)
    table = score(masks, truth)
    (row,) = table.labels.values()
    diagonal_mm = float(np.linalg.norm(np.array(GRID.shape) * GRID.spacing_mm))
    assert row.assd_mm.n == 3
    assert row.assd_mm.median == pytest.approx(diagonal_mm)
    assert row.assd_mm.mean == pytest.approx(2 / 3 * diagonal_mm)
    assert f"its median {diagonal_mm:.3f} mm, 3 cases" in summary_lines(table)[0]


def test_lesions_are_counted_where_a_truth_lacks_the_label(tmp_path: Path) -> None:
    none = np.zeros_like(TRUE)
    truth = masks_in(tmp_path / "truth", a=TRUE, b=none)
    table = measure(masks_in(tmp_path / "masks", a=TRUE, b=TRUE), truth, config=CONFIG)
    assert [(told.found, told.lesions, told.cpm) for told in table.lesions.values()] == [
        (1, 1, None)
    ] * len(table.lesions)
    assert table.lesions
    assert sum("lesions found" in line for line in summary_lines(table)) == len(table.lesions)
    alone = masks_in(tmp_path / "one", a=TRUE)
    assert not measure(alone, alone, config=CONFIG).lesions
