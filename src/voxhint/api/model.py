"""Training a model from Python, opening it, and asking it."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import nn

from voxhint.api.images import Array, ImageLike, Spacing, volumes_of
from voxhint.config import Machine, PredictConfig, Recipe, TrainConfig
from voxhint.config.without_effect import require_used
from voxhint.core import LabelSet, Mask
from voxhint.core.progress import Tell, silent
from voxhint.models import folder
from voxhint.models.device import open_fabric
from voxhint.prepare import Plan
from voxhint.verbs import run as run_verb
from voxhint.verbs.mask_maker import MaskMaker
from voxhint.verbs.predict import image_chances
from voxhint.verbs.train import train_model

_Factory = Callable[[Plan], nn.Module]
"""Makes a network of a plan: from (batch, channel, i, j, k) to logits (batch, class, i, j, k)."""

_NO_FORECAST = ("Python makes no forecast, but `voxhint run --dry-run` does", "dry_run")

_Pathlike = str | os.PathLike[str]


class Model:
    """A trained model, ready to be asked; open one with `Model.load`."""

    def __init__(self, opened: folder.Model, path: Path) -> None:
        self._opened = opened
        self._path = path

    @staticmethod
    def load(
        path: _Pathlike, *, machine: Machine | None = None, network: _Factory | None = None
    ) -> "Model":
        """Open a model folder.

        Args:
            path: What `train` or `run` wrote.
            machine: Device, threads, precision.
            network: What made the network, if it was your own.

        Returns:
            The model.

        Raises:
            BadFileError: The folder holds no whole model.
        """
        why = "a prediction reads no hints and trains nothing"
        require_used(machine or Machine(), why, "undrawn", "skip_bad", "max_ram", "workers")
        fabric = open_fabric(machine or Machine())
        return Model(folder.open_model(Path(path), fabric, network=network), Path(path))

    @property
    def labels(self) -> LabelSet:
        """Return what the ids of a mask stand for."""
        return self._opened.plan.labels

    @property
    def channels(self) -> tuple[str, ...]:
        """Return the channels that the model knows."""
        return self._opened.plan.channels

    def predict(
        self,
        image: ImageLike | Mapping[str, ImageLike],
        *,
        affine: Array | None = None,
        spacing: Spacing | None = None,
        config: PredictConfig | None = None,
        seed: int = 0,
    ) -> Mask:
        """Return the mask of an image, on the grid of its first channel.

        Args:
            image: A volume, an array, a path, or one of these for each channel.
            affine: Of an array.
            spacing: Of an array, in mm, instead of an affine.
            config: Knobs of prediction.
            seed: Of what a probabilistic network draws.

        Returns:
            Ids in `ids`, an array of shape (i, j, k).

        Raises:
            BadFileError: The image cannot be read, or has other channels.
        """
        volumes = volumes_of(image, self.channels, affine, spacing)
        maker = MaskMaker.of(self._opened, config or PredictConfig(), seed)
        made = maker.predict(maker.prepare(volumes), image_chances(maker, volumes))
        return Mask(self.labels.to_ids(made.classes), made.grid, self.labels)

    def __repr__(self) -> str:  # type: ignore[explicit-override]
        names = ", ".join(self.labels.foreground)
        return f"Model({str(self._path)!r}: {', '.join(self.channels)} to {names})"


def train(  # noqa: PLR0913  # each is a choice of its own
    study: _Pathlike,
    out: _Pathlike,
    *,
    labels: _Pathlike | None = None,
    config: TrainConfig | None = None,
    machine: Machine | None = None,
    network: _Factory | None = None,
    progress: Tell = silent,
) -> Model:
    """Train a model, going on where an earlier call stopped.

    Args:
        study: The study folder.
        out: The model folder.
        labels: What `voxhint label` wrote; not needed with TrainConfig(supervision="dense").
        config: Knobs of training.
        machine: Device, threads, seed.
        network: Makes a network of your own from the plan.
        progress: Called with a step, how far it is, how far it goes, and a note.

    Returns:
        The model.
    """
    machine = machine or Machine()
    require_used(machine, *_NO_FORECAST)
    made = train_model(
        Path(study),
        Path(out),
        labels=None if labels is None else Path(labels),
        config=config or TrainConfig(),
        machine=machine,
        network=network,
        tell=progress,
    )
    opening = dataclasses.replace(machine, undrawn=None, skip_bad=False, max_ram=None)
    return Model.load(made, machine=opening, network=network)


def run(
    study: _Pathlike,
    out: _Pathlike,
    *,
    recipe: Recipe | _Pathlike | None = None,
    machine: Machine | None = None,
    progress: Tell = silent,
) -> Path:
    """Go from a study to masks, numbers and a report; an interrupted run goes on.

    Args:
        study: The study folder.
        out: Holds labels, model, masks, scores.json and report.html afterwards.
        recipe: Knobs, or the path of a recipe.
        machine: Device, threads, seed.
        progress: Called with a step, how far it is, how far it goes, and a note.

    Returns:
        The path of the report page.
    """
    from voxhint.config import read_recipe

    require_used(machine or Machine(), *_NO_FORECAST)
    if isinstance(recipe, str | os.PathLike):
        recipe = read_recipe(Path(recipe))
    return run_verb.run(
        Path(study),
        Path(out),
        recipe=recipe or Recipe(),
        machine=machine or Machine(),
        tell=progress,
    )
