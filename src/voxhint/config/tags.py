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
    """Map that shows where the label of a tag lies: a saliency map of the classifier, or the
    difference to a counterfactual, the image without the label."""

    fuse: tuple[TagMethod, ...] | None = None
    """Further maps, fused with that of `method` by their p-values in images tagged absent; if
    not given, grad-cam++ beside smooth-grad and none beside others."""

    counterfactuals: bool = False
    """Also write the counterfactuals of images tagged present."""

    weights: Literal["auto", "none"] = "auto"
    """auto uses the networks that come with voxhint if they know the label and the kind of
    image; none always trains on the study."""

    refine: Refinement = "half-maximum"
    """half-maximum takes the border of a region from the image; none cuts the map at what
    images tagged absent show by chance."""

    regions: Count = 1
    """Most regions of a label in an image, or in a range of slices."""

    smallest_mm: Weight = 0.0
    """Smallest diameter of a region, as a ball of equal volume."""

    largest_mm: Positive | None = None
    """Largest diameter of a region, as a ball of equal volume."""

    verify: bool = False
    """Train a second classifier, and keep a region only if it misses the region when that is
    inpainted."""

    trust: Share = 0.8
    """Trust in a region, away from its border."""

    specificity: Share = 0.5
    """Operating point: share of the images tagged absent that the classifier is to call absent.
    Masks of images without tags leave out a label that it calls absent."""

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
    """Most voxels of an image that the classifier sees; larger images are downsampled."""

    pooling: _Pooling = "lse"
    """How the places of an image are pooled: log-sum-exp, maximum, mean or attention."""

    dimensions: Literal["3d", "2.5d"] = "3d"
    """2.5d sees slices one by one after a look at their neighbours."""

    backbone: _BackboneName = "own"
    """A short network of our own, or public weights that see slice by slice."""

    backbone_weights: str | None = None
    """File of the public weights; if not given, it is looked for where `voxhint models`
    says."""

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
    """Noise level to start from; higher lets larger objects go."""

    steps: Count | None = None
    """Steps from there back to the image."""

    guided_steps: Count | None = None
    """How many of these steps the classifier guides, the first ones."""

    gate: Share | None = None
    """Scale guidance by the probability of the label, and stop below this one."""
