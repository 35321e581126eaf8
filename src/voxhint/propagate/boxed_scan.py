"""Boxes and balls on whole scans: each label in a window of its own, coarser if it is large."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from voxhint.core import UNDRAWN, Case, LabelSet, SoftLabel, Volume
from voxhint.core.box import Window
from voxhint.core.compact import CompactSoftLabel
from voxhint.core.volume import steps_of
from voxhint.propagate.coarse_to_fine import Coarse, Places, ruled_out, within
from voxhint.propagate.model_prior import chances_of
from voxhint.propagate.shown_labels import ShownLabels, renumbered, shown_labels

_AROUND = 0.3  # of a box: what is looked at around it
_AROUND_VOXELS = 4
_VALUES = 2**25  # a float for each voxel and class of a window: more, and it is made coarser
_COARSER = 1.1


def fill_rooms(
    soft: CompactSoftLabel,
    case: Case,
    labels: LabelSet,
    propagate: Callable[[ShownLabels], SoftLabel],
) -> None:
    """Write into a soft label what is found in the rooms of its labels, the largest room first.

    Args:
        soft: Of all that boxes and balls do not say; is changed.
        case: With channels and hints on its grid.
        labels: Of the study.
        propagate: Gives the soft label of a small case.
    """
    places = Places(case.hints, case.grid)
    for number, room in sorted(soft.constraints.room_of.items(), key=lambda one: -_voxels(one[1])):
        window = _around(room, case)
        coarse = Coarse.of(case.grid, window, (1, 1, 1))
        count = len(_looked_at(replace(case, images={}), coarse, labels, places).labels.names)
        coarse = Coarse.of(case.grid, window, _step(window, count, case))
        shown = _looked_at(case, coarse, labels, places)
        few = propagate(shown)
        inner = tuple(
            slice(a.start - b.start, a.stop - b.start) for a, b in zip(room, window, strict=True)
        )
        numbers = [labels.number(name) for name in shown.labels.names]
        _lay(soft, room, number, _Two.of(few, coarse, numbers, inner))


class _Two:
    """The two likeliest classes of each voxel of a room."""

    def __init__(self, shape: tuple[int, ...], trust: Float32[np.ndarray, "i j k"]) -> None:
        self.classes = np.zeros((2, *shape), np.uint8)
        self.chances = np.zeros((2, *shape), np.float32)
        self.trust = trust

    @staticmethod
    def of(few: SoftLabel, coarse: Coarse, numbers: list[int], inner: tuple[slice, ...]) -> "_Two":
        chances = chances_of(few, None)
        winner = chances.argmax(0)[None]
        trust = coarse.fine(np.take_along_axis(few.trust, winner, 0))[0][inner]
        found = _Two(trust.shape, trust)
        for number, chance in zip(numbers, chances, strict=True):
            found.add(number, coarse.fine(chance[None])[0][inner])
        return found

    def add(self, number: int, chance: Float32[np.ndarray, "i j k"]) -> None:
        """Let a class join."""
        (first, second), (best, next_best) = self.classes, self.chances
        better: Bool[np.ndarray, "i j k"] = chance > best
        after = ~better & (chance > next_best)
        second[better], next_best[better] = first[better], best[better]
        first[better], best[better] = number, chance[better]
        second[after], next_best[after] = number, chance[after]


def _lay(soft: CompactSoftLabel, room: Window, number: int, two: _Two) -> None:
    taken: UInt8[np.ndarray, "i j k"] = soft.first[room]
    here = (two.classes[0] == number) | (taken == 0)  # what clicks nearby show is kept
    total = np.maximum(two.chances.sum(0), 1e-9)
    soft.first[room][here], soft.second[room][here] = two.classes[:, here]
    soft.first_prob[room][here] = steps_of(two.chances[0] / total)[here]
    soft.trust[room][here] = steps_of(two.trust)[here]


def _looked_at(case: Case, coarse: Coarse, labels: LabelSet, places: Places) -> ShownLabels:
    """Return a case as far as a window holds it, without labels of which boxes say: not here."""
    near = [hint for each in places.near(coarse) for hint in within(each, coarse)]
    gone = {tag.label for tag in ruled_out(case.hints, near)}
    kept = [number for number, name in enumerate(labels.names) if name not in gone]
    few = replace(
        labels,
        names=tuple(labels.names[number] for number in kept),
        ids=tuple(labels.ids[number] for number in kept),
        optional=tuple(name for name in labels.optional if name not in gone),
    )
    table = np.full(UNDRAWN + 1, UNDRAWN, np.uint8)
    table[kept] = np.arange(len(kept))
    hints = (renumbered(h, table) for h in near if getattr(h, "label", None) not in gone)
    images = {
        name: Volume(coarse.mean(v.voxels), coarse.grid, v.unit) for name, v in case.images.items()
    }
    return shown_labels(Case(case.name, images, tuple(hints)), few)


def _around(room: Window, case: Case) -> Window:
    sizes = [along.stop - along.start for along in room]
    rims = [max(_AROUND_VOXELS, round(_AROUND * size)) for size in sizes]
    i, j, k = (
        slice(max(0, along.start - rim), min(n, along.stop + rim))
        for along, rim, n in zip(room, rims, case.grid.shape, strict=True)
    )
    return i, j, k


def _step(window: Window, classes: int, case: Case) -> tuple[int, int, int]:
    """Return the step at which a window is small enough."""
    spacing = case.grid.spacing_mm
    wide, step = float(spacing.min()), np.ones(3, int)
    while _voxels(window) * classes > _VALUES * np.prod(step):
        wide *= _COARSER
        step = np.maximum(1, np.round(wide / spacing)).astype(int)
    i, j, k = step.tolist()
    return i, j, k


def _voxels(part: Window) -> int:
    return int(np.prod([along.stop - along.start for along in part]))
