"""Where on its curve a training stopped, and what more of it would be likely to bring."""

import math
from collections.abc import Mapping, Sequence

_History = Sequence[Mapping[str, float | None]]

_FLAT = 0.01  # share by which a score must change before it is said to change
_STEEPER = 1.5  # times the last doublings: what the next one may bring at most


def outlook(history: _History) -> str:
    """Say what more training would be likely to bring, by the loss of held-out hints.

    A doubling of the steps divides the score by a factor. The next one is likely to have what the
    last one kept of the one before. It may bring nothing, since curves also end abruptly, and at
    most 1.5 times what either of the two did, in powers of the factor.

    Args:
        history: Rows with `step` and `held_out`.

    Returns:
        A sentence or two; nothing where the curve is too short to tell.
    """
    scores = series(history, "held_out")
    end = scores[-1][0] if scores else 0.0
    parts = [[score for step, score in scores if step <= end / share] for share in (4, 2, 1)]
    if not all(parts) or min(map(min, parts)) <= 0:
        return ""
    first, half, best = (min(part) for part in parts)
    before, last = math.log(first / half), math.log(half / best)
    if _share(last) < _FLAT:
        return (
            "The second half of its steps changed the loss of held-out hints by less than "
            f"{_FLAT:.0%}; more time is unlikely to help."
        )
    likely = last * min(1.0, last / before) if before > 0 else last
    most = _STEEPER * max(before, last)
    return (
        "The second half of its steps lowered the loss of held-out hints by "
        f"{_share(last):.0%}; if the curve goes on like that, twice the steps would lower it by "
        f"some {max(_share(likely), _FLAT):.0%} more. Between nothing and {_share(most):.0%} would "
        "be no surprise."
    )


def series(history: _History, name: str) -> list[tuple[float, float]]:
    """Return the steps at which something was measured, and its values."""
    pairs = [(row.get("step"), row.get(name)) for row in history]
    return [(step, value) for step, value in pairs if step is not None and value is not None]


def _share(drop: float) -> float:
    """Return by which share a score falls that is divided by a power of e."""
    return 1 - math.exp(-drop)
