"""A whole DICOM export, whatever its folders and names: which stacks it holds."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from voxhint.files.dicom.files import Member, read_members
from voxhint.files.dicom.headers import quiet, read_tags
from voxhint.files.dicom.sort import Pile, sort_planes
from voxhint.files.problems import reading

_THINNEST = 3  # a localiser that does not say so has one or two slices
_LOCALISER = re.compile(
    "(?<![a-z])(loc|locali[sz]er|scout|survey|surview|topogram)(?![a-z])", re.IGNORECASE
)
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
    """Below the export."""

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

    piles: tuple[Pile, ...]
    """Stacks, and slices that make none, in the order of the files."""

    aside: tuple[str, ...]
    """A line for each kind of file that was passed over."""


def scan_export(root: Path, hear: Callable[[int, int], None]) -> Scan:
    """Read the headers of every file below a folder, and sort its slices into stacks.

    Args:
        root: Of the export.
        hear: Is told how many files of how many are read.

    Returns:
        The stacks, and what was passed over.
    """
    members, shut = read_members(root, lambda number, _path: f"file {number}", hear)
    aside = Counter(why for member in members if (why := _passed_over(member)))
    told = [f"{count} files are passed over: {why}" for why, count in sorted(aside.items())]
    told += [f"{len(shut)} folders may not be opened; allow reading them"] if shut else []
    planes = [plane for member in members for plane in member.planes]
    return Scan(tuple(map(_thick_enough, sort_planes(planes))), tuple(told))


def _passed_over(member: Member) -> str:
    """Return why a file gives no slice, or nothing."""
    if member.error:
        return "cannot be read, export them again"
    if member.aside:
        return f"{member.aside.modality}: {member.aside.why}"
    return member.foreign


def _thick_enough(pile: Pile) -> Pile:
    if pile.flaw or len(pile.planes) >= _THINNEST:
        return pile
    few = f"holds {len(pile.planes)} slices, too few for an image; leave it so"
    return replace(pile, flaw=few)


def identity_of(pile: Pile, root: Path) -> Identity:
    """Return whose series a pile is, from its first file.

    Args:
        pile: Slices of one series.
        root: Of the export.

    Returns:
        What names it.
    """
    first = min(plane.path for plane in pile.planes)
    with reading(Path(pile.planes[0].name)), quiet():
        said = read_tags(first, _WHO)
        patient, study, series, number, text = (str(said.get(tag) or "").strip() for tag in _WHO)
        folder = first.parent.relative_to(root).as_posix()
        return Identity(patient, study, series, number, text, folder)
