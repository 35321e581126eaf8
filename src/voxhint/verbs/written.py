"""What an import or an export wrote, and what a person should know of it."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Written:
    """A folder of ours, or for others."""

    out: Path
    told: str = ""
    """What is in it, and what to do next; empty where the folder says all."""

    warnings: tuple[str, ...] = ()
    """What was odd, passed over or left out, a line each."""
