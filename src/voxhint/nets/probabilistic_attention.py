"""Self-attention whose logits are random, as published and repaired, without large tensors."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from voxhint.core.errors import BadRecipeError

_Attention = Literal["bilinear", "additive"]

_Heads = Float[Tensor, "batch head token feature"]
_Each = Float[Tensor, "batch head token"]
_Pairs = Float[Tensor, "batch head query key"]
_Scalar = Float[Tensor, ""]

_RANK = 4  # of what the bilinear form may add to the usual product of queries and keys


@dataclass(frozen=True, slots=True, eq=False)
class _Moments:
    """Normal logits of attention; their log variance is an outer sum of two vectors."""

    mean: _Pairs
    query_logvar: _Each
    key_logvar: _Each

    def sample(self, chance: Generator | None) -> _Pairs:
        """Return logits drawn with a generator, or with torch's own."""
        noise = torch.empty_like(self.mean).normal_(generator=chance)
        # the deviation of a sum of log variances is a product of deviations
        rows, columns = (0.5 * self.query_logvar).exp(), (0.5 * self.key_logvar).exp()
        return torch.addcmul(self.mean, noise * rows.unsqueeze(3), columns.unsqueeze(2))

    def divergence(self, logits: _Pairs) -> _Scalar:
        """Return the divergence from normal logits of variance 1, as a mean over pairs.

        Args:
            logits: The means of those, such as the logits of usual attention.

        Returns:
            The Kullback-Leibler divergence in nats; 0 if mean and variance agree.
        """
        logvar = self.query_logvar.mean() + self.key_logvar.mean()
        rows, columns = self.query_logvar.exp().mean(2), self.key_logvar.exp().mean(2)
        apart = (self.mean - logits).square().mean()
        return (apart + (rows * columns).mean() - 1 - logvar) / 2


def _usual_logits(query: _Heads, key: _Heads) -> _Pairs:
    """Return the logits of deterministic attention: products of queries and keys, scaled."""
    return (query / math.sqrt(query.shape[3])) @ key.transpose(2, 3)


class _AdditiveMoments(nn.Module):
    """Mean and log variance as one linear map of a query and a key, side by side.

    A linear map of two vectors side by side is the sum of a map of each, so they are never put
    side by side. As the mean is a sum too, softmax over the keys removes what the query says:
    without noise every query attends to the same places. Kept as it was published, to compare with.

    Source:
        Probabilistic self-attention of "PW4MedSeg", arXiv 2403.02566.
    """

    def __init__(self, width: int) -> None:
        """Build the map for heads with so many features."""
        super().__init__()
        self.query = nn.Linear(width, 2)
        self.key = nn.Linear(width, 2, bias=False)
        bound = (2 * width) ** -0.5  # of one linear layer over both
        for weight in self.parameters():
            nn.init.uniform_(weight, -bound, bound)

    def forward(self, query: _Heads, key: _Heads) -> _Moments:  # type: ignore[explicit-override]
        """Return the moments of every pair."""
        mine, theirs = self.query(query).float(), self.key(key).float()
        mean = mine[..., 0].unsqueeze(3) + theirs[..., 0].unsqueeze(2)
        return _Moments(mean, mine[..., 1], theirs[..., 1])


class _BilinearMoments(nn.Module):
    """The usual logits, plus a learnt product of low rank, with a log variance that is a sum.

    The mean keeps what the query says, and it can match the usual logits, as the divergence asks.
    A fresh one is usual attention with noise of variance 1.
    """

    def __init__(self, width: int) -> None:
        """Build the maps for heads with so many features."""
        super().__init__()
        self.query = nn.Linear(width, _RANK, bias=False)
        self.key = nn.Linear(width, _RANK, bias=False)
        self.query_logvar = nn.Linear(width, 1)
        self.key_logvar = nn.Linear(width, 1, bias=False)
        # one factor stays random: a product of two zeros would have no gradient
        for part in (self.key, self.query_logvar, self.key_logvar):
            for weight in part.parameters():
                nn.init.zeros_(weight)

    def forward(self, query: _Heads, key: _Heads) -> _Moments:  # type: ignore[explicit-override]
        """Return the moments of every pair."""
        more = self.query(query) @ self.key(key).transpose(2, 3)
        mean = (_usual_logits(query, key) + more).float()
        mine, theirs = self.query_logvar(query), self.key_logvar(key)
        return _Moments(mean, mine[..., 0].float(), theirs[..., 0].float())


class ProbabilisticAttention(nn.Module):
    """Multi-head self-attention with random logits."""

    def __init__(self, hidden: int, heads: int, kind: str) -> None:
        """Build the attention with fresh weights from torch's generator.

        Args:
            hidden: Features of a token, a multiple of `heads`.
            heads: Their number.
            kind: `bilinear` or `additive`.

        Raises:
            BadRecipeError: The kind is unknown.
        """
        super().__init__()
        if kind not in get_args(_Attention):
            msg = f"attention '{kind}' is unknown; use {', '.join(get_args(_Attention))}"
            raise BadRecipeError(msg)
        self.heads = heads
        self.project = nn.Linear(hidden, 3 * hidden, bias=False)
        self.out = nn.Linear(hidden, hidden)
        moments = _AdditiveMoments if kind == "additive" else _BilinearMoments
        self.moments = moments(hidden // heads)

    def forward(  # type: ignore[explicit-override]  # typing.override needs Python 3.12
        self,
        tokens: Float[Tensor, "batch token hidden"],
        *,
        sample: bool,
        chance: Generator | None = None,
    ) -> tuple[Float[Tensor, "batch token hidden"], _Scalar]:
        """Return what every token takes from the others, and the divergence.

        Args:
            tokens: Any number of them.
            sample: Draw the logits; else take their means.
            chance: Draws them; None is torch's own generator.

        Returns:
            Tokens, and the divergence of the random logits from the usual ones.
        """
        query, key, value = self.project(tokens).unflatten(2, (3, self.heads, -1)).unbind(2)
        query, key, value = (part.transpose(1, 2) for part in (query, key, value))
        taken, divergence = self.attend(query, key, value, sample=sample, chance=chance)
        return self.out(taken.transpose(1, 2).flatten(2)), divergence

    def attend(
        self, query: _Heads, key: _Heads, value: _Heads, *, sample: bool, chance: Generator | None
    ) -> tuple[_Heads, _Scalar]:
        """Return what every query takes from the values, and the divergence."""
        moments = self.moments(query, key)
        logits = moments.sample(chance) if sample else moments.mean
        divergence = moments.divergence(_usual_logits(query, key).float())
        return logits.softmax(3).to(value.dtype) @ value, divergence
