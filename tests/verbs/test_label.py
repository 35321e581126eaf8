"""Whose hints teach the other cases."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.phantoms import HintKind, make_study

from voxhint.config import LabelConfig, Machine
from voxhint.files.validate.study import open_study
from voxhint.propagate import study as propagation


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


def _note(found: list[int], cases: Sequence[Any]) -> None:
    found.append(len(cases))
