"""The numbers of a report: scores and their policy, comparisons, and how well tags are told."""

from collections.abc import Mapping

from voxhint.config import LabelConfig
from voxhint.measure.compare import Comparison, Difference
from voxhint.measure.score import CaseScore
from voxhint.measure.score_table import LabelSummary, OverallSummary, ScoreTable
from voxhint.review.report_data import LabelVolume, TagRanking
from voxhint.review.tables import Cell, Table, between, number, share, with_interval

EMPTY_IN_SHORT = (
    "A label that is in the image but missing from the mask counts as 0 overlap and as an error "
    "as large as the image. Images that truly lack the label are left out of these means; there, "
    "false alarms are counted in millilitres."
)


_BINS = 20
_MOST_ROWS = 300


def tell_scores(scores: ScoreTable) -> Table:
    """Return the table of labels."""
    tolerance = f"{scores.tolerance_mm:g} mm"
    head = [
        "label", "Dice", f"surface Dice at {tolerance}", "HD95 (mm)", "mean surface distance (mm)",
        "its median (mm)", "volume error (mL)", "missed", "cases (subjects)",
    ]  # fmt: skip
    rows = [_label_row(name, summary) for name, summary in scores.labels.items()]
    if len(scores.labels) > 1:
        rows.append(_overall_row(scores.overall))
    caption = (
        "Masks against the truth: means over cases, 95 % intervals over subjects. Dice 1 is "
        "perfect, 0 is no overlap; HD95 is the distance that 95 % of the surface keeps to."
    )
    return Table(caption, head, rows)


def tell_spread(scores: ScoreTable) -> Mapping[str, list[int]]:
    """Return for each label how many cases lie in each twentieth of Dice, from 0 to 1."""
    spread = {label: [0] * _BINS for label in scores.labels}
    for row in scores.cases:
        if row.dice is not None and row.label in spread:
            spread[row.label][min(int(row.dice * _BINS), _BINS - 1)] += 1
    return spread


def tell_cases(scores: ScoreTable) -> Table:
    """Return a line per case and label, the lowest Dice first; of very many only the lowest."""
    head = [
        "case", "label", "Dice", "surface Dice", "HD95 (mm)", "mean distance (mm)", "truth (mL)",
        "mask (mL)", "note",
    ]  # fmt: skip
    ranked = sorted(scores.cases, key=lambda row: 2.0 if row.dice is None else row.dice)
    rows = [_case_row(row) for row in ranked[:_MOST_ROWS]]
    caption = "One line per case and label, the lowest Dice first."
    if len(ranked) > _MOST_ROWS:
        caption += f" These are {_MOST_ROWS} of {len(ranked)} lines; scores.json has all of them."
    return Table(caption, head, rows)


def tell_comparison(comparison: Comparison) -> tuple[Table, list[str]]:
    """Return what differs from other masks of the same cases, and why a label has no test."""
    head = [
        "label", "Dice", "surface Dice", "HD95 (mm)", "mean surface distance (mm)",
        "p (Dice)", "p corrected", "subjects",
    ]  # fmt: skip
    rows: list[list[object]] = []
    notes: list[str] = []
    for label, measures in comparison.labels.items():
        dice = measures["dice"]
        rows.append(
            [
                label, _signed(dice, 3), _signed(measures["nsd"], 3),
                _signed(measures["hd95_mm"], 2), _signed(measures["assd_mm"], 2),
                _chance(dice.p), _chance(dice.p_corrected), dice.subjects,
            ]
        )  # fmt: skip
        if dice.note is not None:
            notes.append(f"{label}: no test; {dice.note}.")
    caption = (
        f"These masks minus {comparison.against}, case by case: mean difference and its 95 % "
        "interval over subjects. More Dice and less distance is better. p: two-sided Wilcoxon "
        "signed-rank test on subject means; corrected for the number of labels after Holm."
    )
    return Table(caption, head, rows), notes


def tell_classifier(
    classifier: Mapping[str, TagRanking],
    specificity: float | None,
    origin: Mapping[str, str] | None,
) -> tuple[Table, str]:
    """Return how well a classifier tells which images hold a label, and what follows for masks.

    Args:
        classifier: By label.
        specificity: Share of the training images tagged absent that it is to call absent.
        origin: What the classifier is, if it was not trained on this study.
    """
    rows = [_ranking_row(label, told, origin) for label, told in classifier.items()]
    head = ["label", "AUC", "with the label", "without", "subjects", "measured on"]
    caption = (
        "How often an image with the label scores higher than one without it: 1 is always, 0.5 "
        "is chance; 95 % interval over subjects."
    )
    source = f"as {'most' if specificity is None else share(specificity)} of the training images"
    source += " tagged absent"
    if origin is not None:
        caption += " These numbers come with the weights, and say nothing of the images here."
    if origin is not None and specificity in (None, LabelConfig().tags.specificity):
        source = "as a threshold that comes with the weights and knows no image of this study"
    gate = (
        "Masks of images without tags are gated: they hold such a label only if the image scores "
        f"at least as high {source}. That is no diagnosis: an image that passes may well lack the "
        "label. A label is not gated if it is tagged absent in ranges of slices alone."
    )
    return Table(caption, head, rows), gate


def tell_volumes(volumes: Mapping[str, LabelVolume]) -> Table:
    """Return how large each label came out of its hints."""
    rows: list[list[object]] = [
        [name, number(one.label, 2), number(one.hints_span, 2), one.cases]
        for name, one in volumes.items()
    ]
    caption = (
        "Soft labels before any training: the volume of each label in the median over the cases "
        "that show it, and the volume that its hints span. Far more than that is a label that ran "
        "away; far less, one that its hints do not fill."
    )
    return Table(caption, ["label", "volume (mL)", "spanned by hints (mL)", "cases"], rows)


def tell_weights(weights: Mapping[str, Mapping[str, str]]) -> Table:
    """Return which networks were not trained on the study, their terms, and whom to name."""
    keys = ("name", "licence", "data", "attribution", "source")
    rows = [[part, *(told.get(key) for key in keys)] for part, told in weights.items()]
    caption = "Networks that were not trained on this study. Keep to their terms, and name them."
    return Table(caption, ["network", *keys], rows)


def _ranking_row(label: str, told: TagRanking, origin: Mapping[str, str] | None) -> list[object]:
    if told.auc is None:
        return [label, None, None, None, None, None]
    measured = {
        True: "held-out subjects of this study",
        False: "all tagged images, those it learnt from included: this flatters",
        None: "tagged images of this study",
    }[told.held_out]
    if origin is not None:
        measured = f"{origin.get('measured') or origin.get('data') or 'other data'}; not this study"
    area = between(told.auc.auc, told.auc.low, told.auc.high, 3)
    return [label, area, told.auc.positives, told.auc.negatives, told.auc.subjects, measured]


def _label_row(name: str, summary: LabelSummary) -> list[object]:
    return [
        name, with_interval(summary.dice, 3), with_interval(summary.nsd, 3),
        with_interval(summary.hd95_mm, 1), with_interval(summary.assd_mm, 2),
        number(summary.assd_mm.median, 2), with_interval(summary.volume_error_ml, 2),
        share(summary.missed), f"{summary.dice.n} ({summary.dice.subjects})",
    ]  # fmt: skip


def _overall_row(overall: OverallSummary) -> list[object]:
    return [
        "mean over labels", with_interval(overall.dice, 3), with_interval(overall.nsd, 3),
        with_interval(overall.hd95_mm, 1), with_interval(overall.assd_mm, 2),
        number(overall.assd_mm.median, 2), None, None,
        f"{overall.dice.n} ({overall.dice.subjects})",
    ]  # fmt: skip


def tell_absent(scores: ScoreTable) -> Table:
    """Return the table of false alarms; it has no rows if every truth holds every label."""
    rows: list[list[object]] = [
        [
            name, share(summary.fired), with_interval(summary.false_positive_ml, 2),
            with_interval(summary.dice_with_absent, 3),
            f"{summary.false_positive_ml.n} ({summary.false_positive_ml.subjects})",
        ]
        for name, summary in scores.labels.items()
        if summary.fired is not None
    ]  # fmt: skip
    head = ["label", "false alarms", "false alarm (mL)", "Dice, all cases", "cases (subjects)"]
    caption = (
        "Cases whose truth lacks the label: share of masks that show it all the same, and how much "
        "of it. 'Dice, all cases' counts such a case as 1 if its mask is empty and as 0 if not."
    )
    return Table(caption, head, rows)


def tell_lesions(scores: ScoreTable) -> Table:
    """Return the table of single lesions; it has no rows where labels are no lesions."""
    rows: list[list[object]] = []
    for name, told in scores.lesions.items():
        seen, false = told.sensitivity, told.false_per_image
        rows.append(
            [
                name, f"{told.found} of {told.lesions}",
                between(seen.mean, seen.low, seen.high, 3),
                between(false.mean, false.low, false.high, 2),
                *(f"{size.found} of {size.lesions}" for size in told.sizes),
                number(told.cpm, 3), *(number(size.cpm, 3) for size in told.sizes),
            ]
        )  # fmt: skip
    sizes = dict.fromkeys(size.size for told in scores.lesions.values() for size in told.sizes)
    head = [
        "label", "lesions found", "sensitivity", "false regions an image",
        *(f"found, {size}" for size in sizes), "CPM", *(f"CPM, {size}" for size in sizes),
    ]  # fmt: skip
    caption = (
        "Single lesions: connected regions of the truth, and whether the mask's regions on them "
        "reach an intersection over union of 0.1. CPM is the mean sensitivity at 1/8 to 8 false "
        "regions an image; it needs probabilities."
    )
    return Table(caption, head, rows)


def _case_row(row: CaseScore) -> list[object]:
    return [
        row.case, row.label, number(row.dice, 3), number(row.nsd, 3), number(row.hd95_mm, 1),
        number(row.assd_mm, 2), number(row.truth_ml, 2), number(row.mask_ml, 2), row.empty or "",
    ]  # fmt: skip


def _signed(difference: Difference, digits: int) -> Cell:
    if difference.mean is None:
        return Cell(number(None, digits))
    if difference.low is None or difference.high is None:
        return Cell(f"{difference.mean:+.{digits}f}")
    span = f"{difference.low:+.{digits}f} to {difference.high:+.{digits}f}"
    return Cell(f"{difference.mean:+.{digits}f}", span)


def _chance(p: float | None) -> str:
    return "< 0.001" if p is not None and p < 1e-3 else number(p, 3)
