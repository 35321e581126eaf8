"""Losses informed by probability: the published one, confident claims, size and teacher."""

import numpy as np
import pytest
import torch
from monai.losses.dice import DiceLoss
from torch import Tensor
from torch.nn import functional

from voxhint.train.probability import (
    confident_claims,
    hull_share,
    pseudo_belief,
    published_loss,
    size_prior,
)

SHAPE = (3, 4, 5)


def field(*lead: int, seed: int = 0) -> Tensor:
    return torch.rand(*lead, *SHAPE, generator=torch.Generator().manual_seed(seed))


def claims(y: Tensor, trust: Tensor | float) -> tuple[Tensor, Tensor]:
    return trust * y, 1 - trust * (1 - y)


def test_with_one_label_the_published_loss_is_the_published_one() -> None:
    logit, y = 4 * field(2, 1) - 2, field(2, 1, seed=1)
    logits = torch.cat([torch.zeros_like(logit), logit], 1)
    label = (y > 0.5).float()
    weight = torch.where(y > 0.5, y, 1 - y)
    entropy = functional.binary_cross_entropy_with_logits(logit, label, reduction="none")
    dice = DiceLoss(sigmoid=True, squared_pred=True, smooth_nr=0, smooth_dr=1e-6)(logit, label)
    wanted = dice + (weight * entropy).mean()
    both = claims(torch.cat([1 - y, y], 1), 1.0)
    torch.testing.assert_close(published_loss(logits, *both), wanted)


def test_what_is_not_trusted_counts_for_nothing_in_the_published_loss() -> None:
    logits, y = field(1, 3), field(1, 3, seed=1).softmax(1)
    trust = torch.ones(1, 1, *SHAPE)
    trust[..., 2:] = 0
    other = logits.clone()
    other[..., 2:] = 5 * field(1, 3, seed=2)[..., 2:]
    both = claims(y, trust)
    torch.testing.assert_close(published_loss(logits, *both), published_loss(other, *both))
    assert torch.isfinite(published_loss(logits, *claims(y, 0.0)))


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


def test_a_teacher_speaks_where_it_is_sure_and_hints_do_not() -> None:
    belief = torch.zeros(1, 3, 1, 1, 4)
    plausible = torch.ones(1, 3, 1, 1, 4)
    belief[0, 1, 0, 0, 1] = 1.0  # a fact
    plausible[0, 2, 0, 0, 2] = 0.0  # ruled out
    taught = torch.tensor([0.02, 0.03, 0.95]).reshape(1, 3, 1, 1, 1).repeat(1, 1, 1, 1, 4)
    taught[..., 3] = torch.tensor([0.2, 0.2, 0.6]).reshape(1, 3, 1, 1)  # not sure
    found = pseudo_belief(belief, plausible, taught)
    wanted = torch.zeros_like(found)
    wanted[0, 2, 0, 0, 0] = 1.0
    torch.testing.assert_close(found, wanted)


def test_the_share_of_a_hull_is_its_volume_over_the_evidence() -> None:
    belief = np.zeros((4, 12, 12, 12), np.float32)
    for corner in np.ndindex(2, 2, 2):
        belief[1, *(1 + 8 * np.array(corner))] = 1  # corners of a cube
    belief[2, 2:5, 2:5, 3] = 1  # in one plane
    share = hull_share(belief)
    assert share[1] == pytest.approx(8**3 / 8)
    assert np.isnan(share[[0, 2, 3]]).all()


def test_a_size_within_reach_is_free_and_others_cost_more_the_farther_they_are() -> None:
    belief = torch.zeros(1, 2, 10, 10, 10)
    belief[0, 1, :4, 0, 0] = 1
    shares = torch.tensor([[float("nan"), 25.0]])  # 100 voxels expected

    def cost(voxels: int) -> float:
        q = torch.zeros(1, 2, 1000)
        q[0, 1, :voxels] = 1
        q[0, 0] = 1 - q[0, 1]
        return float(size_prior(q.reshape(1, 2, 10, 10, 10), belief, shares))

    assert cost(61) == cost(100) == cost(139) == 0
    assert 0 < cost(150) < cost(200)
    assert 0 < cost(50) < cost(10)
    assert cost(200) == pytest.approx(np.log(201 / 101 / 1.4), rel=1e-3)


def test_without_evidence_there_is_no_expected_size() -> None:
    q = field(1, 2).softmax(1)
    nothing = torch.zeros_like(q)
    assert float(size_prior(q, nothing, torch.tensor([[float("nan"), 3.0]]))) == 0
    assert float(size_prior(q, nothing + 0.5, torch.full((1, 2), float("nan")))) == 0
