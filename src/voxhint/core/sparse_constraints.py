"""What the hints of a case prove, without an array for each class."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8, UInt16

from voxhint.core.box import Window, bounding_box
from voxhint.core.grid import Grid, Turn
from voxhint.core.volume import STEPS, Floats, steps_of

_SHOWN = 0.5  # more than that and a voxel is a seed of its class; one class at most can have it

_Classes = Float32[np.ndarray, "class i j k"]
_At = Float32[np.ndarray, "class m"]
_UNTOLD = np.uint16(2**16 - 1)  # where a soft hint says nothing
_ENDS = ("start", "stop")
CORNERS = 8
"""Of a room."""


def draw_conclusions(
    proven: Float32[np.ndarray, "class *voxels"], possible: Float32[np.ndarray, "class *voxels"]
) -> None:
    """Draw the conclusions: one class proven rules the others out, and none left is background."""
    total = proven.sum(0, keepdims=True)
    np.divide(proven, total, out=proven, where=total > 1)  # contradictory marks share the voxel
    np.maximum(possible, proven, out=possible)  # a mark on the voxel outweighs tags and boxes
    np.minimum(possible, 1 - (proven.sum(0, keepdims=True) - proven), out=possible)
    np.maximum(proven[0], 1 - possible[1:].sum(0), out=proven[0])
    np.minimum(possible[1:], 1 - proven[0], out=possible[1:])
    np.clip(possible, 0, 1, out=possible)  # rounding


@dataclass(frozen=True, slots=True, eq=False)
class SoftMask:
    """What a soft hint tells of its label, in two bytes a voxel of the box around it."""

    number: int
    window: Window
    """Outside of it the label is not."""

    steps: UInt16[np.ndarray, "i j k"]
    """Probability in steps of 2^-15; 65535 where the hint says nothing."""

    @staticmethod
    def of(number: int, probability: Float32[np.ndarray, "i j k"]) -> "SoftMask":
        """Return what the map of a hint tells; NaN says nothing."""
        told = ~(probability <= 0)
        window = bounding_box(told) if told.any() else (slice(0, 1), slice(0, 1), slice(0, 1))
        part = probability[window]
        untold = np.isnan(part)
        steps = np.where(untold, _UNTOLD, steps_of(np.where(untold, 0, part).astype(np.float32)))
        return SoftMask(number, window, steps.astype(np.uint16))

    @property
    def is_silent(self) -> bool:
        """Return whether the hint says nothing of some voxels."""
        return bool((self.steps == _UNTOLD).any())

    @property
    def shown(self) -> Int64[np.ndarray, "n 3"]:
        """Return the index of each voxel that the hint shows."""
        sure = (self.steps > _SHOWN * STEPS) & (self.steps != _UNTOLD)
        corner = np.array([along.start for along in self.window], np.int64)
        return np.asarray(np.argwhere(sure) + corner, np.int64)

    def at(self, index: tuple[np.ndarray, ...]) -> Float32[np.ndarray, " m"]:
        """Return the probability at some voxels, NaN where the hint says nothing."""
        inside = np.ones(index[0].shape, np.bool_)
        for along, one in zip(self.window, index, strict=True):
            inside &= (one >= along.start) & (one < along.stop)
        found = np.zeros(inside.shape, np.float32)
        inner = zip(index, self.window, strict=True)
        found[inside] = _chances(
            self.steps[tuple(one[inside] - along.start for one, along in inner)]
        )
        return found

    def decide(self, classes: UInt8[np.ndarray, "i j k"]) -> None:
        """Write the label where it is likely, and background where it is said not to be."""
        wrong = classes == self.number
        silent, shown = self.steps == _UNTOLD, self.steps > _SHOWN * STEPS
        wrong[self.window] &= ~silent
        classes[wrong] = 0
        classes[self.window][shown & ~silent] = self.number

    def lay(self, bound: Floats) -> None:
        """Write the probability where the hint says something."""
        chance, inner = _chances(self.steps), bound[self.window].copy()
        bound[:] = 0
        bound[self.window] = np.where(np.isnan(chance), inner, chance)

    def block(self, part: Window) -> Floats:
        """Return the probability in a box of voxels, NaN where the hint says nothing."""
        found = np.zeros([along.stop - along.start for along in part], np.float32)
        found[_within(self.window, part)] = _chances(self.steps[_within(part, self.window)])
        return found


def _chances(steps: UInt16[np.ndarray, "*voxels"]) -> Float32[np.ndarray, "*voxels"]:
    return np.where(steps == _UNTOLD, np.float32(np.nan), steps / STEPS)


def _within(inner: Window, outer: Window) -> Window:
    """Return the part of a box that lies in another one, as the other one counts."""
    i, j, k = (
        slice(max(0, a.start - b.start), max(0, min(a.stop, b.stop) - b.start))
        for a, b in zip(inner, outer, strict=True)
    )
    return i, j, k


@dataclass(frozen=True, slots=True, eq=False)
class SparseConstraints:
    """The same as `Constraints` says, without an array for each class."""

    places: Int64[np.ndarray, " n"]
    """Flat index of each voxel that a click or a stroke marks, in order."""

    proven: Float32[np.ndarray, "class n"]
    """As in `Constraints`, at these places; 0 at all others."""

    possible: Float32[np.ndarray, "class n"]
    """As in `Constraints`, at these places."""

    elsewhere: Float32[np.ndarray, " class"]
    """Whether each class is possible at all other places: 0 or 1."""

    grid: Grid
    drawn_whole: bool = False
    open_labels: tuple[int, ...] = ()
    """As in `Constraints`."""

    rooms: Int64[np.ndarray, "room 7"] = field(default_factory=lambda: np.zeros((0, 7), np.int64))
    """Number of each label that boxes or balls hold, and the first index and the one past the last
    along i, j and k between which it may be."""

    ranges: Float64[np.ndarray, "range 3"] = field(default_factory=lambda: np.zeros((0, 3)))
    """Number of a label, and the lowest and the highest world z, in mm, between which it is not."""

    softs: tuple[SoftMask, ...] = ()
    """What soft hints tell of their labels."""

    @property
    def room_of(self) -> dict[int, Window]:
        """Return where each label may be that boxes or balls hold."""
        return {
            int(number): (slice(int(a), int(b)), slice(int(c), int(d)), slice(int(e), int(f)))
            for number, a, b, c, d, e, f in self.rooms
        }

    @property
    def marks(self) -> tuple[Int64[np.ndarray, "n 3"], UInt8[np.ndarray, " n"]]:
        """Return the index and the class of each voxel from which a class spreads."""
        sure = self.proven.max(0) > _SHOWN
        index = np.stack(np.unravel_index(self.places[sure], self.grid.shape), -1)
        found, classes = [index.astype(np.int64)], [self.proven[:, sure].argmax(0)]
        for soft in self.softs:
            if soft.is_silent:  # it spreads to where it says nothing
                found.append(soft.shown)
                classes.append(np.full(len(found[-1]), soft.number))
        return np.concatenate(found), np.concatenate(classes).astype(np.uint8)

    @property
    def spoken(self) -> Bool[np.ndarray, " class"]:
        """Return the classes that marks, boxes, balls or soft hints show."""
        found = np.asarray(self.proven.any(1))
        found[[*self.room_of, *(soft.number for soft in self.softs)]] = True
        return np.asarray(found)

    @property
    def speaks_everywhere(self) -> bool:
        """Return whether hints may prove classes of voxels that no mark shows."""
        held = {*self.room_of, *self.ranges[:, 0].astype(int).tolist()}
        free = {*np.flatnonzero(self.elsewhere).tolist()} - {0}
        return bool(self.softs) or free <= held

    def shown(self, number: int) -> Int64[np.ndarray, "n 3"]:
        """Return the index of each voxel that hints of a class show, and of a room's corners."""
        places = self.places[self.proven[number] > _SHOWN]
        index = [np.stack(np.unravel_index(places, self.grid.shape), -1).astype(np.int64)]
        index += [soft.shown for soft in self.softs if soft.number == number]
        room = self.room_of.get(number)
        if room is not None:
            ends = [(along.start, along.stop - 1) for along in room]
            index.append(np.stack(np.meshgrid(*ends), -1).reshape(-1, 3))
        return np.concatenate(index)

    def at(self, flat: Int64[np.ndarray, " m"]) -> tuple[_At, _At]:
        """Return what is proven and what is possible at some voxels."""
        proven, possible = self.unmarked(flat)
        draw_conclusions(proven, possible)
        if len(self.places):
            there = np.minimum(np.searchsorted(self.places, flat), len(self.places) - 1)
            marked = self.places[there] == flat
            proven[:, marked] = self.proven[:, there[marked]]
            possible[:, marked] = self.possible[:, there[marked]]
        return proven, possible

    def unmarked(self, flat: Int64[np.ndarray, " m"]) -> tuple[_At, _At]:
        """Return what all hints but marks say at some voxels, and no conclusions."""
        index = np.unravel_index(flat, self.grid.shape)
        proven = np.zeros((len(self.elsewhere), len(flat)), np.float32)
        possible = np.repeat(self.elsewhere[:, None], len(flat), axis=1)
        for number, room in self.room_of.items():
            for along, one in zip(room, index, strict=True):
                possible[number] *= (one >= along.start) & (one < along.stop)
        height = self.grid.affine[2, :3] @ np.stack(index) + self.grid.affine[2, 3]
        for number, low, high in self.ranges:
            possible[int(number)] *= (height < low) | (height > high)
        for soft in self.softs:
            chance = soft.at(index)
            proven[soft.number] = np.fmax(proven[soft.number], chance)  # NaN says nothing
            possible[soft.number] = np.fmin(possible[soft.number], chance)
        return proven, possible

    def bounds(self, planes: slice, turn: Turn) -> tuple[_Classes, _Classes]:
        """Return the least and the greatest chance of each class in planes of the turned grid."""
        part = [slice(0, n) for n in self.grid.shape]
        axis, length = turn.axes[0], self.grid.shape[turn.axes[0]]
        along = range(length)[planes]
        low, high = along.start, along.stop
        part[axis] = slice(length - high, length - low) if turn.flips[0] else slice(low, high)
        proven, possible = self.block((part[0], part[1], part[2]))
        return turn.view(proven), turn.view(np.maximum(possible, proven))

    @property
    def taken(self) -> Floats | None:
        """Return what soft hints leave no other class of each voxel; None without any."""
        if not self.softs:
            return None
        found = np.zeros(self.grid.shape, np.float32)
        for soft in self.softs:
            found[soft.window] += np.nan_to_num(_chances(soft.steps))
        return np.minimum(found, 1, out=found)

    def rule_out(self, number: int, bound: Floats) -> None:
        """Write 0 where boxes, balls and ranges of slices leave no room for a label."""
        if (room := self.room_of.get(number)) is not None:
            inner = bound[room].copy()
            bound[:] = 0
            bound[room] = inner
        i, j, k = (slice(0, n) for n in self.grid.shape)
        if (out := self.ranged_out(number, (i, j, k))) is not None:
            bound[out] = 0

    def ranged_out(self, number: int, part: Window) -> Bool[np.ndarray, "a b c"] | None:
        """Return where in a box ranges of slices rule a label out; None where they say nothing."""
        ends = self.ranges[self.ranges[:, 0] == number, 1:]
        if not len(ends):
            return None
        i, j, k = (np.arange(along.start, along.stop, dtype=np.float64) for along in part)
        step = self.grid.affine[2]
        plane, found = step[1] * j[:, None] + step[2] * k + step[3], []
        for height in i * step[0]:
            low, high = (end[:, None, None] for end in ends.T)
            found.append(((plane + height >= low) & (plane + height <= high)).any(0))
        return np.stack(found)

    def lay_thinned_softs(self, step: int, belief: _Classes, plausible: _Classes) -> None:
        """Write what soft hints tell over the chances of all classes in every so many voxels."""
        index = np.indices(belief.shape[1:]).reshape(3, -1) * step
        rest, sure = np.ones(belief.shape[1:], np.float32), self._rest_is_background
        for soft in self.softs:
            chance = soft.at(tuple(index)).reshape(rest.shape)
            told, others = ~np.isnan(chance), np.arange(len(belief)) != soft.number
            rest -= np.nan_to_num(chance)
            sure = sure & told
            for bound in (belief, plausible):
                bound[others] *= 1 - np.nan_to_num(chance)
                bound[soft.number][told] = chance[told]
        for bound in (belief, plausible):
            bound[0] = np.where(sure, np.maximum(rest, 0), bound[0])

    @property
    def _rest_is_background(self) -> bool:
        """Return whether soft hints speak of every label that may be there."""
        told = {0, *(soft.number for soft in self.softs)}
        return bool(self.softs) and {*np.flatnonzero(self.elsewhere).tolist()} <= told

    def lay_softs(
        self, number: int, belief: Floats, plausible: Floats, taken: Floats | None
    ) -> None:
        """Write what soft hints tell of a class over its least and its greatest chance."""
        for soft in self.softs:
            if soft.number == number:
                for bound in (belief, plausible):
                    soft.lay(bound)
        if number == 0 and taken is not None and self._rest_is_background:
            sure = np.ones(self.grid.shape, np.bool_)  # where no other label can be
            for soft in self.softs:
                sure[soft.window] &= soft.steps != _UNTOLD
            belief[sure] = plausible[sure] = 1 - taken[sure]

    def block(self, part: Window) -> tuple[_Classes, _Classes]:
        """Return what is proven and what is possible in a box of voxels."""
        shape = tuple(along.stop - along.start for along in part)
        size = (len(self.elsewhere), *shape)
        proven = np.zeros(size, np.float32)
        possible = np.broadcast_to(self.elsewhere[:, None, None, None], size).copy()
        for number, room in self.room_of.items():
            inner = possible[number][_within(room, part)].copy()
            possible[number] = 0
            possible[number][_within(room, part)] = inner
        for number in range(len(possible)):
            if (out := self.ranged_out(number, part)) is not None:
                possible[number][out] = 0
        for soft in self.softs:
            chance = soft.block(part)
            proven[soft.number] = np.fmax(proven[soft.number], chance)  # NaN says nothing
            possible[soft.number] = np.fmin(possible[soft.number], chance)
        draw_conclusions(proven, possible)
        index = np.stack(np.unravel_index(self.places, self.grid.shape))
        low, high = (np.array([[getattr(along, end)] for along in part]) for end in _ENDS)
        here = ((index >= low) & (index < high)).all(0)
        a, b, c = index[:, here] - low
        proven[:, a, b, c], possible[:, a, b, c] = self.proven[:, here], self.possible[:, here]
        return proven, possible
