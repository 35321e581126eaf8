"""The classifier scores places and pools them."""

from typing import get_args

import pytest
import torch
from torch import Tensor

from voxhint.classify.gradient_saliency import _Network as Asked
from voxhint.core.errors import BadRecipeError
from voxhint.nets import short_classifier
from voxhint.nets.classifier import ClassifierNet, _Pooling

POOLINGS = get_args(_Pooling)


def net(pooling: str = "lse", *, two_and_half_d: bool = False) -> ClassifierNet:
    torch.manual_seed(0)
    return short_classifier(
        channels=1,
        labels=2,
        stride=(2, 2, 1),
        kernel=(3, 3, 3),
        width=4,
        pooling=pooling,
        two_and_half_d=two_and_half_d,
    ).eval()


def image(seed: int = 0, *shape: int) -> Tensor:
    return torch.randn(1, 1, *(shape or (12, 14, 6)), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_logit_for_each_label_is_the_pool_of_the_evidence(pooling: str) -> None:
    one = net(pooling)
    evidence = one.score_map(one.features(image()))
    assert evidence.shape == (1, 2, 6, 7, 6)
    torch.testing.assert_close(one(image()), one.pool(evidence))
    assert isinstance(one, Asked)


def test_an_unknown_pooling_is_refused() -> None:
    with pytest.raises(BadRecipeError, match="lse, max, mean, attention"):
        net("median")


@pytest.mark.parametrize("pooling", ["lse", "max", "mean"])
def test_places_outside_the_bag_do_not_count(pooling: str) -> None:
    one = net(pooling)
    inside = torch.zeros(1, 2, 12, 14, 6)
    inside[..., :4] = 1
    evidence = one.score_map(one.features(image()))
    torch.testing.assert_close(one(image(), inside), one.pool(evidence[..., :4]))


def test_log_sum_exp_lies_between_mean_and_maximum_and_ignores_how_many_places_there_are() -> None:
    evidence = torch.randn(3, 2, 5, 5, 4)
    pooled = net("lse").pool(evidence)
    assert (pooled <= evidence.flatten(2).amax(2)).all()
    assert (pooled >= evidence.flatten(2).mean(2)).all()
    twice = torch.cat([evidence, evidence], dim=4)
    torch.testing.assert_close(net("lse").pool(twice), pooled)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_every_pooling_passes_gradients_to_the_first_layer(pooling: str) -> None:
    one = net(pooling).train()
    one(torch.cat([image(1), image(2)])).sum().backward()
    first = next(one.parameters()).grad
    assert first is not None
    assert float(first.abs().sum()) > 0


def test_images_of_a_batch_do_not_mix() -> None:
    one = net()
    both = one(torch.cat([image(1), image(2)]))
    torch.testing.assert_close(both[:1], one(image(1)))


def test_the_2_5d_classifier_sees_only_the_neighbouring_slices() -> None:
    one = net(two_and_half_d=True)
    changed = image()
    changed[..., 0] += 5.0
    before, after = (one.score_map(one.features(x)) for x in (image(), changed))
    torch.testing.assert_close(before[..., 2:], after[..., 2:])
    assert not torch.allclose(before[..., 0], after[..., 0])
