"""What commands offer of the machine: no flag that would change nothing."""

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Fixed, Suppress

from voxhint.config import Machine


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelMachine(Machine):
    """Where and how labelling runs; memory bounds the patches of training alone."""

    max_ram: Annotated[str | None, Fixed, Suppress] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageMachine(LabelMachine):
    """Where and how a command runs that reads no hints."""

    skip_bad: Annotated[bool, Fixed, Suppress] = False
    undrawn: Annotated[int | None, Fixed, Suppress] = None
