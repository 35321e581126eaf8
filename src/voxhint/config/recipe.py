"""Knobs of the whole job, and the file that sets them."""

import dataclasses
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

from annotated_types import Ge, Le
from pydantic import TypeAdapter, ValidationError

from voxhint.config.labelling import LabelConfig
from voxhint.config.ranges import STRICT, Count, Positive, Share
from voxhint.config.training import TrainConfig
from voxhint.core.errors import BadRecipeError

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictConfig:
    """How masks are made from a model."""

    __pydantic_config__ = STRICT

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
class MeasureConfig:
    """How masks are scored."""

    __pydantic_config__ = STRICT

    tolerance_mm: Positive = 1.0
    """Distance at which a surface still counts as right in the normalised surface Dice."""

    resamples: Count = 2000
    """Bootstrap draws of subjects for the intervals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Every knob of the main job."""

    __pydantic_config__ = STRICT

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
        msg = f"{path.name}: {_where(error)}; see `voxhint run --help` for the knobs"
        raise BadRecipeError(msg) from None


def checked(value: T) -> T:
    """Return a config unchanged if every knob is in its range.

    Args:
        value: One of the dataclasses of this page.

    Returns:
        The same value.

    Raises:
        BadRecipeError: A value is out of its range.
    """
    try:
        TypeAdapter(type(value)).validate_python(dataclasses.asdict(cast("Any", value)))
    except ValidationError as error:
        msg = f"{_where(error)}; see --help for the range"
        raise BadRecipeError(msg) from None
    return value


def _where(error: ValidationError) -> str:
    """Return the first finding of pydantic as `knob: what is wrong`."""
    first = error.errors()[0]
    return _one_line(f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}")


def _one_line(text: str) -> str:
    return " ".join(text.split())
