"""Knobs of labelling."""

from dataclasses import dataclass
from typing import Literal

from voxhint.config.ranges import STRICT, Count, Positive, Share, Weight

TagMethod = Literal[
    "cam",
    "grad-cam",
    "grad-cam++",
    "layer-cam",
    "hires-cam",
    "score-cam",
    "gradient",
    "smooth-grad",
    "input-x-gradient",
    "integrated-gradients",
    "occlusion",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelConfig:
    """How hints become soft labels."""

    __pydantic_config__ = STRICT

    method: Literal["geodesic", "gaussian", "none"] = "geodesic"
    """How a hint spreads: along ways that avoid edges, as a bell in millimetres, or not at all."""

    tag_method: TagMethod = "smooth-grad"
    """Map of evidence that shows where an image-level predictor saw what a tag names."""

    weights: Literal["auto", "none"] = "auto"
    """Take networks that come with voxhint where they know the label and the kind of image, or
    train on the study whatever it holds."""

    refine: Literal["half-maximum", "random-walker", "active-contour", "none"] = "half-maximum"
    """How the region around the strongest evidence finds its border; none cuts the map at what
    images tagged absent show by chance."""

    pooling: Literal["lse", "max", "mean", "attention"] = "lse"
    """How the predictor joins the places of an image: log-sum-exp, maximum, mean or attention."""

    predictor_steps: Count = 600
    """Optimiser steps of the predictor."""

    predictor_width: Count = 16
    """Its feature maps at the first level."""

    predictor_flat: bool = False
    """See slices one by one after a look at their neighbours (2.5D)."""

    predictor_mirror: bool = True
    """Flips of images for the predictor, and a mean over them; not for labels of left and right."""

    bag_voxels: Count = 60_000
    """Voxels of an image as the predictor sees it at most; larger ones are made coarser."""

    flow_steps: Count = 6000
    """Optimiser steps of the flow, which learns what images with and without a label look like."""

    flow_width: Count = 32
    """Its feature maps at the first level."""

    flow_voxels: Count = 8_000
    """Voxels of an image as the flow sees it at most; larger ones are made coarser."""

    flow_times: Literal["uniform", "middle", "noisy"] = "noisy"
    """Noise levels the flow learns most: all alike, those around one half, or the high ones."""

    flow_seen: Weight = 0.3
    """Weight of naming the labels that the flow sees through the noise, beside its error."""

    flow_tags: Literal["seen", "told"] = "seen"
    """How the flow goes to an image with or without a label: by Bayes' rule from what it sees
    itself in the noise, or by what it answers when told a tag."""

    flow_mirror: bool = True
    """Flips of images for the flow; not for labels of left and right."""

    null_quantile: Share = 0.995
    """Share of voxels of images tagged absent that lie below the threshold of a map."""

    tag_trust: Share = 0.8
    """Trust in a region found from a tag, away from its border."""

    presence_specificity: Share = 0.75
    """Share of the images tagged absent that the predictor is to call absent; masks of images
    without tags are empty where it does."""

    reach_mm: Positive | None = None
    """How far a point or stroke speaks for its neighbours; planned from the hints if not given."""

    edge_weight: Weight = 2.0
    """How much longer a way gets over an edge; 0 ignores the image (geodesic only)."""

    guess_trust: Share = 0.3
    """Highest trust in what only follows from the shape of a box or a ball."""

    background_trust: Share = 0.1
    """Trust in background far from the hints of a case that shows no background at all."""
