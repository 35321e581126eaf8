"""What the losses say of known, half-known and unknown voxels."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from voxhint.training.losses import (
    class_shares,
    hint_loss,
    partial_cross_entropy,
    trusted_dice,
)

SHAPE = (3, 4, 2)


def logits_of(classes: int = 3, seed: int = 0) -> Tensor:
    return torch.randn(2, classes, *SHAPE, generator=torch.Generator().manual_seed(seed))


def labels_of(classes: int = 3, seed: int = 1) -> Tensor:
    chance = torch.Generator().manual_seed(seed)
    return torch.randint(0, classes, (2, *SHAPE), generator=chance)


def one_hot(labels: Tensor, classes: int = 3) -> Tensor:
    return functional.one_hot(labels, classes).movedim(-1, 1).float()


def sure(labels: Tensor, classes: int = 3) -> Tensor:
    """Return logits of a network that is sure of the labels."""
    return 100 * one_hot(labels, classes)


def some_claims(seed: int = 2) -> tuple[Tensor, Tensor]:
    """Return beliefs that leave mass over, and plausibilities above them."""
    chance = torch.Generator().manual_seed(seed)
    belief = 0.25 * torch.rand(2, 3, *SHAPE, generator=chance)
    return belief, belief + (1 - belief) * torch.rand(2, 3, *SHAPE, generator=chance)


def test_fully_known_voxels_give_ordinary_cross_entropy() -> None:
    logits, labels = logits_of(), labels_of()
    known = one_hot(labels)
    torch.testing.assert_close(
        partial_cross_entropy(logits, known, known), functional.cross_entropy(logits, labels)
    )


def test_probabilities_that_are_fully_trusted_give_cross_entropy_with_them() -> None:
    logits, target = logits_of(), logits_of(seed=5).softmax(1)
    torch.testing.assert_close(
        partial_cross_entropy(logits, target, target), functional.cross_entropy(logits, target)
    )


def test_unknown_voxels_beside_known_ones_change_nothing() -> None:
    logits, labels = logits_of(), labels_of()
    belief, plausible = one_hot(labels), one_hot(labels)
    belief[1], plausible[1] = 0.0, 1.0
    torch.testing.assert_close(
        partial_cross_entropy(logits, belief, plausible),
        functional.cross_entropy(logits[:1], labels[:1]),
    )


@pytest.mark.parametrize("absent", [0, 1, 2])
def test_absence_of_a_class_gives_the_log_of_the_chance_of_all_others(absent: int) -> None:
    logits = logits_of()
    belief, plausible = torch.zeros_like(logits), torch.ones_like(logits)
    plausible[:, absent] = 0.0
    loss = -torch.log1p(-logits.softmax(1)[:, absent]).sum()
    known = logits[:, 0].numel() / 3  # one of three classes is ruled out everywhere
    torch.testing.assert_close(
        partial_cross_entropy(logits, belief, plausible), loss / known, rtol=1e-3, atol=1e-4
    )


def test_all_classes_but_one_absent_is_as_good_as_a_label() -> None:
    logits, labels = logits_of(), labels_of()
    belief, plausible = torch.zeros_like(logits), one_hot(labels)
    weight = (1 - plausible).mean(1).sum() / labels.numel()
    torch.testing.assert_close(
        partial_cross_entropy(logits, belief, plausible) * weight,
        functional.cross_entropy(logits, labels),
        rtol=1e-3,
        atol=1e-3,
    )


@pytest.mark.parametrize("unknown", [False, True])
def test_belief_and_what_rules_it_out_are_held_against_each_other(unknown: bool) -> None:
    """A tenth believed and two tenths against are less than half, whatever the others may be."""
    belief, plausible = torch.zeros(1, 3, *SHAPE), torch.ones(1, 3, *SHAPE)
    belief[:, 1], plausible[:, 1] = 0.1, 0.8
    if unknown:  # background or the last class, which this case does not outline
        plausible[:, 0] = 0.9
    else:
        belief[:, 0], plausible[:, 0], plausible[:, 2] = 0.2, 0.9, 0.7
    assert 0.1 < float(class_shares(belief, plausible, rounds=1000)[1]) < 0.35


def test_nothing_known_gives_exactly_nothing_and_no_gradient() -> None:
    logits = logits_of().requires_grad_()
    loss = hint_loss(logits, torch.zeros_like(logits), torch.ones_like(logits), dice_weight=1.0)
    assert float(loss.detach()) == 0
    (gradient,) = torch.autograd.grad(loss, logits)
    assert not gradient.any()


def test_a_surer_network_has_less_loss_at_what_is_right() -> None:
    known = one_hot(labels_of())
    losses = [float(partial_cross_entropy(s * known, known, known)) for s in (0.0, 1.0, 4.0, 16.0)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] == pytest.approx(0, abs=1e-5)


def test_extreme_logits_stay_finite() -> None:
    logits = (1e4 * logits_of()).requires_grad_()
    loss = hint_loss(logits, *some_claims(), dice_weight=1.0)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("dice_weight", [0.0, 1.0])
def test_gradients_are_those_of_the_function(dice_weight: float) -> None:
    belief, plausible = (claim.double() for claim in some_claims())
    assert torch.autograd.gradcheck(
        lambda logits: hint_loss(logits, belief, plausible, dice_weight=dice_weight),
        logits_of().double().requires_grad_(),
    )


def test_hint_loss_is_the_weighted_sum_of_both() -> None:
    logits, (belief, plausible) = logits_of(), some_claims()
    whole = hint_loss(logits, belief, plausible, dice_weight=0.5)
    loss = partial_cross_entropy(logits, belief, plausible)
    dice = trusted_dice(logits, belief, plausible)
    torch.testing.assert_close(whole, loss + 0.5 * dice)


def test_shares_of_known_classes_are_how_often_they_are_met() -> None:
    labels = labels_of()
    counted = torch.bincount(labels.flatten(), minlength=3) / labels.numel()
    torch.testing.assert_close(class_shares(one_hot(labels), one_hot(labels)), counted)


def test_shares_of_nothing_known_are_alike_and_unknown_voxels_change_nothing() -> None:
    labels = labels_of()
    belief, plausible = one_hot(labels), one_hot(labels)
    belief[1], plausible[1] = 0.0, 1.0
    known = class_shares(one_hot(labels[:1]), one_hot(labels[:1]))
    torch.testing.assert_close(class_shares(belief, plausible), known, atol=1e-4, rtol=1e-4)
    nothing = class_shares(torch.zeros_like(belief), torch.ones_like(belief))
    torch.testing.assert_close(nothing, torch.full((3,), 1 / 3))


def test_no_other_constant_answer_has_less_partial_cross_entropy_than_the_shares() -> None:
    belief, plausible = some_claims()
    bias = class_shares(belief, plausible, rounds=1000).log().requires_grad_()
    logits = bias[None, :, None, None, None].expand_as(belief)
    (slope,) = torch.autograd.grad(partial_cross_entropy(logits, belief, plausible), bias)
    torch.testing.assert_close(slope, torch.zeros(3), atol=1e-4, rtol=0)


def test_a_class_is_not_common_because_it_is_possible_where_nobody_looked() -> None:
    """An organ that one case shows and the other does not speak of."""
    labels = (torch.arange(24) == 0).long().reshape(1, *SHAPE).repeat(2, 1, 1, 1)
    belief, plausible = one_hot(labels, 2), one_hot(labels, 2)
    belief[1, 0] = 0.0
    plausible[1, 1] = 1.0
    assert float(class_shares(belief, plausible)[1]) < 0.1


def dice_of(logits: Tensor, known: Tensor) -> float:
    """Return the Dice loss against voxels of which all is known."""
    return float(trusted_dice(logits, known, known))


def test_the_dice_loss_of_a_perfect_answer_is_zero_and_of_a_wrong_one_is_one() -> None:
    labels = labels_of()
    assert dice_of(sure(labels), one_hot(labels)) == pytest.approx(0, abs=1e-4)
    assert dice_of(sure((labels + 1) % 3), one_hot(labels)) == pytest.approx(1, abs=1e-3)


def test_the_dice_loss_does_not_look_where_nothing_is_known() -> None:
    labels, belief = labels_of(), one_hot(labels_of())
    plausible = belief.clone()
    belief[:, :, 0], plausible[:, :, 0] = 0.0, 1.0
    answer = labels.clone()
    answer[:, 0] = (answer[:, 0] + 1) % 3
    loss = trusted_dice(sure(answer), belief, plausible)
    assert float(loss) == pytest.approx(0, abs=1e-4)


def test_the_dice_loss_of_a_soft_label_weighs_voxels_by_their_trust() -> None:
    logits, target = logits_of(), logits_of(seed=5).softmax(1)
    trust = torch.rand(2, 1, *SHAPE, generator=torch.Generator().manual_seed(6))
    q, over = logits.softmax(1), (0, 2, 3, 4)
    dice = 2 * (trust * q * target).sum(over) / (trust * (q + target)).sum(over)
    loss = trusted_dice(logits, trust * target, 1 - trust * (1 - target))
    torch.testing.assert_close(loss, 1 - dice[1:].mean(), rtol=1e-4, atol=1e-4)


def test_the_dice_loss_punishes_a_class_where_it_is_ruled_out_though_not_what_is_there() -> None:
    labels = labels_of()
    belief = one_hot(labels)
    plausible = belief.clone()
    belief[:, 0] = 0.0
    plausible[:, 2] = torch.maximum(plausible[:, 2], plausible[:, 0])  # background, or class 2
    belief[:, 2] = one_hot(labels)[:, 2]
    over = torch.where(labels == 0, 1, labels)  # calls background class 1
    either = torch.where(labels == 0, 2, labels)
    assert float(trusted_dice(sure(labels), belief, plausible)) == pytest.approx(0, abs=1e-4)
    assert float(trusted_dice(sure(either), belief, plausible)) == pytest.approx(0, abs=1e-4)
    assert float(trusted_dice(sure(over), belief, plausible)) > 0.1


def test_classes_never_seen_do_not_count_in_the_dice_loss() -> None:
    labels = labels_of(classes=2)
    assert dice_of(sure(labels), one_hot(labels)) == pytest.approx(0, abs=1e-4)
    assert dice_of(sure(1 - labels), one_hot(labels)) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("background", [0.0, 1.0])
def test_the_dice_loss_is_zero_where_no_foreground_is_believed(background: float) -> None:
    logits = logits_of().requires_grad_()
    belief = torch.zeros_like(logits)
    belief[:, 0] = background
    loss = trusted_dice(logits, belief, torch.ones_like(logits))
    assert float(loss.detach()) == 0
    (gradient,) = torch.autograd.grad(loss, logits)
    assert not gradient.any()
