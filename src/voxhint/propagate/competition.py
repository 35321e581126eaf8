"""The competition of classes at single voxels, compiled: the likeliest two are kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from voxhint.core.volume import STEPS
from voxhint.propagate.geodesic import compiled
from voxhint.propagate.soft_label import FADE, LEAST

Part = tuple[slice, slice, slice]


@dataclass(frozen=True, slots=True, eq=False)
class Rules:
    """What all voxels of a case compete by."""

    caps: Float32[np.ndarray, " class"]
    usual: float
    """The cap that stands for background."""

    margin: float
    """Distance that weighs 1, in mm."""

    presumed: float
    """Trust in background that nobody showed nearby, at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Race:
    """Where the labels of some planes stand while one after the other joins."""

    best: Float32[np.ndarray, "i j k"]
    second: Float32[np.ndarray, "i j k"]
    total: Float32[np.ndarray, "i j k"]
    """Sum of exponentials of all scores, that of the best one counted as 1."""

    nearest: Float32[np.ndarray, "i j k"]
    first_class: UInt8[np.ndarray, "i j k"]
    second_class: UInt8[np.ndarray, "i j k"]

    @staticmethod
    def of(shape: tuple[int, ...]) -> "Race":
        """Return planes that no label has joined."""
        best, second, nearest = (np.full(shape, v, np.float32) for v in (-np.inf, -np.inf, np.inf))
        classes = (np.zeros(shape, np.uint8), np.zeros(shape, np.uint8))
        return Race(best, second, np.zeros(shape, np.float32), nearest, *classes)

    def add(
        self,
        number: int,
        part: Part,
        away: Float32[np.ndarray, "a b c"],
        table: Float32[np.ndarray, "channel bin"],
        bins: UInt8[np.ndarray, "channel i j k"],
        rules: Rules,
    ) -> None:
        """Let a label join where ways lead to it; later ones have higher numbers."""
        arrays = (self.best, self.second, self.total, self.nearest)
        kept = [one[part] for one in (*arrays, self.first_class, self.second_class)]
        compiled(_add)(
            *kept, away, table, bins[(slice(None), *part)], number, np.float32(rules.margin)
        )

    def settle(
        self,
        around: Float32[np.ndarray, "i j k"],
        table: Float32[np.ndarray, "channel bin"],
        bins: UInt8[np.ndarray, "channel i j k"],
        rules: Rules,
        found: Sequence[Any],
    ) -> None:
        """Let background join last, and write who came first and second, and how far to trust it.

        Args:
            around: Ways to background, inf where none was followed.
            table: Log likelihood of background by bin.
            bins: Of each voxel.
            rules: What all compete by.
            found: First and second class, probability of the first, and trust: to be filled.
        """
        standing = (self.best, self.second, self.total, self.nearest)
        numbers = np.array(
            [rules.usual, rules.margin, rules.presumed, FADE, LEAST, STEPS], np.float32
        )
        classes = (self.first_class, self.second_class)
        compiled(_settle)(
            *standing, *classes, around, table, bins, rules.caps, numbers, tuple(found)
        )


def borders(
    classes: UInt8[np.ndarray, "i j k"], reached: Float32[np.ndarray, "i j k"], *, last: bool
) -> Float32[np.ndarray, " n"]:
    """Return what is reached on both sides of each border between classes.

    Args:
        classes: Of some planes.
        reached: What to return of them.
        last: Whether borders within the last plane count; else it is the first of the next ones.
    """
    found: Float32[np.ndarray, " n"] = compiled(_border)(classes, reached, last)
    return found


def _add(best, second, total, nearest, first, runner, away, table, bins, number, margin):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, PLR0913
    for i in range(away.shape[0]):
        for j in range(away.shape[1]):
            for k in range(away.shape[2]):
                way = away[i, j, k]
                if way == np.inf:
                    continue
                nearest[i, j, k] = min(nearest[i, j, k], way)
                score = -way / margin
                for channel in range(bins.shape[0]):
                    score += table[channel, bins[channel, i, j, k]]
                top = best[i, j, k]
                if score > top:
                    total[i, j, k] = total[i, j, k] * np.exp(top - score) + 1
                    second[i, j, k], runner[i, j, k] = top, first[i, j, k]
                    best[i, j, k], first[i, j, k] = score, number
                else:
                    total[i, j, k] += np.exp(score - top)
                    if score > second[i, j, k]:
                        second[i, j, k], runner[i, j, k] = score, number


def _settle(best, second, total, nearest, first, runner, around, table, bins, caps, numbers, found):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, C901, PLR0912, PLR0913
    usual, margin, presumed, fade, least, steps = numbers
    for i in range(best.shape[0]):
        for j in range(best.shape[1]):
            for k in range(best.shape[2]):
                one, two = first[i, j, k], runner[i, j, k]
                cap = caps[max(1, one)]
                lone = around[i, j, k] > cap  # nobody showed background nearer than the cap
                score = -min(around[i, j, k], cap) / margin
                for channel in range(bins.shape[0]):
                    score += table[channel, bins[channel, i, j, k]]
                top = max(score, best[i, j, k])
                ground = np.exp(score - top)
                best_label, next_label = np.exp(best[i, j, k] - top), np.exp(second[i, j, k] - top)
                whole = total[i, j, k] * best_label + ground
                ground, best_label, next_label = (
                    ground / whole,
                    best_label / whole,
                    next_label / whole,
                )
                if ground >= best_label:
                    two, after, one, before = one, best_label, np.uint8(0), ground
                elif ground >= next_label:
                    two, after, before = np.uint8(0), ground, best_label
                else:
                    after, before = next_label, best_label
                lead = before - after
                reach = caps[one] if one > 0 else usual
                near = min(nearest[i, j, k], around[i, j, k])
                trust = lead * np.exp(np.float32(-0.5) * (near / (fade * reach)) ** 2)
                if lone and ground > 0.5:
                    trust = min(lead, presumed)
                if trust < least:
                    trust = np.float32(0)
                found[0][i, j, k], found[1][i, j, k] = one, two
                share = np.uint16(before / (before + after) * steps + np.float32(0.5))
                found[2][i, j, k] = share  # the two share what others would have had
                found[3][i, j, k] = np.uint16(trust * steps + np.float32(0.5))


def _border(classes, reached, last):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    # What is reached on both sides of borders; all planes but the last own their pairs.
    found = []
    shape = classes.shape
    for i in range(shape[0] if last else shape[0] - 1):
        for j in range(shape[1]):
            for k in range(shape[2]):
                for axis in range(3):
                    p, q, r = i + (axis == 0), j + (axis == 1), k + (axis == 2)
                    if p == shape[0] or q == shape[1] or r == shape[2]:
                        continue
                    if classes[i, j, k] != classes[p, q, r]:
                        found.append(reached[i, j, k])
                        found.append(reached[p, q, r])
    return np.array(found, dtype=np.float32)
