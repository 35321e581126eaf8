"""`--max-ram`: what does not fit is refused before it begins, with what would fit."""

import math
from collections.abc import Mapping

from voxhint.config import Machine, bytes_of
from voxhint.core.errors import BadRecipeError
from voxhint.core.words import counted

_FIRST = 2**29  # bytes of the process that gives work to others


def limit_of(machine: Machine) -> int | None:
    """Return how many bytes each of the processes may take; None for no limit."""
    if machine.max_ram is None:
        return None
    return (bytes_of(machine.max_ram) - _beside(machine)) // machine.workers


def require_memory(doing: str, needs: Mapping[str, int], machine: Machine) -> None:
    """Refuse to begin where the largest cases do not fit into the memory that is allowed.

    Args:
        doing: The verb, such as labelling.
        needs: Bytes by case.
        machine: Gives `max_ram` and `workers`.

    Raises:
        BadRecipeError: They do not.
    """
    if machine.max_ram is None or not needs:
        return
    largest = sorted(needs.values(), reverse=True)
    beside, limit = _beside(machine), bytes_of(machine.max_ram)
    needed = sum(largest[: machine.workers]) + beside
    if needed <= limit:
        return
    case = max(needs, key=lambda name: needs[name])
    enough = f"allow --max-ram {_rounded_up(needed)}"
    fewer = (limit - beside) // largest[0]
    if 0 < fewer < machine.workers:
        enough += f", or say --workers {fewer}"
    msg = (
        f"{doing} needs up to {_rounded_up(largest[0])} for case {case}, with "
        f"{counted(machine.workers, 'worker')} {_rounded_up(needed)}, and {machine.max_ram} is "
        f"allowed; {enough}"
    )
    raise BadRecipeError(msg)


def _beside(machine: Machine) -> int:
    return 0 if machine.workers == 1 else _FIRST


def _rounded_up(size: int) -> str:
    return f"{math.ceil(size / 2**30 * 10) / 10:.1f}G"
