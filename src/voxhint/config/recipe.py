"""Knobs of the whole job, and the file that sets them."""

import copy
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Le
from pydantic import TypeAdapter, ValidationError

from voxhint.config.knob_list import listed
from voxhint.config.labelling import LabelConfig
from voxhint.config.ranges import ADVICE, Count, Knobs, Positive, Share, finding
from voxhint.config.renamed_knobs import VALUES, moved
from voxhint.config.training import TrainConfig
from voxhint.core.errors import BadRecipeError, printable
from voxhint.core.words import did_you_mean


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictConfig(Knobs):
    """How masks are made from a model."""

    overlap: Annotated[float, Ge(0), Le(0.9)] = 0.5
    """Overlap of neighbouring tiles, as a share of a tile."""

    boundary_refinement: Share = 0.45
    """Probability added within borders that the image shows around places of a label which only
    tags taught, less where the classifier doubts it; 0 leaves the probability of the
    network."""

    tta: bool | None = None
    """Test-time augmentation: average over four flips of the image; if not given, as the
    classifier of tags did."""

    passes: Count = 1
    """Passes of a probabilistic network that are averaged; a single one is deterministic."""

    calibrated: bool | None = None
    """Divide logits by the temperature that held-out hints chose; if not given, only where
    hints proved voxels of every class."""

    probabilities: bool = False
    """Also write CASE__LABEL.nii.gz, the probability of each label."""

    uncertainty: bool = False
    """Also write CASE__uncertainty.nii.gz, the normalised entropy of each voxel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureConfig(Knobs):
    """How masks are scored."""

    tolerance_mm: Positive = 1.0
    """Distance at which a surface still counts as right in the normalised surface Dice."""


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
    return changed_recipe(path)


def changed_recipe(path: Path | None, changes: Mapping[str, object] | None = None) -> Recipe:
    """Read a recipe and set knobs of it.

    Args:
        path: A TOML file; None starts from the defaults.
        changes: Values by full name, such as `label.tags.method`; they win over the file.

    Returns:
        The recipe, every value checked.

    Raises:
        BadRecipeError: The file cannot be read, a knob is unknown, or a value is out of range.
    """
    table: dict[str, Any] = {}
    if path is not None:
        table = _table(path)
        _checked(table, f"{path.name}: ")
    table = copy.deepcopy(table)
    for name, value in (changes or {}).items():
        _require_known(name, value)
        *tables, knob = name.split(".")
        inner = table
        for each in tables:
            inner = inner.setdefault(each, {})
        inner[knob] = value
    return _checked(table, "") if changes else TypeAdapter(Recipe).validate_python(table)


def _table(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        told = " ".join(str(error).split())
        msg = f"{path.name}: cannot be read as TOML ({told}); mend the file"
        raise BadRecipeError(msg) from None


def _checked(table: Mapping[str, Any], where: str) -> Recipe:
    try:
        for name, value in _named(table):
            _require_known(name, value)
        return TypeAdapter(Recipe).validate_python(table)
    except ValidationError as error:
        msg = f"{where}{finding(error)}{ADVICE}"
    except BadRecipeError as error:
        msg = f"{where}{error}"
    raise BadRecipeError(msg)


def _named(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, object]]:
    """Yield the full names of the knobs that a table sets, and their values."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _named(value, f"{above}{name}.")
        else:
            yield above + name, value


def _require_known(name: str, value: object) -> None:
    """Refuse a name that is no knob, and a value that is called otherwise now.

    Raises:
        BadRecipeError: It is one.
    """
    known = [knob.name for knob in listed(Recipe)]
    if any(each.startswith(f"{name}.") for each in known):
        return  # a table, which the types refuse if it is something else
    if name in known:
        _require_new(name, value)
        return
    msg = moved(name)
    if msg is None:
        ask = did_you_mean(name, known, "see `voxhint help knobs`")
        msg = f"{printable(name)}: there is no such knob; {ask}"
    raise BadRecipeError(msg)


def _require_new(name: str, value: object) -> None:
    """Refuse a value that is called otherwise now.

    Raises:
        BadRecipeError: It is one.
    """
    if isinstance(value, str) and (name, value) in VALUES:
        msg = f"{name}: '{value}' is called '{VALUES[name, value]}' now; rename it"
        raise BadRecipeError(msg)
