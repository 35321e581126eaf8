"""Regularisers are the sums they claim to be, in millimetres, and silent where nobody asks."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from tests.training.scenes import PATCH, SIZE, balls, plan, small_net
from torch import Tensor
from torch.nn import functional

from voxhint.config import TrainConfig
from voxhint.training import Example, VoxelTask
from voxhint.training.regularise import gated_crf
from voxhint.training.tasks import voxels

SPACING = (1.0, 1.5, 3.0)
SHAPE = (10, 4, 6)


def noise(channels: int, shape: tuple[int, int, int] = SHAPE, seed: int = 0) -> Tensor:
    chance = torch.Generator().manual_seed(seed)
    return torch.randn(2, channels, *shape, generator=chance, dtype=torch.float64)


def one_hot(labels: Tensor, classes: int = 2) -> Tensor:
    return functional.one_hot(labels, classes).movedim(-1, 1).double()


def crf(q: Tensor, image: Tensor) -> Tensor:
    return gated_crf(q, image, spacing_mm=SPACING, gate=torch.ones_like(q[:, :1]))


def plain_crf(q: Tensor, image: Tensor, gate: Tensor, sigma_mm: float) -> float:
    """Visit every pair of every offset, one by one."""
    q, image, gate = (part.movedim(1, -1) for part in (q, image, gate))
    places = set(itertools.product(*map(range, q.shape[1:4])))
    means = []
    for dilation, step in itertools.product((1, 2, 4, 8), itertools.product((-1, 0, 1), repeat=3)):
        shift = [dilation * n for n in step]
        away = math.hypot(*(n * mm for n, mm in zip(shift, SPACING, strict=True)))
        if step <= (0, 0, 0) or away > 3 * sigma_mm:
            continue
        costs = []
        for i in places:
            j = tuple(a + n for a, n in zip(i, shift, strict=True))
            for batch in range(len(q)) if j in places else ():
                one, two = (batch, *i), (batch, *j)
                contrast = float(((image[one] - image[two]) ** 2).sum())
                kernel = math.exp(-(away**2) / (2 * sigma_mm**2) - contrast / (2 * 0.4**2))
                unlike = 1 - float(q[one] @ q[two])
                costs.append(kernel * unlike * float(gate[one] * gate[two]))
        if costs:
            means.append(np.mean(costs))
    return float(np.mean(means))


@pytest.mark.parametrize("sigma_mm", [6.0, 1.0])
def test_the_crf_is_the_mean_over_its_pairs(sigma_mm: float) -> None:
    shape = (10, 2, 3)
    q, image = noise(3, shape).softmax(1), 0.3 * noise(2, shape, seed=1)
    gate = noise(1, shape, seed=2).sigmoid()
    ours = gated_crf(q, image, spacing_mm=SPACING, gate=gate, sigma_mm=sigma_mm)
    assert float(ours) == pytest.approx(plain_crf(q, image, gate, sigma_mm), rel=1e-5)


@pytest.mark.parametrize("axes", [(2,), (3, 4), (2, 3, 4)])
def test_a_mirrored_volume_costs_the_same(axes: tuple[int, ...]) -> None:
    q, image = noise(3).softmax(1), 0.3 * noise(2, seed=1)
    torch.testing.assert_close(crf(q.flip(axes), image.flip(axes)), crf(q, image))


def test_the_gradient_is_that_of_the_function() -> None:
    shape = (3, 4, 2)
    logits, image = noise(3, shape).requires_grad_(), noise(2, shape, seed=1)
    assert torch.autograd.gradcheck(lambda logits: crf(logits.softmax(1), image), logits)


def test_the_cost_does_not_depend_on_the_size_of_the_patch() -> None:
    small, large = (
        float(crf(noise(3, shape).softmax(1), 0.3 * noise(1, shape, seed=1)))
        for shape in ((12, 12, 12), (24, 24, 24))
    )
    assert small == pytest.approx(large, rel=0.1)


def test_one_label_everywhere_has_no_border() -> None:
    q = one_hot(torch.ones((2, *SHAPE), dtype=torch.int64))
    assert float(crf(q, noise(1))) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("left", "right", "winner"), [(3.0, 0.1, 1), (0.1, 3.0, 0)])
def test_labels_spread_across_weak_edges_only(left: float, right: float, winner: int) -> None:
    """An undecided slab lies between label 0 at the left and label 1 at the right."""
    logits = torch.zeros(1, 2, 9, 4, 4, dtype=torch.float64)
    logits[:, 0, :3] = logits[:, 1, 6:] = 9
    image = torch.zeros(1, 1, 9, 4, 4, dtype=torch.float64)
    image[:, :, 3:] = left
    image[:, :, 6:] = left + right
    logits.requires_grad_()
    (gradient,) = torch.autograd.grad(crf(logits.softmax(1), image), logits)
    slab = gradient[0, :, 3:6]
    assert (slab[winner] < 0).all()
    assert (slab[1 - winner] > 0).all()
    image[:, :, 3:6] = 9  # strong edges on both sides
    (gradient,) = torch.autograd.grad(crf(logits.softmax(1), image), logits)
    assert gradient[0, :, 3:6].abs().max() < 1e-6 * slab.abs().max()


def test_what_the_gate_shuts_out_neither_counts_nor_learns() -> None:
    q, image, gate = noise(3).softmax(1), 0.3 * noise(1, seed=1), torch.ones(2, 1, *SHAPE).double()
    gate[:, :, 5:] = 0
    q.requires_grad_()
    cost = gated_crf(q, image, spacing_mm=SPACING, gate=gate)
    (gradient,) = torch.autograd.grad(cost, q)
    assert not gradient[:, :, 5:].any()
    assert gradient[:, :, :5].all()
    with torch.no_grad():
        q[:, :, 5:], image[:, :, 5:] = 1 / 3, 7
    again = gated_crf(q, image, spacing_mm=SPACING, gate=gate)
    torch.testing.assert_close(again, cost)


def test_only_millimetres_count_for_the_crf() -> None:
    q, image, gate = noise(3).softmax(1), 0.3 * noise(1, seed=1), torch.ones(2, 1, *SHAPE).double()
    fine = gated_crf(q, image, spacing_mm=(1.0, 1.5, 3.0), gate=gate, sigma_mm=2.0)
    coarse = gated_crf(q, image, spacing_mm=(2.0, 3.0, 6.0), gate=gate, sigma_mm=4.0)
    torch.testing.assert_close(fine, coarse)


def unknown() -> Example:
    """Return a ball of which nothing is known."""
    example = balls(1)[0]
    return Example.of(
        example.name, example.image, np.stack([0 * example.bounds[0], example.bounds[0] ** 0])
    )


def loss_of(fit: Example, **knobs: Any) -> float:
    task = VoxelTask.of([fit], [], plan(), TrainConfig(**knobs))
    return task.loss(small_net(), np.random.default_rng(0), torch.device("cpu")).item()


def test_a_weight_adds_its_term_to_the_loss() -> None:
    none, one, two = (loss_of(unknown(), crf_weight=weight) for weight in (0.0, 1.0, 2.0))
    assert none == 0
    assert one > 1e-4
    assert two == pytest.approx(2 * one, rel=1e-5)


def test_a_term_without_weight_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(voxels, "gated_crf")
    assert loss_of(balls(1)[0]) > 0


def test_the_crf_leaves_what_hints_prove_alone() -> None:
    known = balls(1)[0]
    assert loss_of(known, crf_weight=1.0) == pytest.approx(loss_of(known), rel=1e-5)


def test_the_crf_leaves_what_lies_beyond_the_case_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []

    def spy(q: Tensor, image: Tensor, *, gate: Tensor, **_: object) -> Tensor:
        seen.append(gate)
        return q.sum()

    monkeypatch.setattr(voxels, "gated_crf", spy)
    example = unknown()
    narrow = Example.of("narrow", example.image[:, :4], example.bounds[:, :, :4])
    loss_of(narrow, crf_weight=1.0)
    (gate,) = seen
    assert tuple(gate.shape) == (2, 1, *PATCH)
    assert 0.3 < float(gate.mean()) < 0.7  # the case fills half of the patch
    assert SIZE > PATCH[0] > 4
