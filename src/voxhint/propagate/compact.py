"""A soft label that takes 8 bytes a voxel, however many classes there are."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8, UInt16

from voxhint.core import Grid, SoftLabel
from voxhint.core.volume import STEPS, Floats
from voxhint.propagate.sparse_constraints import SparseConstraints

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
    second_prob: UInt16[np.ndarray, "i j k"]
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
        for number in range(len(self.constraints.elsewhere)):
            belief, plausible = (np.empty(self.grid.shape, np.float32) for _ in range(2))
            for start in range(0, self.grid.shape[0], _PLANES):
                planes = slice(start, start + _PLANES)
                belief[planes], plausible[planes] = self._bounds(number, planes)
            self._lay_facts(number, belief, plausible)
            soft = SoftLabel.of_bounds(belief[None], plausible[None], self.grid)
            yield soft.probs[0], soft.trust[0]

    def dense(self) -> SoftLabel:
        """Return the same with an array for each class."""
        pairs = list(self.by_class())
        probs, trust = (np.stack([pair[part] for pair in pairs]) for part in range(2))
        return SoftLabel(probs, trust, self.grid)

    def largest_class(self) -> UInt8[np.ndarray, "i j k"]:
        """Return the most probable class of each voxel; background where nothing is trusted."""
        found = np.where(self.trust > 0, self.first, 0).astype(np.uint8)
        sure = self.constraints.seeds
        return np.where(sure < len(self.unseen), sure, found)

    def _bounds(self, number: int, planes: slice) -> tuple[Floats, Floats]:
        first, second = self.first[planes], self.second[planes]
        if self.constraints.elsewhere[number] == 0:
            nothing = np.zeros(first.shape, np.float32)
            return nothing, nothing
        trust = self.trust[planes] / STEPS
        first_prob, second_prob = self.first_prob[planes] / STEPS, self.second_prob[planes] / STEPS
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
