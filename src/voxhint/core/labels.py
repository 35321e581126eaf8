"""The labels of a study: their names, and the ids that stand for them in files."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Integer, UInt8

from voxhint.core.errors import BadFileError, BadHintError

UNDRAWN = 255
"""The id that says "nothing was drawn here" in scribble, slice and mask files."""

BACKGROUND = "background"


@dataclass(frozen=True, slots=True)
class LabelSet:
    """Names and file ids of the classes, background first; class numbers are positions here."""

    names: tuple[str, ...]
    """`background` and the foreground labels, in the order of their ids."""

    ids: tuple[int, ...]
    """What stands for each of them in files; background is 0."""

    ignore: int | None = None
    """The id that marks unlabelled voxels in `labelsTr`, if the study has one."""

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
        known = {UNDRAWN, *self.ids} | ({self.ignore} if self.ignore is not None else set())
        strange = sorted(int(value) for value in np.unique(ids) if int(value) not in known)
        if strange:
            msg = (
                f"ids {strange[:5]} are not in dataset.json; "
                f"use {', '.join(map(str, self.ids))}, or {UNDRAWN} for not drawn"
            )
            raise BadFileError(msg)
        classes = np.full(ids.shape, UNDRAWN, np.uint8)
        for number, value in enumerate(self.ids):
            classes[ids == value] = number
        return classes

    def to_ids(self, classes: UInt8[np.ndarray, "i j k"]) -> UInt8[np.ndarray, "i j k"]:
        """Return file ids for class numbers; `UNDRAWN` stays."""
        table = np.full(256, UNDRAWN, np.uint8)
        table[: len(self.ids)] = self.ids
        return np.asarray(table[classes])
