"""A case that does not show an optional label teaches nothing between it and background."""

from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import Bool
from tests.phantoms import hints_of, scan, slanted_grid

from voxhint.config import LabelConfig
from voxhint.core import Case, Hint, LabelSet, Mask, Points, SoftLabel, Strokes, Tag, Volume
from voxhint.core.compact import CompactSoftLabel
from voxhint.core.study import CaseFiles, Study
from voxhint.propagate import constraints_of, dense_label, propagate_hints
from voxhint.propagate.prior import Prior
from voxhint.propagate.sparse_hints import opened, sparse_constraints_of
from voxhint.propagate.study import PropagationPlan, label_case
from voxhint.propagate.voxel_classifier import fit_voxel_classifier
from voxhint.propagate.voxel_samples import VoxelSamples, voxel_samples
from voxhint.propagate.whole_scan import propagate_over_scan
from voxhint.training.losses import hint_loss

GRID = slanted_grid()
PLAIN = LabelSet(("background", "ball", "B"), (0, 1, 2))
OPTIONAL = LabelSet(PLAIN.names, PLAIN.ids, optional=("B",))
UNKNOWN = Tag("B", "unknown")
BACKGROUND = Points("background", GRID.to_world(np.array([[0.0, 1, 1]])), np.ones(1))


def slices() -> Strokes:
    """Return whole slices of the ball, on which B is not drawn."""
    classes = np.full(GRID.shape, 255, np.uint8)
    classes[:, :, 4:6] = 0
    classes[4:8, 4:8, 4:6] = 1
    return Strokes(classes, GRID, complete=True)


DRAWN = {
    "points": (hints_of(GRID)["points"], BACKGROUND),
    "slices": (slices(),),
    "scribbles": (hints_of(GRID)["scribbles"], BACKGROUND),
    "background alone": (BACKGROUND,),
}


def labelled(hints: tuple[Hint, ...], labels: LabelSet, method: str) -> SoftLabel:
    case = Case("x", {"CT": scan(GRID, 0)}, hints)
    files = CaseFiles("x", "x", {})
    read = lambda *_, **__: case  # noqa: E731
    one = Study(Path("study"), ("CT",), (), labels, (files,), reader=read)
    plan = PropagationPlan(dict.fromkeys(labels.foreground, 8.0))
    config = LabelConfig(method=method)  # type: ignore[arg-type]
    return label_case(one, files, plan, config).soft.dense()


def loss_of(soft: SoftLabel, *, swapped: bool) -> float:
    """Return the loss of random logits, those of B and of background swapped or not."""
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn((1, *soft.probs.shape), generator=rng)
    logits = logits[:, [2, 1, 0]] if swapped else logits
    bounds = (torch.from_numpy(part)[None] for part in (soft.belief, soft.plausibility))
    return float(hint_loss(logits, *bounds, dice_weight=0.0))


def tells_apart(soft: SoftLabel) -> bool:
    """Return whether a soft label teaches the difference between B and background."""
    return loss_of(soft, swapped=False) != pytest.approx(loss_of(soft, swapped=True), abs=1e-5)


@pytest.mark.parametrize("method", ["geodesic", "none", "pw4medseg"])
@pytest.mark.parametrize("kind", DRAWN)
def test_background_says_nothing_of_an_optional_label_that_the_case_does_not_show(
    kind: str, method: str
) -> None:
    hints = DRAWN[kind]
    assert tells_apart(labelled(hints, PLAIN, method))
    assert not tells_apart(labelled(hints, OPTIONAL, method))
    assert not tells_apart(labelled((*hints, UNKNOWN), PLAIN, method))


@pytest.mark.parametrize("method", ["geodesic", "none"])
@pytest.mark.parametrize("kind", DRAWN)
def test_what_is_said_of_other_labels_stays(kind: str, method: str) -> None:
    plain, soft = (labelled(DRAWN[kind], labels, method) for labels in (PLAIN, OPTIONAL))
    for one, two in ((plain.belief, soft.belief), (plain.plausibility, soft.plausibility)):
        np.testing.assert_allclose(two[1], one[1], atol=1e-6)
    assert not soft.belief[[0, 2]].any()


@pytest.mark.parametrize(
    "said",
    [Tag("B", "absent"), Points("B", GRID.to_world(np.array([[12.0, 14, 8]])), np.ones(1))],
    ids=["tagged absent", "shown"],
)
def test_a_case_that_speaks_of_an_optional_label_is_like_any_other(said: Hint) -> None:
    hints = (*DRAWN["slices"], said)
    one, two = (labelled(hints, labels, "geodesic") for labels in (PLAIN, OPTIONAL))
    np.testing.assert_array_equal(one.probs, two.probs)
    np.testing.assert_array_equal(one.trust, two.trust)


@pytest.mark.parametrize("kind", ["points", "slices", "scribbles"])
def test_whole_scans_leave_it_open_too(kind: str) -> None:
    images, caps = [scan(GRID, 0)], dict.fromkeys(PLAIN.foreground, 8.0)
    for labels in (PLAIN, OPTIONAL):
        known = sparse_constraints_of(GRID, DRAWN[kind], labels)
        assert known is not None
        found = propagate_over_scan(known, images, labels, caps_mm=caps)
        soft = CompactSoftLabel(
            found.first, found.second, found.first_prob, found.trust, found.unseen, opened(known)
        )
        assert tells_apart(soft.dense()) == (labels is PLAIN)


def test_a_dense_mask_leaves_it_open_where_it_outlines_none() -> None:
    ids = np.zeros(GRID.shape, np.uint8)
    ids[4:8, 4:8, 4:6] = 1
    case = Case("x", {"CT": scan(GRID, 0)}, truth=Mask(ids, GRID, PLAIN))
    assert tells_apart(dense_label(case, PLAIN))
    assert not tells_apart(dense_label(case, OPTIONAL))
    ids[10, 10, 5] = 2
    assert tells_apart(dense_label(case, OPTIONAL))


def samples_of(labels: LabelSet, *, shown: bool, seed: int) -> VoxelSamples:
    """Return what a case teaches: bright B is clicked, or background is, there and elsewhere."""
    rng = np.random.default_rng(seed)
    bright = np.zeros(GRID.shape, np.bool_)
    bright[9:13, 9:14, 2:8] = True
    grey = np.zeros(GRID.shape, np.bool_)
    grey[2:6, 2:7, 2:8] = True
    voxels = 200 * bright + 80 * grey + rng.normal(0, 5, GRID.shape)

    def clicks(label: str, where: Bool[np.ndarray, "i j k"]) -> Points:
        at = np.argwhere(where)
        chosen = at[rng.choice(len(at), 6, replace=False)].astype(np.float64)
        return Points(label, GRID.to_world(chosen), np.ones(6))

    hints = [clicks("ball", grey), clicks("background", ~bright & ~grey)]
    hints.append(clicks("B" if shown else "background", bright))
    image = Volume(voxels.astype(np.float32), GRID)
    known = sparse_constraints_of(GRID, hints, labels)
    return voxel_samples(known, {"CT": image}, ("CT",), labels, np.random.default_rng(seed))


def chance_of_b(labels: LabelSet) -> float:
    """Return the chance of B where it is, as told by cases of which a third shows it."""
    cases = [samples_of(labels, shown=n % 3 == 0, seed=n) for n in range(18)]
    found = fit_voxel_classifier(cases, ("CT",), steps=150, rng=np.random.default_rng(0))
    assert found is not None
    one = samples_of(labels, shown=True, seed=99)
    at = torch.from_numpy(one.features[one.classes[:, 2] > 0])
    width = found.net[0].in_features  # type: ignore[index]
    count = at.shape[1]
    seen = at if width == count else at[:, : count - 6]
    if width == count - 3:
        axes = at[:, count - 6 : count - 3] if found.place == "hints" else at[:, count - 3 :]
        seen = torch.cat([seen, axes], 1)
    with torch.no_grad():
        return float(found.net(seen).softmax(1)[:, 2].mean())


def test_cases_without_it_do_not_teach_the_others_that_it_is_background() -> None:
    assert chance_of_b(PLAIN) < 0.6
    assert chance_of_b(OPTIONAL) > 0.9


def test_prior_of_too_few_cases_does_not_speak_of_a_label() -> None:
    known = constraints_of(GRID, DRAWN["points"], PLAIN)
    logs = np.log(np.full((3, *GRID.shape), 1 / 3, np.float32))
    caps = dict.fromkeys(PLAIN.foreground, 8.0)
    config = LabelConfig()
    for told in (True, False):
        prior = Prior(logs, 2.0, np.array([True, True, told]))
        soft = propagate_hints(
            known, [scan(GRID, 0)], PLAIN, caps_mm=caps, config=config, prior=prior
        )
        away = ~(known.proven > 0).any(0)
        assert bool((soft.belief[0][away] > 0.01).any()) == told
