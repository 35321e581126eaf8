"""Patches: the size asked for, around places that are known, filled beyond the case."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxhint.prepare import PatchLocation, crop, sample_location
from voxhint.prepare.patches import survey

Triple = tuple[int, int, int]


def drawn(
    belief: np.ndarray, patch: Triple, rng: np.random.Generator, *, centred: float = 0.67
) -> PatchLocation:
    _, i, j, k = belief.shape
    return sample_location(
        survey(np.stack([belief, belief])), (i, j, k), patch, rng, centred=centred
    )


sizes = st.tuples(*[st.integers(1, 9)] * 3)


@given(shape=sizes, patch=sizes, seed=st.integers(0, 99))
@settings(deadline=None, max_examples=80)
def test_a_patch_lies_inside_the_case_or_holds_all_of_an_axis(
    shape: Triple, patch: Triple, seed: int
) -> None:
    belief = np.zeros((2, *shape), np.float32)
    corner = drawn(belief, patch, np.random.default_rng(seed)).corner
    for start, length, size in zip(corner, shape, patch, strict=True):
        if length > size:
            assert 0 <= start <= length - size
        else:
            assert start <= 0
            assert start + size >= length
            assert abs((size + 2 * start) - length) <= 1


@given(shape=sizes, patch=sizes, corner=st.tuples(*[st.integers(-4, 8)] * 3))
@settings(deadline=None, max_examples=80)
def test_a_cut_has_the_size_of_the_patch_and_the_values_of_the_case(
    shape: Triple, patch: Triple, corner: Triple
) -> None:
    array = 1 + np.arange(2 * np.prod(shape), dtype=np.float32).reshape(2, *shape)
    touches = all(c < n and c + p > 0 for c, n, p in zip(corner, shape, patch, strict=True))
    if not touches:
        return
    filled = crop(array, PatchLocation(corner), patch, fill=-7.0)
    bordered = crop(array, PatchLocation(corner), patch)
    assert filled.shape == bordered.shape == (2, *patch)
    index = np.indices(patch) + np.array(corner)[:, None, None, None]
    last = np.array(shape)[:, None, None, None] - 1
    near = np.clip(index, 0, last)
    inside = (near == index).all(0)
    wanted = array[:, near[0], near[1], near[2]]
    assert np.array_equal(bordered, wanted)
    assert np.array_equal(filled, np.where(inside, wanted, np.float32(-7)))


@pytest.mark.parametrize("patch", [(4, 4, 4), (5, 3, 1)])
def test_a_centred_patch_holds_a_known_voxel(patch: Triple) -> None:
    belief = np.zeros((3, 20, 20, 20), np.float32)
    belief[1, 0, 19, 10] = belief[2, 12, 3, 5] = 0.9
    rng, seen = np.random.default_rng(0), set()
    for _ in range(30):
        piece = crop(belief, drawn(belief, patch, rng, centred=1.0), patch, fill=0.0)
        assert piece.any()
        seen |= set(np.flatnonzero(piece.max((1, 2, 3))).tolist())
    assert seen == {1, 2}


def test_a_rare_class_is_looked_at_as_often_as_a_common_one() -> None:
    belief = np.zeros((2, 30, 30, 30), np.float32)
    belief[0] = 1
    belief[:, 3, 3, 3] = [0, 1]
    rng = np.random.default_rng(1)
    draws = [drawn(belief, (3, 3, 3), rng, centred=1.0) for _ in range(200)]
    share = np.mean([crop(belief, d, (3, 3, 3), fill=0.0)[1].any() for d in draws])
    assert 0.35 < share < 0.65


def test_patches_that_are_not_centred_reach_every_place() -> None:
    belief = np.zeros((1, 6, 6, 1), np.float32)
    rng, seen = np.random.default_rng(2), np.zeros((6, 6), np.bool_)
    for _ in range(200):
        i, j, _ = drawn(belief, (2, 2, 1), rng, centred=0.0).corner
        seen[i : i + 2, j : j + 2] = True
    assert seen.all()


def test_the_same_chance_draws_the_same_patch() -> None:
    belief = np.random.default_rng(0).random((2, 9, 9, 9), np.float32)
    one, two = (drawn(belief, (4, 4, 4), np.random.default_rng(5)) for _ in range(2))
    assert one == two
