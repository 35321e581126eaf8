"""Knobs of training."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Le

from voxhint.config.machine import seconds_of
from voxhint.config.ranges import Count, Knobs, Natural, Positive, Share, Weight, read_by
from voxhint.core.errors import BadRecipeError

_BUDGET = "1h"  # a laptop bears it, and small studies stop earlier

View = Literal["plain", "soft-tissue", "wide", "gradient", "smooth", "style"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig(Knobs):
    """How a network learns from soft labels."""

    supervision: Literal["weak", "dense"] = "weak"
    """Learn from hints, or from `denseTr` for the upper bound."""

    network: Literal["auto", "dynunet", "segresnet", "probabilistic", "crossmodal"] = "auto"
    """The trunk: a network of MONAI's, a transformer with random attention, or a network for each
    channel and one that joins them; auto is the last where a channel may be missing or is seen in
    several views, and else dynunet."""

    width: Count = 16
    """Feature maps at full resolution; doubled at each level, at most 20 times as many. Tokens of
    the probabilistic network have 48 times as many, so that 16 is its published size."""

    attention: Literal["bilinear", "additive"] = "bilinear"
    """Of the probabilistic network: repaired, or as published, where every query sees the same."""

    kl_weight: Weight = 0.003
    """Weight of the divergence of random attention from the usual one, summed over the layers."""

    steps: Count | None = None
    """Optimiser steps, exactly; if neither these nor a budget are given, the budget is 1h."""

    budget: Annotated[str, read_by(seconds_of)] | None = None
    """Wall-clock time for training, such as 90s, 20m or 2h; it ends before where held-out hints no
    longer get better. More of either may be asked for later: training goes on."""

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
    """Weight of what the averaged network says with confidence where hints say nothing, after 200
    steps."""

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

    pseudo_modalities: tuple[View, ...] = ()
    """Views of an only channel that the network sees instead of it, each as a channel: itself, two
    windows in HU, steepness, smoothed between edges, repainted at every step."""

    hu_window: tuple[float, float] | None = None
    """Clip channels in HU to lie between these, such as -160 and 240 for soft tissue, so that the
    network sees faint contrast; what nearly all voxels of the study hold if not given."""

    jitter_mm: Weight = 0.0
    """Shift the channels after the first by up to this much: registration is never perfect."""

    fusion: Literal["sum", "squeeze", "gated", "attention"] = "sum"
    """How `crossmodal` joins features: a sum, squeeze and excite, a gated sum, or cross-attention
    at the coarsest level."""

    shared_encoder: bool = False
    """All channels of `crossmodal` share convolutions, and have norms of their own."""

    branch_width: Positive = 0.7
    """Feature maps of each channel's own network in `crossmodal`, as a share of the joint ones;
    0.7 makes two such networks as dear as one."""

    joint_output: Literal["joint", "mean"] = "joint"
    """What `crossmodal` predicts: the joint branch, or the mean of all branches."""

    modality_dropout: Share = 0.3
    """Chance that `crossmodal` leaves a channel out of a training patch; one always stays."""

    branch_weight: Weight = 0.0
    """Weight of what the hints say to the branches of `crossmodal`, beside the joint one; they cost
    as much again."""

    consistency_weight: Weight = 0.0
    """Weight of the divergence of the branches from the joint one, where that is sure."""

    consistency_back: Weight = 0.5
    """Share of that weight for the divergence of the joint branch from the others."""

    consistency_sure: Share = 0.8
    """Probability from which a branch is sure enough to teach another."""

    prototype_weight: Weight = 0.0
    """Weight of the angle between what the branches make of a class."""

    mixed_weight: Weight = 0.0
    """Weight of Dice against random mixtures of what all branches of the averaged network say."""

    mixed_agreed: bool = False
    """Take from such a mixture only voxels on which all branches agree."""

    ramp: Natural = 400
    """Steps in which the weights between branches rise."""

    def require_sense(self) -> None:  # type: ignore[explicit-override]
        """Refuse knobs that contradict each other.

        Raises:
            BadRecipeError: They do.
        """
        if self.loss == "published" and self.noise in ("dice", "gce"):
            msg = f"noise {self.noise} has no place in the published loss; use loss hints"
            raise BadRecipeError(msg)
        if self.joint_output == "mean" and not self.branch_weight:
            msg = "joint_output mean asks branches that learn nothing; set branch_weight"
            raise BadRecipeError(msg)
        if self.hu_window is not None and self.hu_window[0] >= self.hu_window[1]:
            msg = f"hu_window {self.hu_window[0]:g} to {self.hu_window[1]:g} holds nothing; "
            raise BadRecipeError(msg + "write the lower value first, such as -160 and 240")

    @property
    def time(self) -> str | None:
        """Return the wall-clock budget, None where a number of steps was asked for."""
        return self.budget or (None if self.steps else _BUDGET)
