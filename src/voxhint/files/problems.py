"""What is wrong with a file or a study, told in one line each."""

import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from voxhint.core.errors import BadFileError, VoxhintError, printable

_Severity = Literal["error", "warning"]

_LONGEST = 160  # characters of a foreign message; some libraries write a page
_LONGEST_PART = 300  # characters of a finding; some cells of a table hold a page
_LONGEST_PLACE = 90  # characters of a place that is named beside others
_NAMED = 3  # places of one finding that are named


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing a person should mend, or at least know."""

    where: str
    """A file below the study, with the row if it is a table."""

    finding: str
    advice: str
    severity: _Severity = "error"
    case: str | None = None
    """The case it spoils; None if it concerns the whole study."""

    # typing.override arrives with Python 3.12
    def __str__(self) -> str:  # type: ignore[explicit-override]
        """Return the problem as one line that can be printed, however odd the names in it."""
        parts = (_cut(" ".join(part.split())) for part in (self.where, self.finding, self.advice))
        return printable("{}: {}; {}".format(*parts))


def _cut(text: str, longest: int = _LONGEST_PART) -> str:
    return text if len(text) <= longest else f"{text[:longest]}..."


def problem_of(
    error: VoxhintError, where: str, *, case: str | None = None, severity: _Severity = "error"
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


def joined(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return each finding once, in the order of its first place, with where else it was made.

    Args:
        problems: Of any severity.

    Returns:
        Problems; one of several places names the first three of them and says how many there are.
    """
    groups: dict[tuple[str, str, _Severity], list[Problem]] = {}
    for problem in problems:
        key = (problem.finding, problem.advice, problem.severity)
        groups.setdefault(key, []).append(problem)
    return tuple(_joined(group) for group in groups.values())


def _joined(same: Sequence[Problem]) -> Problem:
    """Return one problem for those that differ in their places alone."""
    places = list(dict.fromkeys(problem.where for problem in same))
    if len(same) == 1 or len(places) == 1:
        return same[0]
    named = ", ".join(_cut(place, _LONGEST_PLACE) for place in places[:_NAMED])
    more = "" if len(places) <= _NAMED else f" and {len(places) - _NAMED} more"
    where = f"{named}{more} ({len(places)} places)"
    cases = {problem.case for problem in same}
    return replace(same[0], where=where, case=same[0].case if len(cases) == 1 else None)


def lines_of(problems: Iterable[Problem], severity: _Severity) -> list[str]:
    """Return the problems of a severity, a line each.

    Args:
        problems: Of any severity.
        severity: Of those wanted.
    """
    return [str(problem) for problem in problems if problem.severity == severity]


def _one_line(error: BaseException) -> str:
    """Return the last line of a foreign error, shortened: the one that says what happened."""
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
    text = lines[-1] if lines else type(error).__name__
    return _cut(text, _LONGEST)


_SAID: Mapping[type[Exception], str] = {
    FileNotFoundError: "there is no such file; check the name, or the link's target",
    PermissionError: "permission denied; allow reading it",
    NotADirectoryError: "is a file where a folder is expected; move it elsewhere",
    IsADirectoryError: "is a folder where a file is expected; move it elsewhere",
    MemoryError: "needs more memory than there is; crop it, or use a larger machine",
}


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
        _require_plain(path)
        yield
    except BadFileError:
        raise
    except VoxhintError as error:
        msg = f"{path.name}: {error}"
        raise BadFileError(msg) from error
    except Exception as error:
        # libraries name the whole path, which says more of a machine than of the file
        line = (
            _one_line(error)
            .replace(f"{path.absolute().parent}/", "")
            .replace(f"{path.parent}/", "")
        )
        foreign = f"cannot be read ({line}); export or copy it again"
        said = next((text for kind, text in _SAID.items() if isinstance(error, kind)), foreign)
        msg = f"{path.name}: {said}"
        raise BadFileError(msg) from error


def _require_plain(path: Path) -> None:
    """Refuse what could be waited for or read without end.

    Raises:
        BadFileError: It is a pipe, a socket or a device.
    """
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - links are followed either way
    except FileNotFoundError:
        return  # a name that only stands for a file; else whoever opens it will say so
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        msg = f"{path.name}: is neither a file nor a folder; remove it"
        raise BadFileError(msg)
