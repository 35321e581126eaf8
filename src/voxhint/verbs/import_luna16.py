"""`voxhint import luna16`: windows of LUNA16's scans become a study of image-level tags."""

import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from voxhint.config.ranges import Count, Knobs, Natural, Positive
from voxhint.core import Diameter, LabelSet, Tag, Volume
from voxhint.core.errors import BadFileError, BadRecipeError, about
from voxhint.core.progress import Tell, silent
from voxhint.core.study import CaseFiles, Study
from voxhint.core.volume import narrowed
from voxhint.core.words import counted
from voxhint.files.atomic import write_json, write_text
from voxhint.files.csv_tables import table_text
from voxhint.files.datasets.lidc import LEAST_READERS, Reading, consensus, find_readings
from voxhint.files.datasets.luna16 import NAME, subset_of
from voxhint.files.formats.nifti import write_nifti
from voxhint.files.images import read_volume, write_ids
from voxhint.files.study.hint_writer import write_hints
from voxhint.files.validate.study import open_study
from voxhint.runs import MADE, atomic_folder, require_apart
from voxhint.simulate.chest_windows import Window, choose_windows, lung_windows
from voxhint.verbs.simulate import made_by
from voxhint.verbs.written import Written

_COLUMNS = ("case", "series", "subset", "state", "i", "j", "k", "shape")


@dataclass(frozen=True, slots=True, kw_only=True)
class Luna16Request(Knobs):
    """What to make of LUNA16."""

    xml: Path | None = None
    """LIDC-IDRI's XML files: the truth of the test windows, for scoring alone."""

    test_subsets: tuple[int, ...] = (9,)
    """Subsets whose scans are tested on; the others are learnt from."""

    window_mm: Positive = 64.0
    """Edge of a window."""

    windows: Count = 8
    """Windows of a scan at most, half of them with a nodule if there are so many."""

    seed: Natural = 0
    """Same seed, same windows."""


@dataclass(slots=True)
class _Book:
    """What was written so far."""

    folder: Path
    labels: LabelSet
    rows: list[dict[str, str]] = field(default_factory=list)
    tags: dict[str, tuple[Tag, ...]] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    scans: int = 0


def import_luna16(
    source: Path,
    out: Path,
    *,
    request: Luna16Request | None = None,
    overwrite: bool = False,
    tell: Tell = silent,
) -> Written:
    """Cut the scans of LUNA16 into windows, each with one tag: holds a nodule, or does not.

    Only the tags of training windows go into the study. Windows keep the scan's own voxels. Every
    series counts as one subject, because LUNA16 does not tell its patients.

    Args:
        source: LUNA16 as it is given out.
        out: The study to make.
        request: What to make of it.
        overwrite: Whether an earlier import may be replaced.
        tell: Hears how far it is.

    Returns:
        What was written, and all that was odd.

    Raises:
        BadFileError: It is not LUNA16's layout, or no scan has lungs.
    """
    request = request or Luna16Request()
    if not (source / NAME).is_file():
        msg = f"{source}: has no {NAME}; give the folder of LUNA16, subsets unpacked in it"
        raise BadFileError(msg)
    require_apart(source, out)
    study, problems = open_study(source, skip_bad=True)
    test = _test_series(study, request.test_subsets)
    readings: Mapping[str, Reading] = {}
    # a series without a row is no gap here: it has no nodule
    told = [str(problem) for problem in problems if problem.where != "hints"]
    if request.xml is not None:
        readings, odd = find_readings(request.xml, test)
        told += [str(problem) for problem in odd]
        told += [
            f"{series}: no readable XML tells of it; its windows are predicted, not scored"
            for series in sorted(test - set(readings))
        ]
    with atomic_folder(out, verb="import luna16", overwrite=overwrite) as folder:
        book = _Book(folder, study.labels, lines=told)
        for number, files in enumerate(study.training):
            tell("cutting windows", number, len(study.training), files.name)
            with about(f"series {files.name}"):
                _add(book, study, files, request, test=files.name in test, readings=readings)
        if not book.rows:
            raise BadFileError(
                "\n".join([*book.lines, f"{source}: no scan holds a window of lung"])
            )
        _describe(book, study, request)
    windows = counted(len(book.tags), "window")
    made = (
        f"{windows} to learn from and {len(book.rows) - len(book.tags)} to predict, of "
        f"{counted(book.scans, 'scan')}; now run voxhint run {out} --out RUN"
    )
    return Written(out, made, tuple(book.lines))


def _test_series(study: Study, subsets: tuple[int, ...]) -> set[str]:
    """Return the series of some subsets.

    Raises:
        BadRecipeError: A subset is not there, or nothing is left to learn from.
    """
    by_subset: dict[str, set[str]] = {}
    for files in study.training:
        by_subset.setdefault(_subset(files), set()).add(files.name)
    wanted = {f"subset{number}" for number in subsets}
    there = ", ".join(sorted(by_subset))
    if missing := sorted(wanted - by_subset.keys()):
        msg = f"--test-subsets: no scan lies in {missing[0]}, but in {there}; choose some of those"
        raise BadRecipeError(msg)
    if wanted == by_subset.keys():
        msg = f"--test-subsets: nothing is left to learn from of {there}; choose fewer"
        raise BadRecipeError(msg)
    return {series for subset in wanted for series in by_subset[subset]}


def _subset(files: CaseFiles) -> str:
    return subset_of(next(iter(files.images.values())))


def _add(
    book: _Book,
    study: Study,
    files: CaseFiles,
    request: Luna16Request,
    *,
    test: bool,
    readings: Mapping[str, Reading],
) -> None:
    """Write the windows of one scan, or note why there are none."""
    ((channel, path),) = files.images.items()
    try:
        scan = read_volume(path, channel=channel)
    except BadFileError as error:
        book.lines.append(f"{files.name}: is passed over; {error}")
        return
    nodules = [hint for hint in study.hints.get(files.name, ()) if isinstance(hint, Diameter)]
    # a scan's own generator: whatever else is there, its windows stay the same
    rng = np.random.default_rng([request.seed, zlib.crc32(files.name.encode())])
    found = lung_windows(scan, nodules, size_mm=request.window_mm)
    chosen = choose_windows(found, request.windows, rng)
    if not chosen:
        book.lines.append(f"{files.name}: no window of it is lung; it is passed over")
        return
    book.scans += 1
    mask = _mask(book, scan, readings.get(files.name), nodules) if test else None
    for number, window in enumerate(chosen, 1):
        case = f"{files.name}_{number:02d}"
        _write_window(book, case, window, scan, mask, test=test)
        book.rows.append(
            {
                "case": case,
                "series": files.name,
                "subset": _subset(files),
                "state": window.state,
                **dict(zip("ijk", map(str, window.low), strict=True)),
                "shape": " x ".join(map(str, window.shape)),
            }
        )
        if not test:
            book.tags[case] = tuple(Tag(label, window.state) for label in book.labels.foreground)


def _write_window(
    book: _Book,
    case: str,
    window: Window,
    scan: Volume,
    mask: Bool[np.ndarray, "i j k"] | None,
    *,
    test: bool,
) -> None:
    i, j, k = (slice(at, at + n) for at, n in zip(window.low, window.shape, strict=True))
    part = scan.cropped((i, j, k))
    images = book.folder / ("imagesTs" if test else "imagesTr")
    write_nifti(images / f"{case}_0000.nii.gz", narrowed(part.voxels), part.grid)
    if mask is not None:
        value = np.uint8(book.labels.ids[1])
        write_ids(book.folder / "labelsTs" / f"{case}.nii.gz", mask[i, j, k] * value, part.grid)


def _mask(
    book: _Book, scan: Volume, told: Reading | None, nodules: list[Diameter]
) -> Bool[np.ndarray, "i j k"] | None:
    """Return the truth of a scan, or None; nodules that have none are noted."""
    if told is None:
        return None
    try:
        mask = consensus(told, scan.grid)
    except BadFileError as error:
        book.lines.append(f"{told.series}: its windows are predicted, not scored; {error}")
        return None
    for nodule in nodules:
        if not _outlined(mask, scan, nodule):
            x, y, z = nodule.centre_mm * (-1, -1, 1)
            book.lines.append(
                f"{told.series}: no outline of {LEAST_READERS} readers lies at the nodule of "
                f"{NAME} at {x:.1f}, {y:.1f}, {z:.1f}; look at it before you trust its score"
            )
    return mask


def _outlined(mask: Bool[np.ndarray, "i j k"], scan: Volume, nodule: Diameter) -> bool:
    """Return whether a voxel of a mask lies in the box around a nodule."""
    centre = scan.grid.to_index(nodule.centre_mm[None])[0]
    reach = nodule.diameter_mm / 2 / scan.grid.spacing_mm
    low = np.maximum(np.floor(centre - reach), 0).astype(int)
    high = np.ceil(centre + reach).astype(int) + 1
    part = tuple(slice(first, end) for first, end in zip(low, high, strict=True))
    return bool(mask[part].any())


def _describe(book: _Book, study: Study, request: Luna16Request) -> None:
    """Write what the study says of itself."""
    spec = {
        "channel_names": {str(number): name for number, name in enumerate(study.channels)},
        "labels": dict(zip(study.labels.names, study.labels.ids, strict=True)),
        "numTraining": len(book.tags),
        "file_ending": ".nii.gz",
    }
    write_json(book.folder / "dataset.json", spec)
    write_hints(book.folder / "hints", book.tags, study.labels)
    write_text(book.folder / "windows.csv", table_text(book.rows, _COLUMNS))
    subjects = [{"case": row["case"], "subject": row["series"]} for row in book.rows]
    write_text(book.folder / "cases.csv", table_text(subjects, ("case", "subject")))
    settings = {**asdict(request), "xml": request.xml is not None}
    write_json(book.folder / MADE, made_by("import luna16", settings, {NAME: study.root / NAME}))
