"""What soft labels of known studies come out as: a number that was tuned does not move unseen.

To pin new values after a change that is meant: `python -m tests.propagate.test_golden`.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jaxtyping import Float64
from tests.shapes import Scan, hints_for, made_up

from voxhint.config import LabelConfig
from voxhint.core import Case, SoftLabel
from voxhint.propagate import (
    Constraints,
    constraints_of,
    distance_caps,
    measure_marks,
    propagate_hints,
)
from voxhint.propagate.prior import Prior
from voxhint.propagate.sparse_hints import sparse_constraints_of
from voxhint.propagate.voxel_classifier import TaughtCase, fit_voxel_classifier
from voxhint.propagate.voxel_samples import voxel_samples
from voxhint.simulate.abdomen_phantom import ORGANS, organ_case
from voxhint.simulate.hints import parse_request, simulate_hints

PINNED = Path(__file__).with_suffix(".json")
KINDS = ("points:12", "scribbles", "slices:3", "boxes", "diameters", "soft")
SHAPES = (("shell in shell", "clicks", False), ("small organ", "strokes, ring", True))
CASES = 8  # as many as it takes to teach each other
STEPS = 60


@cache
def patient() -> Case:
    rng = np.random.default_rng(0)
    return organ_case(rng, name="one", shape=(38, 28, 20), spacing_mm=(9.0, 9.0, 10.0))


def hinted(kind: str) -> Case:
    case = patient()
    assert case.truth is not None
    hints = simulate_hints(case.truth, parse_request(kind), np.random.default_rng(0))
    return Case(case.name, case.images, hints)


def softened(kind: str, method: str = "geodesic") -> SoftLabel:
    case = hinted(kind)
    constraints = constraints_of(case.grid, case.hints, ORGANS)
    caps = distance_caps([measure_marks(constraints, ORGANS)], [case.grid], ORGANS)
    config = LabelConfig(method=method)  # type: ignore[arg-type]
    return propagate_hints(
        constraints, list(case.images.values()), ORGANS, caps_mm=caps, config=config
    )


def shape(name: str, hints: str, thick: bool) -> SoftLabel:
    scan = made_up(name, thick=thick)
    labels = scan.truth.names
    constraints = constraints_of(scan.image.grid, hints_for(scan.truth, hints), labels)
    caps = distance_caps([measure_marks(constraints, labels)], [constraints.grid], labels)
    return propagate_hints(constraints, [scan.image], labels, caps_mm=caps, config=LabelConfig())


@cache
def teaching(hints: str) -> tuple[list[Scan], list[Constraints], TaughtCase]:
    """Return scans, what hints prove of each, and what all of them tell of the first."""
    rng = np.random.default_rng(0)
    scans = [made_up("shell in shell", thick=False, seed=seed) for seed in range(CASES)]
    labels, grid = scans[0].truth.names, scans[0].image.grid
    told = [hints_for(scan.truth, hints, seed) for seed, scan in enumerate(scans)]
    facts = [sparse_constraints_of(grid, one, labels) for one in told]
    samples = [
        voxel_samples(one, {"MR": scan.image}, ("MR",), labels, rng)
        for one, scan in zip(facts, scans, strict=True)
    ]
    classifier = fit_voxel_classifier(samples, ("MR",), steps=STEPS, rng=rng)
    assert classifier is not None
    case = classifier.of_case({"MR": scans[0].image}, facts[0])
    return scans, [constraints_of(grid, one, labels) for one in told], case


def taught(hints: str, distance_limit: float) -> SoftLabel:
    scans, known, case = teaching(hints)
    labels, image = scans[0].truth.names, scans[0].image
    caps = distance_caps([measure_marks(one, labels) for one in known], [image.grid], labels)
    one = case.classifier
    prior = Prior(case.log_probs(), distance_limit, one.shown, one.rarity)
    return propagate_hints(
        known[0], [image], labels, caps_mm=caps, config=LabelConfig(), prior=prior
    )


STUDIES: dict[str, tuple[Any, ...]] = {
    **{kind: (softened, kind) for kind in KINDS},
    "pw4medseg": (softened, "points:12", "pw4medseg"),
    **{f"{name}, {hints}": (shape, name, hints, thick) for name, hints, thick in SHAPES},
    "taught": (taught, "clicks", np.inf),
    "taught, leaning": (taught, "slices", 2.0),
}


def told(study: str) -> Float64[np.ndarray, "class 3"]:
    """Return the means of belief, of its square and of plausibility, class by class."""
    make, *words = STUDIES[study]
    soft: SoftLabel = make(*words)
    parts = (soft.belief, soft.belief**2, soft.plausibility)
    means = [np.mean(part, (1, 2, 3), np.float64) for part in parts]
    return np.stack(means, 1)


@pytest.mark.parametrize("study", STUDIES)
def test_a_known_study_gets_the_soft_label_that_it_had(study: str) -> None:
    pinned = np.array(json.loads(PINNED.read_text())[study])
    # steps of a network round differently on another machine; nothing else does
    np.testing.assert_allclose(told(study), pinned, rtol=0.02 if "taught" in study else 1e-3)


if __name__ == "__main__":
    rows = {study: told(study).round(7).tolist() for study in STUDIES}
    PINNED.write_text(json.dumps(rows, indent=0) + "\n")
