"""The labels of a study: their names, and the ids that stand for them in files."""

import re
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Integer, UInt8

from voxhint.core.errors import BadFileError, BadHintError

UNDRAWN = 255
"""The id that says "nothing was drawn here" in scribble, slice and mask files."""

BACKGROUND = "background"

_LISTED = 12  # ids that a message names one by one
_UNSAFE = re.compile(r'[/\\:*?"<>|]+')  # in the name of a file, on one system or another


def file_name(label: str) -> str:
    """Return what stands for a label in the names of files: "a/b" becomes "a-b"."""
    return _UNSAFE.sub("-", label)


@dataclass(frozen=True, slots=True)
class LabelSet:
    """Names and file ids of the classes, background first; class numbers are positions here."""

    names: tuple[str, ...]
    """`background` and the foreground labels, in the order of their ids."""

    ids: tuple[int, ...]
    """What stands for each of them in files; background is 0."""

    ignore: int | None = None
    """The id that marks unlabelled voxels in `labelsTr`, if the study has one."""

    optional: tuple[str, ...] = field(default=(), compare=False)
    """Labels that are outlined in some cases only: a case that shows none of one does not say that
    it is absent. A network learns the same labels whatever stands here."""

    @property
    def foreground(self) -> tuple[str, ...]:
        """Return the names without background."""
        return self.names[1:]

    def number(self, name: str) -> int:
        """Return the class number of a label.

        Args:
            name: A label's name, or `background`.

        Raises:
            BadHintError: The study has no such label.
        """
        if name not in self.names:
            msg = f"label '{name}' is not in dataset.json; use one of {', '.join(self.names)}"
            raise BadHintError(msg)
        return self.names.index(name)

    def to_classes(self, ids: Integer[np.ndarray, "i j k"]) -> UInt8[np.ndarray, "i j k"]:
        """Turn file ids into class numbers; 255 and the ignore id become `UNDRAWN`.

        Args:
            ids: Voxels of a mask, scribble or slice file.

        Returns:
            Class numbers, `UNDRAWN` where nothing is said.

        Raises:
            BadFileError: An id is not in `dataset.json`.
        """
        silent = {UNDRAWN} if self.ignore is None else {UNDRAWN, self.ignore}
        strange = sorted(set(counts_of(ids)) - silent - set(self.ids))
        if strange:
            msg = (
                f"ids {strange[:5]} are not in dataset.json; "
                f"use {told_ids(self.ids)}, or {UNDRAWN} for not drawn"
            )
            raise BadFileError(msg)
        table = np.full(UNDRAWN + 1, UNDRAWN, np.uint8)
        table[list(self.ids)] = range(len(self.ids))
        classes = np.empty(ids.shape, np.uint8)
        for plane, numbers in zip(ids, classes, strict=True):  # indices are long: a plane at a time
            numbers[:] = table[plane]
        return classes

    def to_ids(self, classes: UInt8[np.ndarray, "i j k"]) -> UInt8[np.ndarray, "i j k"]:
        """Return file ids for class numbers; `UNDRAWN` stays."""
        table = np.full(256, UNDRAWN, np.uint8)
        table[: len(self.ids)] = self.ids
        return np.asarray(table[classes])


def counts_of(ids: Integer[np.ndarray, "i j k"]) -> dict[int, int]:
    """Return how many voxels have each value, lowest value first."""
    if ids.dtype != np.uint8:
        values, numbers = np.unique(ids, return_counts=True)
        return dict(zip(values.tolist(), numbers.tolist(), strict=True))
    total = np.zeros(UNDRAWN + 1, np.int64)
    for plane in ids:
        total += np.bincount(plane.ravel(), minlength=UNDRAWN + 1)
    return {int(value): int(total[value]) for value in np.flatnonzero(total)}


def told_ids(ids: tuple[int, ...]) -> str:
    """Return ids as text, however many there are."""
    few = len(ids) <= _LISTED
    return ", ".join(map(str, ids)) if few else f"one of the {len(ids)} ids from 0 to {max(ids)}"
