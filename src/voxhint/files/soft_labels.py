"""Soft labels as files: probability and trust of each class, or one file for a whole scan."""

import shutil
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from voxhint.core import Grid, LabelSet, SoftLabel
from voxhint.core.compact import CompactSoftLabel
from voxhint.core.errors import BadFileError
from voxhint.core.labels import file_name
from voxhint.core.sparse_constraints import SoftMask, SparseConstraints
from voxhint.core.volume import Floats
from voxhint.files.atomic import replacing
from voxhint.files.images import read_probability, write_probability
from voxhint.files.problems import reading

_VOXELS = ("first", "second", "first_prob", "trust")
_FACTS = ("places", "proven", "possible", "elsewhere", "rooms", "ranges")
_PLANES = 16  # of the axis i that are packed together
_LEVEL = 1  # of compression: most of a scan is far from hints, and packs well at any


@runtime_checkable
class _ByClass(Protocol):
    """A soft label that tells class after class."""

    @property
    def grid(self) -> Grid:
        """Return where it lies."""

    def by_class(self) -> Iterator[tuple[Floats, Floats]]:
        """Yield probability and trust of each class."""


def soft_label_paths(folder: Path, case: str, labels: LabelSet) -> list[Path]:
    """Return the files of a case: probability and trust of each class."""
    return [
        folder / f"{case}__{file_name(name)}{part}.nii.gz"
        for name in labels.names
        for part in ("", "__trust")
    ]


def compact_path(folder: Path, case: str) -> Path:
    """Return the one file of a case that is a whole scan."""
    return folder / f"{case}__soft.npz"


def write_soft_label(
    folder: Path,
    case: str,
    soft: SoftLabel | CompactSoftLabel | _ByClass,
    labels: LabelSet,
    *,
    nifti: bool = False,
) -> None:
    """Write the soft label of a case.

    Args:
        folder: Where it goes.
        case: Its name.
        soft: Of a small image, written as probability and trust of each class, one file each; or
            of a whole scan, written as one file.
        labels: Names of the classes.
        nifti: Write the files of each class of a whole scan, too.
    """
    if nifti or not isinstance(soft, CompactSoftLabel):
        _write_by_class(soft_label_paths(folder, case, labels), soft)
    if isinstance(soft, CompactSoftLabel):  # last: with it the case is done
        _write_compact(compact_path(folder, case), soft, labels)


def _write_by_class(paths: Sequence[Path], soft: _ByClass) -> None:
    """Write probability and trust of each class; what classes share is packed once."""
    latest = shared = None
    for number, pair in enumerate(soft.by_class()):
        places = paths[2 * number : 2 * number + 2]
        if latest is not None and pair is latest[0]:
            shared = latest
        if shared is not None and pair is shared[0]:
            for made, path in zip(shared[1], places, strict=True):
                with replacing(path) as partial:
                    shutil.copyfile(made, partial)
            continue
        for values, path in zip(pair, places, strict=True):
            write_probability(path, values, soft.grid)
        latest = pair, places


def read_soft_label(
    folder: Path, case: str, labels: LabelSet
) -> SoftLabel | CompactSoftLabel | None:
    """Read the soft label of a case.

    Args:
        folder: What `label` wrote.
        case: Its name.
        labels: Names of the classes.

    Returns:
        The soft label, or None if the folder has none for this case.
    """
    compact, paths = compact_path(folder, case), soft_label_paths(folder, case, labels)
    if compact.exists():
        return _read_compact(compact, labels)
    if not any(path.exists() for path in paths):
        return None
    arrays = [read_probability(path) for path in paths]
    for _, grid in arrays:
        arrays[0][1].require_same(grid)
    probs = np.stack([values for values, _ in arrays[::2]])
    trust = np.stack([values for values, _ in arrays[1::2]])
    return SoftLabel(probs, trust, arrays[0][1])


def _write_compact(path: Path, soft: CompactSoftLabel, labels: LabelSet) -> None:
    """Write an archive of arrays as NumPy reads it; the same soft label gives the same bytes."""
    packed = (zipfile.ZIP_DEFLATED, True, _LEVEL)
    with replacing(path) as partial, zipfile.ZipFile(partial, "w", *packed) as archive:
        for name, array in _arrays(soft, labels):
            with archive.open(f"{name}.npy", "w") as file:  # of a day that never changes
                np.lib.format.write_array(file, array, allow_pickle=False)


def _arrays(soft: CompactSoftLabel, labels: LabelSet) -> Iterator[tuple[str, np.ndarray]]:
    known = soft.constraints
    yield "names", np.array(labels.names)
    yield "affine", known.grid.affine
    yield "header", np.frombuffer(known.grid.header, np.uint8)
    yield "shape", np.array(known.grid.shape)
    yield "drawn_whole", np.array(known.drawn_whole)
    yield "unseen", soft.unseen
    for name in _FACTS:
        yield name, getattr(known, name)
    for number, told in enumerate(known.softs):
        ends = [end for along in told.window for end in (along.start, along.stop)]
        yield f"soft_{number}", np.array([told.number, *ends])
        yield f"soft_steps_{number}", told.steps
    for number, start in enumerate(range(0, known.grid.shape[0], _PLANES)):
        for name in _VOXELS:
            yield f"{name}_{number}", getattr(soft, name)[start : start + _PLANES]


def _read_compact(path: Path, labels: LabelSet) -> CompactSoftLabel:
    """Read what `_write_compact` wrote.

    Returns:
        The soft label.

    Raises:
        BadFileError: The file is damaged, or of other labels.
    """
    with reading(path), path.open("rb") as file, np.load(file) as stored:
        names = tuple(stored["names"].tolist())
        if names != labels.names:
            msg = (
                f"{path.name}: is of {', '.join(names)}, and the study of "
                f"{', '.join(labels.names)}; run voxhint label again"
            )
            raise BadFileError(msg)
        i, j, k = stored["shape"].tolist()
        grid = Grid((i, j, k), stored["affine"], header=stored["header"].tobytes())
        facts: dict[str, Any] = {name: stored[name] for name in _FACTS if name in stored}
        facts |= {"softs": tuple(_softs(stored)), "drawn_whole": bool(stored["drawn_whole"])}
        known = SparseConstraints(**facts, grid=grid)
        voxels: dict[str, Any] = {name: _voxels(stored, name, grid) for name in _VOXELS}
        return CompactSoftLabel(**voxels, unseen=stored["unseen"], constraints=known)


def _softs(stored: Any) -> Iterator[SoftMask]:  # noqa: ANN401
    for number in range(sum(name.startswith("soft_steps_") for name in stored.files)):
        own, a, b, c, d, e, f = stored[f"soft_{number}"].tolist()
        window = (slice(a, b), slice(c, d), slice(e, f))
        yield SoftMask(own, window, stored[f"soft_steps_{number}"])


def _voxels(stored: Any, name: str, grid: Grid) -> Any:  # noqa: ANN401
    first = stored[f"{name}_0"]
    filled = np.empty(grid.shape, first.dtype)
    for number, start in enumerate(range(0, grid.shape[0], _PLANES)):
        filled[start : start + _PLANES] = stored[f"{name}_{number}"] if number else first
    return filled
