"""What cases teach each other, and when they keep silent."""

import numpy as np
import pytest
from jaxtyping import Float32
from tests.label.grids import places, plain_grid, turned_image
from tests.poses import SOME_TURNS

from voxhint.core import Box, Hint, LabelSet, Points, Turn, Volume
from voxhint.label import gather_evidence
from voxhint.label.across import Across, Lesson, learn_across, lesson_of, looks_of

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


def lesson(image: Volume, *hints: Hint) -> Lesson:
    evidence = gather_evidence(GRID, hints, ONE)
    return lesson_of(evidence, {"CT": image}, ("CT",), np.random.default_rng(0))


def taught(lessons: list[Lesson], steps: int = STEPS) -> Across | None:
    return learn_across(lessons, ("CT",), steps=steps, rng=np.random.default_rng(0))


def test_a_case_is_told_by_what_others_showed() -> None:
    across = taught([lesson(image_of(s), *clicks(s)) for s in range(12)])
    assert across is not None
    assert across.skill > 0.3
    image = image_of(99)
    logs = across.log_probs({"CT": image}, GRID)
    assert ((logs[1] > logs[0]) == (away() < 4)).mean() > 0.9


def test_the_place_tells_where_intensities_do_not() -> None:
    across = taught([lesson(image_of(s, 0.0), *clicks(s, 6)) for s in range(16)])
    assert across is not None
    assert across.place


def test_hints_without_sense_teach_nothing_or_next_to_nothing() -> None:
    across = taught([lesson(image_of(s), *clicks(s, scrambled=True)) for s in range(12)])
    if across is not None:
        assert across.skill < 0.1
        logs = across.log_probs({"CT": image_of(99)}, GRID)
        assert np.abs(logs[1] - logs[0]).mean() < 1.5


@pytest.mark.parametrize("hints", [clicks(0)[:1], (Box("a", MIDDLE - 4, MIDDLE + 4),)])
def test_a_class_shown_by_nothing_or_by_boxes_alone_is_not_taught(hints: tuple[Hint, ...]) -> None:
    assert taught([lesson(image_of(s), *hints) for s in range(12)]) is None


def test_few_cases_do_not_teach() -> None:
    assert taught([lesson(image_of(s), *clicks(s)) for s in range(7)]) is None


def test_the_same_seed_teaches_the_same() -> None:
    lessons = [lesson(image_of(s), *clicks(s)) for s in range(9)]
    one, two = taught(lessons, 20), taught(lessons, 20)
    assert one is not None
    assert two is not None
    image = {"CT": image_of(50)}
    assert np.array_equal(one.log_probs(image, GRID), two.log_probs(image, GRID))


@pytest.mark.parametrize("turn", SOME_TURNS, ids=str)
def test_a_voxel_looks_the_same_however_the_image_is_stored(turn: Turn) -> None:
    image = image_of(3)
    other = turned_image(image, turn)
    one = np.moveaxis(looks_of({"CT": image}, GRID, ("CT",)), -1, 0)
    two = np.moveaxis(looks_of({"CT": other}, other.grid, ("CT",)), -1, 0)
    assert np.allclose(turn.apply(one), two, atol=1e-4)


def test_scale_and_offset_of_an_image_do_not_matter() -> None:
    image = image_of(3)
    other = Volume((image.voxels * 7 + 1000).astype(np.float32), GRID)
    one, two = (looks_of({"CT": i}, GRID, ("CT",)) for i in (image, other))
    assert np.allclose(one, two, atol=1e-3)


def test_a_channel_that_is_absent_is_described_by_zeros() -> None:
    looks = looks_of({"CT": image_of(3)}, GRID, ("CT", "PET"))
    per_channel = (looks.shape[-1] - 3) // 2
    assert not looks[..., per_channel:-3].any()


def test_facts_are_weighed_by_the_volume_they_stand_for() -> None:
    places_mm = np.array([[1.5, 1.8, 2.2], [2.5, 1.8, 2.2], [12.5, 12.5, 12.5]])
    weights = lesson(image_of(0), Points("a", places_mm, np.ones(3))).weights
    assert weights.sum() == np.prod(GRID.shape)
    assert weights[2] > weights[0]


def test_one_grid_may_differ_from_another() -> None:
    across = taught([lesson(image_of(s), *clicks(s)) for s in range(9)], 20)
    assert across is not None
    image = image_of(1).cropped((slice(6), slice(5), slice(4)))
    assert across.log_probs({"CT": image}, image.grid).shape == (2, 6, 5, 4)
