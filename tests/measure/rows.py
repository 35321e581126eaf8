"""Scores made up for tests of tables and reports."""

from collections.abc import Sequence

from voxhint.measure.overlap import Empty
from voxhint.measure.score import CaseScore


def row(
    case: str,
    dice: float | None,
    *,
    label: str = "liver",
    subject: str | None = None,
    empty: Empty | None = None,
) -> CaseScore:
    has_truth = empty in (None, "mask empty")
    return CaseScore(
        case=case,
        subject=subject or case,
        label=label,
        dice=dice,
        nsd=dice,
        hd95_mm=None if dice is None else 10 * (1 - dice),
        assd_mm=None if dice is None else 4 * (1 - dice),
        volume_error_ml=-2.0 if empty == "mask empty" else 0.5,
        volume_error_relative=0.25 if has_truth else None,
        truth_ml=2.0 if has_truth else 0.0,
        mask_ml=0.0 if empty in {"both empty", "mask empty"} else 2.5,
        empty=empty,
    )


def rows(dices: Sequence[float], *, label: str = "liver") -> tuple[CaseScore, ...]:
    return tuple(row(f"case{n:02}", dice, label=label) for n, dice in enumerate(dices))
