"""From a folder to facts: whole runs, runs with holes, and folders that are no run."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from voxhint.core import Box, Grid, Mask, Points, Strokes, Tag, Volume
from voxhint.core.errors import BadFileError
from voxhint.core.study import Study
from voxhint.files import read_ids, write_ids, write_image, write_probability
from voxhint.files.validate.study import open_study
from voxhint.measure.roc import Ranking
from voxhint.measure.score import CaseScore, score_case
from voxhint.measure.score_table import tabulate
from voxhint.review.captions import tell_hints
from voxhint.review.doubt import affordable
from voxhint.review.gather_report import gather
from voxhint.review.report import write_report
from voxhint.review.report_data import TagRanking

GRID = Grid((12, 14, 8), np.diag([1.0, 1.0, 2.0, 1.0]))
RANKED = Ranking(auc=0.9, low=0.7, high=1.0, positives=3, negatives=4, subjects=5)
TRAINING, TEST = ("a", "b"), ("s", "t", "u")


def block(shift: int) -> np.ndarray:
    ids = np.zeros(GRID.shape, np.uint8)
    ids[3 + shift : 7 + shift, 4:9, 2:6] = 1
    return ids


def make_study(root: Path) -> Study:
    for folder in ("imagesTr", "imagesTs", "labelsTs", "hints"):
        (root / folder).mkdir(parents=True)
    (root / "dataset.json").write_text(
        json.dumps(
            {
                "channel_names": {"0": "T1"}, "labels": {"background": 0, "liver": 1},
                "file_ending": ".nii.gz", "numTraining": len(TRAINING),
            }
        )
    )  # fmt: skip
    rng = np.random.default_rng(0)
    for folder, names in (("imagesTr", TRAINING), ("imagesTs", TEST)):
        for name in names:
            voxels = rng.normal(size=GRID.shape).astype(np.float32)
            write_image(root / folder / f"{name}_0000.nii.gz", Volume(voxels, GRID))
    for name in TEST:
        write_ids(root / "labelsTs" / f"{name}.nii.gz", block(0), GRID)
    lines = [f"{name},liver,5,6,8" for name in TRAINING]
    (root / "hints" / "points.csv").write_text("\n".join(["case,label,x,y,z", *lines]) + "\n")
    return open_study(root)[0]


def make_run(run: Path, study: Study) -> None:
    for folder in ("labels", "masks", "masksTr", "model"):
        (run / folder).mkdir(parents=True)
    scores: list[CaseScore] = []
    for shift, name in enumerate(TEST):
        write_ids(run / "masks" / f"{name}.nii.gz", block(shift), GRID)
        truth, mask = (Mask(block(by), GRID, study.labels) for by in (0, shift))
        scores += score_case(truth, mask, case=name, subject=name, tolerance_mm=1.0)
    for name in TRAINING:
        write_ids(run / "masksTr" / f"{name}.nii.gz", block(0), GRID)
        for kind in ("", "__trust"):
            probability = block(0).astype(np.float32)
            write_probability(run / "labels" / f"{name}__liver{kind}.nii.gz", probability, GRID)
            rest = 1 - probability if not kind else probability
            write_probability(run / "labels" / f"{name}__background{kind}.nii.gz", rest, GRID)
    table = tabulate(
        scores, labels=("liver",), tolerance_mm=1.0, rng=np.random.default_rng(0), resamples=100
    )
    (run / "scores.json").write_text(table.to_json())
    (run / "made.json").write_text(json.dumps({"verb": "run", "study": str(study.root)}))
    told = {"classifier": {"liver": {"auc": dataclasses.asdict(RANKED)}}}
    (run / "labels" / "made.json").write_text(json.dumps(told))
    (run / "model" / "plan.json").write_text('{"network": "dynunet"}')
    (run / "model" / "history.csv").write_text("step,loss\n0,1\n1,0.5\n")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    make_run(tmp_path / "run", make_study(tmp_path / "study"))
    return tmp_path / "run"


def test_a_whole_run_gives_pictures_scores_plan_history_and_classifier(run: Path) -> None:
    facts = gather(run, each=1)
    assert not facts.problems
    assert not facts.counterfactual_pictures
    assert [one.case for one in facts.test_pictures] == ["u", "t", "s"]
    assert facts.test_pictures[0].reason.startswith("among the worst: Dice liver 0.")
    assert facts.test_pictures[0].file == "masks/u.nii.gz"
    first = facts.training_pictures[0]
    assert (first.case, first.notes[0]) == ("a", "Hints: 1 point of liver.")
    assert "trusted 100%" in first.notes[1]
    assert "soft label" in [panel.title for panel in first.views[0].panels]
    assert ("scores.json", "every score of every case") in facts.files
    assert facts.scores is not None
    assert facts.plan == {"network": "dynunet"}
    assert facts.classifier == {"liver": TagRanking(RANKED)}
    assert len(facts.history) == 2
    assert facts.counts == {"training images": 2, "test images": 3}
    assert "data:image/webp" in write_report(facts)


def test_images_without_a_label_are_shown_beside_the_scan(run: Path) -> None:
    voxels = np.zeros(GRID.shape, np.float32)
    below, moved = run / "labels" / "counterfactuals", Grid(GRID.shape, np.eye(4))
    for name, grid in (("a", moved), ("b", GRID)):
        write_image(below / f"{name}_0000.nii.gz", Volume(voxels, grid))
    facts = gather(run, each=2)
    assert [one.case for one in facts.counterfactual_pictures] == ["b"]
    panels = facts.counterfactual_pictures[0].views[0].panels
    assert {"without the label", "difference"} <= {panel.title for panel in panels}
    assert "without what tags name" in write_report(facts)
    assert any("corners differ" in problem for problem in facts.problems)


def test_without_scores_an_even_choice_of_test_cases_is_shown(run: Path) -> None:
    (run / "scores.json").unlink()
    facts = gather(run, each=1)
    assert [one.case for one in facts.test_pictures] == ["s", "u"]


def test_the_least_sure_mask_and_the_strongest_finding_are_shown_and_say_so(run: Path) -> None:
    (run / "scores.json").unlink()
    for name, value in (("s", 0.2), ("t", 0.9), ("u", 0.2)):
        path = run / "masks" / f"{name}__uncertainty.nii.gz"
        write_probability(path, np.full(GRID.shape, value, np.float32), GRID)
    table = "case,label,probability\ns,liver,0.1\nt,liver,\nu,liver,0.875\n"
    (run / "masks" / "classification.csv").write_text(table)
    unsure, strong = gather(run, each=1).test_pictures
    assert (unsure.case, strong.case) == ("t", "u")
    assert unsure.reason == "least sure: 100% of the region uncertain"
    assert strong.reason == "among the strongest findings: 88% likely"
    assert unsure.notes[-1] == "100% of the region around the mask is uncertain."
    assert unsure.views[0].panels[-1].title == "uncertainty"


def test_cases_are_looked_at_as_far_as_their_files_are_small(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_bytes(b"")
    assert affordable(tmp_path, ["a"]) == 40
    with (tmp_path / "a__liver.nii.gz").open("wb") as file:
        file.truncate(50_000_000)
    assert affordable(tmp_path, ["a"]) == 4
    assert affordable(tmp_path, []) == 40


def test_hints_are_told_by_kind_and_label() -> None:
    drawn = np.full(GRID.shape, 255, np.uint8)
    drawn[:, :, 2] = 0
    lines = np.full(GRID.shape, 255, np.uint8)
    lines[3, 4:7, 2] = 1
    points = Points("liver", np.zeros((2, 3)), np.ones(2))
    hints = (
        points, points, Tag("scar", "absent", (1.0, 5.4)), Box("liver", np.zeros(3), np.ones(3)),
        Strokes(drawn, GRID, complete=True), Strokes(lines, GRID, complete=False),
    )  # fmt: skip
    assert tell_hints(hints) == (
        "Hints: 4 points of liver, scar tagged absent from z 1 to 5 mm, 1 box of liver, "
        "1 drawn slice, 3 scribbled voxels.",
    )
    assert tell_hints(()) == ()


def test_a_bad_mask_costs_its_picture_and_is_told(run: Path) -> None:
    (run / "masks" / "t.nii.gz").write_bytes(b"nothing")
    (run / "labels" / "a__liver__trust.nii.gz").unlink()
    facts = gather(run)
    assert len(facts.test_pictures) == 2
    assert len(facts.training_pictures) == 1
    assert len(facts.problems) == 2
    assert any("t.nii.gz" in problem for problem in facts.problems)


def test_a_mask_on_another_grid_is_not_drawn(run: Path) -> None:
    ids, _ = read_ids(run / "masks" / "s.nii.gz")
    write_ids(run / "masks" / "s.nii.gz", ids, Grid(GRID.shape, np.eye(4)))
    assert any("corners differ" in problem for problem in gather(run, each=1).problems)


def test_a_study_that_has_gone_leaves_the_numbers(run: Path) -> None:
    study = run.parent / "study"
    study.rename(study.with_name("elsewhere"))
    facts = gather(run)
    assert (facts.test_pictures, facts.training_pictures) == ((), ())
    assert facts.scores is not None
    assert "not there any more" in facts.problems[0]


def test_masks_alone_make_a_report(run: Path) -> None:
    for path in ("made.json", "scores.json", "model/plan.json", "model/history.csv"):
        (run / path).unlink()
    facts = gather(run)
    assert (facts.plan, facts.scores, facts.history) == (None, None, ())
    assert "does not say which study" in facts.problems[0]
    assert write_report(facts)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match="holds no run"):
        gather(tmp_path)
