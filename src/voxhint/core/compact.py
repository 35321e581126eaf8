"""What is known of a whole scan, in a few bytes a voxel however many classes there are."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8, UInt16

from voxhint.core.box import Window
from voxhint.core.grid import Grid, Turn
from voxhint.core.volume import STEPS, Floats, SoftLabel

_PLANES = 16  # looked at together
_SHOWN = 0.5  # more than that and a voxel is a seed of its class; one class at most can have it

_Classes = Float32[np.ndarray, "class i j k"]


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

    @property
    def room_of(self) -> dict[int, Window]:
        """Return where each label may be that boxes or balls hold."""
        return {
            int(number): (slice(int(a), int(b)), slice(int(c), int(d)), slice(int(e), int(f)))
            for number, a, b, c, d, e, f in self.rooms
        }

    @property
    def marks(self) -> tuple[Int64[np.ndarray, "n 3"], UInt8[np.ndarray, " n"]]:
        """Return the index and the class of each voxel of which a mark shows the class."""
        sure = self.proven.max(0) > _SHOWN
        index = np.stack(np.unravel_index(self.places[sure], self.grid.shape), -1)
        return index.astype(np.int64), self.proven[:, sure].argmax(0).astype(np.uint8)

    def shown(self, number: int) -> Int64[np.ndarray, "n 3"]:
        """Return the index of each voxel that marks of a class show, and of a room's corners."""
        places = self.places[self.proven[number] > _SHOWN]
        index = np.stack(np.unravel_index(places, self.grid.shape), -1).astype(np.int64)
        room = self.room_of.get(number)
        if room is None:
            return index
        ends = [(along.start, along.stop - 1) for along in room]
        return np.concatenate([index, np.stack(np.meshgrid(*ends), -1).reshape(-1, 3)])

    def bounds(self, planes: slice, turn: Turn) -> tuple[_Classes, _Classes]:
        """Return the least and the greatest chance of each class in planes of the turned grid."""
        shape = self.grid.turned(turn).shape
        index = np.stack(np.unravel_index(self.places, self.grid.shape))[list(turn.axes)]
        for along, length, flipped in zip(index, shape, turn.flips, strict=True):
            along[:] = length - 1 - along if flipped else along
        here = (index[0] >= planes.start) & (index[0] < planes.stop)
        i, j, k = index[:, here]
        size = (len(self.elsewhere), planes.stop - planes.start, *shape[1:])
        belief = np.zeros(size, np.float32)
        plausible = np.broadcast_to(self.elsewhere[:, None, None, None], size).copy()
        for number, room in self.room_of.items():
            within = []
            for axis, length, flipped in zip(turn.axes, shape, turn.flips, strict=True):
                along = np.zeros(length, np.bool_)
                along[room[axis]] = True
                within.append(along[::-1] if flipped else along)
            inside = within[0][planes, None, None] & within[1][:, None] & within[2]
            plausible[number] *= inside
        belief[:, i - planes.start, j, k] = self.proven[:, here]
        plausible[:, i - planes.start, j, k] = np.maximum(self.possible, self.proven)[:, here]
        return belief, plausible


@dataclass(frozen=True, slots=True, eq=False)
class CompactSoftLabel:
    """The two likeliest classes of each voxel, and what hints prove at single ones.

    Other classes have probability 0: the two share it all. Trust was weighed before. Where hints
    prove a class or rule it out, or a class was never shown, `by_class` says so.
    """

    first: UInt8[np.ndarray, "i j k"]
    """The likeliest class."""

    second: UInt8[np.ndarray, "i j k"]
    """The next one; as the first where there is none."""

    first_prob: UInt16[np.ndarray, "i j k"]
    """Of the first in steps of 2^-15; the second has the rest."""

    trust: UInt16[np.ndarray, "i j k"]
    unseen: Bool[np.ndarray, " class"]
    """Labels of which nothing is known: that they are absent is not said where others are."""

    constraints: SparseConstraints

    @property
    def grid(self) -> Grid:
        """Return where it lies."""
        return self.constraints.grid

    def by_class(self) -> Iterator[tuple[Floats, Floats]]:
        """Yield probability and trust of one class after the other."""
        for belief, plausible in self.bounds():
            soft = SoftLabel.of_bounds(belief[None], plausible[None], self.grid)
            yield soft.probs[0], soft.trust[0]

    def bounds(self) -> Iterator[tuple[Floats, Floats]]:
        """Yield the least and the greatest chance of one class after the other."""
        for number in range(len(self.constraints.elsewhere)):
            belief, plausible = (np.empty(self.grid.shape, np.float32) for _ in range(2))
            for start in range(0, self.grid.shape[0], _PLANES):
                planes = slice(start, start + _PLANES)
                belief[planes], plausible[planes] = self._bounds(number, planes)
            if (room := self.constraints.room_of.get(number)) is not None:
                outside = np.ones(self.grid.shape, np.bool_)
                outside[room] = False
                belief[outside] = plausible[outside] = 0
            self._lay_facts(number, belief, plausible)
            yield belief, plausible

    def dense(self) -> SoftLabel:
        """Return the same with an array for each class."""
        return SoftLabel.of_classes(self.by_class(), self.grid)

    def thinned(self, most: int) -> SoftLabel:
        """Return every second voxel, or every third, so that no more values are left than that.

        What hints prove of single voxels is left out: it is for pictures and means.
        """
        count = len(self.constraints.elsewhere)
        step = max(1, int(np.ceil((self.first.size * count / most) ** (1 / 3))))
        every = slice(None, None, step)
        pairs = [self._bounds(number, (every, every, every)) for number in range(count)]
        belief, plausible = (np.stack([pair[part] for pair in pairs]) for part in range(2))
        i, j, k = belief.shape[1:]
        grid = Grid((i, j, k), self.grid.affine @ np.diag([step, step, step, 1.0]))
        return SoftLabel.of_bounds(belief, plausible, grid)

    def largest_class(self) -> UInt8[np.ndarray, "i j k"]:
        """Return the most probable class of each voxel; background where nothing is trusted."""
        found = np.where(self.trust > 0, self.first, np.uint8(0))
        index, classes = self.constraints.marks
        found[tuple(index.T)] = classes
        return found

    def _bounds(
        self, number: int, part: slice | tuple[slice, slice, slice]
    ) -> tuple[Floats, Floats]:
        first, second = self.first[part], self.second[part]
        if self.constraints.elsewhere[number] == 0:
            nothing = np.zeros(first.shape, np.float32)
            return nothing, nothing
        trust, first_prob = self.trust[part] / STEPS, self.first_prob[part] / STEPS
        second_prob = 1 - first_prob
        if self.unseen.any() and (number == 0 or self.unseen[number]):
            # "not A" is known, "background rather than B" is not
            label = np.where(first > 0, first_prob, np.where(second > 0, second_prob, 0))
            known = trust * label
            return np.zeros_like(known), 1 - known
        prob = np.where(first == number, first_prob, np.where(second == number, second_prob, 0))
        return trust * prob, 1 - trust * (1 - prob)

    def _lay_facts(
        self,
        number: int,
        belief: Floats,
        plausible: Floats,
    ) -> None:
        known = self.constraints
        rest = np.maximum(1 - known.proven.sum(0), 0)
        for bound in (belief, plausible):
            flat = bound.reshape(-1)
            laid = known.proven[number] + rest * flat[known.places]
            flat[known.places] = np.minimum(laid, known.possible[number])
