"""One static page that tells a reader what was done and how good it is."""

import base64
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from voxhint.core.words import agreeing
from voxhint.measure.learning_curve import outlook, series
from voxhint.review.report_data import RunFacts
from voxhint.review.score_tables import (
    EMPTY_IN_SHORT,
    tell_absent,
    tell_cases,
    tell_classifier,
    tell_comparison,
    tell_lesions,
    tell_scores,
    tell_spread,
    tell_volumes,
    tell_weights,
)
from voxhint.review.tables import Table, duration, flatten

_BLUE = "#0072B2"
_ORANGE = "#D55E00"
_MARKED = 60  # more points than this need no dots
_ENDED = {
    "settled": "It ended because held-out hints no longer got better.",
    "budget": "It ended because its budget was spent.",
    "steps": "It ended after the steps that were asked for.",
}
_RESEARCH_ONLY = (
    "For research use only. This is not a medical device: neither the masks nor the numbers may "
    "guide the care of a patient."
)
_MOST_LINES = 40  # of one list


def write_report(run: RunFacts) -> str:
    """Write the report of a run as one HTML page that needs nothing from elsewhere.

    Args:
        run: What is known; sections without facts are left out.

    Returns:
        The text of `report.html`.
    """
    pages = Environment(
        loader=PackageLoader("voxhint.review", "page"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    pages.filters["base64"] = lambda data: base64.b64encode(data).decode()
    scores = run.scores
    text = pages.get_template("report.html").render(
        run=run,
        title=f"voxhint: {run.name}",
        research_only=_RESEARCH_ONLY,
        in_short=_in_short(run),
        figures=_figures(run),
        scores=None if scores is None else tell_scores(scores),
        spread={} if scores is None else tell_spread(scores),
        absent=None if scores is None else tell_absent(scores),
        lesions=None if scores is None else tell_lesions(scores),
        cases=None if scores is None else tell_cases(scores),
        policy=None if scores is None else (EMPTY_IN_SHORT, scores.policy),
        compared=None if scores is None or not scores.compare else tell_comparison(scores.compare),
        volumes=tell_volumes(run.volumes),
        classifier=_classifier(run),
        weights=tell_weights(run.weights),
        curve=draw_learning(run.history),
        plan=Table("The plan the network follows.", ["setting", "value"], flatten(run.plan or {})),
        lists=_lists(run),
        steps=_steps(run),
        facts=_facts(run),
        settings=Table(
            "As resolved from recipe, flags and defaults.",
            ["name", "value"],
            _pairs(run.made, "config"),
        ),
    )
    return text.lstrip()


def _figures(run: RunFacts) -> list[tuple[str, str]]:
    """Return the numbers that a reader looks for first, and what they are."""
    figures: list[tuple[str, str]] = []
    if run.scores is not None and run.scores.overall.dice.mean is not None:
        dice = run.scores.overall.dice
        span = "" if dice.low is None else f", 95 % interval {dice.low:.3f} to {dice.high:.3f}"
        figures.append((f"{dice.mean:.3f}", f"mean Dice{span}"))
    figures += [(str(count), what) for what, count in run.counts.items() if count]
    seconds = [value for _, value in _numbers(_mapping(run.made, "seconds"))]
    if seconds:
        figures.append((duration(sum(seconds)), "all steps together"))
    return figures


def _in_short(run: RunFacts) -> list[str]:
    """Return what was done and how well it went, in one sentence each."""
    lines = [_tell_input(run), _tell_training(run), _tell_result(run)]
    seconds = [value for _, value in _numbers(_mapping(run.made, "seconds"))]
    if seconds:
        lines.append(f"All steps together took {duration(sum(seconds))}.")
    return [line for line in lines if line]


def _tell_input(run: RunFacts) -> str:
    hints = [agreeing(count, kind) for kind, count in _mapping(run.made, "hints").items()]
    parts = [f"{count} {what}" for what, count in run.counts.items() if count]
    words = f"The study holds {_joined(parts)}." if parts else ""
    return f"{words} Its hints: {_joined(hints)}.".strip() if hints else words


def _tell_training(run: RunFacts) -> str:
    steps = [row["step"] for row in run.history if row.get("step") is not None]
    if not steps or steps[-1] is None:
        return ""
    spent = run.history[-1].get("seconds")
    words = f"A network was trained for {steps[-1]:.0f} steps"
    words += "" if spent is None else f" ({duration(spent)})"
    if _mapping(_mapping(run.made, "config"), "train").get("supervision") == "dense":
        words += " on dense masks, which shows the best that hints could reach."
    else:
        words += " on what the hints imply."
    ended = _ENDED.get(str(run.made.get("ended")), "")
    return " ".join(part for part in (words, ended, outlook(run.history)) if part)


def _tell_result(run: RunFacts) -> str:
    if run.scores is None or run.scores.overall.dice.mean is None:
        return "There is no truth to compare with, so nothing is said of how good the masks are."
    dice = run.scores.overall.dice
    span = "" if dice.low is None else f" (95 % interval {dice.low:.3f} to {dice.high:.3f})"
    return (
        f"Against the truth the masks reach a mean Dice of {dice.mean:.3f}{span} "
        f"on {_count(dice.n, 'case')} of {_count(dice.subjects, 'subject')}."
    )


def _classifier(run: RunFacts) -> tuple[Table, str] | None:
    label = _mapping(_mapping(run.made, "config"), "label")
    told = _mapping(label, "tags").get("specificity")
    specificity = told if isinstance(told, float) else None
    if not run.classifier:
        return None
    return tell_classifier(run.classifier, specificity, run.weights.get("classifier"))


def _lists(run: RunFacts) -> list[tuple[str, list[str]]]:
    """Return what was set aside, warned of, or left out; long lists are cut and say so."""
    lists = (
        ("Cases set aside:", [_told(item) for item in _sequence(run.made, "skipped")]),
        ("Warnings:", [_told(item) for item in _sequence(run.made, "warnings")]),
        ("Left out of this report:", list(run.problems)),
    )
    return [(words, _cut(lines)) for words, lines in lists if lines]


def _cut(lines: list[str]) -> list[str]:
    more = len(lines) - _MOST_LINES
    if more <= 0:
        return lines
    return [*lines[:_MOST_LINES], f"and {more} more; made.json has them all"]


def _steps(run: RunFacts) -> Table:
    rows = [(name, duration(value)) for name, value in _numbers(_mapping(run.made, "seconds"))]
    return Table("Time taken by each step.", ["step", "time"], rows)


def _facts(run: RunFacts) -> Table:
    peak = run.made.get("peak_ram_mb")
    facts: list[tuple[str, str]] = [
        (words, str(run.made[key]))
        for key, words in (("verb", "command"), ("study", "study"), ("seed", "seed"))
        if run.made.get(key) is not None
    ]
    if isinstance(peak, int | float):
        facts.append(("most memory used", f"{peak / 1024:.1f} GiB"))
    facts += [(f"{name} version", version) for name, version in _pairs(run.made, "versions")]
    return Table("What the numbers depend on.", ["fact", "value"], facts)


def _mapping(made: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = made.get(key)
    return found if isinstance(found, Mapping) else {}


def _sequence(made: Mapping[str, Any], key: str) -> Sequence[Any]:
    found = made.get(key)
    return found if isinstance(found, list | tuple) else ()


def _pairs(made: Mapping[str, Any], key: str) -> list[tuple[str, str]]:
    return flatten(_mapping(made, key))


def _numbers(values: Mapping[str, Any]) -> list[tuple[str, float]]:
    return [
        (name, float(value)) for name, value in values.items() if isinstance(value, int | float)
    ]


def _told(item: object) -> str:
    if isinstance(item, Mapping):
        return ": ".join(str(value) for value in item.values())
    return ": ".join(map(str, item)) if isinstance(item, list | tuple) else str(item)


def _joined(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def draw_learning(history: Sequence[Mapping[str, float | None]]) -> bytes | None:
    """Draw the training loss and the loss of held-out hints, over training steps.

    Args:
        history: Rows with `step`, and `loss` and `held_out` where they were measured.

    Returns:
        A PNG, or None if there are fewer than two values of either.
    """
    curves = [
        ("training loss", "loss", _BLUE),
        ("loss of held-out hints", "held_out", _ORANGE),
    ]
    drawn = [(title, series(history, name), colour) for title, name, colour in curves]
    drawn = [curve for curve in drawn if len(curve[1]) > 1]
    if not drawn:
        return None
    figure = Figure(figsize=(4.6 * len(drawn), 2.6), dpi=110, facecolor="white")
    for place, (title, points, colour) in enumerate(drawn, start=1):
        axes = figure.add_subplot(1, len(drawn), place)
        steps, values = zip(*points, strict=True)
        axes.plot(steps, values, color=colour, marker="." if len(steps) < _MARKED else "")
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("training step", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.grid(visible=True, alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    target = BytesIO()
    figure.savefig(target, format="png", metadata={"Software": None})  # the same bytes every time
    return target.getvalue()
