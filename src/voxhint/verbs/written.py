"""What a command wrote, and what a person should know of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from voxhint.files.images import read_ids

_MANY = 3  # masks: fewer may well hold nothing


@dataclass(frozen=True, slots=True)
class Written:
    """A folder of ours, or for others."""

    out: Path
    told: str = ""
    """What is in it, and what to do next; empty where the folder says all."""

    warnings: tuple[str, ...] = ()
    """What was odd, passed over or left out, a line each."""


def emptiness(masks: Sequence[Path]) -> tuple[str, ...]:
    """Return a warning if there are many masks and none holds a label; it takes one that does."""
    if len(masks) < _MANY or any(read_ids(path)[0].any() for path in masks):
        return ()
    return (
        f"none of {len(masks)} masks holds any label; look at the soft labels and at the training "
        "curve before this model is used: hints that show too little of a label teach that it is "
        "nowhere",
    )
