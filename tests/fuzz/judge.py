"""What a command may make of a change whose meaning is known."""

from tests.fuzz.table import Meaning
from tests.fuzz.world import PATIENCE, Outcome

_CODES = (0, 1, 3)


def finding(
    meaning: Meaning, before: Outcome | None, after: Outcome, *, may_refuse: bool = False
) -> str:
    """Return what is wrong with how a command ended, nothing if all is well.

    Args:
        meaning: Of what was changed.
        before: How it ends when nothing is changed; None where that does not count.
        after: How it ended.
        may_refuse: Whether it may refuse what means the same, or say a word of it.
    """
    crashed = _crash(after)
    if crashed or meaning == "unknowable" or before is None:
        return crashed
    refused, same = after.code != before.code, after.made == before.made
    told = bool(after.warnings - before.warnings)
    if meaning == "same":
        if refused:
            return "" if may_refuse else f"refused:\n{_end(after)}"
        return (
            "" if same or (told and may_refuse) else f"silent, with another result:\n{_end(after)}"
        )
    return "" if refused or told or same else f"silent, with another result:\n{_end(after)}"


def _crash(outcome: Outcome) -> str:
    """Return how a command ended as none should."""
    if outcome.code < 0:
        after = f" after {PATIENCE} s" if outcome.code == -14 else ""
        return f"ended by signal {-outcome.code}{after}:\n{_end(outcome)}"
    if outcome.code not in _CODES or any("Traceback" in line for line in outcome.said):
        return f"exit code {outcome.code}:\n{_end(outcome)}"
    odd = [line for line in outcome.said if not line.isprintable() or "needs more memory" in line]
    if odd:
        return f"a line that should not be: {odd[0]!r}"
    if outcome.code and not any(line.startswith("error: ") for line in outcome.said):
        return f"exit code {outcome.code} without a reason:\n{_end(outcome)}"
    return ""


def _end(outcome: Outcome) -> str:
    return "\n".join(f"  {line[:300]}" for line in outcome.said[-12:])
