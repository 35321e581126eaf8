"""What is told beside a picture: its hints, and how sure its labels are."""

from collections.abc import Sequence
from typing import assert_never

from voxhint.core.hints import Box, Diameter, Hint, Points, Soft, Strokes, Tag
from voxhint.core.labels import UNDRAWN
from voxhint.review.choose_slices import Scene
from voxhint.review.doubt import doubtful, mean_trust

_MOST = 12  # kinds of hints told one by one


def tell_hints(hints: Sequence[Hint]) -> tuple[str, ...]:
    """Return which hints a case has, in a sentence; nothing if it has none."""
    counts: dict[tuple[str, str], int] = {}
    for hint in hints:
        kind, of, count = _counted(hint)
        counts[kind, of] = counts.get((kind, of), 0) + count
    told = [_plural(kind, count) + of for (kind, of), count in counts.items()]
    if len(told) > _MOST:
        told = [*told[:_MOST], f"{len(told) - _MOST} more kinds"]
    return (f"Hints: {', '.join(told)}.",) if told else ()


def tell_sureness(scene: Scene) -> tuple[str, ...]:
    """Return how sure the soft label and the mask of a case are, a sentence each."""
    told: list[str] = []
    trust = None if scene.soft is None else mean_trust(scene.soft)
    if trust is not None:
        told.append(f"Where the soft label is likely, it is trusted {trust:.0%} on average.")
    if scene.unsure is not None and scene.mask is not None:
        share = doubtful(scene.unsure[0], scene.mask.ids > 0)
        told.append(f"{share:.0%} of the region around the mask is uncertain.")
    return tuple(told)


def _plural(kind: str, count: int) -> str:
    if not kind:
        return ""
    end = "" if count == 1 else "es" if kind.endswith("x") else "s"
    return f"{count} {kind}{end}"


def _counted(hint: Hint) -> tuple[str, str, int]:
    """Return the kind of a hint, what it is of, and how many marks it makes."""
    match hint:
        case Points():
            told = "point", f" of {hint.label}", len(hint.positions_mm)
        case Strokes():
            told = _drawn(hint)
        case Tag():
            told = "", f"{hint.label} tagged {hint.state}{_range(hint)}", 1
        case Soft() | Box() | Diameter():
            kind = {"Soft": "soft mask", "Box": "box", "Diameter": "diameter"}[type(hint).__name__]
            told = kind, f" of {hint.label}", 1
        case _:
            assert_never(hint)
    return told


def _drawn(strokes: Strokes) -> tuple[str, str, int]:
    drawn = strokes.classes != UNDRAWN
    if not strokes.complete:
        return "scribbled voxel", "", int(drawn.sum())
    layers = [int(drawn.any(axis=axes).sum()) for axes in ((1, 2), (0, 2), (0, 1))]
    return "drawn slice", "", min(layers)


def _range(tag: Tag) -> str:
    if tag.z_range_mm is None:
        return ""
    return f" from z {tag.z_range_mm[0]:.0f} to {tag.z_range_mm[1]:.0f} mm"
