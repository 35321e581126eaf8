"""Progress with the time left and the memory used, on standard error."""

import sys
import time

from rich.console import Console

from voxhint.core.errors import printable
from voxhint.core.progress import peak_ram_mb
from voxhint.core.words import told_seconds

_EVERY = 10.0  # seconds between lines where nobody can see a line change
_QUICK = 0.2


class Teller:
    """Prints how far a verb is: one changing line on a terminal, plain lines in a log.

    Args:
        quiet: Print nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._live = self._console.is_terminal
        self._quiet = quiet
        self._what = ""
        self._began = time.monotonic()
        self._first = 0
        self._printed = float("-inf")

    def __call__(self, what: str, done: int, total: int, note: str, /) -> None:
        """Take note of `done` of `total` of the step `what`."""
        now = time.monotonic()
        if what != self._what:
            self.close()
            self._what, self._began, self._first = what, now, done
            self._printed = float("-inf")
        pause = _QUICK if self._live else _EVERY
        if self._quiet or (now - self._printed < pause and done < total):
            return
        self._printed = now
        line = f"{what}: {done} of {total}{self._left(done, total, now)}"
        line += f", {note}" if note else ""
        line = printable(f"{line}, peak {peak_ram_mb() / 1024:.1f} GiB")
        if self._live:
            width = max(20, self._console.width - 1)
            sys.stderr.write(f"\r{line[:width]:<{width}}")
            sys.stderr.flush()
        else:
            self._console.print(line, soft_wrap=True, markup=False)

    def _left(self, done: int, total: int, now: float) -> str:
        fresh = done - self._first
        if fresh < 1 or done >= total:
            return ""
        seconds = (now - self._began) / fresh * (total - done)
        return f", {told_seconds(seconds)} left"

    def close(self) -> None:
        """End the changing line, if there is one."""
        if self._live and self._what and not self._quiet:
            sys.stderr.write("\n")
        self._what = ""
