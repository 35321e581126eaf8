"""Losses for labels with errors, and the posterior of errors that come in blobs."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn import functional

from voxhint.train.losses import partial_cross_entropy
from voxhint.train.noise import (
    Field,
    corrected_claims,
    flip_posterior,
    generalised_cross_entropy,
    kms_precision,
    noise_robust_dice,
)

SHAPE = (3, 4, 2)


def logits_of(seed: int = 0) -> Tensor:
    return torch.randn(2, 3, *SHAPE, generator=torch.Generator().manual_seed(seed))


def labels(seed: int = 1) -> Tensor:
    chance = torch.Generator().manual_seed(seed)
    drawn = torch.randint(0, 3, (2, *SHAPE), generator=chance)
    return functional.one_hot(drawn, 3).movedim(-1, 1).float()


def some_claims() -> tuple[Tensor, Tensor]:
    chance = torch.Generator().manual_seed(2)
    belief = 0.25 * torch.rand(2, 3, *SHAPE, generator=chance)
    return belief, belief + (1 - belief) * torch.rand(2, 3, *SHAPE, generator=chance)


def test_a_power_near_nothing_gives_partial_cross_entropy() -> None:
    torch.testing.assert_close(
        generalised_cross_entropy(logits_of(), *some_claims(), power=1e-4),
        partial_cross_entropy(logits_of(), *some_claims()),
        rtol=1e-3,
        atol=0,
    )


def test_a_power_of_one_gives_the_absolute_error() -> None:
    known = labels()
    q = logits_of().softmax(1)
    wanted = (1 - (q * known).sum(1)).mean()
    torch.testing.assert_close(
        generalised_cross_entropy(logits_of(), known, known, power=1.0), wanted
    )
    # half the distance of the probabilities to the label
    torch.testing.assert_close(wanted, 0.5 * (q - known).abs().sum(1).mean())


def test_an_absurd_label_pulls_less_and_the_unknown_not_at_all() -> None:
    logits = torch.tensor([60.0, 0.0, 0.0]).reshape(1, 3, 1, 1, 1).requires_grad_()
    absurd = torch.tensor([0.0, 1.0, 0.0]).reshape(1, 3, 1, 1, 1)
    (pull,) = torch.autograd.grad(generalised_cross_entropy(logits, absurd, absurd), logits)
    assert torch.isfinite(pull).all()
    assert pull.abs().max() < 1e-6
    unknown = torch.zeros_like(absurd), torch.ones_like(absurd)
    assert float(generalised_cross_entropy(logits, *unknown).detach()) == 0


def test_a_power_of_two_gives_dice_with_squared_denominators() -> None:
    known, q = labels(), logits_of().softmax(1)
    over = (0, 2, 3, 4)
    dice = 2 * (q * known).sum(over) / (q.square() + known).sum(over)
    wanted = (1 - dice)[1:].mean()
    found = noise_robust_dice(logits_of(), known, power=2.0)
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=0)


def test_robust_dice_sees_only_what_is_believed() -> None:
    known = labels()
    known[..., 1] = 0
    other = logits_of()
    other[..., 1] = logits_of(seed=5)[..., 1]
    one, two = (noise_robust_dice(logits, known) for logits in (logits_of(), other))
    torch.testing.assert_close(one, two)
    assert float(noise_robust_dice(other, torch.zeros_like(known))) == 0


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.95])
@pytest.mark.parametrize("length", [1, 2, 9])
def test_the_tridiagonal_precision_is_the_inverse_of_the_covariance(
    length: int, correlation: float
) -> None:
    apart = np.abs(np.subtract.outer(np.arange(length), np.arange(length)))
    dense = torch.tensor(correlation**apart, dtype=torch.float64)
    precision = kms_precision(length, correlation)
    torch.testing.assert_close(precision @ dense, torch.eye(length, dtype=torch.float64))
    assert not precision.triu(2).any()


def test_a_field_multiplies_by_the_product_of_its_axes() -> None:
    correlations = (0.5, 0.2, 0.8)
    x = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    axes = [torch.linalg.inv(kms_precision(n, c)) for n, c in zip(SHAPE, correlations, strict=True)]
    dense = torch.kron(torch.kron(axes[0], axes[1]), axes[2])
    field = Field.of(x, correlations)
    covariance = field.apply(x, field.spectrum)
    torch.testing.assert_close(covariance.flatten(), dense @ x.flatten())
    torch.testing.assert_close(field.apply(covariance, 1 / field.spectrum), x)


def test_without_correlation_every_voxel_is_decided_alone() -> None:
    agrees = torch.rand(1, *SHAPE, generator=torch.Generator().manual_seed(0))
    told = torch.ones_like(agrees)
    together = flip_posterior(agrees, told, correlations=(0.0, 0.0, 0.0))
    alone = [
        flip_posterior(
            one.reshape(1, 1, 1, 1), torch.ones(1, 1, 1, 1), correlations=(0.0, 0.0, 0.0)
        )
        for one in agrees.flatten()
    ]
    torch.testing.assert_close(together.flatten(), torch.cat(alone).flatten())


def test_without_spread_errors_are_independent_flips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voxhint.train.noise._SPREAD", 0.0)
    agrees = torch.rand(1, *SHAPE, generator=torch.Generator().manual_seed(0))
    rate = torch.tensor(-1.5).sigmoid()
    wanted = rate * (1 - agrees) / (rate * (1 - agrees) + (1 - rate) * agrees)
    found = flip_posterior(agrees, torch.ones_like(agrees), correlations=(0.5, 0.5, 0.5))
    torch.testing.assert_close(found, wanted)


def test_the_posterior_is_where_its_gradient_vanishes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voxhint.train.noise._TURNS", 300)
    agrees = torch.rand(1, *SHAPE, generator=torch.Generator().manual_seed(3)).double()
    wrong = flip_posterior(agrees, torch.ones_like(agrees), correlations=(0.5, 0.5, 0.5))
    # from the posterior back to the rate, by Bayes' rule, and to the lifted log-odds
    lifted = (wrong / (1 - wrong) * agrees / (1 - agrees)).log() + 1.5
    field = Field.of(agrees, (0.5, 0.5, 0.5))
    gradient = wrong - (lifted - 1.5).sigmoid() - field.apply(lifted, 1 / field.spectrum)
    assert gradient.abs().max() < 1e-5


def blobs() -> tuple[Tensor, Tensor, Tensor]:
    """Return truth, labels that are wrong in blobs, and what a middling network says."""
    rng = np.random.default_rng(0)
    shape = (24, 24, 24)
    truth = gaussian_filter(rng.normal(size=shape), 4) > 0
    smooth = gaussian_filter(rng.normal(size=shape), 2)
    wrong = smooth > np.quantile(smooth, 0.85)
    said = 0.8 * np.where(truth, 1, -1) + rng.normal(size=shape)
    q = torch.from_numpy(1 / (1 + np.exp(-1.6 * said))).float()
    return torch.from_numpy(truth), torch.from_numpy(truth ^ wrong), q


def test_of_labels_wrong_in_blobs_correlation_recovers_more_truth() -> None:
    truth, given, q = blobs()
    agrees = torch.where(given, q, 1 - q)[None]
    told = torch.ones_like(agrees)

    def right(correlation: float) -> float:
        wrong = flip_posterior(agrees, told, correlations=(correlation,) * 3)[0] > 0.5
        return float(((given ^ wrong) == truth).float().mean())

    given_right = float((given == truth).float().mean())
    assert given_right == pytest.approx(0.85, abs=0.01)
    assert right(0.8) > right(0.0) + 0.02
    assert right(0.8) > given_right + 0.05


def test_corrected_claims_keep_their_mass_and_leave_the_unsaid_alone() -> None:
    q = logits_of().softmax(1)
    known = labels()
    belief, plausible = corrected_claims(q, known, known, spacing_mm=(1.0, 1.0, 1.0))
    torch.testing.assert_close(belief.sum(1), torch.ones(2, *SHAPE))
    assert (belief >= 0).all()
    assert (plausible >= belief - 1e-6).all()
    assert (belief - known).abs().max() > 0.1
    tags = torch.zeros_like(q), torch.tensor([1.0, 0.0, 1.0]).reshape(1, 3, 1, 1, 1).expand_as(q)
    for said, kept in zip(
        tags, corrected_claims(q, *tags, spacing_mm=(1.0, 1.0, 1.0)), strict=True
    ):
        torch.testing.assert_close(kept, said)


def test_labels_that_the_network_agrees_with_stay_as_they_are() -> None:
    known = labels()
    belief, _ = corrected_claims(0.999 * known + 0.0005, known, known, spacing_mm=(1.0, 1.0, 1.0))
    assert (belief - known).abs().max() < 0.01
