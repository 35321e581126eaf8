"""Results come back to the voxel they belong to, and never contradict what was proven."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float32, UInt8
from tests.poses import SOME_TURNS, TURNS, grid_at, places_of

from voxhint.core import Grid, SoftLabel, Turn
from voxhint.predict import respect, restored
from voxhint.predict import restore as module
from voxhint.prepare import from_working

GRID = grid_at((7, 9, 6), (1.0, 1.5, 2.0), degrees=(5, -10, 15), middle_mm=(10, -20, 5))


def chances(shape: tuple[int, ...], seed: int = 0) -> Float32[np.ndarray, "class i j k"]:
    """Return random probabilities of three classes."""
    drawn = np.random.default_rng(seed).dirichlet((0.5, 0.5, 0.5), shape)
    return np.asarray(drawn.transpose(3, 0, 1, 2), np.float32)


def smooth(grid: Grid) -> Float32[np.ndarray, "class i j k"]:
    """Return probabilities of two classes that change slowly through space."""
    x, y, z = np.moveaxis(places_of(grid) - np.array([10, -20, 5]), -1, 0)
    one = 0.5 + 0.02 * x - 0.015 * y + 0.01 * z
    return np.stack([1 - one, one]).astype(np.float32)


def restore(
    probs: Float32[np.ndarray, "class a b c"], working: Grid, source: Grid
) -> Float32[np.ndarray, "class i j k"]:
    turn = source.turn_along(working)
    slabs = restored((probs[:, at] for at in range(probs.shape[1])), working, source.turned(turn))
    return turn.undo(np.concatenate([slab for _, slab in slabs], 1))


@pytest.mark.parametrize("spacing", [(0.7, 1.5, 2.0), (2.3, 0.9, 3.0), (1.0, 1.5, 2.0)], ids=str)
def test_planes_come_back_alike_however_many_are_worked_on_together(
    spacing: tuple[float, float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    working = GRID.spaced(np.array(spacing))
    probs = chances(working.shape)
    turn = GRID.turn_along(working)
    whole = np.stack([from_working(one, working, GRID) for one in probs])
    for together in (1, 3 * 9 * 6 * 2, 2**20):
        monkeypatch.setattr(module, "_SLAB", together)
        assert np.allclose(restore(probs, working, GRID), whole, atol=1e-6)
    assert turn.axes == (0, 1, 2)


@pytest.mark.parametrize("turn", TURNS, ids=str)
def test_turning_is_undone_exactly(turn: Turn) -> None:
    stored = GRID.turned(turn)
    probs = chances(GRID.shape)
    there = restore(probs, GRID, stored)
    assert np.array_equal(there, turn.apply(probs))


@pytest.mark.parametrize("turn", SOME_TURNS, ids=str)
def test_probabilities_of_another_spacing_come_back_to_their_places(turn: Turn) -> None:
    stored = GRID.turned(turn)
    working = GRID.spaced(np.array([1.6, 1.6, 1.6]))
    found = restore(smooth(working), working, stored)
    inside = (slice(None), *(slice(2, -2) for _ in range(3)))
    assert np.allclose(found[inside], smooth(stored)[inside], atol=2e-3)


def test_probabilities_still_sum_to_one_on_the_source_grid() -> None:
    working = GRID.spaced(np.array([2.2, 0.8, 1.3]))
    found = restore(chances(working.shape), working, GRID)
    assert found.shape == (3, *GRID.shape)
    assert np.allclose(found.sum(0), 1, atol=1e-5)
    assert (found >= -1e-6).all()


def bounds(facts: SoftLabel) -> tuple[np.ndarray, np.ndarray]:
    return facts.belief, facts.plausibility


def soft_of(classes: UInt8[np.ndarray, "i j k"], ruled_out: int) -> SoftLabel:
    """Return facts: some voxels proven (255: not), and one class ruled out in every third."""
    belief = np.stack([classes == n for n in range(3)]).astype(np.float32)
    plausible = np.where(classes < 3, belief, 1).astype(np.float32)
    plausible[ruled_out].flat[::3] = belief[ruled_out].flat[::3]
    trust = 1 - (plausible - belief)
    probs = np.divide(belief, trust, out=np.zeros_like(belief), where=trust > 0)
    return SoftLabel(probs.astype(np.float32), trust.astype(np.float32), GRID)


@given(seed=st.integers(0, 2**32 - 1), ruled_out=st.integers(0, 2))
@settings(deadline=None, max_examples=30)
def test_a_mask_never_contradicts_a_fact(seed: int, ruled_out: int) -> None:
    drawn = np.random.default_rng(seed).choice([0, 1, 2, 255], GRID.shape).astype(np.uint8)
    facts = soft_of(drawn, ruled_out)
    mask = respect(chances(GRID.shape, seed), *bounds(facts))
    assert np.array_equal(mask[drawn < 3], drawn[drawn < 3])
    impossible = (facts.trust == 1) & (facts.probs == 0)
    assert not np.take_along_axis(impossible, mask[None].astype(np.int64), 0).any()


def test_where_nothing_is_proven_the_network_decides() -> None:
    nothing = np.zeros((3, *GRID.shape), np.float32)
    probs = chances(GRID.shape)
    assert np.array_equal(
        respect(probs, *bounds(SoftLabel(nothing, nothing, GRID))), probs.argmax(0)
    )


def test_guesses_however_likely_do_not_overrule_the_network() -> None:
    probs = chances(GRID.shape)
    guess = np.zeros_like(probs)
    guess[2] = 1
    facts = SoftLabel(guess, np.full_like(probs, 0.9), GRID)
    assert np.array_equal(respect(probs, *bounds(facts)), probs.argmax(0))


def test_of_the_classes_left_the_likeliest_is_taken() -> None:
    probs = np.tile(np.array([0.1, 0.7, 0.2], np.float32)[:, None, None, None], (1, 2, 2, 2))
    ruled_out = np.zeros_like(probs)
    ruled_out[1] = 1
    grid = grid_at((2, 2, 2))
    facts = SoftLabel(np.zeros_like(probs), ruled_out, grid)
    assert (respect(probs, *bounds(facts)) == 2).all()


def test_where_every_class_is_ruled_out_the_network_decides() -> None:
    probs = chances(GRID.shape)
    facts = SoftLabel(np.zeros_like(probs), np.ones_like(probs), GRID)
    assert np.array_equal(respect(probs, *bounds(facts)), probs.argmax(0))
