"""Every measure of one case, label by label, under one stated policy for empty masks."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from voxhint.core.grid import Grid
from voxhint.core.labels import UNDRAWN
from voxhint.core.volume import Mask
from voxhint.measure.overlap import Empty, dice, volume_error, volume_ml
from voxhint.measure.surface import assd_mm, hd95_mm, normalised_surface_dice, surface_distances


@dataclass(frozen=True, slots=True)
class CaseScore:
    """One label of one case; None where the truth lacks the label, so nothing can be compared."""

    case: str
    subject: str
    label: str
    dice: float | None
    nsd: float | None
    """Normalised surface Dice at the table's tolerance."""

    hd95_mm: float | None
    assd_mm: float | None
    volume_error_ml: float
    """Mask minus truth."""

    volume_error_relative: float | None
    """Mask minus truth, as a share of the truth."""

    truth_ml: float
    mask_ml: float
    empty: Empty | None
    """Which of the two masks is empty; None if neither."""


def score_case(
    truth: Mask, mask: Mask, *, case: str, subject: str, tolerance_mm: float
) -> tuple[CaseScore, ...]:
    """Score a mask against the truth, one row for each foreground label of the truth's names.

    Optional labels that the truth does not outline have none.

    Voxels where the truth says nothing (the ignore id, or 255) are left out of both.

    Args:
        truth: What a person drew.
        mask: What is to be judged; ids as in the truth.
        case: The case's name.
        subject: The person the case belongs to; intervals go by subject.
        tolerance_mm: The largest surface distance that is still called right.

    Returns:
        One score per label, in the order of the labels.

    Raises:
        GridMismatchError: The two masks do not lie on one grid.
    """
    rows: list[CaseScore] = []
    for label, drawn, judged in label_by_label(truth, mask):
        marks = _mark(drawn, judged, grid=truth.grid, tolerance_mm=tolerance_mm)
        truth_ml = volume_ml(drawn, voxel_mm3=truth.grid.voxel_mm3)
        mask_ml = volume_ml(judged, voxel_mm3=truth.grid.voxel_mm3)
        excess = volume_error(truth_ml=truth_ml, mask_ml=mask_ml)
        rows.append(
            CaseScore(
                case=case,
                subject=subject,
                label=label,
                dice=marks.dice,
                nsd=marks.nsd,
                hd95_mm=marks.hd95_mm,
                assd_mm=marks.assd_mm,
                volume_error_ml=excess.ml,
                volume_error_relative=excess.relative,
                truth_ml=truth_ml,
                mask_ml=mask_ml,
                empty=marks.empty,
            )
        )
    return tuple(rows)


def label_by_label(
    truth: Mask, mask: Mask
) -> Iterator[tuple[str, Bool[np.ndarray, "i j k"], Bool[np.ndarray, "i j k"]]]:
    """Yield each foreground label with where the truth and the mask have it.

    Voxels where the truth says nothing are left out of both, and so is a label that is optional
    and that the truth does not outline.

    Raises:
        GridMismatchError: The two masks do not lie on one grid.
    """
    truth.grid.require_same(mask.grid)
    told = truth.ids != UNDRAWN
    if truth.names.ignore is not None:
        told &= truth.ids != truth.names.ignore
    for label, value in zip(truth.names.foreground, truth.names.ids[1:], strict=True):
        drawn = (truth.ids == value) & told
        if drawn.any() or label not in truth.names.optional:
            yield label, drawn, (mask.ids == value) & told


@dataclass(frozen=True, slots=True, kw_only=True)
class _Marks:
    """How well two masks agree; nothing but `empty` where the truth is empty."""

    dice: float | None = None
    nsd: float | None = None
    hd95_mm: float | None = None
    assd_mm: float | None = None
    empty: Empty | None = None


def _mark(
    truth: Bool[np.ndarray, "i j k"],
    mask: Bool[np.ndarray, "i j k"],
    *,
    grid: Grid,
    tolerance_mm: float,
) -> _Marks:
    overlap = dice(truth, mask)
    if overlap == "mask empty":
        diagonal_mm = float(np.linalg.norm(np.array(grid.shape) * grid.spacing_mm))
        return _Marks(dice=0.0, nsd=0.0, hd95_mm=diagonal_mm, assd_mm=diagonal_mm, empty=overlap)
    distances = surface_distances(truth, mask, spacing_mm=grid.spacing_mm)
    if isinstance(overlap, str) or isinstance(distances, str):
        return _Marks(empty="truth empty" if mask.any() else "both empty")
    return _Marks(
        dice=overlap,
        nsd=normalised_surface_dice(distances, tolerance_mm=tolerance_mm),
        hd95_mm=hd95_mm(distances),
        assd_mm=assd_mm(distances),
    )
