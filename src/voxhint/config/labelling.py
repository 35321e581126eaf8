"""Knobs of labelling."""

from dataclasses import dataclass
from typing import Literal

from voxhint.config.ranges import Count, Knobs, Positive, Share, Weight
from voxhint.core.errors import BadRecipeError

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
    "guided-flow",
    "guided-flow-paired",
    "label-flow",
    "edit-flow",
    "flow-contrast",
    "inpaint",
    "pixel-counterfactual",
    "reconstruction-error",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelConfig(Knobs):
    """How hints become soft labels."""

    method: Literal["geodesic", "pw4medseg", "none"] = "geodesic"
    """How a hint spreads: along ways that avoid edges, as bells as published with PW4MedSeg, or not
    at all."""

    bell_mm: Positive = 10.0
    """Standard deviation of the bell of pw4medseg."""

    across_cases: bool = True
    """Learn from the hints of all cases how classes look and where they lie; used where it helps
    with cases held out."""

    across_steps: Count = 2000
    """Optimiser steps of what is learnt across cases."""

    across_trust: Share = 0.5
    """Least trust, per lead over the second class, far from hints where cases teach each other."""

    tag_method: TagMethod = "smooth-grad"
    """Map of evidence that shows where a tag's label lies: from an image-level predictor alone, or
    by what goes away as an image is changed into one without it."""

    counterfactuals: bool = False
    """Also write the images as they would be without what tags name."""

    tag_fused: tuple[TagMethod, ...] | None = None
    """Further maps, joined with that of tag_method on the scale of healthy images; if not given,
    grad-cam++ beside smooth-grad and none beside others."""

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

    flow_steps: Count = 6000
    """Optimiser steps of the flow, which learns what images with and without a label look like."""

    flow_width: Count = 32
    """Its feature maps at the first level."""

    flow_voxels: Count = 8_000
    """Voxels of an image as the flow sees it at most; larger ones are made coarser."""

    flow_times: Literal["uniform", "middle", "noisy"] = "middle"
    """Noise levels the flow learns most: all alike, those around one half, where most methods
    start, or the high ones, where `inpaint` does."""

    flow_seen: Weight = 0.3
    """Weight of naming the labels that the flow sees through the noise, beside its error."""

    flow_tags: Literal["seen", "told"] = "seen"
    """How the flow goes to an image with or without a label: by Bayes' rule from what it sees
    itself in the noise, or by what it answers when told a tag."""

    flow_mirror: bool = True
    """Flips of images for the flow; not for labels of left and right."""

    edit_init: Literal["noise", "inversion"] | None = None
    """What an image is changed from: itself mixed with noise, or the noise the flow makes of it.
    This and each further `edit` or `guide` knob is the method's own if not given."""

    edit_start: Share | None = None
    """Noise level to change images from; higher lets larger things go."""

    edit_steps: Count | None = None
    """Steps from there to the image."""

    edit_scheme: Literal["euler", "heun", "midpoint", "fireflow"] | None = None
    """Solver of inversion, and of ways back without guidance."""

    edit_weight: Weight | None = None
    """How far beyond "present" the way back leads: 1 is "absent", more exaggerates."""

    edit_repeats: Count | None = None
    """Draws of noise that are averaged."""

    edit_difference: Literal["absolute", "positive"] | None = None
    """Map of all that changed, or of what the label's kind of tissue lost."""

    edit_reference: Literal["original", "paired"] | None = None
    """What a changed image is compared with: the original, or its twin made without a change."""

    edit_block_mm: Positive | None = None
    """Edge of the blocks that inpainting fills in."""

    edit_smooth_mm: Weight | None = None
    """Last blur of the map."""

    edit_windows: Count = 4
    """Windows of the flow's patch that are looked at in images of more than four times its size:
    the predictor's strongest places. Elsewhere there is no evidence."""

    guide_first: Count | None = None
    """Steps that the predictor guides."""

    guide_rho: Weight | None = None
    """Variance guidance: RMS length of a step of the noisy image."""

    guide_mu: Weight | None = None
    """Mean guidance: RMS length of a step of the image estimate."""

    guide_iterations: Count | None = None
    """Steps of mean guidance."""

    guide_recurrences: Count | None = None
    """Times each guided step is taken, with fresh noise in between."""

    guide_draws: Count | None = None
    """Noisy copies of the image estimate that the predictor's answer is averaged over."""

    guide_sigma: Weight | None = None
    """Standard deviation of their noise."""

    guide_schedule: Literal["constant", "noise", "image", "ratio"] | None = None
    """Strength of guidance at noise level s: 1, s, 1 - s or s / (1 - s)."""

    guide_gradient: Literal["through", "skipped"] | None = None
    """Take the gradient through the flow, or skip it."""

    guide_gate: Share | None = None
    """Scale guidance by the probability that the label is there, and stop below this one."""

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
    """How far from its hints a label may be found where nothing else is shown; planned from how
    far they lie apart if not given."""

    edge_weight: Weight = 2.0
    """How much longer a way gets over an edge; 0 ignores the image (geodesic only)."""

    guess_trust: Share = 0.7
    """Highest trust in what only follows from the shape of a box or a ball."""

    def require_sense(self) -> None:  # type: ignore[explicit-override]
        """Refuse knobs that contradict each other.

        Raises:
            BadRecipeError: They do.
        """
        if self.largest_mm is not None and self.largest_mm < self.smallest_mm:
            msg = (
                f"no region is at least {self.smallest_mm:g} mm and at most {self.largest_mm:g} mm "
                "large; set smallest_mm below largest_mm"
            )
            raise BadRecipeError(msg)
