"""One static page that tells a reader what was done and how good it is."""

from collections.abc import Mapping, Sequence
from typing import Any

from voxhint.review.curves import draw_learning, outlook
from voxhint.review.facts import Picture, RunFacts
from voxhint.review.markup import (
    duration,
    flatten,
    fold,
    listing,
    page,
    paragraph,
    picture,
    section,
    table,
    text,
)
from voxhint.review.numbers import (
    tell_cases,
    tell_comparison,
    tell_predictor,
    tell_scores,
    tell_volumes,
    tell_weights,
)

_ENDED = {
    "settled": "It ended because hints kept aside no longer got better.",
    "budget": "It ended because its budget was spent.",
    "steps": "It ended after the steps that were asked for.",
}
RESEARCH_ONLY = (
    "For research use only. This is not a medical device: neither the masks nor the numbers may "
    "guide the care of a patient."
)
_TEST_GUIDE = (
    "The patient's right is at the left of each picture. Masks are filled, the truth is dashed."
)
_WITHOUT_GUIDE = (
    "Each image beside what it would be without the label, as networks see it: no scan of a "
    "patient. In the difference, orange is what went away, and blue is what came."
)
_TRAINING_GUIDE = (
    "The patient's right is at the left of each picture. Points drawn small and hollow, and boxes "
    "and circles drawn dotted, lie beside the layer shown. In the soft label, colour is a likely "
    "label, dark is likely background, and the image shows through where nothing is known."
)


def write_report(run: RunFacts) -> str:
    """Write the report of a run as one HTML page that needs nothing from elsewhere.

    Args:
        run: What is known; sections without facts are left out.

    Returns:
        The text of `report.html`.
    """
    title = f"voxhint: {run.name}"
    return page(
        title,
        f"<header>\n<h1>{text(title)}</h1>\n{paragraph(RESEARCH_ONLY, kind='notice')}</header>\n",
        section("In short", *(paragraph(line, kind="lead") for line in _in_short(run))),
        _scores(run),
        _pictures("Test cases", _TEST_GUIDE, run.test_pictures),
        _pictures("From hints to masks: training cases", _TRAINING_GUIDE, run.training_pictures),
        _pictures(
            "Without what tags name: training cases", _WITHOUT_GUIDE, run.counterfactual_pictures
        ),
        section("What hints became", tell_volumes(run.volumes)) if run.volumes else "",
        _predictor(run),
        _learning(run),
        _warnings(run),
        section("What was done", _steps(run), _settings(run)),
    )


def _in_short(run: RunFacts) -> list[str]:
    """Return what was done and how well it went, in one sentence each."""
    lines = [_tell_input(run), _tell_training(run), _tell_result(run)]
    seconds = [value for _, value in _numbers(_mapping(run.made, "seconds"))]
    if seconds:
        lines.append(f"All steps together took {duration(sum(seconds))}.")
    return [line for line in lines if line]


def _tell_input(run: RunFacts) -> str:
    hints = [f"{count} {kind}" for kind, count in _mapping(run.made, "hints").items()]
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


def _scores(run: RunFacts) -> str:
    if run.scores is None:
        return ""
    compared = run.scores.compare
    return section("How good the masks are", tell_scores(run.scores), tell_cases(run.scores)) + (
        "" if compared is None else section("Compared with other masks", tell_comparison(compared))
    )


def _pictures(title: str, guide: str, pictures: Sequence[Picture]) -> str:
    if not pictures:
        return ""
    shown = (picture(one.png, alt=one.alt, caption=one.caption) for one in pictures)
    return section(title, paragraph(guide, kind="quiet"), *shown)


def _predictor(run: RunFacts) -> str:
    told = _mapping(_mapping(run.made, "config"), "label").get("presence_specificity")
    specificity = told if isinstance(told, float) else None
    told = tell_predictor(run.predictor, specificity, run.weights.get("predictor"))
    return section("What images hold, learnt from tags", told, tell_weights(run.weights))


def _learning(run: RunFacts) -> str:
    drawn = draw_learning(run.history)
    curve = ""
    if drawn is not None:
        curve = picture(
            drawn,
            alt="Curves of the training loss and the score on hints kept aside over training steps",
            caption="How training went. The score on hints kept aside never looks at the truth.",
        )
    plan = table("The plan the network follows.", ["setting", "value"], flatten(run.plan or {}))
    return section("How the network learnt", curve, fold("The plan in full", plan))


def _warnings(run: RunFacts) -> str:
    skipped = [_told(item) for item in _sequence(run.made, "skipped")]
    warnings = [_told(item) for item in _sequence(run.made, "warnings")]
    parts: list[str] = []
    for words, items in (
        ("Cases set aside:", skipped),
        ("Warnings:", warnings),
        ("Left out of this report:", list(run.problems)),
    ):
        if items:
            parts += [paragraph(words), listing(items)]
    return section("Skipped cases and warnings", *parts)


def _steps(run: RunFacts) -> str:
    rows = [(name, duration(value)) for name, value in _numbers(_mapping(run.made, "seconds"))]
    peak = run.made.get("peak_ram_mb")
    facts: list[tuple[str, str]] = [
        (words, str(run.made[key]))
        for key, words in (("verb", "command"), ("study", "study"), ("seed", "seed"))
        if run.made.get(key) is not None
    ]
    if isinstance(peak, int | float):
        facts.append(("most memory used", f"{peak / 1024:.1f} GB"))
    facts += [(f"{name} version", version) for name, version in _pairs(run.made, "versions")]
    return table("Time taken by each step.", ["step", "time"], rows) + table(
        "What the numbers depend on.", ["fact", "value"], facts
    )


def _settings(run: RunFacts) -> str:
    parts = (
        fold(title, table(caption, ["name", "value"], _pairs(run.made, key)))
        for key, title, caption in (
            ("config", "Every setting", "As resolved from recipe, flags and defaults."),
            ("inputs", "Fingerprints of the input", "A changed file changes its fingerprint."),
        )
    )
    return "".join(parts)


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
