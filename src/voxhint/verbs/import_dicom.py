"""`voxhint import dicom`: a DICOM export becomes a study, without what names its patients."""

import hashlib
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from voxhint.core import LabelSet
from voxhint.core.errors import BadFileError, BadRecipeError, OutputError
from voxhint.core.progress import Tell, silent
from voxhint.core.volume import narrowed
from voxhint.core.words import counted
from voxhint.files.atomic import write_json, write_text
from voxhint.files.channel_units import odd_header
from voxhint.files.csv_tables import table_text
from voxhint.files.dataset_json import read_description
from voxhint.files.dicom.export_contents import (
    Identity,
    Scan,
    identity_of,
    scan_export,
    unpack_zips,
)
from voxhint.files.dicom.find_files import is_dicom
from voxhint.files.dicom.sort_slices import SliceGroup
from voxhint.files.dicom.stack import Stack, build_stack, read_stack
from voxhint.files.dicom.value_warnings import odd_slices
from voxhint.files.dicom.web import fetch_study
from voxhint.files.formats.nifti import write_nifti
from voxhint.files.zip_archives import is_zip
from voxhint.runs import MADE, atomic_folder
from voxhint.verbs.import_annotations import Wanted, collect, write_drawn
from voxhint.verbs.label_names import wanted_names
from voxhint.verbs.simulate import made_by
from voxhint.verbs.written import Written

_NOTHING = "the export holds no image that can be read; give a folder of CT, MR or PT slices"
_UNPACKED = ".unpacked"
"""What zips hold, while it is read: on the disk of the study, and removed with it."""

_LABELS = ("lesion",)

_OTHER = (
    "modality OT (other) does not tell the unit; name the channel CT in dataset.json if values are "
    "Hounsfield"
)
_ONE_SUBJECT = (
    "all cases carry one patient ID and count as one subject; mend cases.csv if an anonymiser "
    "wrote it"
)


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """What to make of an export."""

    labels: tuple[str, ...] = ()
    """NAME, or NAME=THEIR NAME,THEIR NAME where objects call it otherwise; `lesion` if none is
    given, or what the objects that are taken drew."""

    modality: str | None = None
    """Which to take where there are several: CT, MR, PT, ..."""

    keep_identifiers: bool = False
    """Whether series.csv and slices.csv tell the patient's id, UIDs, numbers and folders."""

    objects: Wanted | None = None
    """What becomes of segmentations and structure sets; None leaves them."""


@dataclass(slots=True)
class _Book:
    """What was written so far."""

    rows: list[dict[str, str]] = field(default_factory=list)
    slices: list[dict[str, str]] = field(default_factory=list)
    stacks: list[Stack] = field(default_factory=list)
    subjects: dict[tuple[str, str], str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    def subject(self, who: Identity) -> str:
        """Return the opaque name of a patient."""
        return self.subjects.setdefault(who.subject, f"subject_{len(self.subjects) + 1:03d}")


def import_dicom(
    source: Path,
    out: Path,
    *,
    request: ImportRequest | None = None,
    overwrite: bool = False,
    tell: Tell = silent,
) -> Written:
    """Sort a DICOM export into the cases of a new study.

    Args:
        source: A folder of DICOM files, in whatever folders and under whatever names, or zips of
            such; or one zip.
        out: The study to make.
        request: What to make of it.
        overwrite: Whether an earlier import may be replaced.
        tell: Hears how far it is.

    Returns:
        What was written, and all that was odd.

    Raises:
        BadFileError: The export holds no image, or several modalities and none was chosen.
        OutputError: The study would lie in the export, or over it.
    """
    request = request or ImportRequest()
    _require_source(source)
    _require_apart(source.resolve(), out.resolve())
    with atomic_folder(out, verb="import dicom", overwrite=overwrite) as folder:
        names = wanted_names(request.labels)
        describe_images(folder, tuple(names) or _LABELS, "CT", 0)  # told before the long scan
        (unpacked := folder / _UNPACKED).mkdir()
        flaws = unpack_zips(source, unpacked)
        roots = [unpacked] if is_zip(source) else [source, unpacked]
        scan = scan_export(roots, lambda done, total: tell("reading headers", done, total, ""))
        book = _Book(lines=[*flaws, *scan.rejected])
        modality = _modality(scan, request.modality)
        chosen = list(_chosen(scan, modality, book))
        for number, slices in enumerate(chosen, 1):
            tell("importing", number, len(chosen), "")
            _add(folder, slices, identity_of(slices, roots), book, keep=request.keep_identifiers)
        _require_cases(book, modality)
        found = collect(scan.objects, book.stacks, names, request.objects, tell)
        book.lines += found.lines
        labels = describe_images(folder, found.labels or _LABELS, modality, len(book.rows))
        _write_tables(folder, book)
        if request.objects is not None:
            cases = zip((row["case"] for row in book.rows), book.stacks, strict=True)
            book.lines += write_drawn(folder, found, labels, dict(cases))
        shutil.rmtree(unpacked)
        settings: dict[str, object] = {"labels": labels.foreground, "modality": modality}
        settings |= {"source": source.resolve().name} if request.keep_identifiers else {}
        write_json(folder / MADE, made_by("import dicom", settings, {}))
    told = (
        f"{counted(len(book.rows), f'{modality} case')} of "
        f"{counted(len(book.subjects), 'subject')}; add hints to {out / 'hints'}, then run "
        f"voxhint check {out}"
    )
    return Written(out, told, tuple(book.lines))


def _require_cases(book: _Book, modality: str) -> None:
    """Note what is odd about all cases together.

    Raises:
        BadFileError: There is none.
    """
    if modality == "OT":
        book.lines.append(_OTHER)
    if len(book.rows) > 1 and len(book.subjects) == 1:
        book.lines.append(_ONE_SUBJECT)
    if not book.rows:
        raise BadFileError("\n".join([*book.lines, _NOTHING]))


def _require_source(source: Path) -> None:
    """Refuse what can hold no export.

    Raises:
        BadFileError: It is no folder, no zip and no DICOM file.
    """
    if not (source.is_dir() or is_zip(source) or is_dicom(source)):
        msg = f"{source}: is no folder, no zip and no DICOM; give the folder of a DICOM export"
        raise BadFileError(msg)


def _require_apart(source: Path, out: Path) -> None:
    """Refuse to write into the export, or over a folder that holds it.

    Raises:
        OutputError: One lies in the other.
    """
    if out == source or source in out.parents or out in source.parents:
        msg = "the export and the study lie in each other; choose a folder apart from the export"
        raise OutputError(msg)


def _modality(scan: Scan, wanted: str | None) -> str:
    """Return the one modality to import.

    Raises:
        BadFileError: There is no image of it, or none was chosen among several.
    """
    counts = Counter(slices.planes[0].modality for slices in scan.groups if not slices.flaw)
    told = ", ".join(f"{name} ({count} series)" for name, count in sorted(counts.items()))
    if not counts:
        flaws = [_told(slices) for slices in scan.groups]
        raise BadFileError("\n".join([*scan.rejected, *flaws, _NOTHING]))
    if wanted is None and len(counts) > 1:
        msg = f"the export holds {told}, and a study has one kind of image; choose with --modality"
        raise BadFileError(msg)
    modality = next(iter(counts)) if wanted is None else wanted.upper()
    if modality not in counts:
        msg = f"the export holds no image of {modality}, but {told}; choose one of those"
        raise BadFileError(msg)
    return modality


def _chosen(scan: Scan, modality: str, book: _Book) -> Iterator[SliceGroup]:
    """Yield the stacks of a modality; what is left is noted."""
    others: Counter[str] = Counter()
    for slices in scan.groups:
        if slices.planes[0].modality != modality:
            others[slices.planes[0].modality] += 1
        elif slices.flaw:
            book.lines.append(_told(slices))
        else:
            yield slices
    book.lines += [
        f"{count} series of {name} are passed over; import them into a study of their own"
        for name, count in sorted(others.items())
    ]


def _told(slices: SliceGroup) -> str:
    return f"a series of {_size(slices)} is set aside: {slices.flaw}"


def _size(slices: SliceGroup) -> str:
    plane = slices.planes[0]
    size = f"{len(slices.planes)} {plane.modality} slices of {plane.size[0]} x {plane.size[1]}"
    return f"{size} ({slices.part})" if slices.part else size


def _add(folder: Path, slices: SliceGroup, who: Identity, book: _Book, *, keep: bool) -> None:
    """Write a stack as the next case, or note why it cannot be read."""
    case = f"case_{len(book.rows) + 1:03d}"
    if who.localiser:
        book.lines.append(f"a series of {_size(slices)} is set aside: it is called a localiser")
        return
    try:
        stack = build_stack(slices.planes)
        voxels = read_stack(stack)
    except BadFileError as error:
        book.lines.append(f"a series of {_size(slices)} is set aside: {error}")
        return
    write_nifti(folder / "imagesTr" / f"{case}_0000.nii.gz", narrowed(voxels), stack.grid)
    book.stacks.append(stack)
    book.slices += _slices(case, stack, keep=keep)
    plane = slices.planes[0]
    unit = odd_header(plane.modality, plane.traits["RescaleType"], plane.modality)
    odd = [*slices.warnings, *stack.warnings, *odd_slices(voxels), *unit]
    if slices.part:
        odd.insert(
            0, f"is of a series of several stacks, this is {slices.part}; check which you want"
        )
    if np.ptp(voxels) == 0:
        odd.append(f"every voxel is {voxels.flat[0]:g}; check it")
    book.lines += [f"{case}: {warning}" for warning in odd]
    book.rows.append(
        {
            "case": case,
            "subject": book.subject(who),
            "modality": slices.planes[0].modality,
            "slices": str(len(slices.planes)),
            "shape": " x ".join(map(str, stack.grid.shape)),
            "spacing_mm": " x ".join(f"{step:g}" for step in np.round(stack.grid.spacing_mm, 4)),
            "note": " | ".join(odd),
            **(asdict(who) if keep else {}),
        }
    )


def _slices(case: str, stack: Stack, *, keep: bool) -> Iterator[dict[str, str]]:
    """Yield which slice of an image is of which file, told by a digest of its SOP instance UID."""
    heights = range(len(stack.planes)) if stack.resampled is None else stack.resampled[:, 2]
    for plane, height in zip(stack.planes, heights, strict=True):
        digest = hashlib.sha256(plane.instance.encode()).hexdigest()
        yield {
            "case": case,
            "k": f"{height:g}",
            "sop_instance_sha256": digest if plane.instance else "",
            "frame": str(plane.frame + 1),
            **({"sop_instance_uid": plane.instance} if keep else {}),
        }


def describe_images(folder: Path, labels: Sequence[str], modality: str, cases: int) -> LabelSet:
    """Write dataset.json of images of one kind.

    Returns:
        The labels as they are read again.

    Raises:
        BadRecipeError: A label cannot be called so.
    """
    ids = {name: number for number, name in enumerate(("background", *labels))}
    spec = {
        "channel_names": {"0": modality},
        "labels": ids,
        "numTraining": cases,
        "file_ending": ".nii.gz",
    }
    path = folder / "dataset.json"
    write_json(path, spec)
    described, problems = read_description(path)
    if described is None or problems or len(ids) <= len(labels):
        told = "; ".join(problem.finding for problem in problems) or "a label is named twice"
        msg = f"--label {' '.join(labels)}: {told}; give each label a plain name of its own"
        raise BadRecipeError(msg)
    return described.labels


def _write_tables(folder: Path, book: _Book) -> None:
    """Write cases.csv, series.csv, slices.csv, and the folder that waits for hints."""
    write_text(folder / "series.csv", table_text(book.rows, list(book.rows[0])))
    write_text(folder / "cases.csv", table_text(book.rows, ["case", "subject"]))
    write_text(folder / "slices.csv", table_text(book.slices, list(book.slices[0])))
    (folder / "hints").mkdir()


def import_dicomweb(
    url: str,
    out: Path,
    *,
    study: str,
    request: ImportRequest | None = None,
    overwrite: bool = False,
    tell: Tell = silent,
) -> Written:
    """Fetch a DICOM study, and import it as `import_dicom` does.

    Args:
        url: Of the archive, as https://host/dicom-web.
        out: The study to make.
        study: The study instance UID.
        request: What to make of it.
        overwrite: Whether an earlier import may be replaced.
        tell: Hears how far it is.

    Returns:
        What was written, and all that was odd.
    """
    with tempfile.TemporaryDirectory(prefix="voxhint-") as name:
        fetch_study(url, study, Path(name), lambda done: tell("fetching", done, done, ""))
        return import_dicom(Path(name), out, request=request, overwrite=overwrite, tell=tell)
