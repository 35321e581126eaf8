"""Lesions pasted into patches without one: labelled exactly, and only where they are ruled out."""

from dataclasses import replace

import numpy as np
import torch
from tests.train.scenes import balls, plan, small_net

from voxhint.config import TrainConfig
from voxhint.train import Example, VoxelTask
from voxhint.train.batches import Batch
from voxhint.train.copy_paste import Grafts

SPACING = (1.0, 1.0, 1.0)
SIZE = 20


def lesion(trust: float = 0.8) -> Example:
    """Return a case with a ball that is believed as far as trust goes."""
    apart = np.linalg.norm(np.indices((SIZE,) * 3).T - (9, 10, 9), axis=-1).T
    inside = (apart < 3).astype(np.float32)
    belief = np.stack([0 * inside, trust * inside])
    plausible = np.stack([1 - trust * inside, 1 - trust * (1 - inside)])
    noise = np.random.default_rng(0).normal(0, 0.05, inside.shape)
    return Example.of(
        "shown", (inside + noise)[None].astype(np.float32), np.stack([belief, plausible])
    )


def patches(*, ruled_out: bool, known: bool = True) -> Batch:
    """Return healthy patches, tagged absent or not; the last slices lie beyond the case."""
    shape = (4, 1, SIZE, SIZE, SIZE)
    image = torch.from_numpy(np.random.default_rng(1).normal(0, 0.05, shape).astype(np.float32))
    belief, plausible = torch.zeros(4, 2, *shape[2:]), torch.ones(4, 2, *shape[2:])
    inside = torch.ones(4, 1, *shape[2:])
    if ruled_out:
        belief[:, 0], plausible[:, 1] = float(known), 0
    for part, fill in ((belief, 0.0), (plausible, 1.0), (inside, 0.0)):
        part[..., -3:] = fill
    return Batch(image, belief, plausible, inside)


def grafted(batch: Batch, share: float = 1.0) -> Batch:
    return Grafts.of([lesion()], SPACING, share).into(batch, np.random.default_rng(0))


def test_a_pasted_lesion_is_known_exactly_and_so_is_all_around_it() -> None:
    before, after = patches(ruled_out=True), grafted(patches(ruled_out=True))
    mask = after.belief[:, 1] == 1
    assert (mask.sum((1, 2, 3)) > 0).all()
    assert torch.equal(after.belief[:, 1, ..., :-3], after.plausible[:, 1, ..., :-3])
    assert torch.equal(after.belief[:, 0][mask], torch.zeros(int(mask.sum())))
    assert torch.equal(after.belief[:, 0][~mask], before.belief[:, 0][~mask])
    assert (after.image - before.image)[:, 0][mask].mean() > 0.6
    assert not (after.image != before.image)[..., -3:].any()


def test_patches_that_may_show_the_label_are_left_alone() -> None:
    before, after = patches(ruled_out=False), grafted(patches(ruled_out=False))
    for one, two in ((before.image, after.image), (before.belief, after.belief)):
        assert torch.equal(one, two)


def test_a_share_of_nothing_pastes_nothing_and_the_batch_is_never_changed_in_place() -> None:
    batch = patches(ruled_out=True)
    assert torch.equal(grafted(batch, share=0.0).image, batch.image)
    grafted(batch)
    assert torch.equal(batch.image, patches(ruled_out=True).image)


def test_a_lesion_does_not_replace_another_label() -> None:
    batch = patches(ruled_out=True)
    wider = Batch(
        batch.image,
        torch.cat([batch.belief, torch.ones(4, 1, SIZE, SIZE, SIZE)], 1),
        torch.cat([batch.plausible, torch.ones(4, 1, SIZE, SIZE, SIZE)], 1),
        batch.inside,
    )
    assert torch.equal(grafted(wider).image, batch.image)


def test_lesions_too_large_for_a_patch_or_never_shown_are_left_out() -> None:
    whole = patches(ruled_out=True)
    small = replace(
        whole,
        image=whole.image[..., :4],
        belief=whole.belief[..., :4],
        plausible=whole.plausible[..., :4],
        inside=whole.inside[..., :4],
    )
    assert torch.equal(grafted(small).image, small.image)
    nothing = Grafts.of([lesion(trust=0.0)], SPACING, 1.0)
    batch = patches(ruled_out=True)
    assert torch.equal(nothing.into(batch, np.random.default_rng(0)).image, batch.image)


def test_training_pastes_only_if_asked() -> None:
    for share in (0.0, 0.5):
        task = VoxelTask.of(balls(2), [], plan(), TrainConfig(copy_paste=share))
        assert (task.grafts is not None) == (share > 0)
        assert torch.isfinite(task.loss(small_net(), np.random.default_rng(0), torch.device("cpu")))
