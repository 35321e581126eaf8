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

    tag_fused: tuple[TagMethod, ...] = ()
    """Further maps, joined with that of tag_method on the scale of healthy images."""

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

    predictor_backbone: Literal["own", "medsam-tinyvit", "radimagenet-resnet50"] = "own"
    """What looks at places: a short network of ours, or public weights that see slice by slice."""

    predictor_weights: str | None = None
    """File of the public weights; looked for where `voxhint models` says if not given."""

    predictor_tune: bool = True
    """Let public weights learn too; off keeps them, and teaches the scores alone."""

    predictor_mirror: bool = True
    """Flips of images for the predictor, and a mean over them; not for labels of left and right."""

    bag_voxels: Count = 60_000
    """Voxels of an image as the predictor sees it at most; larger ones are made coarser."""

    tag_threshold: Literal["quantile", "fdr", "cluster"] = "quantile"
    """What counts as seen: voxels above a quantile of images tagged absent, voxels of a bounded
    false discovery rate, or clusters heavier than those of images tagged absent."""

    null_quantile: Share = 0.995
    """Share of voxels of images tagged absent that lie below the threshold of a map, or outside
    clusters."""

    tag_error: Share = 0.2
    """Share of the voxels seen that may be false (fdr), or of the healthy images in which a cluster
    may be seen (cluster)."""

    null_contexts: Count = 1
    """Kinds of places, by how dense the tissue around them is, that fdr and cluster tell apart."""

    regions: Count = 1
    """Regions of a label in an image, or in a range of slices, at most."""

    smallest_mm: Weight = 0.0
    """Diameter, of a ball of equal volume, that a region found from a tag has at least."""

    largest_mm: Positive | None = None
    """Diameter that such a region has at most."""

    verify: Literal["off", "on"] = "off"
    """Teach a second predictor the tags, and believe a region only if it misses the region when its
    surroundings are grown over it."""

    tag_trust: Share = 0.8
    """Trust in a region found from a tag, away from its border."""

    presence_specificity: Share = 0.5
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
