"""What a person did, line by line: each line is on the disk before it is answered."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from voxhint.core.errors import OutputError

NAME = ".steps.jsonl"


class Journal:
    """A file of steps that only grows.

    Args:
        path: Of the file; made if it is missing. A last line that a kill cut short is dropped: its
            step was never answered.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._whole = 0

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield every step in order.

        Raises:
            OutputError: A line that is not the last one is damaged.
        """
        self._whole = 0
        if not self._path.exists():
            return
        data = self._path.read_bytes()
        for number, line in enumerate(data.splitlines(keepends=True), 1):
            try:
                step = json.loads(line)
            except ValueError:
                step = None
            if not line.endswith(b"\n") and self._whole + len(line) == len(data):
                return
            if not isinstance(step, dict):
                msg = f"{self._path}: line {number} is damaged; put back a copy of the session"
                raise OutputError(msg)
            self._whole += len(line)
            yield step

    def add(self, step: dict[str, Any]) -> None:
        """Write a step; it is safely on the disk when this returns.

        Raises:
            OutputError: It cannot be written; then nothing of it counts.
        """
        line = json.dumps(step, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        try:
            if self._file is None:
                self._file = self._path.open("ab")
                self._file.truncate(self._whole)
            self._file.write(line.encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            self._file = None
            msg = f"{self._path}: cannot be written ({error.strerror or error}); free space"
            raise OutputError(msg) from None
        self._whole += len(line.encode()) + 1

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
