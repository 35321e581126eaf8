"""Saliency of a label: by a classifier alone, or by what goes away without the label."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor
from torch.nn import functional

from voxhint.classify.classifier import Classifier
from voxhint.classify.counterfactual import (
    METHODS,
    Counterfactual,
    LabelVelocities,
    Logit,
    Settings,
    remove_label,
)
from voxhint.classify.platt_scaling import Calibration
from voxhint.classify.sliding_windows import Window, fading, is_one_window, strongest_windows
from voxhint.classify.tag_bags import TagJob
from voxhint.classify.train_label_flow import FLOW, LabelFlow, fit_label_flow
from voxhint.config import LabelConfig, require_effect
from voxhint.config.ranges import changed
from voxhint.config.tags import GuidedFlowConfig, TagMethod
from voxhint.core import Case, Grid, Volume
from voxhint.core.errors import BadRecipeError
from voxhint.prepare import Plan, from_working, prepare_image
from voxhint.prepare.preprocess import scale_of, to_working

_FAST = 2  # images from which small float32 convolutions on CPUs leave a path many times slower
_PLAIN = {"slope": 1.0, "intercept": 0.0}  # where nothing was calibrated
_FLIPS = ((), (1, 2, 3))
_WINDOWS = 4  # of the flow's patch that are looked at in a large image
_FUSED: Mapping[TagMethod, tuple[TagMethod, ...]] = {
    "smooth-grad": ("grad-cam++",)  # a map of voxels and one of places err differently
}
_GUIDED = ("guided-flow", "guided-flow-paired")


@dataclass(frozen=True, slots=True, eq=False)
class SaliencyMap:
    """What speaks for a label in a case, on the grid of its first channel."""

    values: Float32[np.ndarray, "i j k"]
    """Larger where more speaks for the label."""

    covered: Bool[np.ndarray, "i j k"]
    """Where the method looked at all; elsewhere values are 0."""

    change: Mapping[str, Float32[np.ndarray, "..."]] = field(default_factory=dict)
    """For each channel what to add to its voxels to take the label out, if the method can tell."""

    flow_evaluations: int = 0
    classifier_evaluations: int = 0


@runtime_checkable
class SaliencyMethod(Protocol):
    """A way to map what speaks for labels."""

    @property
    def null_images(self) -> int:
        """Images tagged absent that decide what maps show by chance, at most."""

    def compute(
        self, case: Case, label: str, rng: np.random.Generator, *, calibrating: bool = False
    ) -> SaliencyMap:
        """Return the map of a label; when calibrating, even where it is surely not."""

    def describe(self) -> dict[str, Any]:
        """Return method and settings, for `made.json`."""


@dataclass(frozen=True, slots=True, eq=False)
class _ClassifierSaliency:
    """Maps of the classifier alone."""

    classifier: Classifier
    config: LabelConfig
    null_images = 150

    def compute(
        self, case: Case, label: str, rng: np.random.Generator, *, calibrating: bool = False
    ) -> SaliencyMap:
        """Return the map of a classifier, the same when calibrating."""
        del calibrating
        values = self.classifier.saliency(case, label, self.config, rng)
        return SaliencyMap(values, np.ones(values.shape, bool))

    def describe(self) -> dict[str, Any]:
        """Return the name of the map."""
        return {"method": self.config.tags.method}


@dataclass(frozen=True, slots=True, eq=False)
class CounterfactualSaliency:
    """What goes away as an image is changed into one without the label."""

    classifier: Classifier
    flow: LabelFlow | None
    config: LabelConfig
    null_images = 40  # each is worth many evaluations of the flow

    @property
    def plan(self) -> Plan:
        """Return the plan by which images are prepared."""
        return self.classifier.plan if self.flow is None else self.flow.plan

    def compute(
        self, case: Case, label: str, rng: np.random.Generator, *, calibrating: bool = False
    ) -> SaliencyMap:
        """Return what goes away with a label.

        Each image is looked at as it is and turned over: a network that was taught with flips is
        still a little lopsided, and puts what goes away to one side. An image much larger than the
        flow's patches is looked at in windows of their size around the classifier's strongest
        places.
        """
        prepared, working = prepare_image(case.images, self.plan)
        settings = self.settings(label)
        if calibrating and settings.guidance.gate is not None:  # steps stay scaled by belief
            open_ = dataclasses.replace(settings.guidance, gate=0.0)
            settings = dataclasses.replace(settings, guidance=open_)
        values, weight = np.zeros(working.shape, np.float32), np.zeros(working.shape, np.float32)
        change, asks = np.zeros_like(prepared), np.zeros(2, int)
        flips = _FLIPS if self._mirrors() else _FLIPS[:1]
        for window in self._windows(case, label, working, rng):
            part = prepared[(slice(None), *window)]
            share = fading(window, working.shape)
            weight[window] += share
            for flip in flips:
                one = self._remove(np.flip(part, flip), label, settings, rng)
                less = np.flip(one.image, flip) - part
                values[window] += share / len(flips) * np.flip(one.difference, _voxels(flip))
                change[(slice(None), *window)] += share / len(flips) * less
                asks += (one.flow_evaluations, one.classifier_evaluations)
        shared = np.maximum(weight, 1)
        return SaliencyMap(
            from_working(values / shared, working, case.grid),
            from_working((weight > 0).astype(np.float32), working, case.grid) > 0,
            dict(self._changes(case, change / shared, working)),
            *asks.tolist(),
        )

    def _remove(
        self,
        image: Float32[np.ndarray, "channel i j k"],
        label: str,
        settings: Settings,
        rng: np.random.Generator,
    ) -> Counterfactual:
        return remove_label(
            self.config.tags.method,
            torch.from_numpy(np.ascontiguousarray(image)).to(self.classifier.fabric.device),
            rng=rng,
            flow=None if self.flow is None else _velocities_of(self.flow, label),
            logit=logit_of(self.classifier, label, self.plan),
            settings=settings,
        )

    def _mirrors(self) -> bool:
        """Return whether a flipped image is as good."""
        return self.config.classifier.flips

    def describe(self) -> dict[str, Any]:
        """Return the method and every setting of it that holds for all labels."""
        settings = dataclasses.asdict(self.settings(self.classifier.labels[0]))
        settings.pop("bright")
        unit = METHODS[self.config.tags.method].unit
        return {"method": self.config.tags.method, "unit": unit, "settings": settings}

    def settings(self, label: str) -> Settings:
        """Return the method's own settings, changed by the knobs that were given."""
        preset = METHODS[self.config.tags.method].preset
        if self.config.tags.method in _GUIDED:
            preset = _changed(preset, self.config.guided_flow)
        return dataclasses.replace(
            preset,
            spacing_mm=self.plan.spacing_mm,
            bright=self.classifier.contrast(label).span > 0,
        )

    def _windows(
        self, case: Case, label: str, working: Grid, rng: np.random.Generator
    ) -> Iterator[Window]:
        if self.flow is None or is_one_window(working.shape, self.plan.patch):
            i, j, k = (slice(0, n) for n in working.shape)
            yield i, j, k
            return
        seen = self.classifier.saliency(case, label, self.config, rng)
        strength = to_working(seen, case.grid, working)
        yield from strongest_windows(strength, self.plan.patch, _WINDOWS)

    def _changes(
        self, case: Case, change: Float32[np.ndarray, "channel i j k"], working: Grid
    ) -> Iterator[tuple[str, np.ndarray]]:
        for number, channel in enumerate(self.plan.channels):
            if channel in case.images:
                volume = case.images[channel]
                scale = scale_of(volume.voxels, channel, self.plan)
                yield channel, scale.std * from_working(change[number], working, volume.grid)


def _voxels(axes: tuple[int, ...]) -> tuple[int, ...]:
    """Return axes of images as axes of maps, which have no channels."""
    return tuple(axis - 1 for axis in axes)


def _changed(preset: Settings, config: GuidedFlowConfig) -> Settings:
    """Return the settings of a guided flow, changed by the knobs that were given."""
    way = _given(start=config.start, steps=config.steps)
    pull = _given(first=config.guided_steps, gate=config.gate)
    guidance = dataclasses.replace(preset.guidance, **pull)
    return dataclasses.replace(preset, **way, guidance=guidance)


def _given(**knobs: Any) -> dict[str, Any]:  # noqa: ANN401
    return {name: value for name, value in knobs.items() if value is not None}


def require_counterfactual(config: LabelConfig) -> None:
    """Refuse to promise images that a method does not make, and knobs that change nothing.

    Raises:
        BadRecipeError: Counterfactuals are wanted of a map of the classifier alone, or a knob of
            another choice than the one made is set.
    """
    require_effect(config)
    if config.tags.counterfactuals and config.tags.method not in METHODS:
        msg = (
            f"counterfactuals: '{config.tags.method}' changes no image; "
            f"set tags.method to {', '.join(METHODS)}"
        )
        raise BadRecipeError(msg)


def saliency_methods(classifier: Classifier, nets: Path, job: TagJob) -> tuple[SaliencyMethod, ...]:
    """Return the method of each map wanted, with a flow trained now if one is needed.

    Args:
        classifier: The classifier.
        nets: Folder of the networks; the flow goes to its own folder inside.
        job: What the classifier learnt; its knobs name the maps.
    """
    flow = fit_label_flow(nets / FLOW, job) if needs_flow(job.config) else None
    return tuple(
        _method(classifier, flow, changed(job.config, {"tags.method": method}))
        for method in _methods(job.config)
    )


def needs_flow(config: LabelConfig) -> bool:
    """Return whether a map that is wanted asks a flow."""
    return any(name in METHODS and METHODS[name].needs_flow for name in _methods(config))


def _methods(config: LabelConfig) -> tuple[TagMethod, ...]:
    fused = _FUSED.get(config.tags.method, ()) if config.tags.fuse is None else config.tags.fuse
    return (config.tags.method, *fused)


def _method(classifier: Classifier, flow: LabelFlow | None, config: LabelConfig) -> SaliencyMethod:
    if config.tags.method not in METHODS:
        return _ClassifierSaliency(classifier, config)
    needed = METHODS[config.tags.method].needs_flow
    return CounterfactualSaliency(classifier, flow if needed else None, config)


def counterfactual_images(case: Case, maps: Sequence[SaliencyMap]) -> dict[str, Volume]:
    """Return the channels of a case with the changes of all maps applied."""
    images = {}
    for channel, volume in case.images.items():
        changes = [one.change[channel] for one in maps if channel in one.change]
        if changes:
            images[channel] = Volume(volume.voxels + sum(changes), volume.grid, volume.unit)
    return images


def _velocities_of(flow: LabelFlow, label: str) -> LabelVelocities:
    """Return a flow as it is told of one label."""
    return LabelVelocities(
        present=flow.velocity(label, "present"),
        absent=flow.velocity(label, "absent"),
        unknown=flow.velocity(label, "unknown"),
    )


def logit_of(classifier: Classifier, label: str, plan: Plan) -> Logit:
    """Return the classifier's calibrated log-odds for images prepared by another plan.

    Args:
        classifier: The classifier.
        label: The one in question.
        plan: By which the images are prepared.

    Returns:
        A function of such images, differentiable: they are scaled and resampled as the classifier
        saw images.
    """
    number, own = classifier.labels.index(label), classifier.plan
    curve = Calibration(**(classifier.facts[label]["calibration"] or _PLAIN))
    gains, lifts = zip(*(_affine(name, plan, own) for name in plan.channels), strict=True)
    ratio = np.array(plan.spacing_mm) / own.spacing_mm

    def logit(images: Float[Tensor, "batch channel i j k"]) -> Float[Tensor, " batch"]:
        gain, lift = (images.new_tensor(values)[:, None, None, None] for values in (gains, lifts))
        i, j, k = (max(1, round(n * r)) for n, r in zip(images.shape[2:], ratio, strict=True))
        shown = _resized(images * gain + lift, (i, j, k))
        shown = torch.cat([shown] * max(1, _FAST // len(shown)))
        scores: Tensor = classifier.net(shown)[: len(images), number]
        return curve.slope * scores + curve.intercept

    return logit


def _affine(channel: str, here: Plan, there: Plan) -> tuple[float, float]:
    """Return gain and lift from one plan's intensities to another's; none if images have own."""
    one, other = here.intensity.get(channel), there.intensity.get(channel)
    if one is None or other is None:
        return 1.0, 0.0
    return one.std / other.std, (one.mean - other.mean) / other.std


def _resized(images: Tensor, size: tuple[int, int, int]) -> Tensor:
    """Return images of another size: the mean of voxels where coarser, linear where finer."""
    i, j, k = (min(n, m) for n, m in zip(images.shape[2:], size, strict=True))
    if (i, j, k) != images.shape[2:]:
        images = functional.adaptive_avg_pool3d(images, (i, j, k))
    if (i, j, k) != size:
        images = functional.interpolate(images, size, mode="trilinear")
    return images
