"""Masks of one image: the network's answer, in planes, and what tags taught beside it."""

import dataclasses
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, UInt8, UInt16
from torch import Tensor

from voxhint.classify.boundary import refine_boundaries
from voxhint.classify.classifier import (
    CLASSIFIER,
    Classifier,
    open_classifier,
    require_names_of_today,
)
from voxhint.classify.false_positives import reduce_false_positives
from voxhint.config import PredictConfig
from voxhint.core import Grid, Turn, Volume
from voxhint.core.volume import steps_of
from voxhint.models.folder import Model, segmenter_of
from voxhint.predict import Tiling, entropy, predict_planes, restored
from voxhint.prepare import normalised, prepare_image
from voxhint.prepare.preprocess import Unscaled, working_grid

_Planes = Float32[np.ndarray, "class a b c"]
Respect = Callable[[_Planes, slice, Turn], UInt8[np.ndarray, "a b c"]]
"""Takes probabilities of some planes of the turned image, which planes, and the turn; returns the
likeliest classes that hints allow."""

_FLIPS = ((), (1,), (2,), (1, 2))
_FIRST = ((0, 1, 2), (1, 0, 2), (2, 0, 1))  # orders of axes, by which one comes first


@dataclass(frozen=True, slots=True, eq=False)
class _Prepared:
    """An image as the network sees it."""

    image: Any
    """Of shape (channel, a, b, c); the network sees a tile of it with its axes put back."""

    working: Grid
    order: Turn
    """From the axes of the network to those of the image: tiles are thinnest along the first."""

    grid: Grid
    """Of the first channel, where masks lie."""

    volumes: Mapping[str, Volume]
    """The image itself, if a classifier is to look at it."""


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What the network makes of an image."""

    grid: Grid
    classes: UInt8[np.ndarray, "i j k"]
    uncertainty: UInt16[np.ndarray, "i j k"] | None
    """In steps of 2^-15, if it was asked for."""

    turn: Turn
    stored: UInt16[np.ndarray, "label a b c"] | None
    """Probabilities of the labels in such steps, turned, on disk, if they were asked for."""

    def probability(self, label: int) -> UInt16[np.ndarray, "i j k"]:
        """Return the probability of a label by its class number, in steps of 2^-15.

        Raises:
            ValueError: Probabilities were not asked for.
        """
        if self.stored is None:
            msg = "no probabilities were asked for"
            raise ValueError(msg)
        return self.turn.undo(self.stored[label - 1])


def _rule_out(probs: _Planes, classes: Sequence[int]) -> None:
    """Give the probability of classes to the background."""
    for number in classes:
        probs[0] += probs[number]
        probs[number] = 0


@dataclass(frozen=True, slots=True, eq=False)
class MaskMaker:
    """A trained network, and what tags taught of the labels that nothing else shows."""

    model: Model
    classifier: Classifier | None
    config: PredictConfig
    seed: int
    progress: Callable[[int, int], None] | None = None
    """Hears of each tile of an image, by its number, and of how many."""

    @staticmethod
    def of(model: Model, config: PredictConfig, seed: int) -> "MaskMaker":
        """Return the maker of a model folder."""
        require_names_of_today(model.weights.parent)
        folder = model.weights.parent / CLASSIFIER
        classifier = open_classifier(folder, model.fabric) if folder.exists() else None
        return MaskMaker(model, classifier, config, seed)

    def telling(self, progress: Callable[[int, int], None]) -> "MaskMaker":
        """Return the maker, its tiles heard of."""
        return dataclasses.replace(self, progress=progress)

    def prepare(self, volumes: Mapping[str, Volume]) -> _Prepared:
        """Return an image, by channel, as the network sees it."""
        plan, grid = self.model.plan, next(iter(volumes.values())).grid
        working = working_grid(grid, plan)
        # what is kept of all classes is as deep as a tile, and as wide as the image
        first = min(range(3), key=lambda axis: plan.patch[axis] / working.shape[axis])
        order = Turn(_FIRST[first], (False, False, False))
        image: Any
        if plan.views:
            image = order.apply(prepare_image(volumes, plan)[0])
        else:
            image = Unscaled.of(volumes, plan, working).packed(order)
        kept = {} if self.classifier is None else volumes
        return _Prepared(image, working.turned(order), order, grid, kept)

    def predict(
        self,
        prepared: _Prepared,
        chances: Mapping[str, float],
        respect: Respect | None = None,
        folder: Path | None = None,
    ) -> Prediction:
        """Return the mask of an image; classes are told apart as planes come in.

        Args:
            prepared: The image.
            chances: Of labels that tags taught, what the classifier gives them; 0 rules one out.
            respect: What the hints of the image allow.
            folder: Where probabilities lie until they are written.

        Returns:
            The mask, and what else the config asks for.
        """
        turn = prepared.grid.turn_along(prepared.working)
        target = prepared.grid.turned(turn)
        classes, labels = np.zeros(target.shape, np.uint8), self.model.plan.labels
        doubt = np.zeros(target.shape, np.uint16) if self.config.uncertainty else None
        stored = self._stored((len(labels.foreground), *target.shape), folder)
        ruled_out = [labels.number(label) for label, chance in chances.items() if chance == 0]
        if set(ruled_out) < set(range(1, len(labels.names))):  # else nothing is left to look for
            for part, probs in self._slabs(prepared, turn, target, chances):
                _rule_out(probs, ruled_out)
                likeliest = probs.argmax(0) if respect is None else respect(probs, part, turn)
                classes[part] = likeliest
                if doubt is not None:
                    doubt[part] = steps_of(entropy(probs))
                if stored is not None:
                    stored[:, part] = steps_of(probs[1:])
        unsure = None if doubt is None else turn.undo(doubt)
        return Prediction(prepared.grid, turn.undo(classes), unsure, turn, stored)

    def _stored(
        self, shape: tuple[int, ...], folder: Path | None
    ) -> UInt16[np.ndarray, "label a b c"] | None:
        """Return room for probabilities on disk, if they are asked for."""
        if not self.config.probabilities:
            return None
        with tempfile.TemporaryFile(dir=folder) as file:  # stays until the array goes
            return np.memmap(file, np.uint16, "w+", shape=shape)

    def forecast(self, prepared: _Prepared) -> tuple[int, float, int]:
        """Return how many tiles an image has, seconds for each, and bytes that blending takes."""
        tiling, (channels, deep, *plane) = self._tiling(prepared.order), prepared.image.shape
        tiles = math.prod(map(len, tiling.tiles_of((deep, *plane)))) * len(self._flips())
        pair = torch.zeros((2, channels, *tiling.patch), device=tiling.device)
        seconds = 0.0
        for _ in range(2):  # the first one warms up
            began = time.monotonic()
            with torch.inference_mode():
                tiling.segment(pair).cpu()
            seconds = (time.monotonic() - began) / len(pair)
        kept = tiling.patch[0] if self.classifier is None else deep
        return tiles, seconds, 4 * len(self.model.plan.labels.names) * kept * math.prod(plane)

    def _slabs(
        self, prepared: _Prepared, turn: Turn, target: Grid, chances: Mapping[str, float]
    ) -> Iterator[tuple[slice, _Planes]]:
        """Yield probabilities on the turned grid of the image, some planes at a time."""
        order = prepared.order
        flips = [tuple(1 + order.axes.index(n - 1) for n in flip) for flip in self._flips()]
        planes = predict_planes(self._tiling(order), prepared.image, flips)
        slabs = restored(planes, prepared.working, target)
        if self.classifier is None:
            yield from slabs
            return
        probs = np.concatenate([probs for _, probs in slabs], 1)
        # what a classifier says of regions and their borders needs them whole
        probs = self._with_refined_boundaries(
            turn.undo(probs), next(iter(prepared.volumes.items())), chances, self.classifier
        )
        if chances:  # where a person tagged the image, that is obeyed
            labels = self.model.plan.labels
            probs = reduce_false_positives(probs, labels, prepared.volumes, self.classifier)
        yield slice(0, target.shape[0]), turn.apply(probs)

    def _flips(self) -> tuple[tuple[int, ...], ...]:
        mirrored = self.classifier is not None and self.classifier.mirror
        return _FLIPS if (mirrored if self.config.tta is None else self.config.tta) else ((),)

    def _tiling(self, order: Turn) -> Tiling:
        segmenter = segmenter_of(self.model, self.config, self.seed)
        there = (0, 1, *(2 + axis for axis in order.axes))
        back = tuple(np.argsort(there).tolist())

        def segment(image: Tensor) -> Tensor:
            tile = image.permute(back).contiguous(memory_format=torch.channels_last_3d)
            with self.model.fabric.autocast():
                return segmenter(tile).permute(there)

        i, j, k = (self.model.plan.patch[axis] for axis in order.axes)
        return Tiling(
            segment=segment,
            patch=(i, j, k),
            overlap=self.config.overlap,
            device=self.model.fabric.device,
            alike=self.config.passes == 1,
            progress=self.progress,
        )

    def _with_refined_boundaries(
        self,
        probs: Float32[np.ndarray, "class i j k"],
        shown: tuple[str, Volume],
        chances: Mapping[str, float],
        classifier: Classifier,
    ) -> Float32[np.ndarray, "class i j k"]:
        """Return probabilities in which borders of labels that tags taught follow the image.

        The image has its full say where the classifier thinks the label as likely as not, or more.
        """
        channel, volume = shown
        image = normalised(volume.voxels, channel, classifier.plan)
        i, j, k = (float(s) for s in volume.grid.spacing_mm)
        for label in classifier.labels:
            probs = refine_boundaries(
                probs,
                self.model.plan.labels.number(label),
                image,
                spacing_mm=(i, j, k),
                contrast=classifier.contrast(label),
                gain=self.config.boundary_refinement * min(1.0, 2 * chances.get(label, 1.0)),
            )
        return probs
