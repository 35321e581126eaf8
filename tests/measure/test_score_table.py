"""The table of scores: stated policy, means, the file, and another tool's numbers."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from tests.measure.rows import row, rows

from voxhint.core import Grid, LabelSet, Mask
from voxhint.core.errors import BadFileError
from voxhint.measure.compare import compare
from voxhint.measure.score import CaseScore, score_case
from voxhint.measure.score_table import ScoreTable, tabulate


def seeded() -> np.random.Generator:
    return np.random.default_rng(0)


def table(*scores: CaseScore, labels: tuple[str, ...] = ("liver",)) -> ScoreTable:
    return tabulate(scores, labels=labels, tolerance_mm=1.0, rng=seeded())


MIXED = (
    row("a", 0.8),
    row("b", 0.0, empty="mask empty"),
    row("c", None, empty="both empty"),
    row("d", None, empty="truth empty"),
    row("e", None, empty="both empty"),
)


def test_missed_cases_count_as_zero_and_absent_ones_do_not_count() -> None:
    liver = table(*MIXED).labels["liver"]
    assert (liver.dice.mean, liver.dice.n) == (0.4, 2)
    assert liver.missed == 0.5


def test_absent_cases_give_false_positive_volume_and_the_share_that_fired() -> None:
    liver = table(*MIXED).labels["liver"]
    assert liver.false_positive_ml.mean == pytest.approx(2.5 / 3)
    assert liver.fired == pytest.approx(1 / 3)
    assert liver.dice_with_absent.mean == pytest.approx((0.8 + 0 + 1 + 0 + 1) / 5)


def test_a_label_no_truth_lacks_has_no_false_positive_number() -> None:
    liver = table(*rows([0.5, 0.7])).labels["liver"]
    assert (liver.false_positive_ml.mean, liver.fired) == (None, None)


def test_overall_is_the_mean_over_labels() -> None:
    both = table(
        *rows([0.5, 0.7, 0.9]), row("case00", 0.1, label="tumour"), labels=("liver", "tumour")
    )
    assert both.overall.dice.mean == pytest.approx((0.7 + 0.1) / 2)
    assert both.overall.dice.n == 3


def test_the_order_of_the_rows_does_not_matter() -> None:
    scores = rows([0.5, 0.7, 0.9, 0.2])
    assert table(*scores) == table(*reversed(scores))


def test_the_file_gives_back_an_equal_table() -> None:
    plain = table(*MIXED)
    worse = [row(s.case, s.dice and s.dice / 2, empty=s.empty) for s in MIXED]
    compared = replace(plain, compare=compare(MIXED, worse, against="old", rng=seeded()))
    for one in (plain, compared):
        assert ScoreTable.from_json(one.to_json()) == one


def test_the_file_holds_the_promised_keys_the_policy_and_no_nan() -> None:
    text = table(*MIXED).to_json()
    told = json.loads(text)
    keys = ["policy", "tolerance_mm", "cases", "labels", "overall", "compare", "lesions", "trust"]
    assert list(told) == keys
    assert "NaN" not in text
    assert "diagonal" in told["policy"]
    assert told["compare"] is None
    assert set(told["cases"][0]) >= {"case", "subject", "label", "dice", "nsd", "hd95_mm", "empty"}
    assert set(told["labels"]["liver"]["dice"]) == {
        "mean", "median", "low", "high", "n", "subjects",
    }  # fmt: skip


def test_a_table_without_cases_can_be_written_and_read() -> None:
    nothing = table()
    assert ScoreTable.from_json(nothing.to_json()) == nothing
    assert nothing.overall.dice.mean is None


@pytest.mark.parametrize("text", ["", "{}", '{"policy": 3}', "[1]", "{"])
def test_a_file_that_is_no_table_is_refused(text: str) -> None:
    with pytest.raises(BadFileError, match="not a table of scores"):
        ScoreTable.from_json(text)


def plain_dice_and_interval(
    groups: dict[str, list[float]],
) -> tuple[float, float, float]:
    """Average and resample subjects one draw at a time, in the plainest way."""
    rng = seeded()
    lists = list(groups.values())
    boot = [
        np.mean(np.concatenate([lists[i] for i in rng.integers(0, len(lists), len(lists))]))
        for _ in range(2000)
    ]
    low, high = np.percentile(boot, [2.5, 97.5])
    return float(np.mean(np.concatenate(lists))), float(low), float(high)


def test_dice_and_its_interval_equal_the_plainest_computation() -> None:
    rng = np.random.default_rng(5)
    names = LabelSet(("background", "liver"), (0, 1))
    grid = Grid((6, 5, 4), np.eye(4))
    scores: list[CaseScore] = []
    groups: dict[str, list[float]] = {}
    for number in range(30):
        truth, mask = ((rng.random(grid.shape) < 0.3).astype(np.uint8) for _ in range(2))
        subject = f"p{number % 11}"
        scores += score_case(
            Mask(truth, grid, names),
            Mask(mask, grid, names),
            case=f"c{number:02}",
            subject=subject,
            tolerance_mm=1.0,
        )
        both = 2 * int((truth & mask).sum())
        groups.setdefault(subject, []).append(both / int(truth.sum() + mask.sum()))
    dice = table(*scores).labels["liver"].dice
    assert (dice.mean, dice.low, dice.high) == pytest.approx(plain_dice_and_interval(groups))


SHARED = Path(__file__).resolve().parents[2].parent / "shared"


@pytest.mark.real
@pytest.mark.skipif(not (SHARED / "data").exists(), reason="the real scans are not here")
def test_an_independent_tool_finds_the_same_dice_on_real_masks(tmp_path: Path) -> None:
    make: Any = nib.Nifti1Image
    names = LabelSet(("background", "anterior", "posterior"), (0, 1, 2))
    truths, masks = tmp_path / "truth", tmp_path / "masks"
    truths.mkdir()
    masks.mkdir()
    scores: list[CaseScore] = []
    for path in sorted((SHARED / "data/hippocampus/labelsTs").glob("*.nii.gz"))[:8]:
        image: Any = nib.load(path)
        truth = np.asarray(image.dataobj).astype(np.uint8)
        mask = np.roll(truth, 1, axis=0)
        mask[:, :, : mask.shape[2] // 2] = 0
        (truths / path.name).symlink_to(path)
        nib.save(make(mask, image.affine), masks / path.name)
        grid = Grid(truth.shape, np.asarray(image.affine, np.float64))
        case = path.name.removesuffix(".nii.gz")
        scores += score_case(
            Mask(truth, grid, names),
            Mask(mask, grid, names),
            case=case,
            subject=case,
            tolerance_mm=1.0,
        )
    tool = [sys.executable, str(SHARED / "acceptance/score.py"), str(masks), str(truths)]
    said = json.loads(
        subprocess.run([*tool, "--labels", "1,2"], check=True, capture_output=True).stdout
    )
    found = table(*scores, labels=("anterior", "posterior")).labels
    for value, label in (("1", "anterior"), ("2", "posterior")):
        dice = found[label].dice
        assert dice.mean == pytest.approx(said[value]["dice"], abs=6e-5)
        assert (dice.low, dice.high) == pytest.approx(said[value]["ci95"], abs=6e-5)
