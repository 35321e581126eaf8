"""Data sets of other tools become studies: each mask on its image, each id under its name."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import UInt8

from voxhint.core import Grid, Volume
from voxhint.core.errors import BadFileError
from voxhint.files import survey
from voxhint.files.images import read_ids, write_ids, write_image
from voxhint.verbs.import_annotations import Wanted
from voxhint.verbs.import_masks import import_masks
from voxhint.verbs.written import Written

GRID = Grid((6, 5, 4), np.array([[0.5, 0, 0, -3], [0, 0.7, 0, 2], [0, 0, 3.0, 1], [0, 0, 0, 1]]))
SNAP = """################################################
# ITK-SnAP Label Description File
# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL
################################################
    0     0    0    0        0  0  0    "Clear Label"
    3   255    0    0        1  1  1    "left kidney"
    5     0  255    0     0.50  1  1    "Tumour"
"""


def image(path: Path) -> None:
    voxels = np.random.default_rng(0).normal(size=GRID.shape).astype(np.float32)
    write_image(path, Volume(voxels, GRID, "a.u."))


def ids(*numbers: int) -> UInt8[np.ndarray, "i j k"]:
    choice = np.array((0, *numbers), np.uint8)
    return choice[np.random.default_rng(1).integers(0, len(choice), GRID.shape)]


def itk_snap(folder: Path) -> dict[str, int]:
    (folder / "images").mkdir(parents=True)
    image(folder / "images" / "a.nii.gz")
    image(folder / "images" / "b.nii.gz")
    write_ids(folder / "labels" / "a.nii.gz", ids(3, 5), GRID)
    (folder / "names.txt").write_text(SNAP)
    return {"left kidney": 3, "Tumour": 5}


def monai_label(folder: Path) -> dict[str, int]:
    image(folder / "a.nii.gz")
    image(folder / "b.nii.gz")
    write_ids(folder / "labels" / "final" / "a.nii.gz", ids(3, 5), GRID)
    info = {"ts": 1, "label_info": [{"name": "left kidney", "idx": 3}, {"name": "x", "idx": 5}]}
    ext = ".nii.gz"
    spec = {
        "name": "new-dataset",
        "description": "",
        "images_dir": ".",
        "labels_dir": "labels",
        "objects": {
            "a": {"image": {"ext": ext}, "labels": {"final": {"ext": ext, "info": info}}},
            "b": {"image": {"ext": ext}, "labels": {"original": {"ext": ext, "info": {}}}},
        },
    }
    (folder / "datastore_v2.json").write_text(json.dumps(spec))
    return {"left kidney": 3, "x": 5}


def totalsegmentator(folder: Path) -> dict[str, int]:
    image(folder / "a" / "ct.nii.gz")
    image(folder / "b" / "ct.nii.gz")
    (folder / "b" / "segmentations").mkdir()
    for name, number in (("kidney_left", 3), ("spleen", 5)):
        mask = (ids(3, 5) == number).astype(np.uint8)
        write_ids(folder / "a" / "segmentations" / f"{name}.nii.gz", mask, GRID)
    return {"kidney_left": 3, "spleen": 5}


def bids(folder: Path) -> dict[str, int]:
    for name in ("a", "b"):
        image(folder / f"sub-{name}" / "ses-1" / "anat" / f"sub-{name}_ses-1_T1w.nii.gz")
    derived = folder / "derivatives" / "hand"
    place = derived / "sub-a" / "ses-1" / "anat"
    write_ids(place / "sub-a_ses-1_desc-manual_dseg.nii.gz", ids(3, 5) * (ids(3, 5) == 3), GRID)
    lesion = (ids(3, 5) == 5).astype(np.uint8)
    write_ids(place / "sub-a_ses-1_label-lesion_mask.nii.gz", lesion, GRID)
    (derived / "dseg.tsv").write_text("index\tname\tabbreviation\n0\tnone\tn\n3\tgrey matter\tGM\n")
    return {"grey matter": 3, "lesion": 5}


Layout = Callable[[Path], dict[str, int]]
LAYOUTS: tuple[Layout, ...] = (itk_snap, monai_label, totalsegmentator, bids)


def taken(folder: Path, out: Path, how: Wanted = "truth", *labels: str) -> Written:
    return import_masks(folder, out, wanted=how, labels=labels)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_id_is_the_label_that_names_it(tmp_path: Path, layout: Layout) -> None:
    theirs = layout(tmp_path / "in")
    made = taken(tmp_path / "in", tmp_path / "out")
    assert "masks for 1;" in made.told
    labels = json.loads((tmp_path / "out" / "dataset.json").read_text())["labels"]
    assert labels.keys() == {"background", *theirs}
    (path,) = (tmp_path / "out" / "denseTr").iterdir()
    mask, grid = read_ids(path)
    assert grid.same(GRID)
    for name, number in theirs.items():
        np.testing.assert_array_equal(mask == labels[name], ids(3, 5) == number)
    (problem,) = survey(tmp_path / "out").problems
    assert problem.where == "hints"
    with (tmp_path / "out" / "cases.csv").open(newline="") as file:
        subjects = {row["subject"] for row in csv.DictReader(file)}
    assert subjects == ({"sub-a", "sub-b"} if layout is bids else {"a", "b"})


@pytest.mark.parametrize("layout", LAYOUTS)
def test_partial_masks_say_nothing_of_the_rest(tmp_path: Path, layout: Layout) -> None:
    (first, number), _ = layout(tmp_path / "in").items()
    made = taken(tmp_path / "in", tmp_path / "out", "hints", f"organ={first.upper()}")
    assert "1 structure is left out" in made.warnings[-1]
    (path,) = (tmp_path / "out" / "hints" / "scribbles").iterdir()
    expected = np.where(ids(3, 5) == number, 1, 255)
    np.testing.assert_array_equal(read_ids(path)[0], expected)
    assert not survey(tmp_path / "out").errors


def test_drafts_of_a_model_are_left_out(tmp_path: Path) -> None:
    monai_label(tmp_path / "in")
    (line,) = taken(tmp_path / "in", tmp_path / "out").warnings
    assert "1 masks that no person saved" in line


def test_an_id_without_a_name_a_mask_elsewhere_and_two_of_one_name_are_left_out(
    tmp_path: Path,
) -> None:
    itk_snap(tmp_path / "a")
    write_ids(tmp_path / "a" / "labels" / "a.nii.gz", ids(3, 4), GRID)
    with pytest.raises(BadFileError, match="holds id 4, which nothing names"):
        taken(tmp_path / "a", tmp_path / "out")
    itk_snap(tmp_path / "b")
    moved = Grid(GRID.shape, GRID.affine + np.eye(4, k=3) * 0.25)
    write_ids(tmp_path / "b" / "labels" / "a.nii.gz", ids(3), moved)
    with pytest.raises(BadFileError, match="masks of this case are left out"):
        taken(tmp_path / "b", tmp_path / "out")
    bids(tmp_path / "c")
    derived = tmp_path / "c" / "derivatives"
    shutil.copytree(derived / "hand", derived / "model")
    with pytest.raises(BadFileError, match=r"draws 'grey matter', as another.*hand.*model"):
        taken(tmp_path / "c", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_two_names_may_be_one_label(tmp_path: Path) -> None:
    totalsegmentator(tmp_path / "in")
    taken(tmp_path / "in", tmp_path / "out", "truth", "organ=kidney_left,spleen")
    mask, _ = read_ids(tmp_path / "out" / "denseTr" / "a.nii.gz")
    np.testing.assert_array_equal(mask, ids(3, 5) > 0)


def test_kinds_of_images_are_chosen_among(tmp_path: Path) -> None:
    bids(tmp_path / "in")
    image(tmp_path / "in" / "sub-a" / "ses-1" / "anat" / "sub-a_ses-1_FLAIR.nii.gz")
    with pytest.raises(BadFileError, match="images of FLAIR, T1w; choose one with --channel"):
        taken(tmp_path / "in", tmp_path / "out")
    made = import_masks(tmp_path / "in", tmp_path / "out", wanted="boxes", channel="T1w")
    assert made.told.startswith("2 cases of BIDS, masks for 1;")
    with pytest.raises(BadFileError, match=r"holds no datastore_v2\.json"):
        taken(tmp_path, tmp_path.with_name("other"))
