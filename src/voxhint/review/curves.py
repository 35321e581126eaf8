"""How training went, as a picture, and what more of it would be likely to bring."""

from collections.abc import Mapping, Sequence
from io import BytesIO

from matplotlib.figure import Figure

_BLUE = "#0072B2"
_ORANGE = "#D55E00"
_MARKED = 60  # more points than this need no dots
_FLAT = 0.01  # share by which a score must change before it is said to change


def draw_learning(history: Sequence[Mapping[str, float | None]]) -> bytes | None:
    """Draw the training loss and the score on hints kept aside, over training steps.

    Args:
        history: Rows with `step`, and `loss` and `held_out` where they were measured.

    Returns:
        A PNG, or None if there are fewer than two values of either.
    """
    curves = [
        ("training loss", "loss", _BLUE),
        ("score on hints kept aside", "held_out", _ORANGE),
    ]
    drawn = [(title, _series(history, name), colour) for title, name, colour in curves]
    drawn = [curve for curve in drawn if len(curve[1]) > 1]
    if not drawn:
        return None
    figure = Figure(figsize=(4.6 * len(drawn), 2.6), dpi=110, facecolor="white")
    for place, (title, series, colour) in enumerate(drawn, start=1):
        axes = figure.add_subplot(1, len(drawn), place)
        steps, values = zip(*series, strict=True)
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


def outlook(history: Sequence[Mapping[str, float | None]]) -> str:
    """Say what more training would be likely to bring, by the score on hints kept aside.

    What the last doubling of the steps gained is held against what the doubling before it gained.

    Args:
        history: Rows with `step` and `held_out`.

    Returns:
        A sentence; nothing where the curve is too short to tell.
    """
    scores = _series(history, "held_out")
    end = scores[-1][0] if scores else 0.0
    parts = [[score for step, score in scores if step <= end / share] for share in (4, 2, 1)]
    if not all(parts) or min(map(min, parts)) <= 0:
        return ""
    first, half, best = (min(part) for part in parts)
    before, last = 1 - half / first, 1 - best / half
    if last < _FLAT:
        return (
            "The second half of its steps changed the score on hints kept aside by less than "
            f"{_FLAT:.0%}; more time is unlikely to help."
        )
    more = last * min(1.0, last / before) if before > 0 else last
    return (
        f"The second half of its steps lowered the score on hints kept aside by {last:.0%}; if the "
        f"curve goes on like that, twice the steps would lower it by some {max(more, _FLAT):.0%} "
        "more."
    )


def _series(history: Sequence[Mapping[str, float | None]], name: str) -> list[tuple[float, float]]:
    pairs = [(row.get("step"), row.get(name)) for row in history]
    return [(step, value) for step, value in pairs if step is not None and value is not None]
