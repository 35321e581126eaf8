"""What 0 and 255 mean in a drawn map, and when that cannot be told."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.phantoms import make_study, slanted_grid

from voxhint.core import UNDRAWN, Grid, LabelSet
from voxhint.core.errors import BadFileError
from voxhint.files.images import write_ids
from voxhint.files.undrawn_value import drawn_classes, form_of, require_labels
from voxhint.files.validate.study import survey

GRID = Grid((12, 12, 12), np.diag([1.0, 1.0, 3.0, 1.0]))
EVEN = Grid((12, 12, 12), np.eye(4))
LESION = LabelSet(("background", "lesion", "vessel"), (0, 3, 5))


def empty() -> np.ndarray:
    return np.zeros((12, 12, 12), np.uint8)


def stroke() -> np.ndarray:
    ids = empty()
    ids[2:9, 4, 6] = 3
    return ids


def cube() -> np.ndarray:
    ids = empty()
    ids[4:8, 4:8, 4:8] = 3
    return ids


def slabs() -> np.ndarray:
    ids = empty()
    ids[3:9, 3:9, 2:11:4] = 3
    return ids


def specks() -> np.ndarray:
    ids = empty()
    ids[3:5, 3:5, 3:5] = 3
    return ids


@pytest.mark.parametrize("kind", ["scribbles", "slices", "labels"])
def test_strokes_and_slices_in_zeros_are_refused_with_the_numbers_and_both_ways_out(
    kind: str,
) -> None:
    for ids in (stroke(), slabs()):
        drawn = int((ids == 3).sum())
        told = rf"0 in {ids.size - drawn} voxels.*{drawn}.*certain background; .*undrawn 0.*255"
        with pytest.raises(BadFileError, match=told):
            drawn_classes(ids, GRID, LESION, kind=kind, undrawn=None)  # type: ignore[arg-type]


def test_zeros_alone_are_no_scribble_and_no_slices_but_may_be_a_whole_mask() -> None:
    for kind in ("scribbles", "slices"):
        with pytest.raises(BadFileError, match="certain background"):
            drawn_classes(empty(), GRID, LESION, kind=kind, undrawn=None)
    assert not drawn_classes(empty(), GRID, LESION, kind="labels", undrawn=None).any()


@pytest.mark.parametrize("ids", [cube(), specks()])
def test_a_whole_mask_keeps_its_background(ids: np.ndarray) -> None:
    classes = drawn_classes(ids, GRID, LESION, kind="labels", undrawn=None)
    np.testing.assert_array_equal(classes, ids // 3)


@pytest.mark.parametrize("kind", ["scribbles", "slices", "labels"])
def test_who_says_that_255_means_not_drawn_says_that_0_is_background(kind: str) -> None:
    classes = drawn_classes(stroke(), GRID, LESION, kind=kind, undrawn=UNDRAWN)  # type: ignore[arg-type]
    np.testing.assert_array_equal(classes, stroke() // 3)


def test_where_0_means_not_drawn_the_id_after_the_highest_draws_background() -> None:
    ids = stroke()
    ids[2:5, 9, 6] = 6
    classes = drawn_classes(ids, GRID, LESION, kind="scribbles", undrawn=0)
    assert np.bincount(classes.ravel(), minlength=256)[[0, 1, 2]].tolist() == [3, 7, 0]
    assert (classes[ids == 0] == UNDRAWN).all()
    ids[0, 0, 0] = 7
    with pytest.raises(BadFileError, match=r"ids \[7\].*use 3, 5, 6 for drawn background, or 0"):
        drawn_classes(ids, GRID, LESION, kind="scribbles", undrawn=0)


def test_another_value_may_mean_not_drawn() -> None:
    ids = np.where(stroke() == 0, np.uint8(9), stroke())
    ids[0] = 0
    classes = drawn_classes(ids, GRID, LESION, kind="scribbles", undrawn=9)
    assert np.bincount(classes.ravel(), minlength=256)[[0, 1, 255]].tolist() == [144, 7, 1577]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_where_0_means_not_drawn_a_slice_with_anything_on_it_is_drawn_whole(axis: int) -> None:
    ids = np.moveaxis(slabs(), 2, axis)
    classes = drawn_classes(ids, EVEN, LESION, kind="slices", undrawn=0)
    planes = np.moveaxis(classes, axis, 0)
    whole = [bool((plane != UNDRAWN).all()) for plane in planes]
    none = [bool((plane == UNDRAWN).all()) for plane in planes]
    assert [n for n, drawn in enumerate(whole) if drawn] == [2, 6, 10]
    assert [drawn != blank for drawn, blank in zip(whole, none, strict=True)] == [True] * 12
    assert (planes[2] == 1).sum() == 36


def test_slices_that_touch_lie_across_the_coarsest_axis_or_cannot_be_told() -> None:
    classes = drawn_classes(cube(), GRID, LESION, kind="slices", undrawn=0)
    assert [bool((classes[..., k] != UNDRAWN).all()) for k in range(3, 9)] == [
        False, True, True, True, True, False,
    ]  # fmt: skip
    with pytest.raises(BadFileError, match=r"which way its slices lie.*fill what was not drawn"):
        drawn_classes(cube(), EVEN, LESION, kind="slices", undrawn=0)


def test_0_and_255_alone_are_told_with_the_values_expected() -> None:
    ids = np.where(cube() == 3, np.uint8(255), np.uint8(0))
    told = r"0 in 1664 voxels and 255 in 64.*where 0, 3, 5 are expected.*store the label's id"
    for kind in ("scribbles", "slices", "labels"):
        with pytest.raises(BadFileError, match=told):
            drawn_classes(ids, GRID, LESION, kind=kind, undrawn=None)
    with pytest.raises(BadFileError, match=told):
        require_labels(ids, LESION)
    require_labels(ids, LESION, undrawn=UNDRAWN)


def test_background_strokes_and_empty_slices_alone_are_hints() -> None:
    ids = np.full((12, 12, 12), UNDRAWN, np.uint8)
    ids[2:9, 4, 6] = 0
    assert (drawn_classes(ids, GRID, LESION, kind="scribbles", undrawn=None) == 0).sum() == 7
    ids = np.zeros((12, 12, 12), np.uint8)
    ids[..., ::4] = UNDRAWN
    assert (drawn_classes(ids, GRID, LESION, kind="slices", undrawn=None) == 0).sum() == 1296


def test_only_what_has_its_own_label_on_all_sides_is_solid() -> None:
    assert [form_of(ids) for ids in (cube(), slabs(), stroke(), specks(), empty())] == [
        "solid", "thin", "thin", "specks", "solid",
    ]  # fmt: skip
    flat = cube()[:, :, 5:6]  # an axis of one voxel has no sides
    assert form_of(flat) == "solid"
    touching = cube()
    touching[::2] //= 3  # two labels in layers: none has an inside
    assert form_of(touching) == "specks"


def test_a_study_says_in_dataset_json_or_by_flag_what_means_not_drawn(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", cases=1)
    grid = slanted_grid()
    ids = np.zeros(grid.shape, np.uint8)
    ids[5:11, 8, 5] = 3
    for name in ("hints/scribbles/c0.nii.gz", "labelsTr/c0.nii.gz"):
        write_ids(study / name, ids, grid)
        assert [p.where for p in survey(study).errors] == [name]
        assert not survey(study, undrawn=0).problems
        (study / name).unlink()
    write_ids(study / "hints/scribbles/c0.nii.gz", ids, grid)
    spec = json.loads((study / "dataset.json").read_text("utf-8"))
    (study / "dataset.json").write_text(json.dumps({**spec, "undrawn": 0}), "utf-8")
    opened = survey(study).study
    assert opened is not None
    drawn = opened.load(opened.training[0]).hints[-1]
    assert (drawn.classes != UNDRAWN).sum() == 6  # type: ignore[union-attr]
    for wrong in (3, 300, "0", 1.5):
        (study / "dataset.json").write_text(json.dumps({**spec, "undrawn": wrong}), "utf-8")
        (told,) = survey(study).problems
        assert "undrawn is" in str(told)


def test_small_objects_in_a_whole_mask_are_told_as_they_may_be_clicks(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", cases=1, hints=("labels",))
    assert not survey(study).problems
    grid = slanted_grid()
    ids = np.zeros(grid.shape, np.uint8)
    ids[5:7, 5:7, 5] = 3
    write_ids(study / "labelsTr" / "c0.nii.gz", ids, grid)
    (told,) = survey(study).problems
    assert told.severity == "warning"
    assert "label ids in 4 voxels" in told.finding
    assert not survey(study, undrawn=UNDRAWN).problems


def test_as_many_labels_as_there_may_be_keep_their_ids() -> None:
    many = LabelSet(tuple(map(str, range(254))), tuple(range(254)))
    ids = np.random.default_rng(0).integers(0, 254, (60, 200, 200)).astype(np.uint8)
    np.testing.assert_array_equal(many.to_classes(ids), ids)
