"""Knobs of labels that image-level tags alone name: classifier, maps, flow, regions."""

from dataclasses import dataclass
from typing import Literal

from voxhint.config.ranges import Count, Knobs, Positive, Share, Weight
from voxhint.core.errors import BadRecipeError

TagMethod = Literal[
    "grad-cam++",
    "smooth-grad",
    "guided-flow",
    "guided-flow-paired",
    "label-flow",
    "edit-flow",
    "pixel-counterfactual",
]
Refinement = Literal["half-maximum", "none"]
_Pooling = Literal["lse", "max", "mean", "attention"]
_BackboneName = Literal["own", "medsam-tinyvit", "radimagenet-resnet50"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TagConfig(Knobs):
    """How tags become regions: which map, which regions of it, and how far they are trusted."""

    method: TagMethod = "smooth-grad"
    """Map that shows where a tag's label lies: a saliency map of the classifier, or what goes away
    as an image is changed into one without the label (a counterfactual)."""

    fuse: tuple[TagMethod, ...] | None = None
    """Further maps, fused with that of `method` on the scale of healthy images; if not given,
    grad-cam++ beside smooth-grad and none beside others."""

    counterfactuals: bool = False
    """Also write the images as they would be without what tags name."""

    weights: Literal["auto", "none"] = "auto"
    """Take networks that come with voxhint where they know the label and the kind of image, or
    train on the study whatever it holds."""

    refine: Refinement = "half-maximum"
    """How the region around the strongest place finds its border; none cuts the map at what
    images tagged absent show by chance."""

    regions: Count = 1
    """Regions of a label in an image, or in a range of slices, at most."""

    smallest_mm: Weight = 0.0
    """Diameter, of a ball of equal volume, that a region has at least."""

    largest_mm: Positive | None = None
    """Diameter that a region has at most."""

    verify: bool = False
    """Train a second classifier, and believe a region only if it misses the region when its
    surroundings are grown over it."""

    trust: Share = 0.8
    """Trust in a region, away from its border."""

    specificity: Share = 0.5
    """Operating point: share of the images tagged absent that the classifier is to call absent;
    masks of images without tags are empty where it does."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierConfig(Knobs):
    """The image-level classifier that tags train."""

    steps: Count = 600
    """Optimiser steps."""

    input_voxels: Count = 60_000
    """Voxels of an image as the classifier sees it at most; larger ones are made coarser."""

    pooling: _Pooling = "lse"
    """How the places of an image are joined: log-sum-exp, maximum, mean or attention."""

    dimensions: Literal["3d", "2.5d"] = "3d"
    """2.5d sees slices one by one after a look at their neighbours."""

    backbone: _BackboneName = "own"
    """A short network of ours, or public weights that see slice by slice."""

    backbone_weights: str | None = None
    """File of the public weights; looked for where `voxhint models` says if not given."""

    freeze_backbone: bool = False
    """Keep public weights as they are, and train the head alone."""

    flips: bool = True
    """Flip images at random, and average over flips; also for the flow. Not for labels of left and
    right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowConfig(Knobs):
    """The rectified flow that learns what images with and without a label look like."""

    steps: Count = 6000
    """Optimiser steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuidedFlowConfig(Knobs):
    """Guided flow (tags.method guided-flow or guided-flow-paired); each has defaults of its own."""

    start: Share | None = None
    """Noise level to change images from; higher lets larger things go."""

    steps: Count | None = None
    """Steps from there to the image."""

    guided_steps: Count | None = None
    """How many of them the classifier guides, the first ones."""

    gate: Share | None = None
    """Scale guidance by the probability that the label is there, and stop below this one."""
