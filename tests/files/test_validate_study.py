"""Every problem of a study is found at once and told in a line that names its place."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.phantoms import make_study, scan
from tests.spoil import (
    GRID,
    MIDDLE,
    OTHER,
    Spoil,
    ids,
    image,
    labels,
    link,
    moved,
    remove,
    soft,
    spec,
    tags,
    text,
)

from voxhint.core import UNDRAWN, Grid
from voxhint.core.errors import BadStudyError
from voxhint.files import open_study, survey, write_image

ERRORS: dict[str, tuple[Spoil, str]] = {
    "no dataset.json": (remove("dataset.json"), "dataset.json: is missing"),
    "no JSON": (text("dataset.json", "{"), "dataset.json: is not JSON"),
    "a list": (text("dataset.json", "[]"), "holds a list"),
    "a key twice": (text("dataset.json", '{"labels": {"a": 1, "a": 2}}'), "a comes twice"),
    "deep JSON": (text("dataset.json", "[" * 100000), "dataset.json: "),
    "no channels": (spec(channel_names=None), "has no channel_names"),
    "no labels": (spec(labels=None), "has no labels"),
    "channels a list": (spec(channel_names=["CT"]), "channel_names must look like"),
    "channels from 1": (spec(channel_names={"1": "CT"}), "number them from 0"),
    "channel twice": (spec(channel_names={"0": "CT", "1": "CT"}), "'CT' is named twice"),
    "same id": (labels(background=0, a=1, b=1), "id 1 stands for two labels"),
    "background 1": (labels(background=1, ball=3), "'background' must be there with id 0"),
    "no background": (labels(ball=3), "'background' must be there with id 0"),
    "only background": (labels(background=0), "no label but background"),
    "regions": (labels(background=0, ball=[1, 2]), "labels ball are regions"),
    "id 255": (labels(background=0, ball=255), "id 255, outside 0 to 254"),
    "id 300": (labels(background=0, ball=300), "id 300, outside"),
    "negative id": (labels(background=0, ball=-1), "id -1, outside"),
    "id as text": (labels(background=0, ball="3"), "no whole number as id"),
    "nnU-Net v1": (spec(labels={"0": "background", "1": "ball"}), "they map name to id"),
    "ignore low": (labels(background=0, ball=3, ignore=2), "'ignore' must have the highest id"),
    "label trust": (labels(background=0, trust=3), "'trust' has a name we use"),
    "label a__b": (labels(background=0, a__b=3), "'a__b' holds '__'"),
    "label .a": (labels(background=0, **{".a": 3}), "cannot be part of a file name"),
    "label with a bell": (labels(background=0, **{"a\a": 3}), "cannot be part of a file name"),
    "channel with a bell": (spec(channel_names={"0": "CT\a"}), "cannot be printed"),
    "label uncertainty": (labels(background=0, Uncertainty=3), "has a name we use ourselves"),
    "labels of one file": (
        labels(background=0, **{"a/b": 3, "A-B": 4}),
        "labels 'a/b' and 'A-B' would have files of one name",
    ),
    "optional": (spec(optional_channels=["MR"]), "optional_channels names MR"),
    "optional text": (spec(optional_channels="CT"), "must be a list"),
    "no images": (remove("imagesTr"), "imagesTr: holds no case"),
    "no channel": (
        spec(channel_names={"0": "CT", "1": "MR"}),
        "imagesTr: case 'c0' has no MR; add c0_0001",
    ),
    "channel surplus": (image("imagesTr/c0_0001.nii.gz"), "c0_0001.nii.gz: is channel 1"),
    "no number": (image("imagesTr/c7.nii.gz"), "c7.nii.gz: has no channel number"),
    "case a__b": (image("imagesTr/a__b_0000.nii.gz"), "case 'a__b' holds '__'"),
    "two formats": (image("imagesTr/c0_0000.nii"), "is there besides"),
    "no reader": (text("imagesTr/c7_0000.png", "x"), "c7_0000.png: has no reader"),
    "data alone": (text("imagesTr/c7_0000.raw", "x"), "c7_0000.raw: has no reader"),
    "dead link": (
        link("imagesTr/c9_0000.nii.gz", "nowhere"),
        "c9_0000.nii.gz: there is no such file",
    ),
    "damaged": (text("imagesTr/c1_0000.nii.gz", "x"), "imagesTr/c1_0000.nii.gz: cannot be read"),
    "damaged test": (text("imagesTs/t0_0000.nii.gz", "x"), "imagesTs/t0_0000.nii.gz: cannot"),
    "truth off grid": (ids("labelsTs/t0.nii.gz", OTHER), "labelsTs/t0.nii.gz: lies on another"),
    "unknown case": (tags("x,ball,present,,"), "hints/tags.csv row 2: speaks of unknown case 'x'"),
    "case with channel": (tags("c0_0000,ball,present,,"), "did you mean 'c0'?"),
    "test case": (tags("t0,ball,present,,"), "hints/tags.csv row 2: is a hint for test case 't0'"),
    "test scribble": (ids("hints/scribbles/t0.nii.gz"), "scribbles/t0.nii.gz: is a hint for test"),
    "test mask": (ids("labelsTr/t0.nii.gz"), "labelsTr/t0.nii.gz: is a hint for test case"),
    "unknown mask": (ids("labelsTr/x.nii.gz"), "labelsTr/x.nii.gz: speaks of unknown case"),
    "tags disagree": (
        tags("c0,ball,present,,", "c0,ball,absent,,"),
        "row 2: a tag shows 'ball' in case 'c0', hints/tags.csv row 3 says absent",
    ),
    "point against tag": (tags("c0,ball,absent,,"), "points.csv row 2: a point shows 'ball'"),
    "drawn against tag": (
        lambda root: (tags("c0,ball,absent,,")(root), ids("labelsTr/c0.nii.gz")(root)),
        "labelsTr/c0.nii.gz: shows 'ball', hints/tags.csv row 2 says absent",
    ),
    "point outside": (
        text("hints/points.csv", "case,label,x,y,z\nc0,ball,500,0,0"),
        "hints/points.csv row 2: point of 'ball' at (500, 0, 0) lies outside",
    ),
    "centre outside": (
        text("hints/diameters.csv", "case,label,x,y,z,diameter_mm\nc0,ball,0,0,900,5"),
        "hints/diameters.csv row 2: centre of 'ball'",
    ),
    "box outside": (
        text(
            "hints/boxes.csv",
            "case,label,x_min,y_min,z_min,x_max,y_max,z_max\nc0,ball,100,100,100,110,110,110",
        ),
        "hints/boxes.csv row 2: box of 'ball' does not touch",
    ),
    "empty table": (text("hints/boxes.csv", ""), "hints/boxes.csv: is empty"),
    "mask off grid": (ids("labelsTr/c0.nii.gz", OTHER), "lies on another grid"),
    "mask moved": (ids("labelsTr/c0.nii.gz", moved(0.3)), "lies on another grid"),
    "strange ids": (ids("hints/scribbles/c0.nii.gz", value=7), "ids [7] are not in dataset.json"),
    "class not id": (ids("labelsTr/c0.nii.gz", value=1), "ids [1] are not in dataset.json"),
    "soft above 1": (soft("hints/soft/c0__ball.nii.gz", 2.0), "are no probabilities"),
    "soft background": (soft("hints/soft/c0__background.nii.gz"), "no foreground label"),
    "soft unknown": (soft("hints/soft/c0__cube.nii.gz"), "'cube' is no foreground label"),
    "soft no label": (soft("hints/soft/c0.nii.gz"), "names no label"),
    "case on both sides": (image("imagesTs/c0_0000.nii.gz"), "case 'c0' is in imagesTr too"),
    "two subjects": (
        text("cases.csv", "case,subject\nc0,a\nc0,b\nc1,c\nt0,d"),
        "cases.csv row 3: case 'c0' belongs to two subjects",
    ),
    "no subject": (text("cases.csv", "case,subject\nc0,\nc1,c\nt0,d"), "cases.csv row 2: lacks"),
    "no column": (text("cases.csv", "case,patient\nc0,a"), "cases.csv: has no column subject"),
    "splits overlap": (
        text("splits.json", '{"fit": ["c0"], "design": ["c0"]}'),
        "splits.json: 1 case is in fit and in design (c0)",
    ),
    "splits no list": (text("splits.json", '{"fit": "c0"}'), "is no list"),
    "splits no JSON": (text("splits.json", "x"), "splits.json: is not JSON"),
    "no hints": (remove("hints"), "hints: holds no hint at all"),
    "bad markup": (text("hints/markups/c0.mrk.json", "x"), "hints/markups/c0.mrk.json: "),
}


@pytest.mark.parametrize("kind", ERRORS)
def test_each_way_a_study_can_be_wrong_is_an_error(tmp_path: Path, kind: str) -> None:
    spoil, said = ERRORS[kind]
    root = make_study(tmp_path / "study")
    spoil(root)
    errors = [str(problem) for problem in survey(root).errors]
    assert any(said in line for line in errors), errors
    assert not any("\n" in line for line in errors)
    with pytest.raises(BadStudyError) as caught:
        open_study(root)
    assert said.rpartition(" row 2: ")[2] in str(caught.value)  # rows that say the same are joined


WARNINGS: dict[str, tuple[Spoil, str]] = {
    "box partly outside": (
        text(
            "hints/boxes.csv",
            "case,label,x_min,y_min,z_min,x_max,y_max,z_max\nc0,ball,20,-60,15,30,-40,99",
        ),
        "reaches beyond the image",
    ),
    "unlabelled": (
        text("hints/points.csv", f"case,label,x,y,z\nc0,ball,{MIDDLE}"),
        "1 training cases have none and are not learnt from (c1)",
    ),
    "label without hint": (
        labels(background=0, ball=3, cube=4),
        "no hint tells of label 'cube'",
    ),
    "subject on both sides": (
        text("cases.csv", "case,subject\nc0,a\nc1,b\nt0,a"),
        "1 subject is in imagesTr and imagesTs (a)",
    ),
    "unknown subject": (text("cases.csv", "case,subject\nx,a"), "names 1 case without images"),
    "no row": (text("cases.csv", "case,subject\nc0,a"), "has no row for 2 cases (c1, t0)"),
    "unknown split": (text("splits.json", '{"fit": ["x"]}'), "names 1 case not in"),
    "sidecar": (text("imagesTr/c0_0000.json", "{}"), "imagesTr/c0_0000.json: is no image"),
    "stray file": (text("imagesTr/notes.txt", "x"), "imagesTr/notes.txt: is no image"),
    "misspelt table": (text("hints/point.csv", "x"), "hints/point.csv: is not read"),
    "nothing drawn": (ids("hints/slices/c0.nii.gz", value=UNDRAWN), "holds nothing drawn"),
}


@pytest.mark.parametrize("kind", WARNINGS)
def test_what_is_odd_but_usable_is_a_warning(tmp_path: Path, kind: str) -> None:
    spoil, said = WARNINGS[kind]
    root = make_study(tmp_path / "study")
    spoil(root)
    study, problems = open_study(root)
    assert any(said in str(problem) for problem in problems), [str(item) for item in problems]
    assert len(study.training) == 2


@pytest.mark.parametrize(
    "kind", ["tags", "points", "boxes", "diameters", "scribbles", "slices", "soft", "labels"]
)
def test_a_good_study_of_any_hint_has_no_problem(tmp_path: Path, kind: Any) -> None:
    assert survey(make_study(tmp_path, hints=(kind,)), deep=True).problems == ()


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    root = make_study(tmp_path, cases=3)
    kinds = (
        "no number",
        "damaged",
        "unknown case",
        "strange ids",
        "splits overlap",
        "soft unknown",
    )
    for kind in kinds:
        ERRORS[kind][0](root)
    lines = "\n".join(str(problem) for problem in survey(root).errors)
    assert all(ERRORS[kind][1] in lines for kind in kinds)


def test_a_long_list_is_cut(tmp_path: Path) -> None:
    root = make_study(tmp_path)
    tags(*[f"x{n},ball,present,," for n in range(70)])(root)
    with pytest.raises(BadStudyError) as caught:
        open_study(root)
    lines = str(caught.value).splitlines()
    assert len(lines) == 51
    assert lines[-1] == "... and 20 more"


def test_bad_cases_may_be_set_aside(tmp_path: Path) -> None:
    root = make_study(tmp_path, cases=3, tests=2, hints=("points", "slices"))
    for kind in ("damaged", "unknown case", "damaged test"):
        ERRORS[kind][0](root)
    study, problems = open_study(root, skip_bad=True)
    assert [files.name for files in study.training] == ["c0", "c2"]
    assert [files.name for files in study.test] == ["t1"]
    assert set(study.hints) == {"c0", "c2"} == set(study.stroke_files)
    assert sum(problem.severity == "error" for problem in problems) == 3


def test_a_hint_for_a_test_case_never_reaches_it(tmp_path: Path) -> None:
    root = make_study(tmp_path)
    tags("t0,ball,present,,")(root)
    study, _ = open_study(root, skip_bad=True)
    assert [files.name for files in study.test] == ["t0"]
    assert "t0" not in study.hints


@pytest.mark.parametrize("kind", ["same id", "no column", "empty table"])
def test_what_spoils_the_whole_study_cannot_be_set_aside(tmp_path: Path, kind: str) -> None:
    root = make_study(tmp_path)
    ERRORS[kind][0](root)
    with pytest.raises(BadStudyError):
        open_study(root, skip_bad=True)


def test_channels_on_unlike_grids_are_fine_if_they_overlap(tmp_path: Path) -> None:
    root = make_study(tmp_path, channels=("CT", "MR"))
    image("imagesTr/c0_0001.nii.gz", Grid((5, 5, 5), moved(3).affine))(root)
    assert survey(root).problems == ()
    image("imagesTr/c0_0001.nii.gz", moved(300))(root)
    assert ["MR and CT do not overlap" in str(item) for item in survey(root).errors] == [True]


def test_an_optional_channel_may_be_absent(tmp_path: Path) -> None:
    root = make_study(tmp_path, channels=("CT", "MR"))
    spec(optional_channels=["MR"])(root)
    remove("imagesTr/c0_0001.nii.gz")(root)
    study, problems = open_study(root)
    assert not problems
    assert [list(files.images) for files in study.training] == [["CT"], ["CT", "MR"]]


def test_nan_voxels_show_only_in_a_deep_survey(tmp_path: Path) -> None:
    root = make_study(tmp_path)
    hole = scan(GRID, 0)
    hole.voxels[0, 0, 0] = np.nan
    write_image(root / "imagesTr" / "c0_0000.nii.gz", hole)
    assert not survey(root).problems
    assert "1 of 2240 voxels" in str(survey(root, deep=True).problems[0])


def test_dense_masks_stand_in_for_hints_only_when_asked(tmp_path: Path) -> None:
    root = make_study(tmp_path, hints=(), dense=True)
    assert survey(root).errors
    assert survey(root, dense=True).problems == ()
    remove("denseTr/c0.nii.gz")(root)
    assert "no mask for 1 case (c0)" in str(survey(root, dense=True).problems[0])
    remove("denseTr")(root)
    assert "holds no mask" in str(survey(root, dense=True).errors[0])


def test_a_dense_mask_nobody_asked_for_is_not_even_opened(tmp_path: Path) -> None:
    root = make_study(tmp_path, dense=True)
    text("denseTr/c0.nii.gz", "no image")(root)
    assert survey(root, deep=True).problems == ()
    assert survey(root, dense=True).errors


def test_the_truth_of_test_cases_is_read_beyond_its_header_only_if_asked(tmp_path: Path) -> None:
    root = make_study(tmp_path)
    ids("labelsTs/t0.nii.gz", value=77)(root)
    assert survey(root, deep=True).problems == ()
    assert "ids [77]" in str(survey(root, truths=True).errors[0])


def test_partial_masks_as_nnunet_lays_them_out_are_hints(tmp_path: Path) -> None:
    root = make_study(tmp_path, hints=("labels",))
    labels(background=0, ball=3, ignore=4)(root)
    ids("labelsTr/c0.nii.gz", value=4)(root)
    assert ["holds nothing drawn" in str(item) for item in survey(root).problems] == [True, False]


def test_subjects_sites_and_design_cases_are_read(tmp_path: Path) -> None:
    root = make_study(tmp_path)
    text("cases.csv", "case,subject,site\nc0,p1,A\nc1,p1,A\nt0,p2,\n")(root)
    text("splits.json", '{"fit": ["c0"], "design": ["c1"]}')(root)
    study, problems = open_study(root)
    assert not problems
    assert [(files.subject, files.site) for files in study.training] == [("p1", "A")] * 2
    assert study.test[0].site is None
    assert study.design == {"c1"}


def test_a_folder_that_is_none_is_told(tmp_path: Path) -> None:
    assert "is no folder" in str(survey(tmp_path / "nowhere").errors[0])


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    root = make_study(tmp_path)
    (root / "imagesTr" / "c0_0000.nii.gz").chmod(0)
    assert "permission denied" in str(survey(root).errors[0])
    (root / "imagesTs").chmod(0)
    assert any("imagesTs: permission denied" in str(item) for item in survey(root).errors)
    (root / "imagesTs").chmod(0o755)
