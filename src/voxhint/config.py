"""Every knob on one page: its name, its default, its range, and what it does."""

import dataclasses
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast

from annotated_types import Ge, Gt, Le
from pydantic import ConfigDict, TypeAdapter, ValidationError

from voxhint.core.errors import BadRecipeError

Count = Annotated[int, Ge(1)]
Positive = Annotated[float, Gt(0)]
Share = Annotated[float, Ge(0), Le(1)]
TagMethod = Literal[
    "cam",
    "grad-cam",
    "grad-cam++",
    "layer-cam",
    "hires-cam",
    "score-cam",
    "gradient",
    "smooth-grad",
    "input-x-gradient",
    "integrated-gradients",
    "occlusion",
]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelConfig:
    """How hints become soft labels."""

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)

    method: Literal["geodesic", "gaussian", "none"] = "geodesic"
    """How a hint spreads: along ways that avoid edges, as a bell in millimetres, or not at all."""

    tag_method: TagMethod = "smooth-grad"
    """Map of evidence that shows where an image-level predictor saw what a tag names."""

    refine: Literal["half-maximum", "random-walker", "active-contour", "none"] = "half-maximum"
    """How the region around the strongest evidence finds its border; none cuts the map at what
    images tagged absent show by chance."""

    pooling: Literal["lse", "max", "mean", "attention"] = "lse"
    """How the predictor joins the places of an image: log-sum-exp, maximum, mean or attention."""

    predictor_steps: Count = 600
    """Optimiser steps of the predictor."""

    predictor_width: Count = 16
    """Its feature maps at the first level."""

    predictor_flat: bool = False
    """See slices one by one after a look at their neighbours (2.5D)."""

    predictor_mirror: bool = True
    """Flips of images for the predictor, and a mean over them; not for labels of left and right."""

    bag_voxels: Count = 60_000
    """Voxels of an image as the predictor sees it at most; larger ones are made coarser."""

    null_quantile: Share = 0.995
    """Share of voxels of images tagged absent that lie below the threshold of a map."""

    tag_trust: Share = 0.8
    """Trust in a region found from a tag, away from its border."""

    presence_specificity: Share = 0.75
    """Share of the images tagged absent that the predictor is to call absent; masks of images
    without tags are empty where it does."""

    reach_mm: Positive | None = None
    """How far a point or stroke speaks for its neighbours; planned from the hints if not given."""

    edge_weight: Annotated[float, Ge(0)] = 2.0
    """How much longer a way gets over an edge; 0 ignores the image (geodesic only)."""

    guess_trust: Share = 0.3
    """Highest trust in what only follows from the shape of a box or a ball."""

    background_trust: Share = 0.1
    """Trust in background far from the hints of a case that shows no background at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """How a network learns from soft labels."""

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)

    supervision: Literal["weak", "dense"] = "weak"
    """Learn from hints, or from `denseTr` for the upper bound."""

    network: Literal["dynunet", "segresnet"] = "dynunet"
    """The trunk, a network of MONAI's."""

    width: Count = 16
    """Feature maps at full resolution; doubled at each level, at most 20 times as many."""

    steps: Count = 1000
    """Optimiser steps."""

    budget: str | None = None
    """Wall-clock time for training, such as 90s, 20m or 2h; sets the steps by measuring."""

    batch: Count | None = None
    """Patches a step; two large ones or up to 12 small ones if not given."""

    patch_voxels: Count = 110_000
    """Voxels of a patch at most: what decides memory."""

    learning_rate: Positive = 2e-3
    """Peak of AdamW's step size."""

    dice_weight: Annotated[float, Ge(0)] | None = None
    """Weight of the Dice loss beside cross-entropy; 0.3 for hints and 1 for dense masks if not
    given, because Dice swells what is in doubt."""

    crf_weight: Annotated[float, Ge(0)] = 0.0
    """Weight of the gated CRF loss: close voxels that look alike should have the same label."""

    tv_weight: Annotated[float, Ge(0)] = 0.0
    """Weight of total variation, in mm: borders should be short."""

    mumford_shah_weight: Annotated[float, Ge(0)] = 0.0
    """Weight of the Mumford-Shah loss: the voxels of a class should look alike."""

    held_out: Annotated[float, Ge(0), Le(0.5)] = 0.1
    """Share of the subjects whose hints choose the checkpoint instead of training it."""

    mirror: bool = False
    """Flip patches at random; leave off where left and right are different labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictConfig:
    """How masks are made from a model."""

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)

    overlap: Annotated[float, Ge(0), Le(0.9)] = 0.5
    """Share of a tile that its neighbour covers again."""

    probabilities: bool = False
    """Also write CASE__LABEL.nii.gz, the probability of each label."""

    uncertainty: bool = False
    """Also write CASE__uncertainty.nii.gz, the normalised entropy of each voxel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureConfig:
    """How masks are scored."""

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)

    tolerance_mm: Positive = 1.0
    """Distance at which a surface still counts as right in the normalised surface Dice."""

    resamples: Count = 2000
    """Bootstrap draws of subjects for the intervals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Every knob of the main job."""

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)

    label: LabelConfig = field(default_factory=LabelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    predict: PredictConfig = field(default_factory=PredictConfig)
    measure: MeasureConfig = field(default_factory=MeasureConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where and how a command runs; beside the seed, results depend on it only by rounding."""

    seed: Annotated[int, Ge(0)] = 0
    """Start of every random choice."""

    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""

    threads: Annotated[int, Ge(0)] = 0
    """CPU threads; 0 takes all cores this process may use."""

    max_ram: str | None = None
    """Memory the command may use, such as 8G: patches shrink to fit, or it is refused."""

    overwrite: bool = False
    """Replace an earlier result of voxhint in the output folder."""

    skip_bad: bool = False
    """Set cases with problems aside, list them in the report, and go on."""

    dry_run: bool = False
    """Only forecast time and memory."""


def _where(error: ValidationError) -> str:
    """Return the first finding of pydantic as `knob: what is wrong`."""
    first = error.errors()[0]
    return _one_line(f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}")


def _one_line(text: str) -> str:
    return " ".join(text.split())


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


_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_SIZES = {"M": 2**20, "G": 2**30, "T": 2**40}


def seconds_of(budget: str) -> float:
    """Return the seconds of a budget such as 90s, 20m or 2h.

    Args:
        budget: A number and a unit; a bare number is seconds.

    Returns:
        Seconds.

    Raises:
        BadRecipeError: The text is no such budget.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", budget.strip())
    if match is None or float(match[1]) <= 0:
        msg = f"budget '{budget}' is not a time; write 90s, 20m or 2h"
        raise BadRecipeError(msg)
    return float(match[1]) * _UNITS[match[2] or "s"]


def bytes_of(size: str) -> int:
    """Return the bytes of a size such as 900M or 8G.

    Args:
        size: A number and a unit.

    Returns:
        Bytes.

    Raises:
        BadRecipeError: The text is no such size.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([MGT])i?B?", size.strip(), re.IGNORECASE)
    if match is None or float(match[1]) <= 0:
        msg = f"max-ram '{size}' is not a size; write 900M or 8G"
        raise BadRecipeError(msg)
    return int(float(match[1]) * _SIZES[match[2].upper()])
