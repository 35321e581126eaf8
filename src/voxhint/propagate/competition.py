"""The competition of classes at single voxels, compiled: the nearest compete, two are kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, UInt8, UInt16

from voxhint.core.volume import STEPS
from voxhint.propagate.compiled import compiled
from voxhint.propagate.geodesic import Ways
from voxhint.propagate.soft_label import CROSS_CASE_TRUST, FADE, LEAST, PRIOR

_KEPT = 3  # labels that compete at a voxel
_BLOCK = 2**21  # voxels of which others tell at once
_FAR = 2**16 - 1  # steps of a way that nobody followed


@dataclass(frozen=True, slots=True, eq=False)
class Nearest:
    """The labels that are nearest to each voxel, however many there are in all."""

    away: UInt16[np.ndarray, "kept i j k"]
    """Ways in steps, the shortest first."""

    number: UInt8[np.ndarray, "kept i j k"]
    step_mm: float

    @staticmethod
    def of(shape: tuple[int, ...], limit_mm: float, kept: int = _KEPT) -> "Nearest":
        """Return voxels that no label has joined, and no way longer than a limit will."""
        away = np.full((kept, *shape), _FAR, np.uint16)
        return Nearest(away, np.zeros((kept, *shape), np.uint8), limit_mm / (_FAR - 1))

    def turned(self, axes: tuple[int, int, int]) -> "Nearest":
        """Return the same with the axes of voxels in another order."""
        order = (0, *(axis + 1 for axis in axes))
        return replace(self, away=self.away.transpose(order), number=self.number.transpose(order))

    def add(self, number: int, ways: Ways, out: Bool[np.ndarray, "i j k"] | None) -> None:
        """Let a label join where a way leads to it, and nothing says that it is not there."""
        part, step = ways.window, np.float32(self.step_mm)
        there = np.broadcast_to(np.False_, ways.away.shape) if out is None else out[part]
        args = (number, ways.away, ways.owner, ways.spans, there, step)
        inner = (slice(None), *part)
        compiled(_add)(self.away[inner], self.number[inner], *args)


@dataclass(frozen=True, slots=True, eq=False)
class Rules:
    """What all voxels of a case compete by."""

    caps: Float32[np.ndarray, " class"]
    usual: float
    """The cap that stands for background."""

    presumed: float
    """Trust in background that nobody showed nearby, at most; other cases tell better."""

    limits: Float32[np.ndarray, " class"] | None = None
    """Most that distance may speak against each class, as a logarithm of odds; None for any."""

    rarity: Float32[np.ndarray, " class"] | None = None
    """What odds of each class weigh when the lead is asked for, as in `Prior`."""

    anywhere: Bool[np.ndarray, " class"] | None = None
    """Labels that compete in every voxel, however far they are: where other cases teach that."""

    def margin_mm(self, nearest: Nearest, ground: Nearest, least_mm: float) -> float:
        """Return how far from hints the borders between classes usually lie."""
        step = min(nearest.step_mm, ground.step_mm)
        most = max(nearest.step_mm, ground.step_mm, float(self.caps[1:].max()) / _FAR) * _FAR
        counts = np.zeros(int(most / step) + 2, np.int64)
        compiled(_borders)(*_arrays(nearest, ground), self.caps, np.float32(step), counts)
        known = counts.cumsum()
        median = float(np.searchsorted(known, (known[-1] + 1) // 2)) * step
        return max(median if known[-1] else 0.0, least_mm)

    def settle(
        self,
        nearest: Nearest,
        ground: Nearest,
        margin_mm: float,
        likelihood: "Likelihood",
        found: Sequence[Any],
    ) -> None:
        """Write who comes first and second, and how far to trust it.

        Args:
            nearest: The labels that compete.
            ground: Ways to background.
            margin_mm: Distance that weighs 1.
            likelihood: What the voxels themselves say.
            found: First and second class, probability of the first, and trust: background, and
                how far to presume it, where nothing is near; to be filled elsewhere.
        """
        taught = likelihood.log_probs is not None
        least = CROSS_CASE_TRUST if taught else 0.0
        presumed = np.inf if taught else self.presumed
        values = [self.usual, margin_mm, presumed, FADE, LEAST, STEPS, PRIOR, least]
        rules = np.array(values, np.float32)
        alike, unlimited = np.zeros(0, np.float32), np.full(len(self.caps), np.inf, np.float32)
        limits = unlimited if self.limits is None else self.limits
        by_class = (self.caps, limits, alike if self.rarity is None else self.rarity)
        anywhere = np.zeros(len(self.caps), np.bool_) if self.anywhere is None else self.anywhere
        kept, numbers, around, steps = _arrays(nearest, ground)
        planes = _BLOCK // around[0].size + 1 if taught else len(around)
        for start in range(0, len(around), planes):
            part = slice(start, start + planes)
            labels = numbers[:, part]
            said = likelihood.of_planes(start, labels[0], everywhere=bool(anywhere.any()))
            bins, blocks = likelihood.bins[:, part], tuple(one[part] for one in found)
            args = (likelihood.tables, bins, said, by_class, anywhere, rules, blocks)
            compiled(_settle)(kept[:, part], labels, around[part], steps, *args)


@dataclass(frozen=True, slots=True, eq=False)
class Likelihood:
    """What the voxels of a scan say of their classes: by their intensity, or as others taught."""

    tables: Float32[np.ndarray, "channel class bin"]
    """Log likelihood of each class by bin."""

    bins: UInt8[np.ndarray, "channel i j k"]
    """Of each voxel."""

    log_probs: Callable[[int, Bool[np.ndarray, "a b c"]], Float32[np.ndarray, "n class"]] | None
    """Gives the log probability of each class, as other cases tell it, in those voxels of some
    planes that are asked for, from the number of the first plane on."""

    def of_planes(
        self, first: int, nearest: UInt8[np.ndarray, "a b c"], *, everywhere: bool
    ) -> Float32[np.ndarray, "n class"]:
        """Return what other cases tell of some planes; nothing where they tell nothing."""
        if self.log_probs is None or not (everywhere or nearest.any()):
            return np.zeros((0, self.tables.shape[1]), np.float32)
        asked = np.ones(nearest.shape, np.bool_) if everywhere else nearest > 0
        return self.log_probs(first, asked)


def _arrays(nearest: Nearest, ground: Nearest) -> tuple[Any, ...]:
    steps = np.array([nearest.step_mm, ground.step_mm], np.float32)
    return nearest.away, nearest.number, ground.away[0], steps


def _add(kept, numbers, number, way, owner, spans, out, step):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, PLR0913
    for i in range(way.shape[0]):
        for j in range(way.shape[1]):
            for k in range(spans[i, j, 0], spans[i, j, 1]):
                if owner[i, j, k] == 0 or out[i, j, k]:
                    continue
                steps, moved = np.uint16(way[i, j, k] / step + np.float32(0.5)), np.uint8(number)
                slot = 0
                while slot < kept.shape[0] and steps < _FAR:  # which moves on from a free place
                    nearer, other = kept[slot, i, j, k], numbers[slot, i, j, k]
                    if steps < nearer:  # takes the place, and what was there moves on
                        kept[slot, i, j, k] = steps
                        if moved != other:  # memory that nobody writes to is not taken
                            numbers[slot, i, j, k] = moved
                        steps, moved = nearer, other
                    slot += 1


def _borders(kept, numbers, ground, steps, caps, step, counts):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, C901, PLR0913
    # Counts what is reached on both sides of each border between classes, plane after plane.
    shape = ground.shape
    classes, reached = np.zeros((2, *shape[1:]), np.uint8), np.zeros((2, *shape[1:]), np.int64)
    for i in range(shape[0]):
        now = i % 2
        for j in range(shape[1]):
            for k in range(shape[2]):
                one = numbers[0, i, j, k]
                away = kept[0, i, j, k] * steps[0] if one > 0 else np.float32(np.inf)
                cap = caps[max(1, one)]
                around = cap if ground[i, j, k] == _FAR else min(ground[i, j, k] * steps[1], cap)
                classes[now, j, k] = one if away < around else 0
                reached[now, j, k] = min(away, around) / step + np.float32(0.5)
        for j in range(shape[1]):
            for k in range(shape[2]):
                for axis in range(3):
                    p, q, r = now if axis else 1 - now, j - (axis == 1), k - (axis == 2)
                    if q < 0 or r < 0 or (axis == 0 and i == 0):
                        continue
                    if classes[now, j, k] != classes[p, q, r]:
                        counts[reached[now, j, k]] += 1
                        counts[reached[p, q, r]] += 1


def _settle(kept, numbers, ground, steps, tables, bins, said, by_class, anywhere, rules, found):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, C901, PLR0912, PLR0913, PLR0915
    usual, margin, presumed, fade, least, whole, prior, far_trust = rules
    caps, limits, rarity = by_class
    far, everywhere, row = np.float32(np.inf), anywhere.any(), 0
    blank = presumed < far and not everywhere  # where nothing is near, nothing is to be written
    names = np.zeros(len(caps) + kept.shape[0], np.uint8)
    ways, scores = np.zeros(len(names), np.float32), np.zeros(len(names), np.float32)
    for i in range(ground.shape[0]):
        for j in range(ground.shape[1]):
            for k in range(ground.shape[2]):
                count = 0
                while count < kept.shape[0] and numbers[count, i, j, k] > 0:
                    names[count] = numbers[count, i, j, k]
                    ways[count] = np.float32(kept[count, i, j, k]) * steps[0]
                    count += 1
                away = np.float32(ground[i, j, k]) * steps[1]
                if count == 0 and ground[i, j, k] == _FAR and blank:
                    continue
                near = ways[0] if count > 0 else far
                if everywhere:
                    known = count
                    for number in range(1, len(caps)):
                        there = not anywhere[number]
                        for slot in range(known):
                            there |= names[slot] == number
                        if not there:
                            names[count], ways[count] = number, far
                            count += 1
                asked = said.shape[0] > 0 and count > 0
                best, second, total = -far, -far, np.float32(0)
                one, two = np.uint8(0), np.uint8(0)
                for slot in range(count):
                    number = names[slot]
                    score = max(-ways[slot] / margin, -limits[number])
                    if asked:
                        score += prior * said[row, number]
                    for channel in range(bins.shape[0]):
                        score += tables[channel, number, bins[channel, i, j, k]]
                    scores[slot] = score
                    if score > best:
                        total = (total * np.exp(best - score) if slot else total) + np.float32(1)
                        second, two, best, one = best, one, score, number
                    else:
                        total += np.exp(score - best)
                        if score > second:
                            second, two = score, number
                cap = caps[max(1, one)]
                around = far if ground[i, j, k] == _FAR else away
                lone = around > cap  # nobody showed background nearer than the cap
                score = max(-min(around, cap) / margin, -limits[0])
                if asked:
                    score += prior * said[row, 0]
                    row += 1
                for channel in range(bins.shape[0]):
                    score += tables[channel, 0, bins[channel, i, j, k]]
                top = max(score, best)
                none = before = np.float32(1)  # exponents that are known are not worked out
                after = np.exp(second - top) if count > 1 else np.float32(0)
                if score < best:
                    none = np.exp(score - top)
                else:
                    before = np.exp(best - top) if count else np.float32(0)
                share = total * before + none
                none, before, after = none / share, before / share, after / share
                if none >= before:
                    one, two, before, after = np.uint8(0), one, none, before
                elif none >= after:
                    two, after = np.uint8(0), none
                lead = before - after
                if len(rarity) > 0:
                    names[count], scores[count] = 0, score
                    own, most, total = np.float32(0), np.float32(0), np.float32(0)
                    for slot in range(count + 1):
                        weighed = rarity[names[slot]] * np.exp(scores[slot] - top)
                        total += weighed
                        if names[slot] == one:
                            own = weighed
                        else:
                            most = max(most, weighed)
                    lead = max(own - most, np.float32(0)) / total
                near = min(around, near)
                reach = caps[one] if one > 0 else usual
                fading = np.exp(np.float32(-0.5) * (near / (fade * reach)) ** 2)
                trust = lead * max(fading, far_trust)
                if lone and none > 0.5 and presumed < far:
                    trust = min(lead, presumed)
                found[0][i, j, k], found[1][i, j, k] = one, two
                found[2][i, j, k] = np.uint16(before / (before + after) * whole + np.float32(0.5))
                found[3][i, j, k] = np.uint16(
                    (trust if trust >= least else 0) * whole + np.float32(0.5)
                )
