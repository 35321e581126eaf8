"""Prepared cases on disk give the patches that they give in memory, and nothing is made twice."""

import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.training.scenes import ball

from voxhint.core.errors import OutputError
from voxhint.models.prepared_cases import prepared_example
from voxhint.prepare.patches import survey
from voxhint.training import Example
from voxhint.training.batches import Examples, draw_batch, fixed_batches


def big(classes: int = 3, shape: tuple[int, int, int] = (70, 33, 9)) -> Example:
    """Return a case of several chunks, in half floats as they are stored."""
    rng = np.random.default_rng(0)
    bounds = rng.random((2, classes, *shape)) * (rng.random((2, classes, *shape)) < 0.3)
    bounds[0, 1, :50] = 0
    image = rng.normal(size=(2, *shape))
    return Example.of("big", image.astype(np.float16), bounds.astype(np.float16))


def on_disk(folder: Path, one: Example) -> Example:
    def make() -> tuple[np.ndarray, object]:
        image, bounds = (np.asarray(part, np.float32) for part in (one.image, one.bounds))
        return image, (bounds[:, number] for number in range(bounds.shape[1]))

    return prepared_example(folder, one.name, one.bounds.shape[1], make)  # type: ignore[arg-type]


@pytest.mark.parametrize("one", [big(), ball("a", 0)], ids=lambda one: one.name)
def test_patches_from_disk_are_those_from_memory(tmp_path: Path, one: Example) -> None:
    half = Example.of(one.name, one.image.astype(np.float16), one.bounds.astype(np.float16))
    stored = on_disk(tmp_path, one)
    assert stored.known.sizes == half.known.sizes
    assert stored.known.shown == half.known.shown
    assert stored.known.middle == half.known.middle
    for patch in ((8, 8, 8), (80, 12, 20)):
        batches = [
            (*fixed_batches([case], patch, 1), draw_batch(Examples.of([case]), patch, 3, rng))
            for case, rng in ((c, np.random.default_rng(1)) for c in (half, stored))
        ]
        for first, second in zip(*batches, strict=True):
            assert torch.equal(first.image, second.image)
            assert torch.equal(first.belief, second.belief)
            assert torch.equal(first.plausible, second.plausible)
            assert torch.equal(first.inside, second.inside)


def test_a_case_is_prepared_once(tmp_path: Path) -> None:
    first = on_disk(tmp_path, big())
    again = prepared_example(tmp_path, "big", 3, lambda: pytest.fail("it is there"))
    assert np.array_equal(first.bounds[:], again.bounds[:])


@pytest.mark.parametrize("most", [16, 20_000])  # bytes: of nothing, or of some chunks
def test_a_disk_that_takes_no_more_is_told_and_leaves_nothing(tmp_path: Path, most: int) -> None:
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, usual[1]))
    try:
        with pytest.raises(OutputError, match=r"big\.image\.b2nd: cannot be written"):
            on_disk(tmp_path, big())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert not [*tmp_path.iterdir()]


def test_places_are_all_voxels_or_evenly_spread_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    bounds = big().bounds
    every = [np.flatnonzero(belief > 0.1) for belief in bounds[0]]
    for most in (10**6, 1000, 7):
        monkeypatch.setattr("voxhint.prepare.patches._PLACES", most)
        known = survey(bounds)
        for number, flat in enumerate(every):
            wanted = flat[:: max(1, -(-flat.size // most))]
            assert np.array_equal(known.places(number), wanted)
            assert known.sizes[number] == wanted.size
    middle = np.argwhere(bounds[0].max(0) > 0).mean(0)
    known = survey(bounds)
    assert np.allclose(known.middle or 0, middle)
