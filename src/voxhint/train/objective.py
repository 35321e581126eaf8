"""Which losses a config asks for, as one number of logits and claims."""

from jaxtyping import Float
from torch import Tensor

from voxhint.config import TrainConfig
from voxhint.train.losses import hint_loss
from voxhint.train.probability_losses import confident_claims, pw4medseg_loss

_Classes = Float[Tensor, "batch class i j k"]
_Scalar = Float[Tensor, ""]

_DICE = {"weak": 0.3, "dense": 1.0}  # on doubtful labels soft Dice favours too much foreground


def claims_loss(
    logits: _Classes, belief: _Classes, plausible: _Classes, config: TrainConfig
) -> _Scalar:
    """Return what logits cost that are held against claims.

    Args:
        logits: Network output, before softmax.
        belief: Least chance of each class.
        plausible: Largest chance of each class.
        config: Names the loss.

    Returns:
        The loss of a batch.
    """
    if config.loss == "pw4medseg":
        return pw4medseg_loss(logits, belief, plausible)
    if config.loss == "probability":
        belief, plausible = confident_claims(belief, plausible)
    weight = config.dice_weight
    return hint_loss(
        logits,
        belief,
        plausible,
        dice_weight=_DICE[config.supervision] if weight is None else weight,
    )
