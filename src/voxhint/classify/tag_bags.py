"""What tags say: bags of multiple-instance learning, and labels whose place only tags imply."""

from collections.abc import Sequence
from dataclasses import dataclass

from voxhint.config import LabelConfig, Machine
from voxhint.core import Strokes, Tag
from voxhint.core.progress import Tell
from voxhint.core.study import Study
from voxhint.training import Bag

_KNOWN = {"present": 1.0, "absent": 0.0}


@dataclass(frozen=True, slots=True, eq=False)
class TagJob:
    """What networks learn from tags, and how."""

    study: Study
    """With tags of both states."""

    labels: tuple[str, ...]
    """Those to learn."""

    config: LabelConfig
    machine: Machine
    tell: Tell
    """Hears of progress."""


def bags_of(study: Study, name: str, labels: Sequence[str]) -> tuple[Bag, ...]:
    """Return what is said of a case: one bag for the whole image, one for each range of slices."""
    nothing = dict.fromkeys(labels, float("nan"))
    said: dict[tuple[float, float] | None, dict[str, float]] = {}
    for hint in study.hints.get(name, ()):
        match hint:
            case Strokes():
                continue
            case Tag(label=label, state=state, z_range_mm=heights):
                known = _KNOWN.get(state)
            case _:  # who marks a place says that there is one
                label, heights, known = hint.label, None, 1.0
        if label in nothing and known is not None:
            said.setdefault(heights, dict(nothing))[label] = known
    ranges = sorted(said, key=lambda heights: heights is None)  # the whole image last
    return tuple(Bag(tuple(said[heights].values()), heights) for heights in ranges)


def labels_to_localise(study: Study) -> tuple[str, ...]:
    """Return the labels that tags alone must find somewhere, and for which both states are told."""
    labels = []
    for label in study.labels.foreground:
        states = {
            bag.states[0] for files in study.training for bag in bags_of(study, files.name, [label])
        }
        if {0.0, 1.0} <= states and any(
            needs_localisation(study, files.name, label) for files in study.training
        ):
            labels.append(label)
    return tuple(labels)


def needs_localisation(study: Study, name: str, label: str) -> bool:
    """Return whether a case is tagged to hold a label of which no hint shows the place."""
    hints = [
        hint
        for hint in study.hints.get(name, ())
        if not isinstance(hint, Strokes) and hint.label == label
    ]
    tagged = any(isinstance(hint, Tag) and hint.state == "present" for hint in hints)
    shown = any(not isinstance(hint, Tag) for hint in hints)
    drawn = any(file.label in (None, label) for file in study.stroke_files.get(name, ()))
    return tagged and not shown and not drawn
