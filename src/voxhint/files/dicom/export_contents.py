"""A whole DICOM export, whatever its folders and names: which stacks it holds."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from voxhint.core.errors import BadFileError
from voxhint.files.dicom.find_files import Member, files_below, read_members
from voxhint.files.dicom.headers import quiet, read_tags
from voxhint.files.dicom.sort_slices import SliceGroup, sort_planes
from voxhint.files.problems import reading
from voxhint.files.zip_archives import is_zip, unpack

_THINNEST = 3  # a localiser that does not say so has one or two slices
_LOCALISER = re.compile(
    "(?<![a-z])(loc|locali[sz]er|scout|survey|surview|topogram)(?![a-z])", re.IGNORECASE
)
_OBJECTS = ("SEG", "RTSTRUCT", "SR")
_DEEPEST = 3  # zips in zips
_WHO = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription")


@dataclass(frozen=True, slots=True)
class Identity:
    """What names a series and its patient: never to be told unless asked for."""

    patient_id: str
    study_uid: str
    series_uid: str
    series_number: str
    series_description: str
    folder: str
    """Below the export; of a zip, as if it were a folder."""

    @property
    def subject(self) -> tuple[str, str]:
        """Return what series of one patient share; the study where no patient is named."""
        return ("patient", self.patient_id) if self.patient_id else ("study", self.study_uid)

    @property
    def localiser(self) -> bool:
        """Return whether a person called the series one, as MR scanners do not mark theirs."""
        return bool(_LOCALISER.search(self.series_description))


@dataclass(frozen=True, slots=True)
class Scan:
    """What an export holds; files are named by number, as their names may name a patient."""

    groups: tuple[SliceGroup, ...]
    """Stacks, and slices that make none, in the order of the files."""

    objects: tuple[Path, ...]
    """Files that may speak of its slices: segmentations, structure sets, reports, XML."""

    rejected: tuple[str, ...]
    """A line for each kind of file that was passed over."""


def unpack_zips(root: Path, folder: Path) -> tuple[str, ...]:
    """Unpack a zip, or all that lie below a folder, and those in them.

    Args:
        root: Of the export.
        folder: Where to; each zip becomes a folder of its name there.

    Returns:
        A line for each reason why some cannot be unpacked.

    Raises:
        BadFileError: The export is a zip itself, and cannot be.
    """
    if is_zip(root):
        unpack(root, folder / root.name)
    flaws: Counter[str] = Counter()
    done: set[Path] = {root}
    for _ in range(_DEEPEST):
        zips = [path for place in (root, folder) for path in files_below(place)[0] if is_zip(path)]
        for path in set(zips) - done:
            try:
                unpack(path, _place_of(path, root, folder))
            except BadFileError as error:
                flaws[str(error).removeprefix(f"{path.name}: ")] += 1
        done |= set(zips)
    return tuple(f"{count} zip files are passed over: {why}" for why, count in flaws.items())


def _place_of(path: Path, root: Path, folder: Path) -> Path:
    """Return a new folder for what is in a zip."""
    if path.is_relative_to(folder):
        place = path.with_name(f"{path.name}_")
    else:
        place = folder / path.relative_to(root.parent if root.is_file() else root)
    place.mkdir(parents=True)
    return place


def scan_export(roots: Sequence[Path], hear: Callable[[int, int], None]) -> Scan:
    """Read the headers of every file below some folders, and sort its slices into stacks.

    Args:
        roots: Of the export; zips in them are passed over in silence.
        hear: Is told how many files of how many are read.

    Returns:
        The stacks, and what was passed over.
    """
    members, shut = read_members(roots, lambda number, _path: f"file {number}", hear)
    rejected = Counter(why for member in members if (why := _passed_over(member)))
    told = [f"{count} files are passed over: {why}" for why, count in sorted(rejected.items())]
    told += [f"{len(shut)} folders may not be opened; allow reading them"] if shut else []
    planes = [plane for member in members for plane in member.planes]
    objects = tuple(member.path for member in members if _is_object(member))
    return Scan(tuple(map(_thick_enough, sort_planes(planes))), objects, tuple(told))


def _is_object(member: Member) -> bool:
    """Return whether a file may speak of slices."""
    if member.rejected:
        return member.rejected.modality in _OBJECTS
    return bool(member.foreign) and member.path.suffix.lower() == ".xml"


def _passed_over(member: Member) -> str:
    """Return why a file gives no slice; nothing where it does, or may be of use in another way."""
    if _is_object(member) or is_zip(member.path):
        return ""
    if member.error:
        return "cannot be read, export them again"
    if member.rejected:
        return f"{member.rejected.modality}: {member.rejected.why}"
    return member.foreign


def _thick_enough(slices: SliceGroup) -> SliceGroup:
    if slices.flaw or len(slices.planes) >= _THINNEST:
        return slices
    few = f"holds {len(slices.planes)} slices, too few for an image; leave it so"
    return replace(slices, flaw=few)


def identity_of(slices: SliceGroup, roots: Sequence[Path]) -> Identity:
    """Return whose series slices are, from the first file.

    Returns:
        What names it.
    """
    first = min(plane.path for plane in slices.planes)
    with reading(Path(slices.planes[0].name)), quiet():
        said = read_tags(first, _WHO)
        patient, study, series, number, text = (str(said.get(tag) or "").strip() for tag in _WHO)
        root = next(root for root in roots if first.is_relative_to(root))
        folder = first.parent.relative_to(root).as_posix() if root.is_dir() else "."
        return Identity(patient, study, series, number, text, folder)
