"""Names are compared as they read, and kept as the image has them."""

import json
import shutil
import unicodedata
from pathlib import Path

import pytest
from tests.phantoms import make_study
from tests.spoil import GRID, IDS, ids, soft, text

from voxhint.config import MeasureConfig
from voxhint.files import write_ids
from voxhint.files.validate.study import survey
from voxhint.verbs.measure import measure

PARTED, JOINED = (unicodedata.normalize(form, "Müller é") for form in ("NFD", "NFC"))


@pytest.mark.parametrize(("image", "told"), [(PARTED, JOINED), (JOINED, PARTED)])
def test_accents_may_be_stored_in_either_way(tmp_path: Path, image: str, told: str) -> None:
    root = make_study(tmp_path / "study")
    for old, folder in (("c0", "imagesTr"), ("t0", "imagesTs")):
        path = root / folder / f"{old}_0000.nii.gz"
        path.rename(path.with_name(f"{image}{old}_0000.nii.gz"))
    points = (root / "hints" / "points.csv").read_text()
    (root / "labelsTs" / "t0.nii.gz").unlink()
    spec = json.loads((root / "dataset.json").read_text())
    spec |= {"labels": {unicodedata.normalize("NFD", "bäll"): 3, "background": 0}, "undrawn": 255}
    text("dataset.json", json.dumps(spec, ensure_ascii=False))(root)
    text("hints/points.csv", points.replace("ball", "bäll").replace("c0,", f"{told}c0,"))(root)
    text("hints/tags.csv", f"case,label,state\n{told}c0,bäll,present")(root)
    text("cases.csv", f"case,subject\n{told}c0,s1\nc1,s2\n{told}t0,s3")(root)
    text("splits.json", json.dumps({"fit": ["c1"], "design": [f"{told}c0"]}))(root)
    ids(f"labelsTr/{told}c0.nii.gz")(root)
    ids(f"labelsTs/{told}t0.nii.gz")(root)
    ids(f"denseTr/{told}c0.nii.gz")(root)
    ids(f"hints/scribbles/{told}c0.nii.gz")(root)
    soft(f"hints/soft/{told}c0__{unicodedata.normalize('NFD', 'bäll')}.nii.gz")(root)
    seen = survey(root)
    assert [str(problem) for problem in seen.problems] == []
    assert seen.study is not None
    case = next(files for files in seen.study.training if files.name == f"{image}c0")
    (test,) = seen.study.test
    assert test.name == f"{image}t0"
    assert test.truth is not None
    assert case.dense is not None
    assert case.subject == "s1"
    assert seen.study.design == {f"{image}c0"}
    kinds = [file.kind for file in seen.study.stroke_files[case.name]]
    assert sorted(kinds) == ["labels", "scribbles", "soft"]
    assert len(seen.study.hints[case.name]) == 2  # points and a tag


def test_two_spellings_of_one_image_are_told(tmp_path: Path) -> None:
    root = make_study(tmp_path / "study")
    for name in (PARTED, JOINED):
        shutil.copy(root / "imagesTr/c0_0000.nii.gz", root / f"imagesTr/{name}_0000.nii.gz")
    (error,) = survey(root).errors
    assert "besides" in str(error)


def test_masks_are_measured_against_truth_of_the_other_spelling(tmp_path: Path) -> None:
    write_ids(tmp_path / "truth" / f"{JOINED}.nii.gz", IDS, GRID)
    write_ids(tmp_path / "masks" / f"{PARTED}.nii.gz", IDS, GRID)
    table = measure(tmp_path / "masks", tmp_path / "truth", config=MeasureConfig())
    assert table.overall.dice.mean == 1
