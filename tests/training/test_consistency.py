"""What branches teach each other: nothing where they agree, nothing where they are unsure."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from voxhint.training.consistency import consistency, drop_modalities, ramp

SHAPE = (2, 3, 3, 2, 2)


def logits(seed: int, *lead: int, scale: float = 3.0) -> Tensor:
    chance = torch.Generator().manual_seed(seed)
    return scale * torch.randn(*lead, *SHAPE, generator=chance)


def inside() -> Tensor:
    return torch.ones(2, 1, 3, 2, 2)


def test_weights_rise_to_one_and_stay_there() -> None:
    rise = [ramp(step, 40) for step in range(0, 101, 5)]
    assert rise == sorted(rise)
    assert rise[0] == pytest.approx(np.exp(-5))
    assert set(rise[8:]) == {1.0}
    assert ramp(0, 0) == 1.0


@given(chance=st.floats(0, 1), seed=st.integers(0, 99))
def test_some_modality_always_stays_and_none_is_added(chance: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    present = torch.from_numpy(rng.random((8, 3)) < 0.6)
    kept = drop_modalities(present, chance, rng)
    assert not (kept & ~present).any()
    assert torch.equal(kept.any(1), present.any(1))


def test_modalities_are_dropped_as_often_as_was_asked() -> None:
    present = torch.ones(40_000, 3, dtype=torch.bool)
    rng = np.random.default_rng(0)
    assert drop_modalities(present, 0.0, rng).all()
    kept = drop_modalities(present, 0.3, rng).double().mean()
    assert kept == pytest.approx(1 - 0.3 + 0.3**3 / 3, abs=0.01)


def test_branches_that_agree_teach_each_other_nothing() -> None:
    said = logits(0).requires_grad_()
    loss = consistency(said.detach(), said, inside(), sure=0.0)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.detach().abs() < 1e-6
    assert said.grad is not None
    assert said.grad.abs().max() < 1e-6


def test_a_branch_follows_a_sure_one_and_the_teacher_does_not_move() -> None:
    teacher, learner = logits(0).requires_grad_(), logits(1).requires_grad_()
    loss = consistency(teacher, learner, inside(), sure=0.0)
    assert loss > 0
    loss.backward()  # type: ignore[no-untyped-call]
    assert teacher.grad is None
    assert learner.grad is not None
    with torch.no_grad():
        nearer = learner - 0.5 * learner.grad
    assert consistency(teacher, nearer, inside(), sure=0.0) < loss


def test_voxels_of_which_the_teacher_is_unsure_teach_nothing() -> None:
    teacher, learner = logits(0, scale=1.0), logits(1)
    top = teacher.softmax(1).amax(1)
    sure = float(top.median()) + 1e-6
    whole = consistency(teacher, learner, inside(), sure=sure)
    moved = learner.clone()
    moved[(top < sure)[:, None].expand_as(moved)] += 1.7 * torch.randn(int((top < sure).sum()) * 3)
    assert torch.allclose(consistency(teacher, moved, inside(), sure=sure), whole)
    assert consistency(teacher, learner, inside(), sure=1.01) == 0


def test_surer_voxels_count_for_more_and_those_outside_not_at_all() -> None:
    flat, steep = torch.zeros(1, 2, 1, 1, 1), torch.zeros(1, 2, 1, 1, 1)
    flat[:, 1], steep[:, 1] = 1.0, 8.0
    away = torch.zeros(1, 2, 1, 1, 1)
    away[:, 0] = 9.0
    one = torch.ones(1, 1, 1, 1, 1)
    mild = consistency(flat, away, one, sure=0.0)
    strong = consistency(steep, away, one, sure=0.0)
    assert strong > 2 * mild > 0
    assert consistency(steep, away, 0 * one, sure=0.0) == 0
