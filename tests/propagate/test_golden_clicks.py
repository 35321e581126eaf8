"""What masks answer to hints made one by one: a number that was tuned does not move unseen.

To pin new values after a change that is meant: `python -m tests.propagate.test_golden_clicks`.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.propagate.test_golden import hinted, patient, softened

from voxhint.config import LabelConfig
from voxhint.core import Hint, Points
from voxhint.propagate import interactive
from voxhint.propagate.coarse_to_fine import Window, hinted_box
from voxhint.propagate.interactive import LiveMask
from voxhint.simulate.abdomen_phantom import ORGANS

PINNED = Path(__file__).with_suffix(".json")
SMALL = {"_BUDGET": 600, "_MOST": 9000, "_MEASURED": 3000}
"""Voxels at which windows are parted and made coarser, that a small scan gets there."""


def clicks() -> list[Hint]:
    """Return clicks one by one, those of each label in turn."""
    points = [hint for hint in hinted("points:12").hints if isinstance(hint, Points)]
    return [
        Points(hint.label, hint.positions_mm[n : n + 1], hint.confidence[n : n + 1])
        for n in range(3)
        for hint in points
    ]


def answered(hints: Sequence[Hint], *, model: bool, one_by_one: bool) -> Iterator[list[float]]:
    """Yield the share of each class and the sureness after each step."""
    images = list(patient().images.values())
    prior = softened("scribbles").probs if model else None
    mask = LiveMask(images, ORGANS, config=LabelConfig(), prior=prior)
    steps: list[tuple[Sequence[Hint], Window | None]] = [(hints, None)]
    if one_by_one:
        grid = images[0].grid
        steps = [(hints[: n + 1], hinted_box([hint], grid)) for n, hint in enumerate(hints)]
        steps.append((hints[:-1], steps[-1][1]))  # the last is taken back
    for told, around in steps:
        mask.answer(told, around)
        shares = np.bincount(mask.classes.ravel(), minlength=len(ORGANS.names))
        yield [*(shares / mask.classes.size).tolist(), mask.sureness or 0.0]


def told(study: str) -> list[list[float]]:
    with pytest.MonkeyPatch.context() as patch:
        if "small" in study:
            for name, count in SMALL.items():
                patch.setattr(interactive, name, count)
        hints = clicks() if "clicks" in study else list(hinted("scribbles").hints)
        ways = {"model": "model" in study, "one_by_one": "clicks" in study}
        return list(answered(hints, **ways))


STUDIES = ("clicks", "clicks on a model", "scribbles", "small windows, clicks", "small, scribbles")


@pytest.mark.parametrize("study", STUDIES)
def test_a_known_study_gets_the_masks_that_it_had(study: str) -> None:
    pinned = np.array(json.loads(PINNED.read_text())[study])
    np.testing.assert_allclose(np.array(told(study)), pinned, rtol=1e-3, atol=1e-5)


def test_a_case_that_is_opened_again_has_the_mask_that_its_clicks_made() -> None:
    images, hints = list(patient().images.values()), clicks()
    one, two = (LiveMask(images, ORGANS, config=LabelConfig()) for _ in range(2))
    for number, hint in enumerate(hints):
        one.answer(hints[: number + 1], hinted_box([hint], images[0].grid))
    two.answer(hints, None)
    np.testing.assert_array_equal(one.classes, two.classes)
    assert one.sureness == two.sureness


if __name__ == "__main__":
    rows = {study: np.round(told(study), 6).tolist() for study in STUDIES}
    PINNED.write_text(json.dumps(rows).replace("]], ", "]],\n") + "\n")
