"""Regularisers are the sums they claim to be, in millimetres, and silent where nobody asks."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tests.train.scenes import PATCH, SIZE, balls, plan, small_net
from torch import Tensor
from torch.nn import functional

from voxhint.config import TrainConfig
from voxhint.train import Example, VoxelTask
from voxhint.train.regularise import gated_crf, mumford_shah, total_variation
from voxhint.train.tasks import voxels

SPACING = (1.0, 1.5, 3.0)
SHAPE = (10, 4, 6)


def noise(channels: int, shape: tuple[int, int, int] = SHAPE, seed: int = 0) -> Tensor:
    chance = torch.Generator().manual_seed(seed)
    return torch.randn(2, channels, *shape, generator=chance, dtype=torch.float64)


def one_hot(labels: Tensor, classes: int = 2) -> Tensor:
    return functional.one_hot(labels, classes).movedim(-1, 1).double()


def half_space(axis: int) -> Tensor:
    labels = torch.zeros(SHAPE, dtype=torch.int64)
    labels.narrow(axis, 1, SHAPE[axis] - 1).fill_(1)
    return one_hot(labels[None])


def crf(q: Tensor, image: Tensor) -> Tensor:
    return gated_crf(q, image, spacing_mm=SPACING, gate=torch.ones_like(q[:, :1]))


def tv(q: Tensor, image: Tensor) -> Tensor:
    return total_variation(q, SPACING)


def piecewise(q: Tensor, image: Tensor) -> Tensor:
    return mumford_shah(q, image, spacing_mm=SPACING)


ALL = pytest.mark.parametrize("term", [crf, tv, piecewise])
Term = Callable[[Tensor, Tensor], Tensor]


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


@ALL
@pytest.mark.parametrize("axes", [(2,), (3, 4), (2, 3, 4)])
def test_a_mirrored_volume_costs_the_same(term: Term, axes: tuple[int, ...]) -> None:
    q, image = noise(3).softmax(1), 0.3 * noise(2, seed=1)
    torch.testing.assert_close(term(q.flip(axes), image.flip(axes)), term(q, image))


@ALL
def test_the_gradient_is_that_of_the_function(term: Term) -> None:
    shape = (3, 4, 2)
    logits, image = noise(3, shape).requires_grad_(), noise(2, shape, seed=1)
    assert torch.autograd.gradcheck(lambda logits: term(logits.softmax(1), image), logits)


@ALL
def test_the_cost_does_not_depend_on_the_size_of_the_patch(term: Term) -> None:
    small, large = (
        float(term(noise(3, shape).softmax(1), 0.3 * noise(1, shape, seed=1)))
        for shape in ((12, 12, 12), (24, 24, 24))
    )
    assert small == pytest.approx(large, rel=0.1)


def test_one_label_everywhere_has_no_border() -> None:
    q = one_hot(torch.ones((2, *SHAPE), dtype=torch.int64))
    assert float(crf(q, noise(1))) == pytest.approx(0, abs=1e-12)
    assert float(total_variation(q, SPACING)) == 0


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


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_variation_of_a_half_space_is_its_area_per_volume(axis: int) -> None:
    length_mm = SHAPE[axis] * SPACING[axis]
    assert float(total_variation(half_space(axis), SPACING)) == pytest.approx(1 / length_mm)


def test_the_variation_of_a_smooth_field_does_not_depend_on_the_spacing() -> None:
    found = []
    for count in (40, 80):
        middles_mm = (torch.arange(count, dtype=torch.float64) + 0.5) * 40 / count
        bump = torch.exp(-0.5 * ((middles_mm - 20) / 5) ** 2).expand(1, 1, 3, 4, count)
        q = torch.cat([1 - bump, bump], 1)
        found.append(float(total_variation(q, (1.0, 2.0, 40 / count))))
    assert found[0] == pytest.approx(found[1], rel=0.01)
    assert found[0] == pytest.approx(2 / 40, rel=0.02)  # up and down again within 40 mm


def test_right_labels_of_a_piecewise_constant_image_cost_their_border_alone() -> None:
    labels = torch.randint(0, 3, (2, *SHAPE), generator=torch.Generator().manual_seed(0))
    values = torch.tensor([[-1.0, 4.0, 0.5], [7.0, 2.0, 3.0]], dtype=torch.float64)
    image = torch.stack([row[part] for row, part in zip(values, labels, strict=True)])[:, None]
    image = torch.cat([image, -image], 1)
    q = one_hot(labels, 3)
    assert float(mumford_shah(q, image, spacing_mm=SPACING, length_mm=0.0)) == pytest.approx(
        0, abs=1e-12
    )
    torch.testing.assert_close(
        mumford_shah(q, image, spacing_mm=SPACING, length_mm=2.0), 2 * total_variation(q, SPACING)
    )
    wrong = one_hot(labels.roll(1, 1), 3)
    assert float(mumford_shah(wrong, image, spacing_mm=SPACING, length_mm=0.0)) > 1


def test_one_class_costs_the_variance_of_the_image() -> None:
    image = noise(2) * torch.tensor([1.0, 3.0])[:, None, None, None]
    ours = mumford_shah(torch.ones_like(image[:, :1]), image, spacing_mm=SPACING)
    torch.testing.assert_close(ours, image.var((2, 3, 4), correction=0).sum(1).mean())


def test_a_class_that_is_nowhere_breaks_nothing() -> None:
    q = one_hot(torch.zeros((2, *SHAPE), dtype=torch.int64), 2).float().requires_grad_()
    cost = mumford_shah(q, noise(1).float(), spacing_mm=SPACING)
    (gradient,) = torch.autograd.grad(cost, q)
    assert gradient.isfinite().all()


def unknown() -> Example:
    """Return a ball of which nothing is known."""
    example = balls(1)[0]
    return Example.of(
        example.name, example.image, np.stack([0 * example.claims[0], example.claims[0] ** 0])
    )


def loss_of(fit: Example, **knobs: Any) -> float:
    task = VoxelTask.of([fit], [], plan(), TrainConfig(**knobs))
    return task.loss(small_net(), np.random.default_rng(0), torch.device("cpu")).item()


@pytest.mark.parametrize("knob", ["crf_weight", "tv_weight", "mumford_shah_weight"])
def test_a_weight_adds_its_term_to_the_loss(knob: str) -> None:
    none, one, two = (loss_of(unknown(), **{knob: weight}) for weight in (0.0, 1.0, 2.0))
    assert none == 0
    assert one > 1e-4
    assert two == pytest.approx(2 * one, rel=1e-5)


def test_a_term_without_weight_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("gated_crf", "mumford_shah", "total_variation"):
        monkeypatch.delattr(voxels, name)
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
    narrow = Example.of("narrow", example.image[:, :4], example.claims[:, :, :4])
    loss_of(narrow, crf_weight=1.0)
    (gate,) = seen
    assert tuple(gate.shape) == (2, 1, *PATCH)
    assert 0.3 < float(gate.mean()) < 0.7  # the case fills half of the patch
    assert SIZE > PATCH[0] > 4
