"""Random attention: what it is without noise, what it costs in nats, and what noise averages to."""

import pytest
import torch
from torch import Tensor

from voxhint.core.errors import BadRecipeError
from voxhint.nets.probabilistic_attention import (
    ProbabilisticAttention,
    _AdditiveMoments,
    _BilinearMoments,
    _Moments,
    _usual_logits,
)

BATCH, HEADS, TOKENS, WIDTH = 2, 3, 7, 4


def heads(seed: int) -> Tensor:
    chance = torch.Generator().manual_seed(seed)
    return torch.randn(BATCH, HEADS, TOKENS, WIDTH, generator=chance)


def attention(kind: str, seed: int = 0) -> ProbabilisticAttention:
    torch.manual_seed(seed)
    return ProbabilisticAttention(HEADS * WIDTH, HEADS, kind)


def stirred(moments: _BilinearMoments) -> _BilinearMoments:
    """Give every weight a value, as training would."""
    for weight in moments.parameters():
        torch.nn.init.normal_(weight)
    return moments


def test_the_outer_sum_is_the_linear_map_of_queries_beside_keys() -> None:
    torch.manual_seed(0)
    moments = _AdditiveMoments(WIDTH)
    query, key = heads(1), heads(2)
    shape = (BATCH, HEADS, TOKENS, TOKENS, WIDTH)
    beside = torch.cat([query.unsqueeze(3).expand(shape), key.unsqueeze(2).expand(shape)], 4)
    weight = torch.cat([moments.query.weight, moments.key.weight], 1)
    mean, logvar = (beside @ weight.T + moments.query.bias).unbind(4)
    found = moments(query, key)
    torch.testing.assert_close(found.mean, mean)
    outer = found.query_logvar.unsqueeze(3) + found.key_logvar.unsqueeze(2)
    torch.testing.assert_close(outer, logvar)


def test_additive_attention_without_noise_is_the_same_for_every_query() -> None:
    torch.manual_seed(0)
    seen = _AdditiveMoments(WIDTH)(heads(1), heads(2)).mean.softmax(3)
    torch.testing.assert_close(seen, seen[:, :, :1].expand_as(seen))
    other = stirred(_BilinearMoments(WIDTH))(heads(1), heads(2)).mean.softmax(3)
    assert (other - other[:, :, :1]).abs().max() > 0.1


def test_bilinear_attention_with_vanishing_variance_is_softmax_attention() -> None:
    net = attention("bilinear")
    assert isinstance(net.moments, _BilinearMoments)
    torch.nn.init.constant_(net.moments.query_logvar.bias, -60.0)
    query, key, value = heads(1), heads(2), heads(3)
    taken, _ = net.attend(query, key, value, sample=True, chance=None)
    usual = torch.nn.functional.scaled_dot_product_attention(query, key, value)
    torch.testing.assert_close(taken, usual)


def test_the_divergence_is_nil_at_equality_and_nowhere_below() -> None:
    query, key = heads(1), heads(2)
    usual, nothing = _usual_logits(query, key), torch.zeros(BATCH, HEADS, TOKENS)
    assert float(_Moments(usual, nothing, nothing).divergence(usual)) == pytest.approx(0, abs=1e-6)
    for mean, rows, columns in [
        (usual + 1, nothing, nothing),
        (usual, nothing - 1, nothing),
        (usual, nothing, nothing + 1),
    ]:
        assert float(_Moments(mean, rows, columns).divergence(usual)) > 0.1


def test_the_divergence_is_that_of_normal_distributions() -> None:
    moments = stirred(_BilinearMoments(WIDTH))(heads(1), heads(2))
    usual = _usual_logits(heads(1), heads(2))
    logvar = moments.query_logvar.unsqueeze(3) + moments.key_logvar.unsqueeze(2)
    ours = torch.distributions.Normal(moments.mean, (0.5 * logvar).exp())
    theirs = torch.distributions.Normal(usual, torch.ones_like(usual))
    wanted = torch.distributions.kl_divergence(ours, theirs).mean()
    torch.testing.assert_close(moments.divergence(usual), wanted)


def test_fresh_bilinear_attention_diverges_by_nothing_and_additive_by_something() -> None:
    tokens = torch.randn(1, TOKENS, HEADS * WIDTH, generator=torch.Generator().manual_seed(1))
    assert float(attention("bilinear")(tokens, sample=True)[1].detach()) == pytest.approx(0)
    assert float(attention("additive")(tokens, sample=True)[1].detach()) > 1e-3


def test_samples_have_the_mean_and_the_variance_of_their_moments() -> None:
    moments = stirred(_BilinearMoments(WIDTH))(0.3 * heads(1), 0.3 * heads(2))
    chance = torch.Generator().manual_seed(3)
    drawn = torch.stack([moments.sample(chance) for _ in range(4000)])
    deviation = (moments.query_logvar.unsqueeze(3) + moments.key_logvar.unsqueeze(2)).mul(0.5).exp()
    assert ((drawn.mean(0) - moments.mean).abs() < 0.1 * deviation).all()
    torch.testing.assert_close(drawn.std(0), deviation, rtol=0.1, atol=0)


@pytest.mark.parametrize("kind", ["additive", "bilinear"])
@pytest.mark.parametrize("tokens", [1, 5, 30])
def test_any_number_of_tokens_will_do(kind: str, tokens: int) -> None:
    taken, divergence = attention(kind)(torch.randn(2, tokens, HEADS * WIDTH), sample=True)
    assert tuple(taken.shape) == (2, tokens, HEADS * WIDTH)
    assert torch.isfinite(divergence)


def test_an_unknown_attention_is_refused_with_the_known_ones_named() -> None:
    with pytest.raises(BadRecipeError, match="'flash' is unknown; use bilinear, additive"):
        attention("flash")
