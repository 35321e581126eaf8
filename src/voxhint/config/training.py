"""Knobs of training."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Le

from voxhint.config.ranges import STRICT, Count, Positive, Share, Weight


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """How a network learns from soft labels."""

    __pydantic_config__ = STRICT

    supervision: Literal["weak", "dense"] = "weak"
    """Learn from hints, or from `denseTr` for the upper bound."""

    network: Literal["dynunet", "segresnet", "probabilistic"] = "dynunet"
    """The trunk: a network of MONAI's, or a transformer with random attention."""

    width: Count = 16
    """Feature maps at full resolution; doubled at each level, at most 20 times as many. Tokens of
    the probabilistic network have 48 times as many, so that 16 is its published size."""

    attention: Literal["bilinear", "additive"] = "bilinear"
    """Of the probabilistic network: repaired, or as published, where every query sees the same."""

    kl_weight: Weight = 0.003
    """Weight of the divergence of random attention from the usual one, summed over the layers."""

    steps: Count = 1000
    """Optimiser steps."""

    budget: str | None = None
    """Wall-clock time for training, such as 90s, 20m or 2h; sets the steps by measuring."""

    batch: Count | None = None
    """Patches a step; two large ones or up to 12 small ones if not given."""

    patch_voxels: Count = 110_000
    """Voxels of a patch at most: what decides memory."""

    learning_rate: Positive = 2e-3
    """Peak of AdamW's step size."""

    dice_weight: Weight | None = None
    """Weight of the Dice loss beside cross-entropy; if not given 1 for dense masks, 0.5 where tags
    alone taught a label, and else 0.3, because Dice swells what is in doubt."""

    loss: Literal["hints", "probability", "published"] = "hints"
    """What soft labels ask for: what they say, only what they say with confidence, or the
    probability-informed loss of PW4MedSeg."""

    noise: Literal["none", "dice", "gce", "correlated"] = "none"
    """For labels with errors: noise-robust Dice, generalised cross-entropy, or labels corrected
    by a posterior of errors that come in blobs."""

    teacher_weight: Weight = 0.0
    """Weight of what the averaged network says with confidence where hints say nothing, after a
    fifth of the training."""

    size_weight: Weight = 0.0
    """Weight of the size prior: a label should fill the convex hull of its hints, give or take
    40 %; for points spread over a whole organ."""

    crf_weight: Weight = 0.0
    """Weight of the gated CRF loss: close voxels that look alike should have the same label."""

    tv_weight: Weight = 0.0
    """Weight of total variation, in mm: borders should be short."""

    mumford_shah_weight: Weight = 0.0
    """Weight of the Mumford-Shah loss: the voxels of a class should look alike."""

    paste: Share = 0.0
    """Share of the patches without a label that get a lesion of it, lifted from cases that show
    one."""

    held_out: Annotated[float, Ge(0), Le(0.5)] = 0.1
    """Share of the subjects whose hints choose the checkpoint instead of training it."""

    mirror: bool | None = None
    """Flip patches at random; if not given, where the predictor of tags did. Not for labels of left
    and right."""
