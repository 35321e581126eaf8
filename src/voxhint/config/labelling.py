"""Knobs of labelling."""

from dataclasses import dataclass, field
from typing import Literal

from voxhint.config.ranges import Knobs, Positive
from voxhint.config.tags import ClassifierConfig, FlowConfig, GuidedFlowConfig, TagConfig

LabelMethod = Literal["geodesic", "pw4medseg", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PW4MedSegLabelConfig(Knobs):
    """Point labels as published with PW4MedSeg (method pw4medseg)."""

    sigma_mm: Positive = 10.0
    """Standard deviation of the Gaussian around a point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelConfig(Knobs):
    """How hints become soft labels."""

    method: LabelMethod = "geodesic"
    """How a hint spreads: along geodesics that avoid edges, as Gaussians as published with
    PW4MedSeg, or not at all."""

    cross_case: bool = True
    """Train a voxel classifier on the hints of all cases; used where it helps on held-out cases."""

    scale_mm: Positive | None = None
    """Propagation scale: how far from its hints a label may be found where nothing else is shown;
    planned from how far the hints lie apart if not given."""

    nifti: bool = False
    """Write CASE__LABEL.nii.gz and CASE__LABEL__trust.nii.gz of whole scans, too, which else are
    CASE__soft.npz alone; small images are always written so."""

    tags: TagConfig = field(default_factory=TagConfig)
    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)
    flow: FlowConfig = field(default_factory=FlowConfig)
    guided_flow: GuidedFlowConfig = field(default_factory=GuidedFlowConfig)
    pw4medseg: PW4MedSegLabelConfig = field(default_factory=PW4MedSegLabelConfig)
