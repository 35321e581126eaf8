"""What is known of a whole scan, in a few bytes a voxel however many classes there are."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8, UInt16

from voxhint.core.grid import Grid
from voxhint.core.sparse_constraints import SparseConstraints
from voxhint.core.volume import STEPS, Floats, SoftLabel

_PLANES = 16  # looked at together


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
        known = self.constraints
        taken = known.taken
        for number in range(len(known.elsewhere)):
            belief, plausible = (np.empty(self.grid.shape, np.float32) for _ in range(2))
            for start in range(0, self.grid.shape[0], _PLANES):
                planes = slice(start, start + _PLANES)
                belief[planes], plausible[planes] = self._bounds(number, planes)
            if taken is not None:
                belief *= 1 - taken
                plausible *= 1 - taken
            known.rule_out(number, belief)
            known.rule_out(number, plausible)
            known.lay_softs(number, belief, plausible, taken)
            self._lay_facts(number, belief, plausible)
            yield belief, plausible
            del belief, plausible  # else they stay while those of the next class are made

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
        self.constraints.lay_thinned_softs(step, belief, plausible)
        i, j, k = belief.shape[1:]
        grid = Grid((i, j, k), self.grid.affine @ np.diag([step, step, step, 1.0]))
        return SoftLabel.of_bounds(belief, plausible, grid)

    def largest_class(self) -> UInt8[np.ndarray, "i j k"]:
        """Return the most probable class of each voxel; background where nothing is trusted."""
        found = np.where(self.trust > 0, self.first, np.uint8(0))
        for soft in self.constraints.softs:
            soft.decide(found)
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
