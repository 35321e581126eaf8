from pathlib import Path

import numpy as np
import pytest

from voxhint.core import (
    UNDRAWN,
    Box,
    Diameter,
    Grid,
    Hint,
    LabelSet,
    Points,
    Soft,
    Strokes,
    Tag,
)
from voxhint.core.errors import BadHintError
from voxhint.core.study import VoxelFile, VoxelKind
from voxhint.files.hint_tables import gather, read_hint_table
from voxhint.files.study.drawn_hints import read_voxel_hint
from voxhint.files.study.hint_writer import write_hints

LABELS = LabelSet(("background", "cyst", "tumour, left"), (0, 3, 8))
GRID = Grid((6, 5, 4), np.diag([1.5, 2.0, 3.0, 1.0]))


def back(folder: Path, table: str) -> dict[str, tuple[Hint, ...]]:
    reading = read_hint_table(folder / table, LABELS)
    assert reading.problems == ()
    return gather(reading.hints)


def strokes(seed: int, *, complete: bool) -> Strokes:
    rng = np.random.default_rng(seed)
    classes = rng.choice(np.array([0, 1, 2, UNDRAWN], np.uint8), GRID.shape)
    return Strokes(classes, GRID, complete)


def test_tags_come_back(tmp_path: Path) -> None:
    tags = (Tag("cyst", "present", (-3.5, 12.25)), Tag("tumour, left", "absent"))
    write_hints(tmp_path, {"a": tags, "b": (Tag("cyst", "unknown"),)}, LABELS)
    assert back(tmp_path, "tags.csv") == {"a": tags, "b": (Tag("cyst", "unknown"),)}


@pytest.mark.parametrize("sure", [1.0, 0.25])
def test_points_come_back(tmp_path: Path, sure: float) -> None:
    places = np.random.default_rng(0).normal(0, 200, (5, 3))
    points = Points("cyst", places, np.array([1.0, sure, 1.0, 1.0, sure]))
    other = Points("background", places[:2], np.ones(2))
    write_hints(tmp_path, {"a": (points, other)}, LABELS)
    one, two = back(tmp_path, "points.csv")["a"]
    assert isinstance(one, Points)
    assert isinstance(two, Points)
    assert (one.label, two.label) == ("cyst", "background")
    np.testing.assert_allclose(one.positions_mm, places, atol=1e-4)
    np.testing.assert_array_equal(one.confidence, points.confidence)
    np.testing.assert_allclose(two.positions_mm, places[:2], atol=1e-4)


def test_boxes_and_diameters_come_back(tmp_path: Path) -> None:
    box = Box("cyst", np.array([-4.0, 0.125, 7.0]), np.array([1.0, 1.5, 1e3]))
    ball = Diameter("tumour, left", np.array([0.5, -1234.5678, 9.0]), 17.25)
    write_hints(tmp_path, {"a": (box, ball)}, LABELS)
    (read,) = back(tmp_path, "boxes.csv")["a"]
    (measured,) = back(tmp_path, "diameters.csv")["a"]
    assert isinstance(read, Box)
    assert isinstance(measured, Diameter)
    np.testing.assert_allclose(np.stack([read.low_mm, read.high_mm]), [box.low_mm, box.high_mm])
    np.testing.assert_allclose(measured.centre_mm, ball.centre_mm)
    assert (measured.label, measured.diameter_mm) == (ball.label, ball.diameter_mm)


@pytest.mark.parametrize(("kind", "complete"), [("scribbles", False), ("slices", True)])
def test_drawings_come_back(tmp_path: Path, kind: VoxelKind, complete: bool) -> None:
    drawn = strokes(0, complete=complete)
    write_hints(tmp_path, {"a": (drawn,)}, LABELS)
    read = read_voxel_hint(VoxelFile("a", kind, tmp_path / kind / "a.nii.gz"), LABELS)
    assert isinstance(read, Strokes)
    assert read.complete == complete
    np.testing.assert_array_equal(read.classes, drawn.classes)
    read.grid.require_same(GRID)


def test_soft_maps_come_back(tmp_path: Path) -> None:
    values = np.random.default_rng(0).uniform(0, 1, GRID.shape).astype(np.float32)
    write_hints(tmp_path, {"a": (Soft("tumour, left", values, GRID),)}, LABELS)
    path = tmp_path / "soft" / "a__tumour, left.nii.gz"
    read = read_voxel_hint(VoxelFile("a", "soft", path, "tumour, left"), LABELS)
    assert isinstance(read, Soft)
    np.testing.assert_allclose(read.probability, values, atol=1e-4)


def test_drawings_of_one_kind_are_laid_over_each_other(tmp_path: Path) -> None:
    one, two = strokes(1, complete=False), strokes(2, complete=False)
    write_hints(tmp_path, {"a": (one, two, strokes(3, complete=True))}, LABELS)
    path = tmp_path / "scribbles" / "a.nii.gz"
    read = read_voxel_hint(VoxelFile("a", "scribbles", path), LABELS)
    assert isinstance(read, Strokes)
    expected = np.where(two.classes == UNDRAWN, one.classes, two.classes)
    np.testing.assert_array_equal(read.classes, expected)


def test_drawings_on_two_grids_are_refused(tmp_path: Path) -> None:
    one = strokes(1, complete=False)
    two = Strokes(one.classes, Grid(GRID.shape, np.diag([1.5, 2.0, 3.5, 1.0])), complete=False)
    with pytest.raises(BadHintError, match="two grids"):
        write_hints(tmp_path, {"a": (one, two)}, LABELS)


def test_a_label_the_study_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadHintError, match="'wart' is not in"):
        write_hints(tmp_path, {"a": (Tag("wart", "present"),)}, LABELS)


def test_a_kind_without_hints_leaves_no_file(tmp_path: Path) -> None:
    write_hints(tmp_path / "hints", {"a": (), "b": (Tag("cyst", "present"),)}, LABELS)
    assert [path.name for path in (tmp_path / "hints").iterdir()] == ["tags.csv"]
