"""Losses informed by probability: the published one, confident claims, size and teacher."""

import pytest
import torch
from monai.losses.dice import DiceLoss
from torch import Tensor
from torch.nn import functional

from voxhint.training.probability_losses import (
    confident_claims,
    pw4medseg_loss,
)

SHAPE = (3, 4, 5)


def field(*lead: int, seed: int = 0) -> Tensor:
    return torch.rand(*lead, *SHAPE, generator=torch.Generator().manual_seed(seed))


def claims(y: Tensor, trust: Tensor | float) -> tuple[Tensor, Tensor]:
    return trust * y, 1 - trust * (1 - y)


def test_with_one_label_the_pw4medseg_loss_is_the_published_one() -> None:
    logit, y = 4 * field(2, 1) - 2, field(2, 1, seed=1)
    logits = torch.cat([torch.zeros_like(logit), logit], 1)
    label = (y > 0.5).float()
    weight = torch.where(y > 0.5, y, 1 - y)
    entropy = functional.binary_cross_entropy_with_logits(logit, label, reduction="none")
    dice = DiceLoss(sigmoid=True, squared_pred=True, smooth_nr=0, smooth_dr=1e-6)(logit, label)
    wanted = dice + (weight * entropy).mean()
    both = claims(torch.cat([1 - y, y], 1), 1.0)
    torch.testing.assert_close(pw4medseg_loss(logits, *both), wanted)


def test_what_is_not_trusted_counts_for_nothing_in_the_pw4medseg_loss() -> None:
    logits, y = field(1, 3), field(1, 3, seed=1).softmax(1)
    trust = torch.ones(1, 1, *SHAPE)
    trust[..., 2:] = 0
    other = logits.clone()
    other[..., 2:] = 5 * field(1, 3, seed=2)[..., 2:]
    both = claims(y, trust)
    torch.testing.assert_close(pw4medseg_loss(logits, *both), pw4medseg_loss(other, *both))
    assert torch.isfinite(pw4medseg_loss(logits, *claims(y, 0.0)))


def test_facts_stay_facts_and_doubt_becomes_silence() -> None:
    y = torch.tensor([1.0, 0.0, 0.5, 0.4, 0.64, 0.66, 0.9]).reshape(1, 1, 7, 1, 1)
    belief, plausible = confident_claims(*claims(y, 1.0))
    torch.testing.assert_close(belief.flatten(), torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0, 0.32, 0.8]))
    torch.testing.assert_close(
        plausible.flatten(), torch.tensor([1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    )


@pytest.mark.parametrize("trust", [0.0, 0.3, 1.0])
def test_confident_claims_say_no_more_than_the_claims(trust: float) -> None:
    belief, plausible = claims(field(2, 3).softmax(1), trust)
    less, more = confident_claims(belief, plausible)
    assert (less <= belief + 1e-6).all()
    assert (more >= plausible - 1e-6).all()
    assert (less.sum(1) <= 1 + 1e-6).all()
