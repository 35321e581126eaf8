import json
import os
from pathlib import Path

import numpy as np
import pytest

from voxhint.core import BACKGROUND, UNDRAWN, Grid, Points
from voxhint.core.errors import (
    BadFileError,
    BadRecipeError,
    BadStudyError,
    OutputError,
)
from voxhint.files.dataset_json import read_description
from voxhint.files.hint_tables import gather, read_hint_table
from voxhint.files.images import read_ids, read_volume, write_ids
from voxhint.files.study.layout import read_layout
from voxhint.files.validate.study import open_study
from voxhint.simulate.abdomen_phantom import ORGANS
from voxhint.simulate.hints import KINDS
from voxhint.verbs.phantom_study import write_phantom_study
from voxhint.verbs.simulate import SimulateSummary, simulate

REAL = Path(__file__).resolve().parents[2].parent / "shared/data"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("phantom") / "study"
    write_phantom_study(out, cases=3, test_cases=1, hints=("points:4", "scribbles"), seed=7)
    return out


def problems_of(folder: Path) -> list[str]:
    draft, problems = read_layout(folder)
    assert draft is not None
    return [str(p) for p in (*problems, *draft.problems) if p.severity == "error"]


def text_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted((folder / "hints").rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_makes_a_study_that_can_be_read(study: Path, tmp_path: Path, kind: str) -> None:
    summary = simulate(study, hint=kind, out=tmp_path / "new")
    assert summary.cases == 3
    assert summary.without_truth == ()
    assert 0 < summary.seconds < summary.dense_seconds
    assert problems_of(tmp_path / "new") == []
    made = {path.name for path in (tmp_path / "new" / "hints").iterdir()}
    assert made == {"cost.json", kind if kind in ("slices", "scribbles", "soft") else f"{kind}.csv"}


def test_images_and_truths_are_carried_over(study: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    simulate(study, hint="tags", out=new)
    for folder in ("imagesTr", "imagesTs", "labelsTs", "denseTr"):
        assert {p.name for p in (new / folder).iterdir()} == {
            p.name for p in (study / folder).iterdir()
        }
        assert all(path.is_symlink() and path.exists() for path in (new / folder).iterdir())
    for name in ("dataset.json", "cases.csv"):
        assert (new / name).read_bytes() == (study / name).read_bytes()


def test_images_are_copied_where_links_are_impossible(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError

    monkeypatch.setattr(Path, "symlink_to", refuse)
    simulate(study, hint="tags", out=tmp_path / "new")
    (image, *_) = sorted((tmp_path / "new" / "imagesTr").iterdir())
    assert not image.is_symlink()
    assert image.read_bytes() == (study / "imagesTr" / image.name).read_bytes()


def test_written_clicks_lie_in_their_labels(study: Path, tmp_path: Path) -> None:
    simulate(study, hint="points:12", out=tmp_path / "new")
    found = gather(read_hint_table(tmp_path / "new/hints/points.csv", ORGANS).hints)
    assert len(found) == 3
    for case, hints in found.items():
        ids, grid = read_ids(study / "denseTr" / f"{case}.nii.gz")
        assert {h.label for h in hints if isinstance(h, Points)} == {*ORGANS.foreground, BACKGROUND}
        for hint in hints:
            assert isinstance(hint, Points)
            index = np.round(grid.to_index(hint.positions_mm)).astype(int)
            assert (ids[tuple(index.T)] == ORGANS.ids[ORGANS.number(hint.label)]).all()


def test_the_bill_adds_up_and_tells_its_assumptions(study: Path, tmp_path: Path) -> None:
    summary = simulate(study, hint="boxes", out=tmp_path / "new")
    bill = json.loads((tmp_path / "new/hints/cost.json").read_text())
    assert bill["seconds"] == summary.seconds
    assert bill["dense_seconds"] == summary.dense_seconds
    assert sum(case["seconds"] for case in bill["cases"].values()) == pytest.approx(summary.seconds)
    assert {"seconds", "why", "measured"} == set(bill["assumptions"]["box"])


def test_one_seed_writes_the_same_bytes_and_another_others(study: Path, tmp_path: Path) -> None:
    for kind in ("points:3", "scribbles"):
        outs = [tmp_path / f"{kind[:4]}{number}" for number in range(3)]
        for out, seed in zip(outs, (5, 5, 6), strict=True):
            simulate(study, hint=kind, out=out, seed=seed)
        assert text_of(outs[0]) == text_of(outs[1])
        assert text_of(outs[0]) != text_of(outs[2])


def test_hints_of_a_case_do_not_depend_on_the_other_cases(study: Path, tmp_path: Path) -> None:
    simulate(study, hint="points:3", out=tmp_path / "all")
    part = tmp_path / "part"
    simulate(study, hint="tags", out=part)
    first = sorted((part / "denseTr").iterdir())[0]
    first.unlink()
    summary = simulate(part, hint="points:3", out=tmp_path / "fewer")
    assert summary.without_truth == (first.name.removesuffix(".nii.gz"),)
    every = (tmp_path / "all/hints/points.csv").read_text().splitlines()
    fewer = (tmp_path / "fewer/hints/points.csv").read_text().splitlines()
    assert 1 < len(fewer) < len(every)
    assert set(fewer) < set(every)


def test_masks_of_labels_tr_serve_where_dense_tr_is_missing(study: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    simulate(study, hint="tags", out=old)
    (old / "denseTr").rename(old / "labelsTr")
    assert simulate(old, hint="boxes", out=tmp_path / "new").cases == 3
    assert not (tmp_path / "new" / "labelsTr").exists()
    assert len(list((tmp_path / "new" / "denseTr").iterdir())) == 3


def test_a_study_without_masks_is_refused(study: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    simulate(study, hint="tags", out=old)
    for path in (old / "denseTr").iterdir():
        path.unlink()
    with pytest.raises(BadStudyError, match="no dense masks"):
        simulate(old, hint="tags", out=tmp_path / "new")
    with pytest.raises(BadStudyError, match=r"dataset\.json"):
        simulate(tmp_path / "nothing", hint="tags", out=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_mask_on_another_grid_is_refused_by_case(study: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    simulate(study, hint="tags", out=old)
    path = sorted((old / "denseTr").iterdir())[0]
    ids, grid = read_ids(path)
    path.unlink()
    write_ids(path, ids, Grid(grid.shape, grid.affine + np.eye(4) * 0.5 * (np.arange(4) < 3)))
    with pytest.raises(BadFileError, match="another grid") as caught:
        simulate(old, hint="tags", out=tmp_path / "new")
    assert "organs_001" in "".join(caught.value.__notes__)
    assert os.listdir(tmp_path) == ["old"]  # noqa: PTH208 - hidden files count


def test_nothing_is_overwritten_unasked(study: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    simulate(study, hint="tags", out=new)
    with pytest.raises(OutputError, match="--overwrite"):
        simulate(study, hint="boxes", out=new)
    simulate(study, hint="boxes", out=new, overwrite=True)
    assert (new / "hints/boxes.csv").exists()
    assert not (new / "hints/tags.csv").exists()
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("three years of work")
    with pytest.raises(OutputError, match="did not make"):
        simulate(study, hint="boxes", out=other, overwrite=True)


def test_nothing_is_written_into_the_study_or_over_it(study: Path) -> None:
    for out in (study, study / "new", study.parent):
        with pytest.raises(OutputError, match="lie in each other"):
            simulate(study, hint="tags", out=out, overwrite=True)


@pytest.mark.parametrize(("hint", "seed"), [("clicks", 0), ("points:0", 0), ("tags", -1)])
def test_nonsense_is_refused(study: Path, tmp_path: Path, hint: str, seed: int) -> None:
    with pytest.raises(BadRecipeError):
        simulate(study, hint=hint, out=tmp_path / "new", seed=seed)


def test_made_json_says_how_to_make_it_again(study: Path, tmp_path: Path) -> None:
    simulate(study, hint="points:2", out=tmp_path / "new", seed=3)
    made = json.loads((tmp_path / "new/made.json").read_text())
    assert made["verb"] == "simulate"
    assert made["settings"]["hint"] == "points:2"
    assert made["settings"]["seed"] == 3
    assert len(made["inputs"]) == 3


def test_a_phantom_study_gives_each_case_its_kind_in_turn(study: Path) -> None:
    assert problems_of(study) == []
    points = gather(read_hint_table(study / "hints/points.csv", ORGANS).hints)
    assert set(points) == {"organs_001", "organs_003"}
    drawn = study / "hints/scribbles"
    assert [path.name for path in drawn.iterdir()] == ["organs_002.nii.gz"]
    ids, _ = read_ids(drawn / "organs_002.nii.gz")
    assert set(np.unique(ids).tolist()) == {*ORGANS.ids, UNDRAWN}
    assert len(list((study / "imagesTs").iterdir())) == len(list((study / "labelsTs").iterdir()))


def test_a_phantom_study_opens_and_its_cases_load(study: Path) -> None:
    opened, _ = open_study(study)
    cases = [opened.load(files, dense=True) for files in opened.training]
    assert [len(case.hints) for case in cases] == [5, 1, 5]
    for case in cases:
        assert case.truth is not None
        assert set(np.unique(case.truth.ids).tolist()) == set(ORGANS.ids)
        assert case.images["CT"].unit == "HU"


def test_phantom_channels_are_written_in_order(tmp_path: Path) -> None:
    out = tmp_path / "both"
    summary = write_phantom_study(
        out, cases=1, test_cases=0, hints=("tags",), channels=("MR", "CT")
    )
    assert isinstance(summary, SimulateSummary)
    spec, _ = read_description(out / "dataset.json")
    assert spec is not None
    assert spec.channels == ("MR", "CT")
    first, second = sorted((out / "imagesTr").iterdir())
    assert read_volume(first).voxels.min() >= 0
    assert read_volume(second).voxels.min() < -900
    assert not (out / "imagesTs").exists()


def test_other_hints_come_with_the_same_patients(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "tagged"
    write_phantom_study(out, cases=3, test_cases=1, hints=("tags",), seed=7)
    for path in sorted((study / "imagesTr").iterdir()):
        assert path.read_bytes() == (out / "imagesTr" / path.name).read_bytes()


def test_a_phantom_study_of_nothing_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "none"
    with pytest.raises(BadRecipeError, match="at least 1"):
        write_phantom_study(out, cases=0)
    with pytest.raises(BadRecipeError, match="no kind of hint"):
        write_phantom_study(out, hints=())
    with pytest.raises(BadRecipeError, match="CT, MR or both"):
        write_phantom_study(out, channels=())
    assert not out.exists()


@pytest.mark.real
@pytest.mark.skipif(not (REAL / "hippocampus").is_dir(), reason="needs the real scans")
@pytest.mark.parametrize("hint", ["points:5", "scribbles"])
def test_a_real_study_gets_hints(tmp_path: Path, hint: str) -> None:
    old = tmp_path / "old"
    for folder in ("imagesTr", "denseTr"):
        (old / folder).mkdir(parents=True)
        for path in sorted((REAL / "hippocampus" / folder).iterdir())[:3]:
            (old / folder / path.name).symlink_to(path)
    (old / "dataset.json").symlink_to(REAL / "hippocampus/dataset.json")
    assert simulate(old, hint=hint, out=tmp_path / "new").cases == 3
    assert problems_of(tmp_path / "new") == []
