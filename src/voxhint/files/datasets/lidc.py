"""LIDC-IDRI's XML: what each reader outlined in a chest CT, and where half of them agree.

Of use to score masks alone. Nothing that learns reads it.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np
from jaxtyping import Bool, Int64
from scipy.ndimage import binary_fill_holes
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from skimage import draw

from voxhint.core.errors import BadFileError
from voxhint.core.grid import Grid
from voxhint.files.problems import Problem, problem_of, reading

LEAST_READERS = 3
"""Readers who must have outlined a nodule: LUNA16's reference holds those of 3 of the 4."""

_SHARE = 0.5  # of the readers who must call a voxel nodule
_ROOT = "LidcReadMessage"
_SERIES = ("SeriesInstanceUid", "SeriesInstanceUID")
_line: Any = draw.line  # untyped
_STRAIGHT = 1e-3  # how far slices may lean, as a sine

_Places = Int64[np.ndarray, " _"]
"""Voxels, by their places in a flat image."""


@dataclass(frozen=True, slots=True, eq=False)
class _Outline:
    """A closed line in one slice."""

    z_mm: float
    """World z of the slice; the same in LPS and RAS."""

    included: bool
    """False: what it encloses is a hole."""

    points: Int64[np.ndarray, "n 2"]
    """Column and row of the pixels it runs through, from 0; they are the first ones outside."""


@dataclass(frozen=True, slots=True, eq=False)
class _Mark:
    """A nodule as one reader outlined it; one point alone where it is smaller than 3 mm."""

    reader: int
    outlines: tuple[_Outline, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What all readers outlined in one series."""

    series: str
    readers: int
    """How many looked at it, whether they outlined something or not."""

    marks: tuple[_Mark, ...]


class WithoutEntities(ElementTree.TreeBuilder):
    """Builds a tree of elements alone: a document type could declare entities."""

    def doctype(self, *_declared: str | None) -> None:
        """Refuse the declaration before anything in it is read.

        Raises:
            BadFileError: Always.
        """
        msg = "declares a document type, which such files do not; remove it"
        raise BadFileError(msg)


def _read_reading(path: Path) -> Reading | None:
    """Read one XML file of LIDC-IDRI.

    Returns:
        Its reading sessions, or None if it is of no CT (a chest X-ray, another tool's file).

    Raises:
        BadFileError: It is broken, or lacks a part.

    Source:
        "LIDC XML file documentation", 2009, of The Cancer Imaging Archive: a `readingSession` for
        each reader, in it an `unblindedReadNodule` for each nodule with a `roi` for each slice.
    """
    with reading(path):
        try:
            parser = ElementTree.XMLParser(target=WithoutEntities())
            root = ElementTree.parse(path, parser).getroot()
            return _reading(root) if _bare(root) == _ROOT else None
        except BadFileError as error:
            msg = f"{path.name}: {error}"
            raise BadFileError(msg) from error
        except ElementTree.ParseError as error:
            msg = f"{path.name}: is not XML ({error}); copy it again"
            raise BadFileError(msg) from error


def _bare(element: Element) -> str:
    """Return an element's name without its namespace."""
    return element.tag.rpartition("}")[2]


def _text(element: Element, *names: str) -> str:
    """Return the text of the first part found, whatever its namespace.

    Raises:
        BadFileError: There is none.
    """
    for name in names:
        if text := (element.findtext(f"{{*}}{name}") or "").strip():
            return text
    msg = f"<{_bare(element)}> has no {names[0]}; copy the file again"
    raise BadFileError(msg)


def _number(element: Element, name: str) -> float:
    """Return a part that is a finite number.

    Raises:
        BadFileError: It is not.
    """
    text = _text(element, name)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        msg = f"{name} is '{text[:40]}', no number; copy the file again"
        raise BadFileError(msg)
    return value


def _reading(root: Element) -> Reading:
    header = root.find("{*}ResponseHeader")
    if header is None:
        msg = "has no ResponseHeader, which names the series; copy the file again"
        raise BadFileError(msg)
    sessions = root.findall("{*}readingSession")
    marks = [
        _Mark(reader, tuple(_outline(roi) for roi in nodule.findall("{*}roi")))
        for reader, session in enumerate(sessions)
        for nodule in session.findall("{*}unblindedReadNodule")
    ]
    return Reading(_text(header, *_SERIES), len(sessions), tuple(marks))


def _outline(roi: Element) -> _Outline:
    said = _text(roi, "inclusion").upper()
    if said not in ("TRUE", "FALSE"):
        msg = f"inclusion is '{said[:40]}', neither TRUE nor FALSE; copy the file again"
        raise BadFileError(msg)
    points = [
        (round(_number(edge, "xCoord")), round(_number(edge, "yCoord")))
        for edge in roi.findall("{*}edgeMap")
    ]
    z_mm = _number(roi, "imageZposition")
    return _Outline(z_mm, said == "TRUE", np.array(points, np.int64).reshape(-1, 2))


def find_readings(
    folder: Path, series: Collection[str]
) -> tuple[dict[str, Reading], tuple[Problem, ...]]:
    """Look for the readings of some series in a folder, and in the folders below.

    Args:
        folder: LIDC-IDRI's XML files, under whatever names.
        series: The series' instance UIDs.

    Returns:
        The readings found, and what was passed over: broken files, and series told twice.

    Raises:
        BadFileError: There is no XML file at all.
    """
    paths = sorted(folder.rglob("*.[xX][mM][lL]"))
    if not paths:
        msg = f"{folder}: holds no XML file; give the folder of LIDC-IDRI's annotations"
        raise BadFileError(msg)
    found: dict[str, Reading] = {}
    twice: set[str] = set()
    problems = []
    for path in paths:
        where = path.relative_to(folder).as_posix()
        try:
            told = _read_reading(path)
        except BadFileError as error:
            problems.append(problem_of(error, where, severity="warning"))
            continue
        if told is None or told.series not in series:
            continue
        if told.series in found:
            twice.add(told.series)
            finding = f"is another reading of {told.series}, so that neither is taken"
            problems.append(Problem(where, finding, "keep one", "warning"))
        found[told.series] = told
    return {name: told for name, told in found.items() if name not in twice}, tuple(problems)


def consensus(
    told: Reading, grid: Grid, *, least_readers: int = LEAST_READERS
) -> Bool[np.ndarray, "i j k"]:
    """Return the voxels that at least half of a series' readers call nodule.

    Marks that share a voxel are marks of one nodule. A voxel needs the votes of half of all who
    looked, those who saw no nodule included: of LIDC's four readers, two. Where three or four of
    them outlined a nodule, that is also half of these.

    Args:
        told: What they outlined.
        grid: The series' own, i along its columns, j along its rows, slices across the patient.
        least_readers: Nodules that fewer of them outlined are left out.

    Raises:
        BadFileError: An outline lies outside of the image, or its slices are not axial.
    """
    marked = [(mark.reader, _voxels(mark, grid)) for mark in told.marks]
    marked = [(reader, voxels) for reader, voxels in marked if voxels.size]
    mask = np.zeros(grid.shape, bool)
    groups = _groups([voxels for _, voxels in marked])
    for group in np.unique(groups):
        by_reader: dict[int, list[_Places]] = {}
        for number in np.flatnonzero(groups == group):
            reader, voxels = marked[number]
            by_reader.setdefault(reader, []).append(voxels)
        if len(by_reader) < least_readers:
            continue
        each = [np.unique(np.concatenate(parts)) for parts in by_reader.values()]
        voxels, votes = np.unique(np.concatenate(each), return_counts=True)
        mask.reshape(-1)[voxels[votes >= _SHARE * told.readers]] = True
    return mask


def _groups(marked: Sequence[_Places]) -> Int64[np.ndarray, " marks"]:
    """Return the number of the nodule each mark belongs to: marks that overlap are of one."""
    if not marked:
        return np.zeros(0, np.int64)
    owner = np.repeat(np.arange(len(marked)), [voxels.size for voxels in marked])
    _, voxel = np.unique(np.concatenate(marked), return_inverse=True)
    holds = csr_array((np.ones(owner.size), (owner, voxel)))
    return np.asarray(connected_components(holds @ holds.T, directed=False)[1], np.int64)


def _voxels(mark: _Mark, grid: Grid) -> _Places:
    """Return the places of a nodule's voxels in a flat image: what is enclosed, without holes.

    The pixels an outline runs through are not of the nodule, nor are those around a hole.

    Source:
        The public reader pylidc (`Annotation.boolean_mask`) leaves out the points of both kinds.
    """
    filled = [np.zeros(0, np.int64)]
    holes = [np.zeros(0, np.int64)]
    for outline in mark.outlines:
        if not len(outline.points):
            continue
        path, low = _path(outline, grid)
        enclosed = np.asarray(binary_fill_holes(path))
        area = enclosed & ~path if outline.included else enclosed
        i, j = np.nonzero(area)
        k = np.full(i.size, _slice(outline.z_mm, grid))
        places = np.ravel_multi_index((i + low[0], j + low[1], k), grid.shape)
        (filled if outline.included else holes).append(places.astype(np.int64))
    return np.setdiff1d(np.concatenate(filled), np.concatenate(holes))


def _path(
    outline: _Outline, grid: Grid
) -> tuple[Bool[np.ndarray, "width height"], Int64[np.ndarray, "2"]]:
    """Return the pixels an outline runs through, closed, and the first column and row of them.

    Raises:
        BadFileError: Some lie outside of the image.
    """
    low, high = outline.points.min(axis=0), outline.points.max(axis=0)
    if (low < 0).any() or (high >= grid.shape[:2]).any():
        x, y = high if (high >= grid.shape[:2]).any() else low
        msg = (
            f"an outline reaches column {x}, row {y} of an image of {grid.shape[0]} x "
            f"{grid.shape[1]}; give the XML of this very series"
        )
        raise BadFileError(msg)
    path = np.zeros(high - low + 1, bool)
    ends = (outline.points - low).tolist()
    for start, end in pairwise([*ends, ends[0]]):
        path[_line(*start, *end)] = True
    return path, low


def _slice(z_mm: float, grid: Grid) -> int:
    """Return the number of the slice nearest to a height.

    Raises:
        BadFileError: Slices are not axial, or none is there.
    """
    across = grid.affine[2, :3] / grid.spacing_mm
    if np.abs(across[:2]).max() > _STRAIGHT:
        msg = "slices are not axial, so that outlines have no place; give the series as scanned"
        raise BadFileError(msg)
    place = float((z_mm - grid.affine[2, 3]) / grid.affine[2, 2])
    if not -0.501 < place < grid.shape[2] - 0.499:
        msg = f"an outline lies at z = {z_mm:g} mm, outside; give the XML of this very series"
        raise BadFileError(msg)
    return min(max(round(place), 0), grid.shape[2] - 1)
