"""What tags say: bags of multiple-instance learning, and labels whose place only tags imply."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from voxhint.config import LabelConfig, Machine
from voxhint.core import Strokes, Tag
from voxhint.core.progress import Tell
from voxhint.core.study import Study
from voxhint.train import Bag


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
    whole = dict.fromkeys(labels, float("nan"))
    ranges: dict[tuple[float, float], dict[str, float]] = {}
    for hint in study.hints.get(name, ()):
        if isinstance(hint, Strokes) or hint.label not in whole:
            continue
        if not isinstance(hint, Tag):
            whole[hint.label] = 1.0  # who marks a place says that there is one
        elif hint.state != "unknown":
            known = 1.0 if hint.state == "present" else 0.0
            if hint.z_range_mm is None:
                whole[hint.label] = known
            else:
                part = ranges.setdefault(hint.z_range_mm, dict.fromkeys(labels, float("nan")))
                part[hint.label] = known
    bags = [Bag(tuple(part.values()), heights) for heights, part in ranges.items()]
    if not all(np.isnan(value) for value in whole.values()):
        bags.append(Bag(tuple(whole.values())))
    return tuple(bags)


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
