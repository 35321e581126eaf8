"""Knobs of the whole job, and the file that sets them."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Le
from pydantic import TypeAdapter, ValidationError

from voxhint.config.labelling import LabelConfig
from voxhint.config.ranges import Count, Knobs, Positive, Share, refusal
from voxhint.config.training import TrainConfig
from voxhint.core.errors import BadRecipeError


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictConfig(Knobs):
    """How masks are made from a model."""

    overlap: Annotated[float, Ge(0), Le(0.9)] = 0.5
    """Share of a tile that its neighbour covers again."""

    border_gain: Share = 0.45
    """Probability that voxels gain within borders that the image shows around a place of a label
    which only tags taught, less where the predictor doubts it; 0 takes the network's word."""

    flips: bool | None = None
    """Average over four flips of the image; if not given, where the predictor of tags did."""

    passes: Count = 1
    """Passes of a probabilistic network that are averaged; a single one draws nothing."""

    calibrated: bool | None = None
    """Divide logits by the temperature that held-out hints chose; if not given, where hints proved
    voxels of every class and not only what spreads from them had to choose."""

    probabilities: bool = False
    """Also write CASE__LABEL.nii.gz, the probability of each label."""

    uncertainty: bool = False
    """Also write CASE__uncertainty.nii.gz, the normalised entropy of each voxel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureConfig(Knobs):
    """How masks are scored."""

    tolerance_mm: Positive = 1.0
    """Distance at which a surface still counts as right in the normalised surface Dice."""

    resamples: Count = 2000
    """Bootstrap draws of subjects for the intervals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe(Knobs):
    """Every knob of the main job."""

    label: LabelConfig = field(default_factory=LabelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    predict: PredictConfig = field(default_factory=PredictConfig)
    measure: MeasureConfig = field(default_factory=MeasureConfig)


def read_recipe(path: Path) -> Recipe:
    """Read a recipe, a TOML file with the tables label, train, predict and measure.

    Args:
        path: The file; knobs it leaves out keep their defaults.

    Returns:
        The recipe, every value checked.

    Raises:
        BadRecipeError: The file cannot be read, a knob is unknown, or a value is out of range.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        msg = f"{path.name}: cannot be read as TOML ({_one_line(str(error))}); mend the file"
        raise BadRecipeError(msg) from None
    try:
        return TypeAdapter(Recipe).validate_python(table)
    except ValidationError as error:
        msg = f"{path.name}: {refusal(error)}"
    except BadRecipeError as error:
        msg = f"{path.name}: {error}"
    raise BadRecipeError(msg)


def _one_line(text: str) -> str:
    return " ".join(text.split())
