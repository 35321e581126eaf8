"""Losses that labels with errors mislead less, and a posterior of errors that come in blobs."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from voxhint.train.losses import known_mass

Classes = Float[Tensor, "batch class i j k"]
Voxels = Float[Tensor, "batch i j k"]
Matrix = Float[Tensor, "n n"]
Scalar = Float[Tensor, ""]

_RATE = -1.5  # prior log-odds that a label is wrong
_SPREAD = 1.0  # prior standard deviation of the log-odds
_LENGTH_MM = 5.0  # distance at which the log-odds are correlated by 1/e
_TURNS = 10  # of the ascent to the likeliest log-odds
_SMOOTH = 1e-3  # voxels


def generalised_cross_entropy(
    logits: Classes, belief: Classes, plausible: Classes, *, power: float = 0.7
) -> Scalar:
    """Score logits like partial cross-entropy, but charge (1 - q^p) / p instead of -log q.

    A voxel whose label the network finds absurd pulls less. A power near 0 gives partial
    cross-entropy, a power of 1 the absolute error 1 - q.

    Args:
        logits: Network output, before softmax.
        belief: Least chance of each class.
        plausible: Largest chance of each class.
        power: From above 0 to 1.

    Returns:
        Mean charge of a fully known voxel; 0 if nothing is known.

    Source:
        Zhang and Sabuncu 2018, "Generalized cross entropy loss for training deep neural networks
        with noisy labels".
    """
    logq = logits.log_softmax(1)
    still = (logits + plausible.clamp(min=1e-6).log()).logsumexp(1) - logits.logsumexp(1)
    left = (1 - belief.sum(1)).clamp(min=0)
    # expm1 and logarithms: a power of a probability that is 0 has no gradient
    charge = (belief * -torch.expm1(power * logq)).sum(1) - left * torch.expm1(power * still)
    return charge.sum() / power / known_mass(belief, plausible).sum().clamp(min=1.0)


def noise_robust_dice(logits: Classes, belief: Classes, *, power: float = 1.5) -> Scalar:
    """Measure sum |q - y|^p / (sum q^2 + sum y^2) of the foreground, over voxels with beliefs.

    A power of 2 gives the Dice loss with squared denominators, a power of 1 an absolute error
    that labels with errors mislead less.

    Args:
        logits: Network output, before softmax.
        belief: Least chance of each class; its sum is the weight of the voxel.
        power: From 1 to 2.

    Returns:
        Mean over the foreground classes in which anything is believed; 0 if there is none.

    Source:
        Wang et al. 2020, "A noise-robust framework for automatic segmentation of COVID-19
        pneumonia lesions from CT images".
    """
    q = logits.softmax(1)
    weight = belief.sum(1, keepdim=True)
    y = belief / weight.clamp(min=1e-6)
    over = (0, 2, 3, 4)
    apart = (weight * (q - y).abs().pow(power)).sum(over)
    total = (weight * (q.square() + y.square())).sum(over)
    seen = (belief.sum(over) > _SMOOTH).float()[1:]
    return (apart / (total + _SMOOTH))[1:].mul(seen).sum() / seen.sum().clamp(min=1.0)


def kms_precision(length: int, correlation: float) -> Matrix:
    """Return the inverse of the Kac-Murdock-Szego matrix with entries correlation^|i - j|.

    It is the precision of an autoregression of first order, so it is tridiagonal.

    Args:
        length: Rows.
        correlation: Of neighbours, from 0 to below 1.

    Returns:
        The matrix, in float64.

    Source:
        Kac, Murdock and Szego 1953, "On the eigenvalues of certain Hermitian forms".
    """
    if length == 1:
        return torch.ones(1, 1, dtype=torch.float64)
    main = torch.full((length,), 1 + correlation**2, dtype=torch.float64)
    main[0] = main[-1] = 1
    beside = torch.full((length - 1,), -correlation, dtype=torch.float64)
    matrix = torch.diag(main) + torch.diag(beside, 1) + torch.diag(beside, -1)
    return matrix / (1 - correlation**2)


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """A covariance on a grid: the product of a Kac-Murdock-Szego matrix for each axis."""

    axes: tuple[Float[Tensor, "i i"], Float[Tensor, "j j"], Float[Tensor, "k k"]]
    """Eigenvectors of each axis, as columns."""

    spectrum: Float[Tensor, "i j k"]
    """Eigenvalues."""

    @staticmethod
    def of(like: Voxels, correlations: tuple[float, float, float]) -> "Field":
        """Return the covariance on the grid of some voxels, with correlations of neighbours."""
        values, axes = [], []
        for length, correlation in zip(like.shape[1:], correlations, strict=True):
            inverse, vectors = torch.linalg.eigh(kms_precision(length, correlation))
            values.append(1 / inverse)
            axes.append(vectors.to(like))
        spectrum = torch.einsum("i,j,k->ijk", *values).to(like)
        return Field((axes[0], axes[1], axes[2]), spectrum)

    def apply(self, field: Voxels, spectrum: Float[Tensor, "i j k"]) -> Voxels:
        """Return the product with the matrix that has these eigenvectors and other eigenvalues."""
        ahead = torch.einsum("nijk,ia,jb,kc->nabc", field, *self.axes)
        return torch.einsum("nabc,ia,jb,kc->nijk", ahead * spectrum, *self.axes)


def flip_posterior(
    agrees: Voxels, told: Voxels, *, correlations: tuple[float, float, float], others: int = 1
) -> Voxels:
    """Return how likely the label of each voxel is wrong, given what a network makes of it.

    The log-odds that a label is wrong are a Gaussian field whose neighbours are correlated; given
    them, labels are wrong one by one, and a wrong label is any other class. Labels that a network
    disputes together so raise the odds of their neighbourhood, and one alone does not. The field
    is put at its likeliest value, by an ascent whose steps bound the curvature of the logistic.

    Args:
        agrees: Probability that the network gives to the label of each voxel.
        told: How far a voxel has a label at all, from 0 to 1.
        correlations: Of the log-odds of neighbours along each axis, from 0 to below 1.
        others: Classes that a wrong label may hide.

    Returns:
        Probabilities; without labels what the neighbourhood suggests.

    Source:
        The model is that of Tadokoro, Takagi and Maeda 2025, "A Bayesian approach to segmentation
        with noisy labels via spatially correlated distributions"; there the posterior of each
        image is trained. The bound: Boehning and Lindsay 1988.
    """
    field = Field.of(agrees, correlations)
    variance = _SPREAD**2 * field.spectrum
    step = variance / (1 + variance / 4)
    against = (1 - agrees) / others
    lifted = torch.zeros_like(agrees)
    for _ in range(_TURNS):
        rate = (_RATE + lifted).sigmoid()
        wrong = _bayes(rate, agrees, against)
        lifted = field.apply(told * (wrong - rate) + lifted / 4, step)
    rate = (_RATE + lifted).sigmoid()
    return torch.where(told > 0, _bayes(rate, agrees, against), rate)


def _bayes(rate: Voxels, agrees: Voxels, against: Voxels) -> Voxels:
    """Return the probability of an error, from its rate and the odds a network gives."""
    wrong = rate * against
    return wrong / (wrong + (1 - rate) * agrees).clamp(min=1e-12)


def corrected_claims(
    q: Classes, belief: Classes, plausible: Classes, *, spacing_mm: tuple[float, float, float]
) -> tuple[Classes, Classes]:
    """Return claims in which labels are as doubtful as their posterior of errors says.

    Belief that is likely wrong moves to the other classes, by how likely the network finds them,
    and what is ruled out beside it becomes as possible.

    Args:
        q: Probability of each class; gets no gradient.
        belief: Least chance of each class.
        plausible: Largest chance of each class.
        spacing_mm: Of the patch; errors are correlated over 5 mm.

    Returns:
        Belief and plausibility.
    """
    with torch.no_grad():
        told = belief.sum(1)
        agrees = (belief * q).sum(1) / told.clamp(min=1e-6)
        near = [math.exp(-step / _LENGTH_MM) for step in spacing_mm]
        wrong = flip_posterior(
            agrees, told, correlations=(near[0], near[1], near[2]), others=q.shape[1] - 1
        )
        wrong = torch.where(told > 0, wrong, 0).unsqueeze(1)
        moved = belief * wrong
        each = moved / (1 - q).clamp(min=1e-6)  # for each unit of probability of another class
        corrected = belief - moved + q * (each.sum(1, keepdim=True) - each)
        return corrected, 1 - (1 - plausible) * (1 - wrong)
