"""What became of the knobs of earlier versions, so that an old recipe is told what to change."""

from collections.abc import Mapping

RENAMED: Mapping[str, str] = {
    "label.across_cases": "label.cross_case",
    "label.bag_voxels": "label.classifier.input_voxels",
    "label.bell_mm": "label.pw4medseg.sigma_mm",
    "label.counterfactuals": "label.tags.counterfactuals",
    "label.edit_start": "label.guided_flow.start",
    "label.edit_steps": "label.guided_flow.steps",
    "label.flow_mirror": "label.classifier.flips",
    "label.flow_steps": "label.flow.steps",
    "label.guide_first": "label.guided_flow.guided_steps",
    "label.guide_gate": "label.guided_flow.gate",
    "label.largest_mm": "label.tags.largest_mm",
    "label.pooling": "label.classifier.pooling",
    "label.predictor_backbone": "label.classifier.backbone",
    "label.predictor_flat": 'label.classifier.dimensions = "2.5d"',
    "label.predictor_mirror": "label.classifier.flips",
    "label.predictor_steps": "label.classifier.steps",
    "label.predictor_tune": "label.classifier.freeze_backbone, which means the opposite",
    "label.predictor_weights": "label.classifier.backbone_weights",
    "label.presence_specificity": "label.tags.specificity",
    "label.reach_mm": "label.scale_mm",
    "label.refine": "label.tags.refine",
    "label.regions": "label.tags.regions",
    "label.smallest_mm": "label.tags.smallest_mm",
    "label.tag_fused": "label.tags.fuse",
    "label.tag_method": "label.tags.method",
    "label.tag_trust": "label.tags.trust",
    "label.verify": "label.tags.verify = true or false",
    "label.weights": "label.tags.weights",
    "predict.flips": "predict.tta",
    "predict.border_gain": "predict.boundary_refinement",
    "train.attention": "train.pw4medseg.attention",
    "train.branch_weight": "train.crossmodal.branch_weight",
    "train.branch_width": "train.crossmodal.branch_width",
    "train.consistency_weight": "train.crossmodal.consistency_weight",
    "train.fusion": "train.crossmodal.fusion",
    "train.kl_weight": "train.pw4medseg.kl_weight",
    "train.mirror": "train.flips",
    "train.modality_dropout": "train.crossmodal.modality_dropout",
}
"""Where a knob of an earlier version is now."""

_GONE: frozenset[str] = frozenset(
    f"{table}.{name}"
    for table, names in {
        "label": (
            "across_steps across_trust background_trust edge_weight edit_block_mm edit_difference "
            "edit_init edit_reference edit_repeats edit_scheme edit_smooth_mm edit_weight "
            "edit_windows far_trust flow_seen flow_tags flow_times flow_voxels flow_width "
            "guess_trust guide_draws guide_gradient guide_iterations guide_mu guide_recurrences "
            "guide_rho guide_schedule guide_sigma null_contexts null_quantile predictor_width "
            "tag_error tag_threshold"
        ),
        "measure": "resamples",
        "train": (
            "consistency_back consistency_sure copy_paste crossmodal.ramp jitter_mm joint_output "
            "mixed_agreed mixed_weight mumford_shah_weight noise paste prototype_weight ramp "
            "shared_encoder size_weight teacher_weight tv_weight"
        ),
    }.items()
    for name in names.split()
)
"""Knobs of earlier versions that nobody needs to choose."""


VALUES: Mapping[tuple[str, str], str] = {("train.loss", "published"): "pw4medseg"}
"""What became of values of knobs."""


def moved(name: str) -> str | None:
    """Return what became of a knob, as a sentence; None if no version had it.

    Args:
        name: With its table, such as `train.mirror`.
    """
    if name in RENAMED:
        return f"{name} is called {RENAMED[name]} now; rename it"
    return f"{name} is no knob any more; remove it" if name in _GONE else None
