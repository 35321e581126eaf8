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
_NAMED = 3  # rows of one finding that are named
_ROW = " row "  # stands between the name of a table and a number in `Problem.where`


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
    """Return each finding of a table once, in the order of its first row.

    Args:
        problems: Of any severity.

    Returns:
        Problems; one of several rows names the first three of them and says how many there are.
    """
    groups: dict[tuple[str, ...], list[Problem]] = {}
    for problem in problems:
        file, row, _ = problem.where.partition(_ROW)
        same = (problem.finding, problem.advice, problem.severity) if row else (problem.where,)
        groups.setdefault((file, *same), []).append(problem)
    return tuple(one for group in groups.values() for one in _joined(group))


def _joined(same: Sequence[Problem]) -> Sequence[Problem]:
    """Return one problem for those of several rows that say the same."""
    file, row, _ = same[0].where.partition(_ROW)
    rows = list(dict.fromkeys(problem.where.removeprefix(file + row) for problem in same))
    if not row or len(rows) == 1:
        return same
    more = "" if len(rows) <= _NAMED else f" and {len(rows) - _NAMED} more"
    where = f"{file} rows {', '.join(rows[:_NAMED])}{more} ({len(rows)} rows)"
    cases = {problem.case for problem in same}
    return (replace(same[0], where=where, case=same[0].case if len(cases) == 1 else None),)


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
