"""How training went, as a picture."""

from collections.abc import Mapping, Sequence
from io import BytesIO

from matplotlib.figure import Figure

from voxhint.measure.learning_curve import series

_BLUE = "#0072B2"
_ORANGE = "#D55E00"
_MARKED = 60  # more points than this need no dots


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
