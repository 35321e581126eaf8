"""Masks and hints in the layouts of other tools, read back by their own rules."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from tests.phantoms import LABELS, HintKind, ball, centre_mm, hints_of, make_study, slanted_grid
from tests.verbs.test_export import run  # noqa: F401 - a fixture

from voxhint.core import UNDRAWN
from voxhint.core.errors import BadFileError
from voxhint.core.hints import Strokes
from voxhint.files.images import read_ids
from voxhint.files.masks import read_mask
from voxhint.files.validate.study import survey
from voxhint.verbs.export import export

GRID = slanted_grid()
itk: Any = SimpleITK


def test_slicer_gets_names_colours_codes_and_extents_on_the_images_own_grid(
    run: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    (run.parent / "study" / "codes.csv").write_text(
        "label,category_code,category_meaning,type_code,type_meaning,side,colour\n"
        "ball,1,Thing,2,Round thing,left,#FF8000\n"
    )
    made = export(run, to="seg-nrrd", out=tmp_path / "out").out
    image = itk.ReadImage(str(made / "c0.seg.nrrd"))
    ids = LABELS.to_ids(ball(GRID))
    np.testing.assert_array_equal(itk.GetArrayFromImage(image).transpose(2, 1, 0), ids)
    for index in ((0, 0, 0), (13, 2, 9), (5, 15, 1)):
        x, y, z = image.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(
            [-x, -y, z], GRID.to_world(np.array([index], float))[0], atol=1e-4
        )
    told = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    assert (told["Segment0_Name"], told["Segment0_LabelValue"]) == ("ball", "3")
    np.testing.assert_allclose(
        [*map(float, told["Segment0_Color"].split())], [1, 128 / 255, 0], atol=1e-5
    )
    assert "~SCT^1^Thing~SCT^2^Round thing~SCT^7771000^Left~" in told["Segment0_Tags"]
    drawn = np.argwhere(ids)
    ends = np.stack([drawn.min(0), drawn.max(0)], axis=1).ravel().tolist()
    assert [*map(int, told["Segment0_Extent"].split())] == ends
    again, grid = read_mask(made / "c0.seg.nrrd", LABELS, [GRID])
    np.testing.assert_array_equal(again, ids)
    assert grid.same(GRID)


def partial(tmp_path: Path, *hints: HintKind) -> tuple[Path, tuple[str, ...]]:
    study = make_study(tmp_path / "study", hints=hints)
    made = export(study, to="nnunet-hints", out=tmp_path / "out")
    return made.out, made.warnings


def test_strokes_are_labels_and_the_rest_is_ignored(tmp_path: Path) -> None:
    out, lines = partial(tmp_path, "scribbles")
    labels = json.loads((out / "dataset.json").read_text())["labels"]
    assert labels == {"background": 0, "ball": 1, "ignore": 2}
    ids, grid = read_ids(out / "labelsTr" / "c0.nii.gz")
    drawn = hints_of(GRID)["scribbles"]
    assert isinstance(drawn, Strokes)
    np.testing.assert_array_equal(ids, np.where(drawn.classes == UNDRAWN, 2, drawn.classes))
    assert grid.same(GRID)
    assert not lines
    shutil.copytree(tmp_path / "out", tmp_path / "again")
    assert not survey(tmp_path / "again").errors  # it is a study with partial masks


def test_a_point_is_the_voxel_it_lies_in(tmp_path: Path) -> None:
    out, _ = partial(tmp_path, "points")
    ids, grid = read_ids(out / "labelsTr" / "c0.nii.gz")
    places = grid.to_index(np.stack([centre_mm(GRID), centre_mm(GRID) + 1]))
    marked = np.argwhere(ids == 1)
    assert len(marked) == len(places)
    assert (np.abs(marked[:, None] - places).max(axis=2).min(axis=1) <= 0.501).all()
    assert (ids != 1).sum() == (ids == 2).sum()


def test_hints_that_no_partial_mask_can_say_are_told_of_and_alone_refused(tmp_path: Path) -> None:
    _, lines = partial(tmp_path / "mixed", "scribbles", "boxes", "tags")
    assert lines == (
        "boxes: no partial mask can say them; left out",
        "tags: no partial mask can say them; left out",
    )
    with pytest.raises(BadFileError, match="no case has strokes, slices or points"):
        partial(tmp_path / "alone", "boxes")


INTEGRITY = """
import sys
from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity
if __name__ == "__main__":
    verify_dataset_integrity(sys.argv[1], num_processes=1)
"""


@pytest.mark.slow
@pytest.mark.parametrize("target", ["nnunet-hints", "nnunet"])
def test_nnunet_finds_no_fault_in_a_data_set(
    run: Path,  # noqa: F811
    tmp_path: Path,
    target: str,
) -> None:
    pytest.importorskip("nnunetv2", reason="no nnU-Net here")
    if target == "nnunet-hints":
        out, _ = partial(tmp_path / "given", "scribbles", "points")
    else:
        out = export(run, to=target, out=tmp_path / "out").out
    named = out.rename(tmp_path / "Dataset001_Ball")
    (tmp_path / "integrity.py").write_text(INTEGRITY)
    done = subprocess.run(
        [sys.executable, tmp_path / "integrity.py", named],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found, _, rest = done.stdout.partition("####")
    assert "Done" in rest
    assert not re.search("error|warning", found, re.IGNORECASE), found
