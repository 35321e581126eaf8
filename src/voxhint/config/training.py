"""Knobs of training."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Le

from voxhint.config.machine import seconds_of
from voxhint.config.ranges import Count, Knobs, Positive, Share, Weight, read_by
from voxhint.core.errors import BadRecipeError

_BUDGET = "1h"  # a laptop bears it, and small studies stop earlier

View = Literal["plain", "soft-tissue", "wide", "gradient", "smooth", "style"]
_Network = Literal["auto", "dynunet", "segresnet", "probabilistic", "crossmodal"]
_Supervision = Literal["weak", "dense"]
Loss = Literal["hints", "probability", "pw4medseg"]
_Attention = Literal["bilinear", "additive"]
_Fusion = Literal["sum", "squeeze", "gated", "attention"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PW4MedSegTrainConfig(Knobs):
    """The transformer with random attention of PW4MedSeg (network probabilistic)."""

    attention: _Attention = "bilinear"
    """bilinear is repaired; additive is as published, where every query attends to the same
    places."""

    kl_weight: Weight = 0.003
    """Weight of the divergence of random attention from the usual one, summed over the layers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossModalConfig(Knobs):
    """A network for each channel and one that joins them (network crossmodal), after CmFNet."""

    fusion: _Fusion = "sum"
    """How features are joined: a sum, squeeze and excite, a gated sum, or cross-attention at the
    coarsest level."""

    branch_width: Positive = 0.7
    """Feature maps of each channel's own network, as a share of the joint ones; with 0.7 two
    such networks cost as much as one."""

    modality_dropout: Share = 0.3
    """Chance that a channel is left out of a training patch; one always stays."""

    branch_weight: Weight = 0.0
    """Weight of the losses of the branches beside the joint one; they cost as much again."""

    consistency_weight: Weight = 0.0
    """Weight of cross-branch consistency: divergence of the branches from the joint one where that
    is sure, and half of it the other way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig(Knobs):
    """How a network learns from soft labels."""

    supervision: _Supervision = "weak"
    """Learn from hints, or from `denseTr` for the upper bound."""

    network: _Network = "auto"
    """dynunet and segresnet are MONAI's; probabilistic is a transformer with random attention;
    crossmodal has a network for each channel and one that joins them. auto is crossmodal where
    a channel may be missing or is seen in several views, and else dynunet."""

    width: Count = 16
    """Feature maps at full resolution; doubled at each level, at most 20 times as many. Tokens of
    the probabilistic network have 48 times as many, so that 16 is its published size."""

    steps: Count | None = None
    """Optimiser steps, exactly. Without steps and budget, the budget is 1h."""

    budget: Annotated[str, read_by(seconds_of)] | None = None
    """Wall-clock time of training, such as 90s, 20m or 2h. It ends sooner if held-out hints
    stop getting better. Ask for more later, and training goes on."""

    batch: Count | None = None
    """Patches a step; if not given, two large ones or up to 12 small ones."""

    patch_voxels: Count = 110_000
    """Most voxels of a patch; they decide memory."""

    learning_rate: Positive = 2e-3
    """AdamW's step size, after a warm-up of 50 steps."""

    loss: Loss = "hints"
    """hints learns all that soft labels say, probability only what they say with confidence;
    pw4medseg is the probability-informed loss of PW4MedSeg."""

    dice_weight: Weight | None = None
    """Weight of the Dice loss beside cross-entropy. If not given, 1 for dense masks, 0.5 where
    tags alone taught a label, and else 0.3, because Dice makes uncertain regions too large."""

    crf_weight: Weight = 0.0
    """Weight of the gated CRF loss: close voxels that look alike should have the same label."""

    held_out: Annotated[float, Ge(0), Le(0.5)] = 0.1
    """Share of the subjects whose hints choose the checkpoint instead of training it."""

    flips: bool | None = None
    """Flip patches at random, and paste what tags taught into patches without it; if not given,
    where the classifier of tags flips. Not for labels of left and right, or of one place."""

    hu_window: tuple[float, float] | None = None
    """Clip channels in HU to this window, such as -160 240 for soft tissue, so that the network
    sees faint contrast; if not given, to the range of nearly all voxels of the study."""

    pseudo_modalities: tuple[View, ...] = ()
    """Views of an only channel that the network sees instead of it, each as a channel: itself,
    two windows in HU, gradient, smoothed between edges, repainted at every step."""

    crossmodal: CrossModalConfig = field(default_factory=CrossModalConfig)
    pw4medseg: PW4MedSegTrainConfig = field(default_factory=PW4MedSegTrainConfig)

    def require_sense(self) -> None:  # type: ignore[explicit-override]
        """Refuse knobs that contradict each other.

        Raises:
            BadRecipeError: They do.
        """
        if self.hu_window is not None and self.hu_window[0] >= self.hu_window[1]:
            msg = f"hu_window {self.hu_window[0]:g} to {self.hu_window[1]:g} holds nothing; "
            raise BadRecipeError(msg + "write the lower value first, such as -160 and 240")

    @property
    def time(self) -> str | None:
        """Return the wall-clock budget, None where a number of steps was asked for."""
        return self.budget or (None if self.steps else _BUDGET)
