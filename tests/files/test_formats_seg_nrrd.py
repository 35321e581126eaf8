"""Segmentations of 3D Slicer: the names of segments decide, wherever and however they lie."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.phantoms import make_study, slanted_grid

from voxhint.config import MeasureConfig
from voxhint.core import UNDRAWN, Grid, LabelSet
from voxhint.core.errors import BadFileError
from voxhint.files.masks import read_mask
from voxhint.files.validate.study import survey
from voxhint.verbs.measure import measure

GRID = Grid((6, 5, 4), np.array([[-0.8, 0, 0, 9], [0, -1, 0, 8], [0, 0, 3, -7], [0, 0, 0, 1.0]]))
LABELS = LabelSet(("background", "liver", "tumour"), (0, 2, 7))
Segments = Sequence[tuple[str, int, int]]


def write_segments(path: Path, layers: np.ndarray, grid: Grid, segments: Segments) -> Path:
    """Write layers (layer i j k) as Slicer does: LPS, raw, a layer per value of a voxel."""
    lps = np.diag([-1.0, -1, 1]) @ grid.affine[:3]
    steps = " ".join(f"({','.join(map(repr, map(float, lps[:, axis])))})" for axis in range(3))
    many = len(layers) > 1
    sizes = " ".join(map(str, layers.shape if many else grid.shape))
    head = [
        "NRRD0004",
        "type: unsigned char",
        f"dimension: {4 if many else 3}",
        "space: left-posterior-superior",
        f"sizes: {sizes}",
        f"space directions: {'none ' if many else ''}{steps}",
        f"kinds: {'list ' if many else ''}domain domain domain",
        "encoding: raw",
        f"space origin: ({','.join(map(repr, map(float, lps[:, 3])))})",
    ]
    for number, (name, value, layer) in enumerate(segments):
        head.append(f"Segment{number}_Name:={name}")
        head.append(f"Segment{number}_LabelValue:={value}")
        head.append(f"Segment{number}_Layer:={layer}")
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = layers.astype(np.uint8).transpose(3, 2, 1, 0).tobytes()
    path.write_bytes("\n".join([*head, "", ""]).encode() + voxels)
    return path


def test_names_win_over_values_and_capitals_are_forgiven(tmp_path: Path) -> None:
    values = np.arange(120).reshape(1, *GRID.shape) % 3
    path = write_segments(tmp_path / "a.nrrd", values, GRID, [("Tumour ", 1, 0), ("liver", 2, 0)])
    ids, grid = read_mask(path, LABELS)
    np.testing.assert_array_equal(ids, np.array([0, 7, 2])[values[0]])
    assert grid.same(GRID)


def test_layers_are_laid_together_and_where_two_labels_meet_it_is_told(tmp_path: Path) -> None:
    layers = np.zeros((2, *GRID.shape), np.uint8)
    layers[0, 1:3], layers[1, 4] = 1, 1
    segments = [("liver", 1, 0), ("tumour", 1, 1)]
    ids, grid = read_mask(write_segments(tmp_path / "a.seg.nrrd", layers, GRID, segments), LABELS)
    np.testing.assert_array_equal(ids, 2 * layers[0] + 7 * layers[1])
    assert grid.same(GRID)
    layers[1, 2, 0, 0] = 1
    path = write_segments(tmp_path / "a.seg.nrrd", layers, GRID, segments)
    with pytest.raises(BadFileError, match="1 voxels are both 'liver' and 'tumour'"):
        read_mask(path, LABELS)


@pytest.mark.parametrize(
    ("segments", "told"),
    [
        ([("Segment_1", 1, 0)], "segment 'Segment_1' is no label.*background, liver, tumour"),
        ([("liver", 3, 0)], "value 1, which no segment has"),
        ([("liver", 1, 0), ("tumour", 1, 0)], "'tumour' has value 1 in layer 0"),
        ([("liver", 1, 4)], "layer 4"),
    ],
)
def test_a_segment_that_is_not_plain_is_refused(
    tmp_path: Path, segments: Segments, told: str
) -> None:
    values = np.zeros((1, *GRID.shape), np.uint8)
    values[0, 2] = 1
    with pytest.raises(BadFileError, match=told):
        read_mask(write_segments(tmp_path / "a.nrrd", values, GRID, segments), LABELS)


def test_an_empty_segment_may_have_any_name(tmp_path: Path) -> None:
    values = np.zeros((1, *GRID.shape), np.uint8)
    path = write_segments(tmp_path / "a.nrrd", values, GRID, [("Segment_1", 1, 0)])
    assert not read_mask(path, LABELS)[0].any()


def test_a_cropped_segmentation_lies_where_it_was_cropped_from(tmp_path: Path) -> None:
    values = np.zeros((1, *GRID.shape), np.uint8)
    values[0, 2:4, 1:4, 3] = 1
    part = (slice(1, 5), slice(1, 4), slice(2, 4))
    cropped = values[:, *part]
    path = write_segments(tmp_path / "a.seg.nrrd", cropped, GRID.cropped(part), [("liver", 1, 0)])
    ids, grid = read_mask(path, LABELS, [GRID])
    np.testing.assert_array_equal(ids, 2 * values[0])
    assert grid is GRID
    beside = Grid(GRID.shape, GRID.affine + np.eye(4, k=3)[0] * 0.4)
    assert read_mask(path, LABELS, [beside])[1].same(GRID.cropped(part))


def test_who_names_the_background_leaves_the_rest_undrawn(tmp_path: Path) -> None:
    values = np.zeros((1, *GRID.shape), np.uint8)
    values[0, 0], values[0, 3] = 1, 2
    segments = [("Background", 1, 0), ("liver", 2, 0)]
    ids, _ = read_mask(write_segments(tmp_path / "a.nrrd", values, GRID, segments), LABELS)
    np.testing.assert_array_equal(ids, np.array([UNDRAWN, 0, 2])[values[0]])


def test_slicers_files_are_hints_and_truths_under_their_default_suffix(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", cases=1, hints=("points",))
    grid = slanted_grid()
    values = np.zeros((1, *grid.shape), np.uint8)
    values[0, 5:9, 6:10, 4:7] = 1
    part = (slice(5, 9), slice(6, 10), slice(4, 7))
    segments = [("ball", 1, 0)]
    for name in ("labelsTr/c0.seg.nrrd", "labelsTs/t0.seg.nrrd", "denseTr/c0.seg.nrrd"):
        write_segments(study / name, values[:, *part], grid.cropped(part), segments)
    (study / "labelsTs" / "t0.nii.gz").unlink()
    seen = survey(study, deep=True, dense=True)
    assert seen.study is not None
    assert not seen.problems
    case = seen.study.load(seen.study.training[0], dense=True)
    assert case.truth is not None
    np.testing.assert_array_equal(case.truth.ids, 3 * values[0])
    np.testing.assert_array_equal(case.hints[-1].classes, values[0])  # type: ignore[union-attr]
    masks = write_segments(tmp_path / "masks" / "t0.seg.nrrd", values, grid, segments).parent
    table = measure(masks, study / "labelsTs", config=MeasureConfig())
    assert table.labels["ball"].dice.mean == 1
