"""Whose hints teach the other cases."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.phantoms import HintKind, make_study

from voxhint.config import LabelConfig, Machine
from voxhint.core import Volume
from voxhint.files.images import read_volume
from voxhint.files.validate.study import open_study
from voxhint.propagate import study as propagation
from voxhint.propagate.voxel_classifier import VoxelClassifier
from voxhint.runs import read_made
from voxhint.verbs.label import label


@pytest.mark.parametrize(
    ("kinds", "wanted", "teach"),
    [
        (("scribbles",), True, True),
        (("scribbles",), False, False),
        (("scribbles", "points"), True, True),
        (("slices",), True, True),
        (("points",), True, True),
        (("points",), False, False),
        (("tags",), True, False),
    ],
)
def test_cases_teach_each_other_unless_told_not_to(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    kinds: tuple[HintKind, ...],
    wanted: bool,
    teach: bool,
) -> None:
    found: list[int] = []
    monkeypatch.setattr(propagation, "FEWEST_CASES", 1)
    monkeypatch.setattr(
        propagation, "fit_voxel_classifier", lambda cases, *_, **__: _note(found, cases)
    )
    study = open_study(make_study(tmp_path / "study", hints=kinds))[0]
    config = LabelConfig(cross_case=wanted)
    told: list[str] = []
    propagation.plan_propagation(
        study,
        study.hinted,
        config=config,
        machine=Machine(),
        tell=lambda step, _done, _total, note: told.append(f"{step}: {note}"),
    )
    assert (found[0] > 0) == teach
    assert any("cannot teach each other" in line for line in told) == teach


def test_cases_looked_at_side_by_side_teach_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(propagation, "_STEPS", 40)
    study = open_study(make_study(tmp_path / "study", cases=9, hints=("slices", "boxes")))[0]
    alone, aside = (
        propagation.plan_propagation(
            study, study.hinted, config=LabelConfig(), machine=Machine(workers=workers)
        )
        for workers in (1, 2)
    )
    assert alone.classifier is not None
    soft, same = (
        propagation.label_case(study, study.hinted[0], plan, LabelConfig()).soft.dense()
        for plan in (alone, aside)
    )
    assert np.array_equal(soft.belief, same.belief)
    assert np.array_equal(soft.plausibility, same.plausibility)


@pytest.mark.parametrize(("kinds", "bounded"), [(("slices",), True), (("scribbles",), False)])
def test_distance_is_bounded_where_slices_are_drawn_whole(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kinds: tuple[HintKind, ...], *, bounded: bool
) -> None:
    learnt = object.__new__(VoxelClassifier)  # nobody asks it
    object.__setattr__(learnt, "skill", 0.5)
    monkeypatch.setattr(propagation, "fit_voxel_classifier", lambda *_, **__: learnt)
    study = open_study(make_study(tmp_path / "study", cases=9, hints=kinds))[0]
    config, machine = LabelConfig(), Machine()
    plan = propagation.plan_propagation(study, study.hinted, config=config, machine=machine)
    assert np.isfinite(plan.distance_limit) == bounded


def _note(found: list[int], cases: Sequence[Any]) -> None:
    found.append(len(cases))


def test_labels_that_are_there_are_measured_by_their_hints_and_no_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, out = make_study(tmp_path / "study", hints=("scribbles",)), tmp_path / "out"
    label(study, out, config=LabelConfig(), machine=Machine())
    before = read_made(out)["volumes_ml"]
    lost, *_ = sorted(out.glob("*__ball.nii.gz"))
    lost.unlink()
    read: list[str] = []

    def noted(path: Path, *, channel: str) -> Volume:
        read.append(path.name)
        return read_volume(path, channel=channel)

    monkeypatch.setattr("voxhint.files.study.load.read_volume", noted)
    label(study, out, config=LabelConfig(), machine=Machine())
    assert read == [lost.name.replace("__ball", "_0000")]
    assert read_made(out)["volumes_ml"] == before
    assert before["ball"]["cases"] == 2


def test_images_are_read_to_plan_only_where_cases_teach_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def noted(path: Path, *, channel: str) -> Volume:
        read.append(path)
        return read_volume(path, channel=channel)

    monkeypatch.setattr("voxhint.files.study.load.read_volume", noted)
    monkeypatch.setattr(propagation, "FEWEST_CASES", 3)
    monkeypatch.setattr(propagation, "fit_voxel_classifier", lambda *_, **__: None)
    config, machine = LabelConfig(), Machine()
    few, enough = (open_study(make_study(tmp_path / str(n), cases=n))[0] for n in (2, 3))
    propagation.plan_propagation(enough, enough.hinted, config=config, machine=machine)
    assert len(read) == 3
    read.clear()
    plan = propagation.plan_propagation(few, few.hinted, config=config, machine=machine)
    assert not read
    propagation.label_case(few, few.hinted[0], plan, config)
    assert len(read) == 1
