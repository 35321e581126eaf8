"""What commands offer of the machine: no option that would change nothing."""

from dataclasses import dataclass
from typing import ClassVar

from voxhint.config import Machine


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainMachine(Machine):
    """Where and how training runs: all cases in one process."""

    unoffered: ClassVar[tuple[str, ...]] = ("workers",)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoMachine(Machine):
    """Where and how the demo runs."""

    unoffered: ClassVar[tuple[str, ...]] = ("max_ram", "skip_bad", "undrawn", "workers")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageMachine(Machine):
    """Where and how a command runs that reads no hints."""

    unoffered: ClassVar[tuple[str, ...]] = ("skip_bad", "undrawn")
