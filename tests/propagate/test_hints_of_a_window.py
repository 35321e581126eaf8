"""Hints that speak of a window are found without looking at all others."""

import numpy as np
import pytest
from tests.poses import SOME_TURNS
from tests.propagate.grids import plain_grid

from voxhint.core import Box, Diameter, Hint, Tag, Turn
from voxhint.propagate.coarse_to_fine import Coarse, Places, tiles, within


@pytest.mark.parametrize("turn", SOME_TURNS)
def test_every_hint_that_speaks_of_a_window_is_found(turn: Turn) -> None:
    grid, rng = plain_grid((60, 50, 40), (1.0, 1.2, 2.5)).turned(turn), np.random.default_rng(0)
    hints: list[Hint] = [Tag("somewhere", "present")]
    for number in range(80):
        middle = grid.to_world(rng.uniform(0, grid.shape)[None])[0]
        half = rng.uniform(1, 8, 3)
        hints.append(Box(f"b{number}", middle - half, middle + half))
        hints.append(Diameter(f"d{number}", middle, float(half[0])))
    places, left_out = Places(hints, grid), 0
    for _ in range(40):
        low = rng.integers(0, np.array(grid.shape) - 8)
        i, j, k = (
            slice(int(a), int(a + b)) for a, b in zip(low, rng.integers(2, 9, 3), strict=True)
        )
        a, b, c = rng.integers(1, 4, 3).tolist()
        coarse = Coarse.of(grid, (i, j, k), (a, b, c))
        found = [one for hint in places.near(coarse) for one in within(hint, coarse)]
        assert found == [one for hint in hints for one in within(hint, coarse)]
        left_out += len(hints) - len(places.near(coarse))
    assert left_out > 40 * 40


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 4.0), (0.5, 2.0, 1.0)])
def test_parts_of_a_window_fill_it_once_and_hold_few_blocks_with_their_rims(
    spacing: tuple[float, float, float],
) -> None:
    grid, step, reach = plain_grid((160, 150, 150), spacing), (2, 2, 1), 6.0
    window = (slice(10, 154), slice(0, 144), slice(6, 150))
    held = np.zeros(grid.shape, np.int8)
    for part in tiles(window, reach, step, grid, 27_000):
        held[part] += 1
        wide = [p.stop - p.start + 2 * reach / s for p, s in zip(part, spacing, strict=True)]
        assert np.prod(np.divide(wide, step)) <= 27_000 * 1.1
    assert held[window].min() == held.max() == 1
    assert held.sum() == held[window].size
