"""Rounds: labels, a model and masks are made anew in the background from what was said so far."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from voxhint.core.errors import BadHintError, VoxhintError
from voxhint.serve.contract import Round


class BusyError(BadHintError):
    """A round is being made already."""


@dataclass(frozen=True, slots=True)
class Renewed:
    """What a round made."""

    run: str
    """Name of its run."""

    sureness: Mapping[str, float]
    """By case, of those whose mask holds a label."""


@runtime_checkable
class Work(Protocol):
    """A round that is being made by another process."""

    def progress(self) -> Iterator[tuple[str, int, int, str]]:
        """Yield step, done, total and note until the work ends.

        Raises:
            VoxhintError: It failed.
        """

    def finish(self) -> Renewed:
        """Return what was made, which is used from now on."""

    def stop(self) -> None:
        """Make the other process end."""


Begin = Callable[[float], Work]
"""Begins a round whose training takes some minutes."""


class Rounds:
    """One round at a time, and how far it is.

    Args:
        begin: Starts the work; None where nothing can be trained.
        renewed: Takes over what was made.
    """

    def __init__(self, begin: Begin | None, renewed: Callable[[Renewed], None]) -> None:
        self._begin = begin
        self._renewed = renewed
        self._lock = threading.Lock()
        self._work: Work | None = None
        self._follower: threading.Thread | None = None
        self._stopped = False
        self.status = Round()

    def start(self, minutes: float) -> Round:
        """Begin a round.

        Args:
            minutes: For training.

        Returns:
            How far it is.

        Raises:
            BusyError: One is being made.
            BadHintError: Nothing can be trained here.
        """
        if self._begin is None:
            msg = "nothing can be trained in this session"
            raise BadHintError(msg)
        with self._lock:
            if self.status.state == "running":
                msg = "a round is being made already; wait for it, or stop it"
                raise BusyError(msg)
            self._stopped = False
            self.status = Round(state="running", step="begin")
            try:
                self._work = self._begin(minutes)
            except BaseException:
                self.status = Round()
                raise
            self._follower = threading.Thread(target=self._follow, args=(self._work,), daemon=True)
            self._follower.start()
        return self.status

    def stop(self) -> Round:
        """End the round that is being made, if any; what came before it stays.

        Returns:
            How it ended.
        """
        with self._lock:
            self._stopped = True
            work, follower = self._work, self._follower
        if work is not None:
            work.stop()
        if follower is not None:
            follower.join()
        return self.status

    def _follow(self, work: Work) -> None:
        began = time.monotonic()
        step, since, first = "", began, 0
        try:
            for what, done, total, note in work.progress():
                now = time.monotonic()
                if what != step:
                    step, since, first = what, now, done
                fresh, left = done - first, None
                if fresh > 0 and done < total:
                    left = round((now - since) / fresh * (total - done), 1)
                self.status = Round(
                    state="running",
                    step=what,
                    done=done,
                    total=total,
                    note=note,
                    seconds=round(now - began, 1),
                    left_s=left,
                )
            self._renewed(work.finish())
            self._end("done", began, "")
        except VoxhintError as error:
            self._end(
                "stopped" if self._stopped else "failed", began, str(error).partition("\n")[0]
            )
        finally:
            self._work = None
            if self.status.state == "running":  # an error of ours: told by the thread's traceback
                self._end("failed", began, "a mistake of voxhint's own; see the terminal")

    def _end(self, state: str, began: float, note: str) -> None:
        spent = round(time.monotonic() - began, 1)
        self.status = Round.model_validate({"state": state, "note": note, "seconds": spent})
