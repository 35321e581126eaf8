"""Errors that are the user's to mend, each told in one line: found, expected, what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

_NO_MEMORY = ("can't allocate memory", "out of memory", "bad_alloc", "Failed to allocate")


class VoxhintError(Exception):
    """A problem with the input; its text says what was found, what was expected, what to do.

    What a file holds may be quoted in it: nothing in the text moves a terminal's cursor.
    """

    def __init__(self, text: str = "") -> None:
        super().__init__("\n".join(printable(line) for line in text.split("\n")))


class BadFileError(VoxhintError):
    """A file cannot be read, or holds something other than its name and place promise."""


class SkippedError(BadFileError):
    """Some cases cannot be used; all others are done, and nothing is left to do for them."""


class BadHintError(VoxhintError):
    """A hint contradicts the study: an unknown label or case, a place outside the image."""


class BadStudyError(VoxhintError):
    """A study folder breaks its contract; the text lists every problem found."""


class GridMismatchError(VoxhintError):
    """Two arrays that should share a grid do not."""


class BadRecipeError(VoxhintError):
    """A recipe or a flag names an unknown knob, or a value outside its range."""


class OutputError(VoxhintError):
    """An output folder holds something else already, or cannot be written."""


class NotAvailableError(VoxhintError):
    """Something is not available here: an extra, weights, a device, a later feature."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out; torch says it as any other error."""
    return isinstance(error, MemoryError) or any(part in str(error) for part in _NO_MEMORY)


def printable(text: str) -> str:
    """Return a text without what would move a terminal's cursor, or cannot be encoded at all."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@contextmanager
def about(what: str) -> Iterator[None]:
    """Add "while working on `what`" to any error of ours raised inside.

    Args:
        what: The case, file or step at hand, in words a user knows.

    Raises:
        VoxhintError: The error raised inside, with a note.
    """
    try:
        yield
    except VoxhintError as error:
        error.add_note(f"while working on {what}")
        raise
