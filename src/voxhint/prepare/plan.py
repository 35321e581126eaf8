"""Measure the training images once, write the plan down, and obey it ever after."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

import numpy as np
from annotated_types import Ge, Le
from jaxtyping import Bool
from pydantic import FiniteFloat, TypeAdapter, ValidationError

from voxhint.config.ranges import Count, finding
from voxhint.core import Case, LabelSet
from voxhint.core.errors import BadFileError
from voxhint.core.grid import Axis, thick_axis
from voxhint.prepare.pseudo_modalities import require_views

_V = TypeVar("_V")

_Spacing = Annotated[float, Ge(0.001), Le(1000)]
_Size = Annotated[int, Ge(1), Le(8192)]
_Step = Annotated[int, Ge(1), Le(8)]
_Kernel = Annotated[int, Ge(1), Le(9)]

_LEVELS = 5
_BATCH = 12  # patches at most: more of them add little to a step
_MOST_VOXELS = 2**27  # of a patch that any machine may hold
_COARSER = 2.0  # times the spacing of the images, at most
_AROUND = 1.25  # of the span of the labels: what a patch should show
_SMALLEST = 4  # voxels an axis must keep at the deepest level


@dataclass(frozen=True, slots=True)
class Intensity:
    """How one channel with a unit of its own is clipped, centred and scaled."""

    low: FiniteFloat
    high: FiniteFloat
    mean: FiniteFloat
    std: FiniteFloat


@dataclass(frozen=True, slots=True, eq=False)
class Fingerprint:
    """What one case tells the plan, small enough to keep for thousands of cases."""

    shape: tuple[int, int, int]
    """After turning to RAS."""

    spacing_mm: tuple[float, float, float]
    samples: Mapping[str, tuple[float, ...]]
    """Some voxels of each channel measured in HU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """What the user decided, where the data leave a choice."""

    network: str
    """Name of the trunk."""

    width: int
    """Feature maps at full resolution."""

    patch_voxels: int
    """Most voxels a patch may have."""

    batch: int | None = None
    """Patches a step; as many voxels as two of the largest patches have if None."""

    whole: bool = False
    """Coarsen the spacing until a patch holds a whole median image, instead of cutting it."""

    span_mm: tuple[float, float, float] | None = None
    """How far the labels of a case reach along each axis: a patch should show them together, and
    the spacing is coarsened for that, to twice that of the images at most."""

    attention: str = ""
    """Kind of attention, for a network that has it."""

    options: Mapping[str, Any] = field(default_factory=dict)
    """What this network alone wants to know."""

    views: tuple[str, ...] = ()
    """Pseudo-modalities that the network sees instead of the only channel."""

    hu_window: tuple[float, float] | None = None
    """What channels in HU are clipped to; what nearly all voxels hold if None."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All that training decided about preparation and network; prediction obeys it."""

    channels: tuple[str, ...]
    optional_channels: tuple[str, ...]
    """Those a case may lack; the network then sees 0."""

    labels: LabelSet
    spacing_mm: tuple[_Spacing, _Spacing, _Spacing]
    patch: tuple[_Size, _Size, _Size]
    batch: Count
    """Patches a training step."""

    strides: tuple[tuple[_Step, _Step, _Step], ...]
    """Down-sampling of each level; the first is 1, 1, 1."""

    kernels: tuple[tuple[_Kernel, _Kernel, _Kernel], ...]
    features: tuple[_Size, ...]
    network: str
    intensity: Mapping[str, Intensity]
    """For channels in HU; other channels are scaled image by image."""

    attention: str = ""
    """Kind of attention, for a network that has it."""

    options: Mapping[str, Any] = field(default_factory=dict)
    """What this network alone wants to know."""

    views: tuple[str, ...] = ()
    """Pseudo-modalities that the network sees instead of the only channel."""

    stacked: Axis | None = None
    """Axis along which thick slices lie, if most cases have them."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Return the names of what the network sees, in order."""
        return self.views or self.channels

    @property
    def needed(self) -> int:
        """Return how many channels every case must have."""
        return len({*self.channels} - {*self.optional_channels})

    def to_json(self) -> dict[str, Any]:
        """Return plain values for `plan.json`."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> "Plan":
        """Return the plan that `to_json` wrote.

        Raises:
            BadFileError: A value is missing, out of its range, or contradicts another.
        """
        try:
            plan = _PLAN.validate_python(values)
        except ValidationError as error:
            raise BadFileError(finding(error)) from None
        odd = _contradiction(plan)
        if odd is not None:
            raise BadFileError(odd)
        return plan


_PLAN = TypeAdapter(Plan)


def _contradiction(plan: Plan) -> str | None:
    """Return what in a plan contradicts itself, None if nothing does."""
    unit = np.prod(plan.strides, axis=0)
    levels = len(plan.strides), len(plan.kernels), len(plan.features)
    names, ids = plan.labels.names, plan.labels.ids
    odd = {
        f"{len(plan.channels)} channels": not plan.channels,
        f"strides, kernels and features have {levels} levels": len({*levels}) > 1 or 0 in levels,
        f"patch {plan.patch} is no multiple of {unit}": bool(np.any(plan.patch % unit)),
        f"patch {plan.patch} is too large": math.prod(plan.patch) > _MOST_VOXELS,
        f"labels {names} have ids {ids}": len(names) != len(ids) or len({*ids}) < max(2, len(ids)),
        "intensity names channels that are not there": not {*plan.intensity} <= {*plan.channels},
        "optional channels are not there": not {*plan.optional_channels} <= {*plan.channels},
        "a window of intensity ends before it begins": any(
            one.low > one.high or one.std < 0 for one in plan.intensity.values()
        ),
    }
    return next((told for told, wrong in odd.items() if wrong), None)


def _three(values: Sequence[_V]) -> tuple[_V, _V, _V]:
    first, second, third = values
    return first, second, third


def fingerprint(case: Case, rng: np.random.Generator, *, samples: int = 2000) -> Fingerprint:
    """Measure one case.

    Args:
        case: Its images; hints are not looked at.
        rng: Chooses the voxels.
        samples: Voxels kept of each channel in HU.

    Returns:
        Shape and spacing of the first channel after turning to RAS, and the samples.
    """
    grid = case.grid.turned(case.grid.turn_to_ras())
    drawn = {
        name: tuple(rng.choice(image.voxels.ravel(), samples).tolist())
        for name, image in case.images.items()
        if image.unit == "HU"
    }
    return Fingerprint(grid.shape, _three(grid.spacing_mm.tolist()), drawn)


def make_plan(
    prints: Sequence[Fingerprint],
    channels: tuple[str, ...],
    labels: LabelSet,
    *,
    options: PlanOptions,
    optional_channels: tuple[str, ...] = (),
) -> Plan:
    """Decide spacing, patch, network shape and intensity scaling from what was measured.

    The patch covers the median image where the budget allows, else it shrinks along the axis that
    is longest in millimetres, and fine axes are coarsened where it would not show the labels
    together. An axis is halved from level to level while it is long enough and
    not yet coarser than the others, so that slices 4 to 10 mm apart are not mixed too early.

    Args:
        prints: One or more cases.
        channels: In the order the network will see them.
        labels: What it learns to tell apart.
        options: What the user decided.
        optional_channels: Those that cases may lack.

    Returns:
        The plan.

    Raises:
        BadRecipeError: The views wished for cannot be made of these channels.

    Source:
        Isensee et al. 2021, "nnU-Net", Nature Methods 18, supplementary note 2 (the idea of
        halving axes by spacing, and of median spacing and shape).
    """
    require_views(options.views, channels, hu={name for p in prints for name in p.samples})
    stacked = stacked_along(prints)
    prints = [_stacked(one, stacked) for one in prints]
    fields = [np.array(p.shape) * p.spacing_mm for p in prints]
    field = np.median(fields, axis=0)
    spacing = _chosen_spacing(np.median([p.spacing_mm for p in prints], axis=0), field, options)
    patch = _patch(
        np.maximum(1, np.round(field / spacing)).astype(int), spacing, options.patch_voxels
    )
    strides, kernels = _pyramid(patch, spacing)
    unit = np.prod(strides, axis=0)
    patch = _whole(patch, unit, spacing, options.patch_voxels)
    return Plan(
        channels=channels,
        optional_channels=optional_channels,
        labels=labels,
        spacing_mm=_three([round(float(s), 6) for s in spacing]),
        patch=_three([int(p) for p in patch]),
        batch=options.batch or max(2, min(_BATCH, 2 * options.patch_voxels // int(np.prod(patch)))),
        strides=tuple(map(_three, strides)),
        kernels=tuple(map(_three, kernels)),
        features=tuple(options.width * min(2**n, 20) for n in range(len(strides))),
        network=options.network,
        intensity=_intensity(prints, options.hu_window),
        attention=options.attention,
        options=dict(options.options),
        views=options.views,
        stacked=stacked,
    )


def _chosen_spacing(spacing: np.ndarray, field: np.ndarray, options: PlanOptions) -> np.ndarray:
    """Return the spacing at which a patch shows what was wished for."""
    if options.whole:
        return _coarsened(spacing, field, options.patch_voxels)
    if options.span_mm is not None:
        return _showing(spacing, field, np.array(options.span_mm), options.patch_voxels)
    return spacing


def stacked_along(prints: Sequence[Fingerprint]) -> Axis | None:
    """Return the axis along which thick slices lie in most cases; None if most have none.

    Oblique slices run nearest to one axis of the world in one case and to another in the next.
    """
    thick = [thick_axis(one.spacing_mm) for one in prints]
    return max(dict.fromkeys(thick), key=thick.count)


def _stacked(case: Fingerprint, along: Axis | None) -> Fingerprint:
    """Return a case with its thick slices along an axis."""
    thick = thick_axis(case.spacing_mm)
    if along is None or thick is None:
        return case
    order = [0, 1, 2]
    order[along], order[thick] = thick, along
    return dataclasses.replace(
        case,
        shape=_three([case.shape[n] for n in order]),
        spacing_mm=_three([case.spacing_mm[n] for n in order]),
    )


def _coarsened(spacing: np.ndarray, field: np.ndarray, voxels: int) -> np.ndarray:
    """Return a spacing at which the field has few enough voxels; fine axes give way first."""
    spacing = spacing.copy()
    while math.prod(np.ceil(field / spacing).tolist()) > voxels:
        spacing[spacing <= 1.01 * spacing.min()] *= 1.05
    return spacing


def _showing(spacing: np.ndarray, field: np.ndarray, span: np.ndarray, voxels: int) -> np.ndarray:
    """Return a spacing at which a patch shows the labels together; fine axes give way first."""
    native = spacing
    wanted = np.minimum(_AROUND * span, field)
    while True:
        patch = _patch(np.maximum(1, np.round(field / spacing)).astype(int), spacing, voxels)
        fine = spacing <= 1.03 * spacing.min()
        coarser = np.where(fine, 1.05 * spacing, spacing)
        short = patch * spacing < wanted - spacing
        if not short.any() or (coarser > _COARSER * native).any():
            return spacing
        spacing = coarser


def span_of(
    believed: Bool[np.ndarray, "i j k"], spacing_mm: np.ndarray
) -> tuple[float, float, float] | None:
    """Return how far voxels reach along each axis: the sides of a full box that is as wide spread.

    A few voxels far away change little. None for no voxel at all.
    """
    places = np.argwhere(believed)
    if not len(places):
        return None
    return _three((np.sqrt(12) * places.std(0) * spacing_mm).tolist())


def _patch(shape: np.ndarray, spacing: np.ndarray, voxels: int) -> np.ndarray:
    patch = shape.copy()
    while math.prod(patch.tolist()) > voxels and patch.max() > _SMALLEST:
        axis = int(np.argmax(np.where(patch > _SMALLEST, patch * spacing, 0)))
        patch[axis] = max(_SMALLEST, min(patch[axis] - 1, int(patch[axis] * 0.95)))
    return patch


def _whole(patch: np.ndarray, unit: np.ndarray, spacing: np.ndarray, voxels: int) -> np.ndarray:
    """Return the patch in whole units: rounded up where the budget allows, else down."""
    least = patch // unit * unit
    whole: np.ndarray = -(-patch // unit) * unit
    while math.prod(whole.tolist()) > voxels and (whole > least).any():
        axis = int(np.argmax(np.where(whole > least, whole * spacing, 0)))
        whole[axis] -= unit[axis]
    return whole


def _pyramid(patch: np.ndarray, spacing: np.ndarray) -> tuple[list[list[int]], list[list[int]]]:
    kernel = _kernel(spacing)
    strides, kernels = [[1, 1, 1]], [kernel.tolist()]
    size, step = patch.astype(float), spacing.astype(float)
    while len(strides) < _LEVELS:
        halve = (size >= 2 * _SMALLEST) & (step < 2 * step[size >= 2 * _SMALLEST].min(initial=1e9))
        if not halve.any():
            break
        factor = np.where(halve, 2, 1)
        size, step = size / factor, step * factor
        # an axis that was mixed once is mixed ever after: halving made it coarse, not the scanner
        kernel = np.maximum(kernel, _kernel(step))
        strides.append(factor.tolist())
        kernels.append(kernel.tolist())
    return strides, kernels


def _kernel(spacing: np.ndarray) -> np.ndarray:
    return np.where(spacing < 2 * spacing.min(), 3, 1)


def _intensity(
    prints: Sequence[Fingerprint], window: tuple[float, float] | None
) -> dict[str, Intensity]:
    found = {}
    for name in {name: None for p in prints for name in p.samples}:
        values = np.concatenate([p.samples[name] for p in prints if name in p.samples])
        low, high = window or np.percentile(values, [0.5, 99.5])
        inside = np.clip(values, low, high)
        found[name] = Intensity(float(low), float(high), float(inside.mean()), float(inside.std()))
    return found
