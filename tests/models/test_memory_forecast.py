"""Memory is foretold before it is needed, and patches shrink to fit."""

from dataclasses import replace

import pytest

from voxhint.config import TrainConfig
from voxhint.core.errors import BadRecipeError
from voxhint.models.memory_forecast import (
    patch_voxels_within,
    preparing_bytes,
    training_bytes,
)

CONFIG = TrainConfig(batch=2)


def test_more_of_anything_needs_more_memory() -> None:
    least = training_bytes(CONFIG, 10_000)
    assert training_bytes(CONFIG, 20_000) > least
    assert training_bytes(replace(CONFIG, width=2 * CONFIG.width), 10_000) > least
    assert training_bytes(replace(CONFIG, batch=4), 10_000) > least
    joined = replace(CONFIG, network="crossmodal")
    assert training_bytes(joined, 10_000, 3) > training_bytes(joined, 10_000, 1) > least
    assert patch_voxels_within(2**31, joined, 3) < patch_voxels_within(2**31, CONFIG, 3)


def test_tokens_need_memory_of_their_own_whatever_the_patch() -> None:
    for width in (4, 16):
        config = replace(CONFIG, width=width)
        tokens = replace(config, network="probabilistic")
        for voxels in (4096, 50_000):
            needed = training_bytes(tokens, voxels)
            assert needed > training_bytes(config, voxels) + 2**28
            assert patch_voxels_within(needed, tokens) == pytest.approx(voxels, abs=1)


@pytest.mark.parametrize("gib", [1.5, 2.0, 4.0, 8.0])
def test_the_patch_that_fits_is_foretold_to_fit(gib: float) -> None:
    limit = int(gib * 2**30)
    voxels = patch_voxels_within(limit, CONFIG)
    assert voxels <= CONFIG.patch_voxels
    assert training_bytes(CONFIG, voxels) <= limit


def test_the_patch_is_the_largest_that_fits() -> None:
    limit = training_bytes(CONFIG, 50_000)
    voxels = patch_voxels_within(limit, CONFIG)
    assert voxels == pytest.approx(50_000, abs=1)
    assert training_bytes(CONFIG, voxels + 2) > limit


def test_plenty_of_memory_leaves_the_patch_as_wished() -> None:
    assert patch_voxels_within(2**40, CONFIG) == CONFIG.patch_voxels


def test_too_little_memory_is_refused_and_the_least_is_told() -> None:
    with pytest.raises(BadRecipeError, match="max-ram is too small for training; allow") as told:
        patch_voxels_within(2**29, CONFIG)
    assert len(str(told.value).splitlines()) == 1
    least = training_bytes(CONFIG, 16**3)
    assert f"{least / 2**30:.1f}G" in str(told.value)
    assert patch_voxels_within(least, CONFIG) >= 16**3 - 1


def test_preparing_needs_more_for_more_voxels_channels_and_classes() -> None:
    least = preparing_bytes(10**7, 1, 0)
    assert preparing_bytes(2 * 10**7, 1, 0) > least
    assert preparing_bytes(10**7, 4, 0) > least
    assert preparing_bytes(10**7, 1, 6) > preparing_bytes(10**7, 1, 3) > least
