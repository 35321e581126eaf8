"""What is wrong with a file or a study, told in one line each."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from voxhint.core.errors import BadFileError, VoxhintError

Severity = Literal["error", "warning"]

_LONGEST = 160  # characters of a foreign message; some libraries write a page


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing a person should mend, or at least know."""

    where: str
    """A file below the study, with the row if it is a table."""

    finding: str
    advice: str
    severity: Severity = "error"
    case: str | None = None
    """The case it spoils; None if it concerns the whole study."""

    # typing.override arrives with Python 3.12
    def __str__(self) -> str:  # type: ignore[explicit-override]
        """Return the problem as one line."""
        return " ".join(f"{self.where}: {self.finding}; {self.advice}".split())


def problem_of(
    error: VoxhintError, where: str, *, case: str | None = None, severity: Severity = "error"
) -> Problem:
    """Turn an error of ours into a problem.

    Args:
        error: Its text is "file name: finding; advice", the name being optional.
        where: The place to name instead of the bare file name.
        case: The case it spoils.
        severity: Whether a run may go on.

    Returns:
        The problem, without the file name said twice.
    """
    name = where.rpartition("/")[2]
    finding, _, advice = str(error).removeprefix(f"{name}: ").rpartition("; ")
    if not finding:
        finding, advice = advice, "mend it and check again"
    return Problem(where, finding, advice, severity, case)


def one_line(error: BaseException) -> str:
    """Return the last line of a foreign error, shortened: the one that says what happened."""
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
    text = lines[-1] if lines else type(error).__name__
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong inside into a `BadFileError` of one line.

    Format libraries raise errors of every kind on damaged files, so every kind is caught.

    Args:
        path: The file or folder being read.

    Raises:
        BadFileError: Anything was raised inside.
    """
    try:
        yield
    except BadFileError:
        raise
    except VoxhintError as error:
        msg = f"{path.name}: {error}"
        raise BadFileError(msg) from error
    except FileNotFoundError as error:
        msg = f"{path.name}: there is no such file; check the name, or the link's target"
        raise BadFileError(msg) from error
    except PermissionError as error:
        msg = f"{path.name}: permission denied; allow reading it"
        raise BadFileError(msg) from error
    except MemoryError as error:
        msg = f"{path.name}: needs more memory than there is; crop it, or use a larger machine"
        raise BadFileError(msg) from error
    except Exception as error:
        msg = f"{path.name}: cannot be read ({one_line(error)}); export or copy it again"
        raise BadFileError(msg) from error
