"""Labels that no hint of a case speaks of are alike: one of them is worked out for all."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import UInt8

from voxhint.core import UNDRAWN, Case, Grid, Hint, LabelSet, SoftLabel, Strokes
from voxhint.core.volume import Floats
from voxhint.propagate.constraints import spoken_of


@dataclass(frozen=True, slots=True, eq=False)
class ShownLabels:
    """The labels of a case: those that hints speak of, and one that stands for all others."""

    labels: LabelSet
    numbers: tuple[int, ...]
    """For each class of the study, its number among these."""

    case: Case
    """The case, in whose drawn hints classes have these numbers."""

    def spread(self, soft: SoftLabel) -> "SoftLabel | SharedSoftLabel":
        """Return a soft label of these labels as one of all labels of the study."""
        return soft if len(self.labels.names) == len(self.numbers) else SharedSoftLabel(soft, self)


@dataclass(frozen=True, slots=True, eq=False)
class SharedSoftLabel:
    """A soft label in which all labels that no hint speaks of share their arrays."""

    few: SoftLabel
    shown: ShownLabels

    @property
    def grid(self) -> Grid:
        """Return where it lies."""
        return self.few.grid

    def by_class(self) -> Iterator[tuple[Floats, Floats]]:
        """Yield probability and trust of one class after the other; shared ones are one object."""
        numbers, pairs = self.shown.numbers, self.few.by_class()
        (silent,) = (number for number in {*numbers} if numbers.count(number) > 1)
        shared = None
        for number in numbers:
            if number != silent:
                yield next(pairs)
                continue
            shared = shared or next(pairs)
            yield shared

    def largest_class(self) -> UInt8[np.ndarray, "i j k"]:
        """Return the most probable class of each voxel, as the study numbers it."""
        count = len(self.shown.labels.names)
        numbers = [self.shown.numbers.index(number) for number in range(count)]
        return np.asarray(np.array(numbers, np.uint8)[self.few.largest_class()])

    def dense(self) -> SoftLabel:
        """Return the same with an array for each class."""
        return SoftLabel.of_classes(self.by_class(), self.grid)


def every_label(case: Case, labels: LabelSet) -> ShownLabels:
    """Return all labels of a study as those that are to be worked out one by one."""
    return ShownLabels(labels, tuple(range(len(labels.names))), case)


def shown_labels(case: Case, labels: LabelSet) -> ShownLabels:
    """Return which labels the hints of a case speak of, and the case as these number them.

    Args:
        case: With its hints on one grid.
        labels: Of the study.
    """
    unspoken = {*range(len(labels.names))} - spoken_of(case.hints, labels)
    optional = unspoken & {labels.number(name) for name in labels.optional}
    others = unspoken - optional
    silent = sorted(optional if len(optional) > len(others) else others)  # one kind is alike
    kept = sorted({*range(len(labels.names))} - {*silent[1:]})
    numbers = tuple(kept.index(n if n in kept else silent[0]) for n in range(len(labels.ids)))
    names = {number: labels.names[number] for number in kept}
    few = replace(
        labels,
        names=tuple(names.values()),
        ids=tuple(labels.ids[number] for number in kept),
        optional=tuple(names[number] for number in kept if number in optional),
    )
    table = np.full(UNDRAWN + 1, UNDRAWN, np.uint8)
    table[: len(numbers)] = numbers
    hints = tuple(renumbered(hint, table) for hint in case.hints)
    return ShownLabels(few, numbers, replace(case, hints=hints))


def renumbered(hint: Hint, table: UInt8[np.ndarray, " number"]) -> Hint:
    """Return a hint in whose drawn classes each has the number that a table gives it."""
    return replace(hint, classes=table[hint.classes]) if isinstance(hint, Strokes) else hint
