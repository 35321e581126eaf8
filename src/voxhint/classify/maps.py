"""Where a label is looked for: in maps of a predictor, or in what goes away without the label."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float32

from voxhint.classify.classifier import Presence
from voxhint.classify.counterfactual import METHODS, Counterfactual, Settings, without_label
from voxhint.classify.false_positives import ROOM
from voxhint.classify.flows import FLOW, Flow, fit_flow
from voxhint.classify.guidance import Window, fading, flows_of, logit_of, strongest_windows
from voxhint.config import LabelConfig, Machine, require_effect
from voxhint.config.ranges import changed
from voxhint.config.tags import GuidedFlowConfig, TagMethod
from voxhint.core import Case, Grid, Volume
from voxhint.core.errors import BadRecipeError
from voxhint.core.progress import Tell
from voxhint.core.study import Study
from voxhint.prepare import Plan, back_from, prepare_image
from voxhint.prepare.steps import onto, scale_of

_FLIPS = ((), (1, 2, 3))
_WINDOWS = 4  # of the flow's patch that are looked at in a large image
_FUSED: Mapping[TagMethod, tuple[TagMethod, ...]] = {
    "smooth-grad": ("grad-cam++",)  # a map of voxels and one of places err differently
}
_GUIDED = ("guided-flow", "guided-flow-paired")


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """What was seen of a label in a case, on the grid of its first channel."""

    evidence: Float32[np.ndarray, "i j k"]
    looked: Bool[np.ndarray, "i j k"]
    """Where there was a look at all; elsewhere the evidence is 0."""

    change: Mapping[str, Float32[np.ndarray, "..."]] = field(default_factory=dict)
    """For each channel what to add to its voxels to take the label out, if the method can tell."""

    flow_evaluations: int = 0
    predictor_evaluations: int = 0


@runtime_checkable
class Eye(Protocol):
    """A way to look for labels."""

    @property
    def healthy(self) -> int:
        """Images tagged absent that decide what evidence shows by chance, at most."""

    def look(
        self, case: Case, label: str, rng: np.random.Generator, *, calibrating: bool = False
    ) -> Sight:
        """Return what is seen of a label; when calibrating, even where it is surely not."""

    def told(self) -> dict[str, Any]:
        """Return what the look consists of, for `made.json`."""


@dataclass(frozen=True, slots=True, eq=False)
class Attributions:
    """Maps of the predictor alone."""

    presence: Presence
    config: LabelConfig
    healthy = 150

    def look(
        self, case: Case, label: str, rng: np.random.Generator, *, calibrating: bool = False
    ) -> Sight:
        """Return the map of a predictor, the same when calibrating."""
        del calibrating
        found = self.presence.evidence(case, label, self.config, rng)
        return Sight(found, np.ones(found.shape, bool))

    def told(self) -> dict[str, Any]:
        """Return the name of the map."""
        return {"method": self.config.tags.method}


@dataclass(frozen=True, slots=True, eq=False)
class Counterfactuals:
    """What goes away as an image is changed into one without the label."""

    presence: Presence
    flow: Flow | None
    config: LabelConfig
    healthy = 40  # each is worth many evaluations of the flow

    @property
    def plan(self) -> Plan:
        """Return the plan by which images are prepared."""
        return self.presence.plan if self.flow is None else self.flow.plan

    def look(
        self, case: Case, label: str, rng: np.random.Generator, *, calibrating: bool = False
    ) -> Sight:
        """Return what goes away with a label.

        Each image is looked at as it is and turned over: a network that was taught with flips is
        still a little lopsided, and puts what goes away to one side. An image much larger than the
        flow's patches is looked at in windows of their size around the predictor's strongest
        places.
        """
        prepared, working = prepare_image(case.images, self.plan)
        settings = self.settings(label)
        if calibrating and settings.guidance.gate is not None:  # steps stay scaled by belief
            open_ = dataclasses.replace(settings.guidance, gate=0.0)
            settings = dataclasses.replace(settings, guidance=open_)
        evidence, weight = np.zeros(working.shape, np.float32), np.zeros(working.shape, np.float32)
        change, asks = np.zeros_like(prepared), np.zeros(2, int)
        flips = _FLIPS if self._mirrors() else _FLIPS[:1]
        for window in self._windows(case, label, working, rng):
            part = prepared[(slice(None), *window)]
            share = fading(window, working.shape)
            weight[window] += share
            for flip in flips:
                found = self._without(np.flip(part, flip), label, settings, rng)
                less = np.flip(found.image_without, flip) - part
                evidence[window] += share / len(flips) * np.flip(found.evidence, _voxels(flip))
                change[(slice(None), *window)] += share / len(flips) * less
                asks += (found.flow_evaluations, found.predictor_evaluations)
        shared = np.maximum(weight, 1)
        return Sight(
            back_from(evidence / shared, working, case.grid),
            back_from((weight > 0).astype(np.float32), working, case.grid) > 0,
            dict(self._changes(case, change / shared, working)),
            *asks.tolist(),
        )

    def _without(
        self,
        image: Float32[np.ndarray, "channel i j k"],
        label: str,
        settings: Settings,
        rng: np.random.Generator,
    ) -> Counterfactual:
        return without_label(
            self.config.tags.method,
            torch.from_numpy(np.ascontiguousarray(image)).to(self.presence.fabric.device),
            rng=rng,
            flow=None if self.flow is None else flows_of(self.flow, label),
            logit=logit_of(self.presence, label, self.plan),
            settings=settings,
        )

    def _mirrors(self) -> bool:
        """Return whether a flipped image is as good."""
        return self.config.classifier.flips

    def told(self) -> dict[str, Any]:
        """Return the method and every setting of it that holds for all labels."""
        settings = dataclasses.asdict(self.settings(self.presence.labels[0]))
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
            bright=self.presence.contrast(label).span > 0,
        )

    def _windows(
        self, case: Case, label: str, working: Grid, rng: np.random.Generator
    ) -> Iterator[Window]:
        if self.flow is None or np.prod(working.shape) <= ROOM * np.prod(self.plan.patch):
            i, j, k = (slice(0, n) for n in working.shape)
            yield i, j, k
            return
        seen = self.presence.evidence(case, label, self.config, rng)
        strength = onto(seen, case.grid, working)
        yield from strongest_windows(strength, self.plan.patch, _WINDOWS)

    def _changes(
        self, case: Case, change: Float32[np.ndarray, "channel i j k"], working: Grid
    ) -> Iterator[tuple[str, np.ndarray]]:
        for number, channel in enumerate(self.plan.channels):
            if channel in case.images:
                volume = case.images[channel]
                scale = scale_of(volume.voxels, channel, self.plan)
                yield channel, scale.std * back_from(change[number], working, volume.grid)


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


def require_method(config: LabelConfig) -> None:
    """Refuse to promise images that a method does not make, and knobs that change nothing.

    Raises:
        BadRecipeError: Counterfactuals are wanted of a map of the predictor alone, or a knob of
            another choice than the one made is set.
    """
    require_effect(config)
    if config.tags.counterfactuals and config.tags.method not in METHODS:
        msg = (
            f"counterfactuals: '{config.tags.method}' changes no image; "
            f"set tags.method to {', '.join(METHODS)}"
        )
        raise BadRecipeError(msg)


def eyes_of(
    presence: Presence,
    study: Study,
    nets: Path,
    config: LabelConfig,
    machine: Machine,
    *,
    tell: Tell,
) -> tuple[Eye, ...]:
    """Return what looks for labels by each map wanted, with a flow trained now if one is needed.

    Args:
        presence: The predictor.
        study: To learn from.
        nets: Folder of the networks; the flow goes to its own folder inside.
        config: Names the maps.
        machine: Device, threads, seed.
        tell: Hears of progress.
    """
    flow = None
    if asks_flow(config):
        flow = fit_flow(
            nets / FLOW, study, presence.labels, config=config, machine=machine, tell=tell
        )
    return tuple(_eye(presence, flow, _with_map(config, method)) for method in _methods(config))


def asks_flow(config: LabelConfig) -> bool:
    """Return whether a map that is wanted asks a flow."""
    return any(name in METHODS and METHODS[name].needs_flow for name in _methods(config))


def _methods(config: LabelConfig) -> tuple[TagMethod, ...]:
    fused = _FUSED.get(config.tags.method, ()) if config.tags.fuse is None else config.tags.fuse
    return (config.tags.method, *fused)


def _with_map(config: LabelConfig, method: TagMethod) -> LabelConfig:
    return changed(config, {"tags.method": method})


def _eye(presence: Presence, flow: Flow | None, config: LabelConfig) -> Eye:
    if config.tags.method not in METHODS:
        return Attributions(presence, config)
    needed = METHODS[config.tags.method].needs_flow
    return Counterfactuals(presence, flow if needed else None, config)


def without(case: Case, sights: Sequence[Sight]) -> dict[str, Volume]:
    """Return the channels of a case with the changes of all sights applied."""
    images = {}
    for channel, volume in case.images.items():
        changes = [sight.change[channel] for sight in sights if channel in sight.change]
        if changes:
            images[channel] = Volume(volume.voxels + sum(changes), volume.grid, volume.unit)
    return images
