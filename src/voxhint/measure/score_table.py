"""The table of scores: rows by case and label, summaries with intervals, and `scores.json`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from pydantic import TypeAdapter, ValidationError

from voxhint.core.errors import BadFileError
from voxhint.measure.calibration import TrustTable
from voxhint.measure.compare import Comparison
from voxhint.measure.confidence_intervals import RESAMPLES, Estimate, estimate
from voxhint.measure.lesions import LesionSummary
from voxhint.measure.score import CaseScore

_POLICY = (
    "A case whose truth has the label counts, whatever the mask holds: if the mask lacks the "
    "label, Dice and surface Dice are 0 and distances are the image's diagonal; 'missed' is the "
    "share of such cases. A case whose truth lacks the label is in none of these means; it counts "
    "in 'false_positive_ml', the mask's volume there, and in 'fired', the share of such cases "
    "whose mask is not empty. 'dice_with_absent' is the mean over both kinds of case: where the "
    "truth lacks the label, 1 if the mask is empty and 0 if not. An optional label that a truth "
    "does not outline is unknown there, and counts in nothing. Volume errors are mask minus "
    "truth over cases whose truth has the label. Surfaces are voxel corners weighed by area, the "
    "border of the image included; hd95_mm is the larger of the two directions, assd_mm the mean "
    "over both surfaces. A median is over the same cases as the mean, missed ones included. "
    "Intervals are of means: 95 % percentile intervals from {resamples} resamplings of subjects, "
    "all cases of a subject together, null with fewer than two subjects. 'overall' is the mean "
    "over labels of the labels' means and medians. 'lesions' tells of connected regions (corners "
    "count) of labels that come in numbers: one is found if the mask's regions on it have together "
    "an intersection over union of 0.1 with it; a region on no lesion that was found is false."
)


@dataclass(frozen=True, slots=True)
class LabelSummary:
    """The scores of one label over all cases."""

    dice: Estimate
    nsd: Estimate
    hd95_mm: Estimate
    assd_mm: Estimate
    volume_error_ml: Estimate
    volume_error_relative: Estimate
    dice_with_absent: Estimate
    """Dice over all cases; where the truth lacks the label 1 if the mask is empty, else 0."""

    false_positive_ml: Estimate
    """Volume of the masks over the cases whose truth lacks the label."""

    missed: float | None
    """Share of the cases with the label whose mask lacks it; None if there is no such case."""

    fired: float | None
    """Share of the cases without the label whose mask has it; None if there is no such case."""


@dataclass(frozen=True, slots=True)
class OverallSummary:
    """The mean over labels of the labels' means."""

    dice: Estimate
    nsd: Estimate
    hd95_mm: Estimate
    assd_mm: Estimate
    dice_with_absent: Estimate


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """What `scores.json` holds."""

    policy: str
    """How the numbers were made, empty masks above all."""

    tolerance_mm: float
    """Tolerance of the surface Dice."""

    cases: tuple[CaseScore, ...]
    """By case name, then by label."""

    labels: Mapping[str, LabelSummary]
    overall: OverallSummary
    compare: Comparison | None = None
    lesions: Mapping[str, LesionSummary] = field(default_factory=dict)
    """Detection of single lesions: of the labels whose truth has none, or several, in some case."""

    trust: TrustTable | None = None
    """Of the probabilities, where they were measured too."""

    def to_json(self) -> str:
        """Return the text of `scores.json`; what does not exist is null, never NaN."""
        return _ADAPTER.dump_json(self, indent=1).decode() + "\n"

    @classmethod
    def from_json(cls, text: str) -> "ScoreTable":
        """Read the text of a `scores.json`.

        Args:
            text: As written by `to_json`.

        Returns:
            An equal table.

        Raises:
            BadFileError: It is not such a text.
        """
        try:
            return _ADAPTER.validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            msg = f"not a table of scores: {where}: {first['msg']}; run `voxhint measure` again"
            raise BadFileError(msg) from error


_ADAPTER = TypeAdapter(ScoreTable)


def tabulate(
    cases: Sequence[CaseScore],
    *,
    labels: Sequence[str],
    tolerance_mm: float,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> ScoreTable:
    """Put the scores of all cases into a table with summaries.

    Args:
        cases: Rows in any order; the result does not depend on it.
        labels: The foreground labels.
        tolerance_mm: What the surface Dice was measured at.
        rng: Draws the subjects for the intervals.
        resamples: How often they are drawn.

    Returns:
        The table, without a comparison.
    """
    place = {label: number for number, label in enumerate(labels)}
    rows = sorted(cases, key=lambda row: (row.case, place[row.label]))
    by_label = {label: [row for row in rows if row.label == label] for label in labels}
    found: dict[str, dict[str, Estimate]] = {label: {} for label in labels}
    overall: dict[str, Estimate] = {}
    for name, measure in _MEASURES.items():
        for label in labels:
            found[label][name] = _over([label], by_label[label], measure, rng, resamples)
    for name in ("dice", "nsd", "hd95_mm", "assd_mm", "dice_with_absent"):
        overall[name] = _over(labels, rows, _MEASURES[name], rng, resamples)
    return ScoreTable(
        policy=_POLICY.format(resamples=resamples),
        tolerance_mm=tolerance_mm,
        cases=tuple(rows),
        labels={
            label: LabelSummary(
                **found[label],
                missed=_share(by_label[label], among=(None, "mask empty"), of="mask empty"),
                fired=_share(
                    by_label[label], among=("both empty", "truth empty"), of="truth empty"
                ),
            )
            for label in labels
        },
        overall=OverallSummary(**overall),
    )


def _dice_with_absent(row: CaseScore) -> float | None:
    if row.empty in {"both empty", "truth empty"}:
        return float(row.empty == "both empty")
    return row.dice


_MEASURES: Mapping[str, Callable[[CaseScore], float | None]] = {
    "dice": lambda row: row.dice,
    "nsd": lambda row: row.nsd,
    "hd95_mm": lambda row: row.hd95_mm,
    "assd_mm": lambda row: row.assd_mm,
    "volume_error_ml": lambda row: row.volume_error_ml if row.truth_ml > 0 else None,
    "volume_error_relative": lambda row: row.volume_error_relative,
    "dice_with_absent": _dice_with_absent,
    "false_positive_ml": lambda row: None if row.truth_ml > 0 else row.mask_ml,
}


def _over(
    labels: Sequence[str],
    rows: Sequence[CaseScore],
    measure: Callable[[CaseScore], float | None],
    rng: np.random.Generator,
    resamples: int,
) -> Estimate:
    """Return the estimate of a measure over cases and labels."""
    owners = {row.case: row.subject for row in rows}
    line = {case: number for number, case in enumerate(owners)}
    values = np.full((len(line), len(labels)), np.nan)
    for row in rows:
        value = measure(row)
        if value is not None:
            values[line[row.case], labels.index(row.label)] = value
    return estimate(values, list(owners.values()), rng=rng, resamples=resamples)


def _share(rows: Sequence[CaseScore], *, among: tuple[str | None, ...], of: str) -> float | None:
    counted = [row.empty == of for row in rows if row.empty in among]
    return float(np.mean(counted)) if counted else None
