"""What cases teach each other, and when they keep silent."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from jaxtyping import Float32
from tests.poses import SOME_TURNS
from tests.propagate.grids import places, plain_grid, turned_image

from voxhint.core import (
    UNDRAWN,
    Box,
    Case,
    Grid,
    Hint,
    LabelSet,
    Points,
    Strokes,
    Turn,
    Volume,
)
from voxhint.core.sparse_constraints import SparseConstraints
from voxhint.propagate import voxel_classifier
from voxhint.propagate.box_model import box_samples
from voxhint.propagate.sparse_hints import sparse_constraints_of
from voxhint.propagate.voxel_classifier import VoxelClassifier, fit_voxel_classifier
from voxhint.propagate.voxel_features import VoxelFeatures
from voxhint.propagate.voxel_samples import VoxelSamples, voxel_samples

ONE = LabelSet(("background", "a"), (0, 1))
GRID = plain_grid((14, 12, 10), (1.0, 1.2, 1.5))
MIDDLE = np.array([7.0, 7.2, 7.5])
STEPS = 60


def away() -> Float32[np.ndarray, "i j k"]:
    gap = places(GRID) - MIDDLE[:, None, None, None]
    return np.asarray(np.linalg.norm(gap, axis=0), np.float32)


def image_of(seed: int, contrast: float = 100.0) -> Volume:
    """Return a ball in noise, at a scale and an offset of the image's own."""
    rng = np.random.default_rng(seed)
    voxels = contrast * (away() < 4) + rng.normal(0, 5, GRID.shape)
    return Volume((voxels * rng.uniform(0.1, 10) + rng.uniform(-50, 50)).astype(np.float32), GRID)


def clicks(seed: int, count: int = 3, *, scrambled: bool = False) -> tuple[Points, ...]:
    rng = np.random.default_rng(seed)
    found = []
    for name, inside in (("background", away() > 4), ("a", away() < 4)):
        at = np.argwhere(np.ones(GRID.shape, np.bool_) if scrambled else inside)
        chosen = at[rng.choice(len(at), count, replace=False)].astype(np.float64)
        found.append(Points(name, GRID.to_world(chosen), np.ones(count)))
    return tuple(found)


def samples_of(image: Volume, *hints: Hint) -> VoxelSamples:
    return voxel_samples(
        sparse_constraints_of(GRID, hints, ONE),
        {"CT": image},
        ("CT",),
        ONE,
        np.random.default_rng(0),
    )


def constraints_for(*hints: Hint, grid: Grid = GRID) -> SparseConstraints:
    return sparse_constraints_of(grid, hints or clicks(99), ONE)


def described(
    images: Mapping[str, Volume], hints: SparseConstraints, channels: tuple[str, ...]
) -> Float32[np.ndarray, "i j k feature"]:
    """Return the features of all voxels of a case."""
    shape = hints.grid.shape
    features = VoxelFeatures.of(images, hints, channels)
    part = (slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2]))
    planes = list(features.of_block(part, np.ones(shape, np.bool_)))
    return np.stack(planes).reshape(*shape, -1)


def fitted(samples: list[VoxelSamples], steps: int = STEPS) -> VoxelClassifier | None:
    return fit_voxel_classifier(samples, ("CT",), steps=steps, rng=np.random.default_rng(0))


def test_a_case_is_told_by_what_others_showed() -> None:
    classifier = fitted([samples_of(image_of(s), *clicks(s)) for s in range(12)])
    assert classifier is not None
    assert classifier.skill > 0.3
    image = image_of(99)
    logs = classifier.of_case({"CT": image}, constraints_for()).log_probs()
    assert ((logs[1] > logs[0]) == (away() < 4)).mean() > 0.9


def test_the_place_tells_where_intensities_do_not() -> None:
    classifier = fitted([samples_of(image_of(s, 0.0), *clicks(s, 6)) for s in range(16)])
    assert classifier is not None
    assert classifier.place != "none"


def test_hints_without_sense_teach_nothing_or_next_to_nothing() -> None:
    classifier = fitted([samples_of(image_of(s), *clicks(s, scrambled=True)) for s in range(12)])
    if classifier is not None:
        assert classifier.skill < 0.1
        logs = classifier.of_case({"CT": image_of(99)}, constraints_for()).log_probs()
        assert np.abs(logs[1] - logs[0]).mean() < 1.5


@pytest.mark.parametrize("hints", [clicks(0)[:1], (Box("a", MIDDLE - 4, MIDDLE + 4),)])
def test_a_class_shown_by_nothing_or_by_boxes_alone_is_not_taught(hints: tuple[Hint, ...]) -> None:
    assert fitted([samples_of(image_of(s), *hints) for s in range(12)]) is None


def overlapping(seed: int, share: float = 0.01, count: int = 3000) -> VoxelSamples:
    """Return voxels of which few are of a label that looks much like the rest."""
    rng = np.random.default_rng(seed)
    label = rng.random(count) < share
    features = rng.normal(0, 1, (count, 12)).astype(np.float32)
    features[:, 0] += 2 * label
    classes = np.stack([~label, label], 1).astype(np.float32)
    also, weights = np.zeros(classes.shape, np.bool_), np.ones(count, np.float32)
    return VoxelSamples(features, classes, also, weights, drawn_whole=True)


@pytest.mark.parametrize(("size", "taught"), [(0.2, True), (0.03, False)])
def test_lone_clicks_teach_only_of_labels_that_background_clicks_lie_beside(
    size: float, taught: bool
) -> None:
    rng, samples = np.random.default_rng(0), []
    for _ in range(60):
        features = rng.normal(0, 0.1, (2, 12)).astype(np.float32)
        features[:, 0] += (0, 3)  # the two look unlike each other
        features[:, -3:] = rng.uniform(-1, 1, 3), rng.normal(0, size, 3)
        classes, also = np.eye(2, dtype=np.float32), np.zeros((2, 2), np.bool_)
        samples.append(VoxelSamples(features, classes, also, np.ones(2, np.float32)))
    found = fit_voxel_classifier(
        samples, ("CT",), steps=1000, rng=np.random.default_rng(0), lone=True
    )
    assert (found is not None) == taught


def test_a_rare_label_that_is_hard_to_see_is_found_as_often_as_it_is_shown() -> None:
    classifier = fitted([overlapping(seed) for seed in range(24)], 300)
    assert classifier is not None
    new = overlapping(99, count=20_000)
    seen = classifier.net[0].in_features  # type: ignore[index]
    logs = classifier.sharpness * classifier.net(torch.from_numpy(new.features[:, :seen]))
    found = (logs.log_softmax(1).detach().numpy() + classifier.offset).argmax(1)
    assert 0.4 < found.mean() / new.classes[:, 1].mean() < 1.7


def test_the_few_voxels_of_a_label_in_a_whole_slice_are_all_kept() -> None:
    grid = plain_grid((100, 100, 4))
    drawn = np.full(grid.shape, UNDRAWN, np.uint8)
    drawn[:, :, 1] = 0
    drawn[50:55, 50:55, 1] = 1
    hints = sparse_constraints_of(grid, (Strokes(drawn, grid, complete=True),), ONE)
    image = Volume(np.zeros(grid.shape, np.float32), grid)
    found = voxel_samples(hints, {"CT": image}, ("CT",), ONE, np.random.default_rng(0))
    assert len(found.weights) < 5000
    assert found.classes[:, 1].sum() == 25
    shares = (found.classes * found.weights[:, None]).sum(0) / found.weights.sum()
    assert shares[1] == pytest.approx(25 / 10_000, rel=1e-3)


def test_a_click_is_left_out_of_the_middle_from_which_its_place_is_counted() -> None:
    hints, image = clicks(5), {"CT": image_of(5)}
    known = sparse_constraints_of(GRID, hints, ONE)
    at = np.rint(GRID.to_index(hints[1].positions_mm)).astype(np.int64)
    told = VoxelFeatures.of(image, known, ("CT",)).of_facts(at, np.ones(len(at), np.int64))
    found = 100 * told[:, -6:-3]
    mm = GRID.to_world(at.astype(np.float64))
    others = [np.delete(mm, number, 0).mean(0) for number in range(len(mm))]
    assert found == pytest.approx(mm - others, abs=1e-3)


def test_places_of_a_case_without_labels_are_told_from_the_middle_of_its_image() -> None:
    points = Points("background", MIDDLE[None] + [[1.0, 1.2, 1.5]], np.ones(1))
    known = sparse_constraints_of(GRID, [points], ONE)
    features = VoxelFeatures.of({"CT": image_of(5)}, known, ("CT",))
    outer = (np.array(GRID.shape) - 1) / 2
    assert features.middle_mm == pytest.approx(GRID.to_world(outer[None])[0])


def test_few_cases_do_not_teach() -> None:
    assert fitted([samples_of(image_of(s), *clicks(s)) for s in range(7)]) is None


def test_pytorch_works_in_one_thread_while_it_learns_and_in_all_afterwards() -> None:
    threads, seen = torch.get_num_threads(), []
    torch.set_num_threads(3)
    try:
        fit_voxel_classifier(
            [samples_of(image_of(seed), *clicks(seed)) for seed in range(8)],
            ("CT",),
            steps=300,
            rng=np.random.default_rng(0),
            progress=lambda *_: seen.append(torch.get_num_threads()),
        )
        assert 1 in seen
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)


def test_the_same_seed_teaches_the_same() -> None:
    samples = [samples_of(image_of(s), *clicks(s)) for s in range(9)]
    one, two = fitted(samples, 20), fitted(samples, 20)
    assert one is not None
    assert two is not None
    image = {"CT": image_of(50)}
    assert np.array_equal(
        one.of_case(image, constraints_for()).log_probs(),
        two.of_case(image, constraints_for()).log_probs(),
    )


@pytest.mark.parametrize("turn", SOME_TURNS, ids=str)
def test_a_voxel_looks_the_same_however_the_image_is_stored(turn: Turn) -> None:
    image = image_of(3)
    other = turned_image(image, turn)
    one = np.moveaxis(described({"CT": image}, constraints_for(), ("CT",)), -1, 0)
    two = np.moveaxis(described({"CT": other}, constraints_for(grid=other.grid), ("CT",)), -1, 0)
    assert np.allclose(turn.apply(one), two, atol=1e-4)


def test_scale_and_offset_of_an_image_do_not_matter() -> None:
    image = image_of(3)
    other = Volume((image.voxels * 7 + 1000).astype(np.float32), GRID)
    one, two = (described({"CT": i}, constraints_for(), ("CT",)) for i in (image, other))
    assert np.allclose(one, two, atol=1e-3)


def test_a_channel_that_is_absent_is_described_by_zeros() -> None:
    features = described({"CT": image_of(3)}, constraints_for(), ("CT", "PET"))
    per_channel = (features.shape[-1] - 6) // 2
    assert not features[..., per_channel:-6].any()
    case = Case("x", {"CT": image_of(3)}, (Box("a", MIDDLE - 4, MIDDLE + 4),))
    ((_, sample),) = box_samples(case, ("CT", "PET"), np.random.default_rng(0))
    assert not sample.features[:, per_channel:].any()


def test_facts_are_weighed_by_the_volume_they_stand_for() -> None:
    places_mm = np.array([[1.5, 1.8, 2.2], [2.5, 1.8, 2.2], [12.5, 12.5, 12.5]])
    weights = samples_of(image_of(0), Points("a", places_mm, np.ones(3))).weights
    assert weights[2] > weights[0]


def test_voxels_that_no_label_reaches_are_learnt_from_as_background() -> None:
    at = np.array([[6.5, 6.6, 6.75], [7.5, 6.6, 6.75], [7.5, 7.8, 6.75]])
    found = samples_of(image_of(0), Points("a", at, np.ones(3)))
    beside = found.classes[:, 0] == 1
    assert beside.sum() > 20
    assert found.classes[~beside, 1].tolist() == [1, 1, 1]
    assert found.weights.sum() < np.prod(GRID.shape)  # far away nothing competes


def test_the_size_of_the_image_changes_nothing_that_is_learnt_near_the_hints() -> None:
    wide = plain_grid((34, 32, 20), (1.0, 1.2, 1.5))
    voxels = np.random.default_rng(1).normal(0, 1, wide.shape).astype(np.float32)
    image = Volume(voxels, wide)
    part = (slice(4, 30), slice(4, 28), slice(3, 17))
    hints = [Points(n, wide.to_world(np.array(i, float)), np.ones(len(i))) for n, i in WIDE]
    one = described({"CT": image}, sparse_constraints_of(wide, hints, ONE), ("CT",))
    inner = image.cropped(part)
    two = described({"CT": inner}, sparse_constraints_of(inner.grid, hints, ONE), ("CT",))
    middle = (slice(10, 16), slice(10, 14), slice(6, 9))  # away from blurs at the border
    assert np.allclose(one[part][middle][..., :-3], two[middle][..., :-3], atol=0.02)


WIDE = (
    ("a", [[16, 15, 10], [18, 16, 11], [17, 17, 9]]),
    ("background", [[12, 15, 10], [20, 18, 8]]),
)


def test_one_grid_may_differ_from_another() -> None:
    classifier = fitted([samples_of(image_of(s), *clicks(s)) for s in range(9)], 20)
    assert classifier is not None
    image = image_of(1).cropped((slice(6), slice(5), slice(4)))
    constraints = sparse_constraints_of(image.grid, [], ONE)
    assert classifier.of_case({"CT": image}, constraints).log_probs().shape == (2, 6, 5, 4)


def test_one_click_a_case_tells_no_place_by_itself_and_no_label_half_of_the_image() -> None:
    samples = [samples_of(image_of(s, 0.0), *clicks(s, 1)) for s in range(120)]
    classifier = fit_voxel_classifier(
        samples, ("CT",), steps=1000, rng=np.random.default_rng(0), lone=True
    )
    assert classifier is not None
    assert classifier.place == "image"  # the middle of one click is the click
    assert classifier.skill > 0.5
    logs = classifier.of_case(
        {"CT": image_of(99, 0.0)}, constraints_for(*clicks(99, 1))
    ).log_probs()
    assert (logs[1] > logs[0]).sum() < 2 * (away() < 4).sum()


@pytest.mark.parametrize("first", ["image", "none"])
def test_places_tried_side_by_side_teach_the_same(
    first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = voxel_classifier._PLACES
    order = sorted(places, key=lambda place: place != first)
    monkeypatch.setattr(voxel_classifier, "_PLACES", {place: places[place] for place in order})
    samples = [samples_of(image_of(s, 0.0), *clicks(s, 6)) for s in range(16)]
    told: list[tuple[int, int]] = []
    alone, aside = (
        fit_voxel_classifier(
            samples,
            ("CT",),
            steps=STEPS,
            rng=np.random.default_rng(0),
            progress=lambda done, total: told.append((done, total)),
            workers=workers,
        )
        for workers in (1, 2)
    )
    assert alone is not None
    assert aside is not None
    assert alone.place == "image"  # the likeliest, by which workers begin for all, or another
    assert aside.facts() == alone.facts()
    for one, two in zip(alone.net.parameters(), aside.net.parameters(), strict=True):
        assert one.equal(two)
    assert (3 * STEPS, 4 * STEPS) in told  # what another process did is heard of, too
