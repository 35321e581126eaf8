"""Where and how a command runs, and amounts of time and memory."""

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Le

from voxhint.config.ranges import Count, Knobs, Natural, read_by
from voxhint.core.errors import BadRecipeError

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine(Knobs):
    """Where and how a command runs; but for seed and undrawn, results change only by rounding."""

    seed: Natural = 0
    """Seed of every random choice."""

    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""

    threads: Natural = 0
    """CPU threads; 0 takes OMP_NUM_THREADS, or else all cores that this process may use."""

    workers: Count = 1
    """Processes that work on cases at the same time, each with its share of the threads;
    results are the same with the same --threads."""

    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of networks; auto is bfloat16 on GPUs and on CPUs with instructions for it."""

    max_ram: Annotated[str, read_by(bytes_of)] | None = None
    """Memory the command may use, such as 8G. Patches shrink to fit. If cases do not fit,
    nothing begins, and one line says what would."""

    overwrite: bool = False
    """Replace an earlier result of voxhint in the output folder."""

    skip_bad: bool = False
    """Set cases with problems aside, list them in the report, and go on."""

    undrawn: Annotated[int, Ge(0), Le(255)] | None = None
    """Value of scribbles, slices and partial masks that means "not drawn", instead of that of
    dataset.json, or 255. Where it is 0, the id after the highest draws background."""

    dry_run: bool = False
    """Only forecast time, memory and disk."""
