"""What training minimises: cross-entropy where something is known, and Dice where it is known."""

import torch
from jaxtyping import Float
from torch import Tensor

_Classes = Float[Tensor, "batch class i j k"]
_Scalar = Float[Tensor, ""]

_SLIGHT = 1e-4  # mass below it is rounding
_SMOOTH = 1e-3  # voxels: keeps Dice of an unseen class from dividing by nothing


def partial_cross_entropy(logits: _Classes, belief: _Classes, plausible: _Classes) -> _Scalar:
    """Score logits against what is known of each voxel, whatever form that takes.

    Belief b_c in a class is scored as ordinary cross-entropy. What rules a class out beyond the
    beliefs in others, r_c = 1 - u_c - sum of b_d over d != c with plausibility u, names a set of
    classes instead: the mass r = max r_c is scored over what it leaves, -log sum_c (1 - r_c / r)
    q_c. The mass that is left, 1 - sum b - r, is scored over the classes that are still possible:
    -log sum_c u_c q_c. A labelled voxel so gives -log q_label, "A is absent" gives -log(1 - q_A),
    and a voxel of which nothing is known gives exactly 0.

    Args:
        logits: Network output, before softmax.
        belief: Least chance of each class.
        plausible: Largest chance of each class, at least the belief.

    Returns:
        Nats for each fully known voxel; 0 if nothing is known.

    Source:
        The loss for candidate label sets of Jin and Ghahramani 2002, "Learning with multiple
        labels", weighed by Shafer's masses, belief and plausibility.
    """
    logq = logits.log_softmax(1)
    mass, weights, left = _beyond_belief(belief, plausible)
    loss, every = -(belief * logq).sum(1), logits.logsumexp(1)
    for share, possible in ((mass, weights), (left, plausible)):
        # both sums are one number where every class is possible, so their difference is exactly 0
        still = (logits + possible.clamp(min=1e-6).log()).logsumexp(1) - every
        loss = loss - share * still
    return loss.sum() / _known_mass(belief, plausible).sum().clamp(min=1.0)


def _beyond_belief(
    belief: _Classes, plausible: _Classes
) -> tuple[Float[Tensor, "batch i j k"], _Classes, Float[Tensor, "batch i j k"]]:
    """Return the mass that rules classes out, how far it leaves each, and the mass left over."""
    left = (1 - belief.sum(1, keepdim=True)).clamp(min=0)
    ruled_out = (left - (plausible - belief)).clamp(min=0)
    mass = ruled_out.amax(1)
    weights = 1 - ruled_out / mass.clamp(min=_SLIGHT)[:, None]
    return mass, weights, (left[:, 0] - mass).clamp(min=0)


def _known_mass(belief: _Classes, plausible: _Classes) -> Float[Tensor, "batch i j k"]:
    """Return how much each voxel is known: its beliefs, or else the share of classes ruled out."""
    left = (1 - belief.sum(1)).clamp(min=0)
    return belief.sum(1) + left * (1 - plausible).mean(1)


def class_shares(
    belief: _Classes, plausible: _Classes, *, rounds: int = 30
) -> Float[Tensor, " class"]:
    """Return how often each class is met, as far as claims tell.

    Of all answers that are the same everywhere it is the one with the least partial cross-entropy,
    found by expectation maximisation: what is not known is met as often as where it is known.

    Args:
        belief: Least chance of each class.
        plausible: Largest chance of each class, at least the belief.
        rounds: Of the maximisation.

    Returns:
        Shares, the sum of which is 1; all alike if nothing is known.
    """
    parts = _beyond_belief(belief, plausible)
    mass, left = parts[0].flatten(), parts[2].flatten()
    belief, weights, plausible = (
        claims.movedim(1, 0).flatten(1) for claims in (belief, parts[1], plausible)
    )
    shares = torch.full((len(belief),), 1 / len(belief), dtype=belief.dtype, device=belief.device)
    for _ in range(rounds):
        met = belief
        for share, still in ((mass, weights), (left, plausible)):
            possible = still * shares[:, None]
            met = met + share * possible / possible.sum(0).clamp(min=1e-6)
        shares = met.sum(1) / met.sum().clamp(min=1e-6)
    return shares


def trusted_dice(logits: _Classes, belief: _Classes, plausible: _Classes) -> _Scalar:
    """Measure one minus soft Dice of the foreground, each class over the voxels that know of it.

    A voxel knows of a class what it believes and what it rules out. That counts where it is not
    known what the voxel holds instead: background that may be an organ which nobody outlined is
    still no other organ, and a network that calls it one must pay.

    Args:
        logits: Network output, before softmax.
        belief: Least chance of each class.
        plausible: Largest chance of each class, at least the belief.

    Returns:
        Mean over the foreground classes in which anything is believed; 0 if there is none.
    """
    q = logits.softmax(1)
    known = (belief + 1 - plausible).clamp(min=0)
    over = (0, 2, 3, 4)
    # belief = what is known x target, so what is known never needs to be divided out
    overlap = (q * belief).sum(over)
    total = (q * known).sum(over) + belief.sum(over)
    dice = (2 * overlap + _SMOOTH) / (total + _SMOOTH)
    seen = (belief.sum(over) > _SMOOTH).float()[1:]
    return ((1 - dice[1:]) * seen).sum() / seen.sum().clamp(min=1.0)


def hint_loss(
    logits: _Classes,
    belief: _Classes,
    plausible: _Classes,
    *,
    dice_weight: float,
) -> _Scalar:
    """Return partial cross-entropy plus `dice_weight` times the Dice loss."""
    entropy = partial_cross_entropy(logits, belief, plausible)
    return entropy + dice_weight * trusted_dice(logits, belief, plausible)
