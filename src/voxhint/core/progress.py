"""How a verb says how far it is and what it used, without printing."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol, runtime_checkable


@runtime_checkable
class Tell(Protocol):
    """Hears what is being done and how far it is."""

    def __call__(self, what: str, done: int, total: int, note: str, /) -> None:
        """Take note of `done` of `total` of the step `what`."""


def silent(what: str, done: int, total: int, note: str, /) -> None:
    """Tell nobody."""


def tell_found(tell: Tell, warnings: Iterable[str]) -> None:
    """Tell what was found in the output folder that a person should know."""
    for warning in warnings:
        tell("look at what is there", 1, 1, warning)


def peak_ram_mb() -> int:
    """Return the most memory this process has used so far, in MiB; 0 where unknown."""
    status = Path("/proc/self/status")  # getrusage would tell of the process that began this one
    if status.exists():
        kilobytes = status.read_text("ascii").partition("VmHWM:")[2].split()
        if kilobytes:
            return int(kilobytes[0]) // 2**10
    try:
        import resource  # not on Windows
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak // (2**20 if sys.platform == "darwin" else 2**10))
