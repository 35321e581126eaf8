"""Masks of one image: the network's answer, in planes, and what tags taught beside it."""

import dataclasses
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, UInt8, UInt16
from torch import Tensor

from voxhint.classify.classifier import (
    CLASSIFIER,
    Classifier,
    open_classifier,
    require_names_of_today,
)
from voxhint.classify.false_positives import reduce_false_positives
from voxhint.classify.predicted_borders import refine_boundaries
from voxhint.config import PredictConfig
from voxhint.core import Grid, Turn, Volume
from voxhint.core.errors import OutputError
from voxhint.core.volume import steps_of
from voxhint.models.folder import Model, segmenter_of
from voxhint.models.prediction_memory import PredictionMemory, prediction_memory
from voxhint.predict import Tiling, entropy, predict_planes, restored
from voxhint.prepare import normalised, prepare_image
from voxhint.prepare.preprocess import Unscaled, working_grid
from voxhint.prepare.resample import reach_of

_Planes = Float32[np.ndarray, "class a b c"]
_Part = tuple[slice, slice]  # planes of the turned image, and rows of them
Respect = Callable[[_Planes, _Part, Turn], UInt8[np.ndarray, "a b c"]]
"""Takes probabilities of some rows of some planes of the turned image, which those are, and the
turn; returns the likeliest classes that hints allow."""

_ALL = slice(None)
_AMID = 1.2  # times a tile: two of them lie along each axis
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

    bands: int
    """Of rows, which are looked at one after the other: more of them take less memory."""

    def bands_of_rows(self) -> Iterator[tuple[slice, slice]]:
        """Yield rows of the image, and those of the network's that they are made of."""
        target = self.grid.turned(self.grid.turn_along(self.working))
        edges = [target.shape[1] * at // self.bands for at in range(self.bands + 1)]
        for start, stop in pairwise(edges):
            reach = reach_of(self.working, target, slice(start, stop), axis=1)
            yield slice(start, stop), slice(reach.start, reach.stop)


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


def _heard(tell: Callable[[int, int], None], band: int, bands: int, tile: int, tiles: int) -> None:
    """Tell of a tile, as if all bands had as many."""
    tell(band * tiles + tile, bands * tiles)


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

    most_bytes: int | None = None
    """That the process may take, if there is a limit."""

    @staticmethod
    def of(
        model: Model, config: PredictConfig, seed: int, most_bytes: int | None = None
    ) -> "MaskMaker":
        """Return the maker of a model folder."""
        require_names_of_today(model.weights.parent)
        folder = model.weights.parent / CLASSIFIER
        classifier = open_classifier(folder, model.fabric) if folder.exists() else None
        return MaskMaker(model, classifier, config, seed, most_bytes=most_bytes)

    def telling(self, progress: Callable[[int, int], None]) -> "MaskMaker":
        """Return the maker, its tiles heard of."""
        return dataclasses.replace(self, progress=progress)

    def prepare(self, volumes: Mapping[str, Volume]) -> _Prepared:
        """Return an image, by channel, as the network sees it."""
        plan, grid = self.model.plan, next(iter(volumes.values())).grid
        working, order = self._placed(grid)
        image: Any
        if plan.views:
            image = order.apply(prepare_image(volumes, plan)[0])
        else:
            image = Unscaled.of(volumes, plan, working).packed(order)
        kept = {} if self.classifier is None else volumes
        bands = 1
        if self.most_bytes is not None:
            grids = {name: volume.grid for name, volume in volumes.items()}
            bands = self.memory(grids).bands_within(self.most_bytes)
        return _Prepared(image, working.turned(order), order, grid, kept, bands)

    def _placed(self, grid: Grid) -> tuple[Grid, Turn]:
        """Return where an image is looked at, and the order of axes in which planes come."""
        patch, working = self.model.plan.patch, working_grid(grid, self.model.plan)
        # what is kept of all classes is as deep as a tile, and as wide as the image
        first = min(range(3), key=lambda axis: patch[axis] / working.shape[axis])
        return working, Turn(_FIRST[first], (False, False, False))

    def memory(self, images: Mapping[str, Grid]) -> PredictionMemory:
        """Return what predicting an image takes, by the grids of its channels."""
        first, plan, config = next(iter(images.values())), self.model.plan, self.config
        working, order = self._placed(first)
        working, (i, j, k) = working.turned(order), (plan.patch[axis] for axis in order.axes)
        target = first.turned(first.turn_along(working))
        return prediction_memory(
            plan,
            (working.shape, target.shape, (i, j, k)),
            sum(math.prod(grid.shape) for grid in images.values()),
            passes=len(self._flips()),
            whole=self.classifier is not None,
            asked=(config.uncertainty, config.probabilities),
        )

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
                    stored[:, *part] = steps_of(probs[1:])
        unsure = None if doubt is None else turn.undo(doubt)
        return Prediction(prepared.grid, turn.undo(classes), unsure, turn, stored)

    def _stored(
        self, shape: tuple[int, ...], folder: Path | None
    ) -> UInt16[np.ndarray, "label a b c"] | None:
        """Return room for probabilities on disk, if they are asked for.

        Raises:
            OutputError: The disk has no such room.
        """
        if not self.config.probabilities:
            return None
        try:
            with tempfile.TemporaryFile(dir=folder) as file:  # stays until the array goes
                stored = np.memmap(file, np.uint16, "w+", shape=shape)
                if sys.platform == "linux":  # a disk that fills up later would end the process
                    os.posix_fallocate(file.fileno(), 0, stored.nbytes)
                return stored
        except OSError as error:
            size = math.prod(shape) * np.uint16().nbytes / 1e6
            msg = (
                f"{folder or tempfile.gettempdir()}: has no room for {size:.0f} MB of "
                f"probabilities ({error.strerror or error}); free space, or choose another folder"
            )
            raise OutputError(msg) from error

    def tiles(self, prepared: _Prepared) -> int:
        """Return how many tiles an image has."""
        tiling, shape = self._tiling(prepared.order), prepared.image.shape[1:]
        bands = (tiling.tiles_of(shape, needed) for _, needed in prepared.bands_of_rows())
        return len(self._flips()) * sum(math.prod(map(len, starts)) for starts in bands)

    def asked(self, prepared: _Prepared) -> int:
        """Return how many tiles of an image the network is asked about; of air some are not."""
        tiling = self._tiling(prepared.order)
        bands = prepared.bands_of_rows()
        return len(self._flips()) * sum(tiling.asked_of(prepared.image, rows) for _, rows in bands)

    def amid(self, images: Mapping[str, Volume]) -> tuple[float, Prediction]:
        """Return how long a tile takes and all that is made of it, by some amid the first image."""
        (name, image), *others = images.items()
        working, _ = self._placed(image.grid)
        turn = image.grid.turn_along(working)
        part = [slice(0)] * 3
        for axis, (tile, count) in enumerate(
            zip(self.model.plan.patch, working.shape, strict=True)
        ):
            own = image.grid.shape[turn.axes[axis]]
            wide = min(own, math.ceil(_AMID * tile * own / count))
            part[turn.axes[axis]] = slice((own - wide) // 2, (own + wide) // 2)
        i, j, k = part
        prepared = self.prepare({name: image.cropped((i, j, k)), **dict(others)})
        self.predict(prepared, {})  # the first one warms up
        began = time.monotonic()
        made = self.predict(prepared, {})
        return (time.monotonic() - began) / self.tiles(prepared), made

    def _slabs(
        self, prepared: _Prepared, turn: Turn, target: Grid, chances: Mapping[str, float]
    ) -> Iterator[tuple[_Part, _Planes]]:
        """Yield probabilities on the turned grid of the image, some planes at a time."""
        if self.classifier is None:
            yield from self._by_band(prepared, target)
            return
        probs = np.concatenate([probs for _, probs in self._by_band(prepared, target)], 1)
        # what a classifier says of regions and their borders needs them whole
        probs = self._with_refined_boundaries(
            turn.undo(probs), next(iter(prepared.volumes.items())), chances, self.classifier
        )
        if chances:  # where a person tagged the image, that is obeyed
            labels = self.model.plan.labels
            probs = reduce_false_positives(probs, labels, prepared.volumes, self.classifier)
        yield (_ALL, _ALL), turn.apply(probs)

    def _by_band(self, prepared: _Prepared, target: Grid) -> Iterator[tuple[_Part, _Planes]]:
        """Yield probabilities of one band of rows after the other, some planes at a time."""
        order, working, count = prepared.order, prepared.working, prepared.bands
        flips = [tuple(1 + order.axes.index(n - 1) for n in flip) for flip in self._flips()]
        for number, (rows, needed) in enumerate(prepared.bands_of_rows()):
            tiling = self._tiling(order)
            if self.progress is not None:
                heard = partial(_heard, self.progress, number, count)
                tiling = dataclasses.replace(tiling, progress=heard)
            planes = predict_planes(tiling, prepared.image, flips, needed)
            here, there = working.cropped((_ALL, needed, _ALL)), target.cropped((_ALL, rows, _ALL))
            for part, probs in restored(planes, here, there):
                yield (part, rows), probs

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
        )

    def _with_refined_boundaries(
        self,
        probs: Float32[np.ndarray, "class i j k"],
        shown: tuple[str, Volume],
        chances: Mapping[str, float],
        classifier: Classifier,
    ) -> Float32[np.ndarray, "class i j k"]:
        """Return probabilities in which borders of labels that tags taught follow the image.

        The contrast was learnt of the first channel, so where that is missing nothing is refined.
        """
        channel, volume = shown
        if channel != classifier.plan.channels[0]:
            return probs
        image = normalised(volume.voxels, channel, classifier.plan)
        i, j, k = (float(s) for s in volume.grid.spacing_mm)
        for label in classifier.labels:
            probs = refine_boundaries(
                probs,
                self.model.plan.labels.number(label),
                image,
                spacing_mm=(i, j, k),
                contrast=classifier.contrast(label),
                shown=chances.get(label, 1.0),
                gain=self.config.boundary_refinement,
            )
        return probs
