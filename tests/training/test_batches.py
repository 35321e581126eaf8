"""Cases become batches of patches: chance where wanted, none where scores are compared."""

import numpy as np
import torch
from tests.training.scenes import PATCH, SIZE, balls

from voxhint.training import Example
from voxhint.training.batches import Batch, Examples, draw_batch, fixed_batches


def equal(first: Batch, second: Batch) -> bool:
    return all(
        torch.equal(one, two)
        for one, two in (
            (first.image, second.image),
            (first.belief, second.belief),
            (first.plausible, second.plausible),
            (first.inside, second.inside),
        )
    )


def test_a_batch_has_the_size_of_the_patch_whatever_the_case() -> None:
    for patch in (PATCH, (4, 12, 16)):
        batch = draw_batch(Examples.of(balls(2)), patch, 3, np.random.default_rng(0))
        assert tuple(batch.image.shape) == (3, 1, *patch)
        assert tuple(batch.belief.shape) == tuple(batch.plausible.shape) == (3, 2, *patch)


def test_the_same_chance_gives_the_same_batch_and_another_another() -> None:
    first, again, other = (
        draw_batch(Examples.of(balls(4)), PATCH, 4, np.random.default_rng(seed))
        for seed in (3, 3, 4)
    )
    assert equal(first, again)
    assert not equal(first, other)


def test_beyond_the_case_nothing_is_known() -> None:
    wide = (SIZE + 6, SIZE, SIZE)
    batch = draw_batch(Examples.of(balls(1)), wide, 1, np.random.default_rng(0))
    assert not batch.belief[:, :, :3].any()
    assert not batch.belief[:, :, -3:].any()
    assert (batch.plausible[:, :, :3] == 1).all()
    assert (batch.plausible[:, :, -3:] == 1).all()
    assert not batch.inside[:, :, :3].any()
    assert not batch.inside[:, :, -3:].any()
    assert (batch.inside[:, :, 3:-3] == 1).all()


def test_fixed_batches_are_the_same_at_every_call() -> None:
    first, second = (fixed_batches(balls(5), PATCH, 2) for _ in range(2))
    assert [len(batch.image) for batch in first] == [2, 2, 1]
    assert all(equal(one, two) for one, two in zip(first, second, strict=True))


def test_fixed_batches_hold_what_is_known() -> None:
    bounds = np.zeros((2, 2, 30, 30, 30), np.float32)
    bounds[1] = 1
    bounds[0, 1, 24:27, 2:5, 20:23] = 1
    example = Example.of("corner", np.zeros((1, 30, 30, 30), np.float32), bounds)
    (batch,) = fixed_batches([example], PATCH, 2)
    assert float(batch.belief.sum()) == 27


def test_fixed_batches_of_a_case_without_knowledge_look_at_its_middle() -> None:
    bounds = np.stack([np.zeros((2, 20, 20, 20)), np.ones((2, 20, 20, 20))]).astype(np.float32)
    image = np.zeros((1, 20, 20, 20), np.float32)
    image[0, 9:11, 9:11, 9:11] = 1
    (batch,) = fixed_batches([Example.of("dark", image, bounds)], PATCH, 2)
    assert float(batch.image.sum()) == 8


def test_many_held_out_cases_are_thinned_to_a_bounded_number_of_looks() -> None:
    batches = fixed_batches(balls(60), PATCH, 7)
    assert 12 <= sum(len(batch.image) for batch in batches) <= 24


def test_no_held_out_case_gives_no_batch() -> None:
    assert fixed_batches([], PATCH, 2) == []


def test_a_label_that_few_cases_show_is_in_half_of_the_patches_drawn() -> None:
    shown, *others = balls(10)
    hidden = [Example.of(o.name, o.image, np.stack([o.bounds[0] * 0, o.bounds[1]])) for o in others]
    examples = Examples.of([shown, *hidden])
    drawn = [one.name for one in examples.draw(400, np.random.default_rng(0))]
    assert drawn.count(shown.name) == 200
    assert set(drawn) == {one.name for one in (shown, *hidden)}


def test_each_label_that_some_cases_lack_gets_its_turn() -> None:
    def with_(name: str, *labels: int) -> Example:
        bounds = np.zeros((2, 4, 2, 2, 2), np.float32)
        bounds[0, list(labels), 0, 0, 0] = 1
        return Example.of(name, np.zeros((1, 2, 2, 2), np.float32), bounds)

    # every case shows 1, none shows 3: only 2 tells cases apart
    examples = Examples.of([with_("one", 1), with_("two", 1, 2), with_("three", 1)])
    assert list(examples.sides) == [([1], [0, 2])]
