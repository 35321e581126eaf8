"""One examination: its images, its hints, and its truth where a person drew it."""

from collections.abc import Mapping
from dataclasses import dataclass

from voxhint.core.grid import Grid
from voxhint.core.hints import Hint
from voxhint.core.volume import Mask, Volume


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """The images of one examination by channel name, and what is known of them."""

    name: str
    images: Mapping[str, Volume]
    """At least one; the first present channel's grid is the grid of every result."""

    hints: tuple[Hint, ...] = ()
    truth: Mask | None = None
    """A dense mask; only `measure`, `simulate` and dense supervision may look at it."""

    @property
    def grid(self) -> Grid:
        """Return the grid of the first channel: results lie on it."""
        return next(iter(self.images.values())).grid
