"""Which file of a study folder is what: images, masks, hints, subjects and splits."""

import os
import re
from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from pathlib import Path

from voxhint.core.errors import BadFileError
from voxhint.core.labels import file_name
from voxhint.core.study import CaseFiles, Study, VoxelFile, VoxelKind
from voxhint.core.words import are, counted
from voxhint.files.csv_tables import Table, read_table
from voxhint.files.dataset_json import NAME, Description, bad_name, read_description, read_object
from voxhint.files.formats.markups import SUFFIXES as MARKUPS
from voxhint.files.formats.markups import read_markups
from voxhint.files.formats.metaimage_nrrd import data_names
from voxhint.files.hint_tables import TABLES, Placed, read_hint_table
from voxhint.files.images import SUFFIXES, image_stem, image_suffix
from voxhint.files.problems import Problem, problem_of, reading
from voxhint.files.study.load import Draft, load_case
from voxhint.files.unicode_names import plain

CHANNEL = re.compile(r"(.+)_(\d{4})")
_DATA = (".raw", ".zraw")
_NOTES = (".json", ".txt", ".csv", ".md", ".xml")
_DRAWN: tuple[VoxelKind, ...] = ("scribbles", "slices", "soft")
_BILL = "cost.json"  # what hints cost a person, from `simulate`
_NAMED = 3  # how many names a line lists


@dataclass(slots=True)
class _Notes:
    """What was found so far; grows while a folder is walked."""

    problems: list[Problem] = field(default_factory=list)
    own: dict[str, str] = field(default_factory=dict)
    """The cases there are, as their images spell them, by their plain names."""

    def named(self, case: str) -> str:
        """Return the name of a case as its image spells it."""
        return self.own.get(plain(case), case)

    def error(self, where: str, finding: str, advice: str, case: str | None = None) -> None:
        self.problems.append(Problem(where, finding, advice, "error", case))

    def warn(self, where: str, finding: str, advice: str, case: str | None = None) -> None:
        self.problems.append(Problem(where, finding, advice, "warning", case))


def some(names: Iterable[str]) -> str:
    """Return a few names as text, and how many more there are."""
    listed = sorted(names)
    more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    return ", ".join(listed[:_NAMED]) + more


def cases_in(folder: Path) -> set[str]:
    """Return the cases of which a folder of the study holds images or masks, by their names."""
    stems = [image_stem(path) for path in listing(folder)]
    return {match[1] if (match := CHANNEL.fullmatch(stem)) else stem for stem in stems}


def listing(folder: Path) -> list[Path]:
    """Return what a folder holds, sorted, hidden files left out; nothing if it is not there.

    Args:
        folder: Followed if it is a link.

    Returns:
        Its files and folders.
    """
    if not os.path.lexists(folder):
        return []
    with reading(folder):
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _listed(root: Path, below: str, notes: _Notes) -> list[Path]:
    try:
        paths = listing(root / below)
    except BadFileError as error:
        notes.problems.append(problem_of(error, below))
        return []
    if all(image_suffix(path.name) for path in paths):
        return paths
    beside = frozenset[str]().union(*map(data_names, paths))
    return [path for path in paths if path.name not in beside]


def images_in(folder: Path, *, like: Iterable[str] = ()) -> dict[str, Path]:
    """Return the images of a folder by their names without suffix, sorted.

    Args:
        folder: Holds one file per name, such as masks.
        like: Names to spell them like, where only the form of their accents differs.

    Returns:
        Paths by name.

    Raises:
        BadFileError: The folder cannot be read, or two files have one name.
    """
    found: dict[str, Path] = {}
    own = {plain(name): name for name in like}
    for path in listing(folder):
        if image_suffix(path.name) is None or not path.is_file():
            continue
        name = own.get(plain(image_stem(path)), image_stem(path))
        if name in found:
            msg = f"{folder.name}: holds {found[name].name} and {path.name}; keep one of them"
            raise BadFileError(msg)
        found[name] = path
    return found


def _is_image(path: Path, where: str, notes: _Notes) -> bool:
    """Note why a path is no image of ours.

    Returns:
        Whether it is one we may read.
    """
    if os.path.isdir(path) or image_suffix(path.name):  # noqa: PTH112 - is_dir may be denied
        return True
    if not os.path.isfile(path):  # noqa: PTH113
        notes.error(where, "is neither a file nor a folder", "mend the link, or remove it")
        return False
    suffix = path.suffix.lower()
    if suffix in _DATA and path.with_suffix(".mhd").is_file():
        return False  # of a header that is told of
    if re.search(r"_\d{4}\.", path.name) and suffix not in _NOTES:
        notes.error(where, "has no reader for its suffix", f"convert it to {', '.join(SUFFIXES)}")
    else:
        notes.warn(where, "is no image and is not read", "move it elsewhere")
    return False


def _parted(path: Path, where: str, spec: Description, notes: _Notes) -> tuple[str, str] | None:
    """Return the case and the channel a file or folder of images is named after."""
    match = CHANNEL.fullmatch(image_stem(path))
    if match is None:
        advice = f"call it CASE_0000{image_suffix(path.name) or ''} ({spec.channels[0]})"
        notes.error(where, "has no channel number", advice)
        return None
    case, number = match[1], int(match[2])
    if why := bad_name(case):
        notes.error(where, f"case '{case}' {why}", "rename it", case)
        return None
    if number >= len(spec.channels):
        finding = f"is channel {number}, but {NAME} names {len(spec.channels)}"
        notes.error(where, finding, "remove it, or name the channel", case)
        return None
    return case, spec.channels[number]


def find_cases(
    folder: Path, spec: Description
) -> tuple[dict[str, Mapping[str, Path]], tuple[Problem, ...]]:
    """Return the images of every case in a folder of images.

    Args:
        folder: `imagesTr`, `imagesTs`, or any folder named like them inside.
        spec: The channels to expect.

    Returns:
        For each case the path of each channel, both in order; and what is wrong.
    """
    notes = _Notes()
    cases: dict[str, dict[str, Path]] = {}
    for path in _listed(folder.parent, folder.name, notes):
        where = f"{folder.name}/{path.name}"
        named = _parted(path, where, spec, notes) if _is_image(path, where, notes) else None
        if named is None:
            continue
        channel, case = named[1], notes.own.setdefault(plain(named[0]), named[0])
        if channel in cases.setdefault(case, {}):
            finding = f"is there besides {cases[case][channel].name}"
            notes.error(where, finding, "keep one of them", case)
        cases[case][channel] = path
    for case, images in cases.items():
        _tell_of_lack(folder.name, case, images, spec, notes)
    ordered = {case: _in_order(cases[case], spec) for case in sorted(cases)}
    return ordered, tuple(notes.problems)


def _tell_of_lack(
    where: str, case: str, images: Collection[str], spec: Description, notes: _Notes
) -> None:
    needed = [channel for channel in spec.channels if channel not in spec.optional]
    missing = [channel for channel in needed if channel not in images]
    if missing:
        number = spec.channels.index(missing[0])
        finding = f"case '{case}' has no {', '.join(missing)}"
        advice = f"add {case}_{number:04d}, or list the channel in optional_channels"
        notes.error(where, finding, advice, case)


def _in_order(images: Mapping[str, Path], spec: Description) -> Mapping[str, Path]:
    return {channel: images[channel] for channel in spec.channels if channel in images}


def _masks(root: Path, below: str, notes: _Notes) -> dict[str, Path]:
    """Return the mask files of a folder of the study by case."""
    found: dict[str, Path] = {}
    for path in _listed(root, below, notes):
        where = f"{below}/{path.name}"
        if _is_image(path, where, notes):
            stem = notes.named(image_stem(path))
            if stem in found:
                finding = f"is there besides {found[stem].name}"
                notes.error(where, finding, "keep one of them", stem)
            found[stem] = path
    return found


def _masks_of(
    root: Path, below: str, images: str, cases: set[str], notes: _Notes
) -> dict[str, Path]:
    """Return the mask files of a folder by case; those of no image are told of."""
    found = _masks(root, below, notes)
    if strange := set(found) - cases:
        finding = (
            f"holds masks of {counted(len(strange), 'case')} not in {images} ({some(strange)})"
        )
        notes.warn(below, finding, "add the images; these masks are not read")
    return found


def _label_of(stem: str) -> tuple[str, str]:
    """Return what follows a case in the name of a soft mask: the part between, and the label."""
    _, parted, label = stem.partition("__")
    return parted, plain(label)


def _voxel_files(root: Path, spec: Description, notes: _Notes) -> list[VoxelFile]:
    """Return every file of drawn hints."""
    files = [
        VoxelFile(case, "labels", path, undrawn=spec.undrawn)
        for case, path in _masks(root, "labelsTr", notes).items()
    ]
    labels = {file_name(name): name for name in spec.labels.foreground}
    for kind in _DRAWN:
        for stem, path in _masks(root, f"hints/{kind}", notes).items():
            case, parted, label = notes.named(stem.partition("__")[0]), *_label_of(stem)
            where = f"hints/{kind}/{path.name}"
            if kind != "soft":
                files.append(VoxelFile(stem, kind, path, undrawn=spec.undrawn))
            elif not parted:
                notes.error(where, "names no label", "call it CASE__LABEL.nii.gz", case)
            elif label not in labels:
                advice = f"use one of {', '.join(labels)}"
                notes.error(where, f"'{label}' is no foreground label", advice, case)
            else:
                files.append(VoxelFile(case, kind, path, labels[label]))
    return files


def _placed(root: Path, spec: Description, notes: _Notes) -> list[Placed]:
    """Return every hint of the tables and markups."""
    placed: list[Placed] = []
    for path in _listed(root, "hints", notes):
        where = f"hints/{path.name}"
        if path.name in TABLES:
            read = read_hint_table(path, spec.labels, where=where)
            placed += (replace(hint, case=notes.named(hint.case)) for hint in read.hints)
            notes.problems += read.problems
        elif path.name not in (*_DRAWN, "markups", _BILL):
            known = ", ".join((*TABLES, *_DRAWN, "markups"))
            notes.warn(where, "is not read", f"hints are read from {known}")
    for path in _listed(root, "hints/markups", notes):
        where = f"hints/markups/{path.name}"
        if not path.name.endswith(MARKUPS):
            notes.warn(where, "is not read", f"markups end in {' or '.join(MARKUPS)}")
            continue
        read = read_markups(path, sorted(notes.own), spec.labels, where=where)
        placed += (replace(hint, case=notes.named(hint.case)) for hint in read.hints)
        notes.problems += read.problems
    return placed


def read_subjects(
    root: Path, cases: Set[str], known: Set[str] = frozenset()
) -> tuple[dict[str, tuple[str, str | None]], tuple[Problem, ...]]:
    """Return subject and site by case, from cases.csv if it is there.

    Args:
        root: The folder it lies in.
        cases: Those that should have a row.
        known: Others that may have one.

    Returns:
        What it says of each case, and what is wrong with it.
    """
    path = root / "cases.csv"
    notes = _Notes(own={plain(name): name for name in (*known, *cases)})
    if not os.path.lexists(path):
        return {}, ()
    try:
        table = read_table(path, path.name, needed=("case", "subject"), known=("site",))
    except BadFileError as error:
        return {}, (problem_of(error, path.name),)
    notes.problems += table.problems
    found = _subjects_in(table, notes)
    if strange := set(found) - cases - known:
        finding = f"names {counted(len(strange), 'case')} without images ({some(strange)})"
        notes.warn(path.name, finding, "remove the rows, or add the images")
    if lacking := cases - set(found):
        finding = f"has no row for {counted(len(lacking), 'case')} ({some(lacking)})"
        notes.warn(path.name, finding, "add them; each counts as its own subject")
    return found, tuple(notes.problems)


def _subjects_in(table: Table, notes: _Notes) -> dict[str, tuple[str, str | None]]:
    found: dict[str, tuple[str, str | None]] = {}
    for row in table.rows:
        case, subject = notes.named(row.text("case")), row.text("subject")
        said = (subject, row.text("site") or None)
        if not case or not subject:
            notes.error(row.where, "lacks its case or subject", "fill it in", case or None)
        elif found.setdefault(case, said) != said:
            finding = f"case '{case}' belongs to two subjects or sites"
            notes.error(row.where, finding, "keep one row", case)
    return found


def _are_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _design(root: Path, cases: set[str], notes: _Notes) -> frozenset[str]:
    """Return the design cases of splits.json."""
    path = root / "splits.json"
    if not os.path.lexists(path):
        return frozenset()
    try:
        spec = read_object(path)
    except BadFileError as error:
        notes.problems.append(problem_of(error, path.name))
        return frozenset()
    listed = [spec.get(name, []) for name in ("fit", "design")]
    if not all(map(_are_names, listed)):
        notes.error(path.name, "fit or design is no list of names", "list the names of cases")
        return frozenset()
    fit, design = (frozenset(map(notes.named, names)) for names in listed)
    if both := fit & design:
        finding = f"{are(len(both), 'case')} in fit and in design ({some(both)})"
        notes.error(path.name, finding, "keep each in one")
    if strange := (fit | design) - cases:
        finding = f"names {counted(len(strange), 'case')} not in imagesTr ({some(strange)})"
        notes.warn(path.name, finding, "remove them")
    return design & cases


def read_layout(
    root: Path, *, undrawn: int | None = None
) -> tuple[Draft | None, tuple[Problem, ...]]:
    """Walk a study folder laid out as for nnU-Net v2, with hints.

    Args:
        root: Holds dataset.json.
        undrawn: The value that means "not drawn", whatever dataset.json says of it.

    Returns:
        What was found, or None if dataset.json cannot be used; and what is wrong so far.
    """
    spec, problems = read_description(root / NAME, undrawn=undrawn)
    if spec is None:
        return None, problems
    notes = _Notes()
    training, more = find_cases(root / "imagesTr", spec)
    test, rest = find_cases(root / "imagesTs", spec)
    notes.problems += [*more, *rest]
    if not training and not any(problem.severity == "error" for problem in more):
        notes.error("imagesTr", "holds no case", "put images with hints there, as CASE_0000.nii.gz")
    names = set(training) | set(test)
    notes.own = {plain(name): name for name in names}
    subjects, told = read_subjects(root, names)
    notes.problems += told
    truths = _masks_of(root, "labelsTs", "imagesTs", set(test), notes)
    denses = _masks_of(root, "denseTr", "imagesTr", set(training), notes)

    def files(case: str, images: Mapping[str, Path], *, hinted: bool) -> CaseFiles:
        subject, site = subjects.get(case, (case, None))
        truth, dense = (None, denses.get(case)) if hinted else (truths.get(case), None)
        return CaseFiles(case, subject, images, site, truth, dense)

    study = Study(
        reader=load_case,
        root=root,
        channels=spec.channels,
        optional_channels=spec.optional,
        labels=spec.labels,
        undrawn=spec.undrawn,
        training=tuple(files(case, images, hinted=True) for case, images in training.items()),
        test=tuple(files(case, images, hinted=False) for case, images in test.items()),
        design=_design(root, set(training), notes),
    )
    placed = _placed(root, spec, notes)
    drawn = _voxel_files(root, spec, notes)
    return Draft(study, tuple(placed), tuple(drawn), tuple(notes.problems)), ()
