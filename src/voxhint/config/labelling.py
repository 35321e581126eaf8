"""Knobs of labelling."""

from dataclasses import dataclass, field
from typing import Literal

from voxhint.config.ranges import Knobs, Positive
from voxhint.config.tags import ClassifierConfig, FlowConfig, GuidedFlowConfig, TagConfig
from voxhint.core.errors import BadRecipeError

_LabelMethod = Literal["geodesic", "pw4medseg", "nninteractive", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _PW4MedSegLabelConfig(Knobs):
    """Point labels as published with PW4MedSeg (method pw4medseg)."""

    sigma_mm: Positive = 10.0
    """Standard deviation of the Gaussian around a point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelConfig(Knobs):
    """How hints become soft labels."""

    method: _LabelMethod = "geodesic"
    """How hints spread: by geodesic distance, which avoids edges; as Gaussians, as published
    with PW4MedSeg; by your own nnInteractive server; or not at all."""

    server: str | None = None
    """URL of the nnInteractive server, such as http://127.0.0.1:1527. It sees the first
    channel. Its key is read from NN_INTERACTIVE_API_KEY."""

    cross_case: bool = True
    """Train a voxel classifier on the hints of all cases; used if it helps on held-out
    cases."""

    scale_mm: Positive | None = None
    """Propagation scale: how far a label may reach from its hints where nothing else is shown;
    planned from the gaps between hints if not given."""

    nifti: bool = False
    """Write CASE__LABEL.nii.gz and CASE__LABEL__trust.nii.gz of whole scans, too, beside
    CASE__soft.npz; small images always have them."""

    tags: TagConfig = field(default_factory=TagConfig)
    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)
    flow: FlowConfig = field(default_factory=FlowConfig)
    guided_flow: GuidedFlowConfig = field(default_factory=GuidedFlowConfig)
    pw4medseg: _PW4MedSegLabelConfig = field(default_factory=_PW4MedSegLabelConfig)

    def require_sense(self) -> None:  # type: ignore[explicit-override]
        """Refuse a method without what it needs.

        Raises:
            BadRecipeError: It lacks that.
        """
        url = self.server or ""
        if self.method == "nninteractive" and not url.startswith(("http://", "https://")):
            msg = f"method nninteractive asks a server, and '{url}' is none; name it with --server "
            raise BadRecipeError(msg + "http://HOST:PORT")
