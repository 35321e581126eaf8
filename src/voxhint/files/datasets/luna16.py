"""LUNA16's own layout: annotations.csv beside .mhd files is a study of nodule diameters."""

from pathlib import Path

import numpy as np

from voxhint.core.errors import BadFileError, BadHintError
from voxhint.core.hints import Diameter
from voxhint.core.labels import BACKGROUND, LabelSet
from voxhint.core.study import CaseFiles, Study
from voxhint.files.csv_tables import Row, read_table
from voxhint.files.hint_tables import Placed, turn_frame
from voxhint.files.images import image_stem
from voxhint.files.problems import Problem, problem_of
from voxhint.files.study.layout import listing, some
from voxhint.files.study.load import Draft, load_case

NAME = "annotations.csv"

_CHANNEL = "CT"
_LABEL = "nodule"
_PLACE = ("coordx", "coordy", "coordz")


def _folders(root: Path) -> list[Path]:
    """Return the folder itself and its subset folders: where scans may lie."""
    below = [path for path in listing(root) if path.name.startswith("subset")]
    return [folder for folder in (root, *below) if folder.is_dir()]


def subset_of(image: Path) -> str:
    """Return the subset a scan belongs to, such as subset3: the folder it lies in."""
    return image.parent.name


def image_files(root: Path) -> list[Path]:
    """Return the files that hold the scans: headers, and voxels beside them.

    Args:
        root: A folder as LUNA16 gives it out.

    Returns:
        Sorted by folder and name.
    """
    suffixes = (".mhd", ".raw", ".zraw")
    files = [path for folder in _folders(root) for path in listing(folder)]
    return [path for path in files if path.suffix.lower() in suffixes]


def _series(root: Path) -> tuple[dict[str, Path], list[Problem]]:
    """Return the .mhd files of the folder and its subset folders, by series."""
    found: dict[str, Path] = {}
    problems = []
    for folder in _folders(root):
        for path in listing(folder):
            if path.suffix.lower() != ".mhd":
                continue
            if image_stem(path) in found:
                where = path.relative_to(root).as_posix()
                finding = f"is there besides {found[image_stem(path)].relative_to(root)}"
                problems.append(Problem(where, finding, "keep one", case=image_stem(path)))
            found[image_stem(path)] = path
    return dict(sorted(found.items())), problems


def _hint(row: Row) -> Placed:
    """Return the hint of one row.

    Raises:
        BadHintError: Its diameter is not above 0.

    Source:
        LUNA16 challenge, "Data": coordX, coordY, coordZ are world millimetres as in the .mhd
        headers, which are LPS.
    """
    size = row.number("diameter_mm")
    if size <= 0:
        msg = f"diameter_mm is {size:g}; write the diameter, above 0"
        raise BadHintError(msg)
    place = np.array([row.number(column) for column in _PLACE])
    hint = Diameter(_LABEL, turn_frame("LPS", place), size)
    return Placed(row.name("seriesuid"), hint, row.where)


def _annotations(root: Path, series: set[str]) -> tuple[list[Placed], list[Problem]]:
    try:
        table = read_table(
            root / NAME, NAME, needed=("seriesuid", *_PLACE, "diameter_mm"), known=()
        )
    except BadFileError as error:
        return [], [problem_of(error, NAME)]
    placed, problems, absent = [], list(table.problems), set()
    for row in table.rows:
        if row.text("seriesuid") not in series:
            absent.add(row.text("seriesuid"))
            continue
        try:
            placed.append(_hint(row))
        except BadHintError as error:
            problems.append(problem_of(error, row.where, case=row.text("seriesuid")))
    if absent:  # as when only some of the subsets were fetched
        finding = f"names {len(absent)} series without a .mhd file ({some(absent)})"
        problems.append(Problem(NAME, finding, "add the files, or leave it so", "warning"))
    return placed, problems


def read_luna16(root: Path) -> tuple[Draft | None, tuple[Problem, ...]]:
    """Read a folder as LUNA16 gives it out.

    Args:
        root: Holds annotations.csv, and .mhd files directly or in folders subset0, subset1, ...

    Returns:
        A study of one channel (CT) and one label (nodule); series without a row are unlabelled.
    """
    try:
        series, problems = _series(root)
    except BadFileError as error:
        return None, (problem_of(error, root.name),)
    if not series:
        problems.append(Problem(NAME, "no .mhd file is beside it or in subset*", "add the images"))
    placed, more = _annotations(root, set(series))
    training = tuple(CaseFiles(name, name, {_CHANNEL: path}) for name, path in series.items())
    study = Study(
        root, (_CHANNEL,), (), LabelSet((BACKGROUND, _LABEL), (0, 1)), training, reader=load_case
    )
    return Draft(study, tuple(placed), (), (*problems, *more)), ()
