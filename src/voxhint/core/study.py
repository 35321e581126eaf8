"""A study as a value: which files make a case, what its hints say, and how a case is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from voxhint.core.case import Case
from voxhint.core.errors import BadStudyError
from voxhint.core.hints import Box, Diameter, Hint, Points, Soft, Strokes, Tag
from voxhint.core.labels import LabelSet

VoxelKind = Literal["scribbles", "slices", "soft", "labels"]
"""Folders of a study that hold drawn hints; `labels` is `labelsTr`."""


@dataclass(frozen=True, slots=True)
class VoxelFile:
    """A file of drawn hints, read when its case is loaded."""

    case: str
    kind: VoxelKind
    path: Path
    label: str | None = None
    """The label of a soft mask."""

    undrawn: int | None = None
    """What the study says that means not drawn; None where it does not say."""


@dataclass(frozen=True, slots=True)
class CaseFiles:
    """The files of one case."""

    name: str
    subject: str
    """The patient; the case's own name where nobody said."""

    images: Mapping[str, Path]
    """By channel name, in channel order; absent optional channels are left out."""

    site: str | None = None
    truth: Path | None = None
    """`labelsTs` of a test case: for `measure` alone."""

    dense: Path | None = None
    """`denseTr` of a training case: for `simulate` and dense supervision alone."""


@runtime_checkable
class _CaseReader(Protocol):
    """Reads the files of a case; `core` knows no formats, so whoever opens a study brings one."""

    def __call__(
        self, study: "Study", files: CaseFiles, *, hints: bool, dense: bool, voxels: bool
    ) -> Case:
        """Return the case; see `Study.load`."""


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """A study folder, its hints read and its images left on disk."""

    root: Path
    channels: tuple[str, ...]
    optional_channels: tuple[str, ...]
    labels: LabelSet
    training: tuple[CaseFiles, ...]
    """Sorted by name."""

    test: tuple[CaseFiles, ...] = ()
    hints: Mapping[str, tuple[Hint, ...]] = field(default_factory=dict)
    """Tags, points, boxes and diameters, by case."""

    stroke_files: Mapping[str, tuple[VoxelFile, ...]] = field(default_factory=dict)
    """Scribbles, slices, soft and partial masks, by case; read when the case is loaded."""

    design: frozenset[str] = frozenset()
    """Training cases whose dense masks developers may look at; a run never does."""

    undrawn: int | None = None
    """The value that means "not drawn" in drawn maps; None where nobody said, and 255 does."""

    reader: _CaseReader = field(kw_only=True, repr=False)

    def load(
        self, files: CaseFiles, *, hints: bool = True, dense: bool = False, voxels: bool = True
    ) -> Case:
        """Read the images of a case, and what is asked of its hints.

        Args:
            files: One of the training or test cases.
            hints: Whether to read the hints; test cases have none.
            dense: Whether to read the dense mask of a training case into `truth`: `denseTr`, or a
                mask of `labelsTr` without a gap. The truth of test cases is never read here.
            voxels: Whether to read those of the images; without them all are 0.

        Returns:
            The case, channels in order.

        Raises:
            BadFileError: A file cannot be read, or a mask lies on no channel's grid.
        """
        return self.reader(self, files, hints=hints, dense=dense, voxels=voxels)

    @property
    def hinted(self) -> tuple[CaseFiles, ...]:
        """Return the training cases of which any hint says anything."""
        return tuple(
            files
            for files in self.training
            if self.hints.get(files.name) or self.stroke_files.get(files.name)
        )

    def learning_cases(self, *, dense: bool = False) -> tuple[CaseFiles, ...]:
        """Return the training cases that something can be learnt from.

        Args:
            dense: Whether to learn from dense masks rather than from hints.

        Returns:
            One case at least.

        Raises:
            BadStudyError: There is none, as when all of them were set aside.
        """
        cases = tuple(f for f in self.training if f.dense) if dense else self.hinted
        if not cases:
            msg = (
                f"{self.root}: no case to learn from; add hints (or denseTr for dense supervision)"
            )
            raise BadStudyError(msg)
        return cases

    def hint_kinds(self) -> dict[str, int]:
        """Return how many hints of each kind there are; kinds without any are left out."""
        counts: dict[str, int] = {}
        for hints in self.hints.values():
            for hint in hints:
                kind, count = _counted(hint)
                counts[kind] = counts.get(kind, 0) + count
        for files in self.stroke_files.values():
            for file in files:
                counts[file.kind] = counts.get(file.kind, 0) + 1
        return counts


def _counted(hint: Hint) -> tuple[str, int]:
    match hint:
        case Tag():
            return "tags", 1
        case Points():
            return "points", len(hint.positions_mm)
        case Box():
            return "boxes", 1
        case Diameter():
            return "diameters", 1
        case Strokes() | Soft():
            return "strokes", 1
