"""Images that cannot be used are skipped, so that all others are done."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from voxhint.core.errors import (
    BadFileError,
    GridMismatchError,
    SkippedError,
    about,
    is_out_of_memory,
)
from voxhint.core.progress import Tell
from voxhint.core.words import counted
from voxhint.files.atomic import MADE
from voxhint.files.formats.metaimage_nrrd import data_names
from voxhint.files.hashing import hash_of
from voxhint.runs.manifest import Manifest
from voxhint.runs.resumable_folder import forget_input

_IMAGES = "images/"  # in front of a case, in the inputs of a manifest
_TOO_LARGE = (
    "there is not enough memory for it; close other programs, use fewer --workers, or predict it "
    "on a machine with more"
)


def by_case(cases: Mapping[str, Mapping[str, Path]]) -> dict[str, str]:
    """Return what the images of each case hold, in whatever files, as inputs of a manifest.

    Args:
        cases: Paths by case and channel.
    """
    return {f"{_IMAGES}{case}": _hash_of([*images.values()]) for case, images in cases.items()}


def _hash_of(paths: Sequence[Path]) -> str:
    beside = [path.with_name(name) for path in paths for name in sorted(data_names(path))]
    try:
        return hash_of([*paths, *beside])
    except OSError:  # may not be read: told when its case is skipped
        return ""


def more_cases(changed: Sequence[str], found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Return whether a command differs from an earlier one only by cases of which nothing is made.

    Args:
        changed: Names of what differs, such as `inputs.images/c1`.
        found: What the folder says it was made from; what was skipped is not in it.
        wanted: What is there now.
    """
    new = {f"inputs.{name}" for name in wanted["inputs"].keys() - found["inputs"].keys()}
    return set(changed) <= {name for name in new if name.startswith(f"inputs.{_IMAGES}")}


class Skipped:
    """Collects the cases that are skipped, each with the reason.

    Args:
        out: The folder in progress.
        told: Lines about what was skipped before.
        tell: Hears of each.
    """

    def __init__(self, out: Path, told: Sequence[str], tell: Tell) -> None:
        self._out, self._tell = out, tell
        self._cases: set[str] = set()
        self.lines = list(told)

    def __contains__(self, case: str) -> bool:
        """Return whether a case was skipped."""
        return case in self._cases

    @contextmanager
    def trying(self, case: str) -> Iterator[None]:
        """Skip a case whose images cannot be used, or need more memory than there is.

        Yields:
            Nothing; an error of its files ends the block and goes no further.

        Raises:
            Exception: Any other error.
        """
        with about(f"case {case}"):
            try:
                yield
            except (BadFileError, GridMismatchError) as error:
                self._skip(case, " ".join(str(error).split()))
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                self._skip(case, _TOO_LARGE)

    def _skip(self, case: str, why: str) -> None:
        self._cases.add(case)
        self.lines.append(f"case {case}: {why}")
        self._tell("skipped", 1, 1, self.lines[-1])
        forget_input(self._out, f"{_IMAGES}{case}")

    def manifest(self, manifest: Manifest) -> Manifest:
        """Return a manifest without the inputs of which nothing was made."""
        return manifest.without(f"{_IMAGES}{case}" for case in self._cases)

    def require_none(self, done: int) -> None:
        """Tell of what was skipped, at the end.

        Args:
            done: How many cases have their masks.

        Raises:
            SkippedError: Something was skipped.
        """
        if done == 0 and len(self.lines) == 1:
            raise SkippedError(self.lines[0])
        if self.lines:
            listed = f"{self._out} has the masks of the other {done}, and {MADE} in it lists these"
            rest = listed if done else "none is left"
            msg = (
                f"{counted(len(self.lines), 'image')} skipped; {rest}; mend or remove them, then "
                "the same command does what is missing"
            )
            raise SkippedError("\n".join([*self.lines, msg]))
