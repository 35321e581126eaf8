"""A case is loaded with what was asked of it, and with nothing else."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from tests.phantoms import LABELS, HintKind, ball, hints_of, make_study, slanted_grid

from voxhint.core import UNDRAWN, Grid, Points, Soft, Strokes
from voxhint.core.errors import BadFileError
from voxhint.files import open_study, write_ids

GRID = slanted_grid()


def test_a_case_has_its_images_in_order_and_all_its_hints(tmp_path: Path) -> None:
    kinds = get_args(HintKind)
    make_study(tmp_path, hints=kinds, channels=("T1", "CT"))
    study, problems = open_study(tmp_path)
    assert not problems
    case = study.load(study.training[0])
    assert list(case.images) == ["T1", "CT"]
    assert [case.images[name].unit for name in case.images] == ["a.u.", "HU"]
    assert len(case.hints) == len(kinds)
    assert case.truth is None
    assert study.hint_kinds() == dict.fromkeys(kinds, 2) | {"points": 4}


def test_drawn_hints_come_back_as_classes_on_the_grid_of_the_channel(tmp_path: Path) -> None:
    make_study(tmp_path, hints=("scribbles", "slices", "soft", "labels"))
    study, _ = open_study(tmp_path)
    case = study.load(study.training[0])
    made = hints_of(GRID)
    found = {hint.complete: hint for hint in case.hints if isinstance(hint, Strokes)}
    scribble = made["scribbles"]
    assert isinstance(scribble, Strokes)
    assert np.array_equal(found[False].classes, scribble.classes)
    assert all(hint.grid is case.grid for hint in found.values())
    assert [hint.label for hint in case.hints if isinstance(hint, Soft)] == ["ball"]


def test_hints_may_be_left_on_disk(tmp_path: Path) -> None:
    make_study(tmp_path, hints=("points", "slices"))
    study, _ = open_study(tmp_path)
    assert study.load(study.training[0], hints=False).hints == ()


def test_a_test_case_has_neither_hints_nor_truth(tmp_path: Path) -> None:
    make_study(tmp_path, hints=("points", "slices"), dense=True)
    study, _ = open_study(tmp_path)
    assert study.test[0].truth is not None
    case = study.load(study.test[0], dense=True)
    assert case.hints == ()
    assert case.truth is None


def test_a_dense_mask_is_read_only_when_asked_for_and_keeps_its_ids(tmp_path: Path) -> None:
    make_study(tmp_path, hints=("points",), dense=True)
    study, _ = open_study(tmp_path, dense=True)
    assert study.load(study.training[0]).truth is None
    truth = study.load(study.training[0], dense=True).truth
    assert truth is not None
    assert np.array_equal(truth.ids, LABELS.to_ids(ball(GRID)))
    assert set(np.unique(truth.ids)) == {0, 3}


def test_a_mask_in_labels_stands_in_for_a_dense_one_if_it_has_no_gap(tmp_path: Path) -> None:
    make_study(tmp_path, hints=("labels",))
    ids = LABELS.to_ids(ball(GRID))
    ids[0, 0, 0] = UNDRAWN
    write_ids(tmp_path / "labelsTr" / "c1.nii.gz", ids, GRID)
    study, _ = open_study(tmp_path, dense=True)
    whole, partial = (study.load(files, dense=True) for files in study.training)
    assert whole.truth is not None
    assert partial.truth is None


def test_a_dense_mask_with_gaps_is_refused(tmp_path: Path) -> None:
    make_study(tmp_path, dense=True)
    ids = np.full(GRID.shape, UNDRAWN, dtype=np.uint8)
    write_ids(tmp_path / "denseTr" / "c0.nii.gz", ids, GRID)
    study, _ = open_study(tmp_path, dense=True)
    with pytest.raises(BadFileError, match="undrawn"):
        study.load(study.training[0], dense=True)


def test_a_mask_moved_after_opening_is_refused(tmp_path: Path) -> None:
    make_study(tmp_path, hints=("labels",))
    study, _ = open_study(tmp_path)
    moved = GRID.affine.copy()
    moved[0, 3] += 0.5
    path = tmp_path / "labelsTr" / "c0.nii.gz"
    write_ids(path, np.zeros(GRID.shape, np.uint8), Grid(GRID.shape, moved))
    with pytest.raises(BadFileError, match="another grid"):
        study.load(study.training[0])


def test_a_mask_off_by_rounding_is_put_on_the_exact_grid(tmp_path: Path) -> None:
    make_study(tmp_path, hints=("labels",))
    moved = GRID.affine.copy()
    moved[0, 3] += 2e-3
    path = tmp_path / "labelsTr" / "c0.nii.gz"
    write_ids(path, LABELS.to_ids(ball(GRID)), Grid(GRID.shape, moved))
    study, _ = open_study(tmp_path)
    case = study.load(study.training[0])
    assert [hint.grid is case.grid for hint in case.hints if isinstance(hint, Strokes)] == [True]


def test_links_are_followed_and_nothing_is_written(tmp_path: Path) -> None:
    make_study(tmp_path / "real")
    linked = tmp_path / "linked"
    linked.mkdir()
    for path in (tmp_path / "real").iterdir():
        (linked / path.name).symlink_to(path)
    before = sorted(path for path in tmp_path.rglob("*"))
    study, problems = open_study(linked, deep=True)
    assert not problems
    case = study.load(study.training[0])
    assert any(isinstance(hint, Points) for hint in case.hints)
    assert sorted(path for path in tmp_path.rglob("*")) == before
