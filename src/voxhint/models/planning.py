"""Measuring the images of a study, and choosing what the data leave open: what plans rest on."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from voxhint.config import Machine, TrainConfig, bytes_of, require_effect
from voxhint.core.errors import BadRecipeError, about
from voxhint.core.progress import Tell
from voxhint.core.study import CaseFiles, Study
from voxhint.files.channel_units import unit_of
from voxhint.models.memory_forecast import patch_voxels_within
from voxhint.prepare import Fingerprint, PlanOptions, fingerprint
from voxhint.prepare.pseudo_modalities import require_views

MEASURED = 200
"""Cases that decide a plan."""


def measure_images(
    study: Study, files: Sequence[CaseFiles], seed: int, tell: Tell, *, most: int = MEASURED
) -> list[Fingerprint]:
    """Measure the images of evenly chosen cases.

    Args:
        study: Where the cases belong.
        files: The cases.
        seed: Chooses the voxels.
        tell: Hears of progress.
        most: How many cases are looked at.

    Returns:
        What `make_plan` needs to know of them.
    """
    prints: list[Fingerprint] = []
    chosen = files[:: max(1, -(-len(files) // most))]
    for number, case in enumerate(chosen):
        tell("measure", number, len(chosen), case.name)
        with about(f"case {case.name}"):
            rng = np.random.default_rng([seed, number])
            prints.append(fingerprint(study.load(case, hints=False), rng))
    return prints


def trunk_options(
    config: TrainConfig,
    machine: Machine,
    study: Study,
    span_mm: tuple[float, float, float] | None = None,
) -> PlanOptions:
    """Return what was decided of the trunk, its patches no larger than the memory allows."""
    config = with_network(config, study)
    voxels = config.patch_voxels
    if machine.max_ram is not None:
        voxels = patch_voxels_within(bytes_of(machine.max_ram), config, len(study.channels))
    return PlanOptions(
        network=config.network,
        width=config.width,
        patch_voxels=voxels,
        batch=config.batch,
        span_mm=span_mm,
        attention=config.pw4medseg.attention if config.network == "probabilistic" else "",
        options=_options(config),
        views=config.pseudo_modalities,
        hu_window=config.hu_window,
    )


def with_network(config: TrainConfig, study: Study) -> TrainConfig:
    """Return the knobs with the network named that `auto` stands for in a study."""
    if config.network != "auto":
        return config
    branched = bool(study.optional_channels) or len(config.pseudo_modalities) > 1
    return replace(config, network="crossmodal" if branched else "dynunet")


def require_views_of(study: Study, config: TrainConfig) -> None:
    """Refuse pseudo-modalities that cannot be made of a study, before any work is done.

    Raises:
        BadRecipeError: There are some, or other knobs that can change nothing in this study.
    """
    hu = {channel for channel in study.channels if unit_of(channel) == "HU"}
    require_views(config.pseudo_modalities, study.channels, hu)
    require_effect(with_network(config, study))
    if config.hu_window is not None and not hu:
        msg = f"hu_window: no channel of {', '.join(study.channels)} is in HU; leave it out"
        raise BadRecipeError(msg)


def _options(config: TrainConfig) -> dict[str, Any]:
    """Return what the chosen network alone wants to know."""
    if config.network != "crossmodal":
        return {}
    return {
        "fusion": config.crossmodal.fusion,
        "branch_width": config.crossmodal.branch_width,
    }
