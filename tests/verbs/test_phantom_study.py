import csv
from pathlib import Path

import numpy as np
import pytest

from voxhint.core.errors import BadRecipeError
from voxhint.files.images import read_grid, read_ids
from voxhint.files.validate.study import open_study
from voxhint.verbs.phantom_study import write_phantom_study
from voxhint.verbs.simulate import simulate

CASES, TESTS = 10, 4


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("lung") / "study"
    write_phantom_study(out, kind="lung", cases=CASES, test_cases=TESTS, seed=5)
    return out


def column(path: Path, name: str) -> dict[str, str]:
    with path.open(encoding="utf-8") as lines:
        return {row["case"]: row[name] for row in csv.DictReader(lines)}


def test_a_lung_study_has_tags_alone_and_they_are_true(study: Path) -> None:
    opened, problems = open_study(study)
    assert not [problem for problem in problems if problem.severity == "error"]
    assert len(opened.training) == CASES
    assert {path.name for path in (study / "hints").iterdir()} == {"tags.csv", "cost.json"}
    tags = column(study / "hints/tags.csv", "state")
    for files in opened.training:
        truth = opened.load(files, dense=True).truth
        assert truth is not None
        assert tags[files.name] == ("present" if truth.ids.any() else "absent")
    assert sorted(tags.values()).count("present") == 0.4 * CASES


def test_tags_of_a_lung_study_are_simulated_from_its_truths(study: Path, tmp_path: Path) -> None:
    simulate(study, hint="tags", out=tmp_path / "again")
    again = (tmp_path / "again/hints/tags.csv").read_bytes()
    assert again == (study / "hints/tags.csv").read_bytes()


def test_patients_give_several_windows_and_are_never_tested_too(study: Path) -> None:
    subjects = column(study / "cases.csv", "subject")
    trained = [path.name.removesuffix(".nii.gz") for path in (study / "denseTr").iterdir()]
    tested = [path.name.removesuffix(".nii.gz") for path in (study / "labelsTs").iterdir()]
    assert (len(trained), len(tested)) == (CASES, TESTS)
    seen = {subjects[case] for case in trained}
    assert len(seen) < CASES / 2
    assert seen.isdisjoint(subjects[case] for case in tested)
    spacings: dict[str, set[tuple[float, ...]]] = {}
    for case in trained:
        spacing = read_grid(study / f"imagesTr/{case}_0000.nii.gz").spacing_mm
        spacings.setdefault(subjects[case], set()).add(tuple(np.round(spacing, 4)))
    assert all(len(own) == 1 for own in spacings.values())
    assert len(set.union(*spacings.values())) == len(seen)


def test_test_windows_with_and_without_a_nodule_are_there(study: Path) -> None:
    masks = [read_ids(path)[0] for path in (study / "labelsTs").iterdir()]
    assert 0 < sum(bool(mask.any()) for mask in masks) < TESTS


def test_other_hints_come_with_the_same_windows(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "clicked"
    write_phantom_study(out, kind="lung", cases=2, test_cases=0, hints=("points:3",), seed=5)
    assert (out / "hints/points.csv").is_file()
    for path in (out / "imagesTr").iterdir():
        assert path.read_bytes() == (study / "imagesTr" / path.name).read_bytes()


def test_a_lung_in_mr_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRecipeError, match="CT alone"):
        write_phantom_study(tmp_path / "none", kind="lung", channels=("CT", "MR"))
    assert not (tmp_path / "none").exists()
