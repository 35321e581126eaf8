"""Learning voxels with a branch for each modality: hints for all, and what they teach each other.

Source:
    Supervision by hints, by what each image expects and between modalities, as CmFNet (2025,
    arXiv 2506.18042) has it in words; the terms and their weights are a reconstruction of our own.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from voxhint.nets.crossmodal import Branches, shown
from voxhint.train.batches import Batch
from voxhint.train.consistency import (
    Present,
    alignment,
    consistency,
    drop_modalities,
    mixed_labels,
    ramp,
)
from voxhint.train.loop import Teacher
from voxhint.train.losses import trusted_dice
from voxhint.train.tasks.voxels import VoxelTask


@dataclass(slots=True, eq=False)
class BranchTask:
    """The voxel task for a network of branches."""

    voxels: VoxelTask
    _step: int = field(default=0, init=False)
    """Steps done; they and the teacher are told anew before each step."""

    _teacher: Teacher | None = field(default=None, init=False)

    def attend(self, step: int, teacher: Teacher, /) -> None:
        """Take note of how far training is, and of the averaged network."""
        self._step, self._teacher = step, teacher
        self.voxels.attend(step, teacher)

    def surprise(self, net: nn.Module, device: torch.device, /) -> float | None:
        """Return the mean partial cross-entropy of the held-out patches, in nats."""
        return self.voxels.surprise(net, device)

    def loss(self, model: nn.Module, rng: np.random.Generator, device: torch.device, /) -> Tensor:
        """Return the loss of the joint branch, those of the others, and what lies between them."""
        config = self.voxels.config
        batch = self.voxels.drawn(rng, device)
        image = batch.image.contiguous(memory_format=torch.channels_last_3d)
        present = shown(batch.image)
        joined = drop_modalities(present, config.modality_dropout, rng)
        if not self._between and not config.branch_weight:
            return self._joint_loss(model(image, joined).float(), image, batch)
        said: Branches = model(image, joined, every=True)
        said = Branches(said.logits.float(), [one.float() for one in said.features])
        loss = self._joint_loss(said.logits[-1], image, batch)
        if config.branch_weight:
            own = [
                self.voxels.score(said.logits[m][rows], part)
                for m, rows, part in _parts(batch, present)
            ]
            loss = loss + config.branch_weight * _mean(own, loss)
        lessons = self._lessons(said, batch, present, rng) if self._between else ()
        rise = ramp(self._step, config.ramp)
        return sum((rise * lesson for lesson in lessons), start=loss)

    def _joint_loss(self, logits: Tensor, image: Tensor, batch: Batch) -> Tensor:
        lessons = self.voxels.lessons(logits, image, batch)
        return sum(lessons, start=self.voxels.score(logits, batch))

    @property
    def _between(self) -> bool:
        """Return whether the branches teach each other anything."""
        config = self.voxels.config
        return bool(config.consistency_weight or config.prototype_weight or config.mixed_weight)

    def _lessons(
        self, said: Branches, batch: Batch, present: Present, rng: np.random.Generator
    ) -> Iterator[Tensor]:
        """Yield what each term between branches adds to the loss."""
        config = self.voxels.config
        joint = said.logits[-1]
        parts = list(_parts(batch, present))
        if config.consistency_weight:
            terms = []
            for m, rows, part in parts:
                one, other = joint[rows], said.logits[m][rows]
                there = consistency(one, other, part.inside, sure=config.consistency_sure)
                back = consistency(other, one, part.inside, sure=config.consistency_sure)
                terms.append(there + config.consistency_back * back)
            yield config.consistency_weight * _mean(terms, joint)
        if config.prototype_weight:
            terms = [
                alignment(said.features[m][rows], said.features[-1][rows], part.belief)
                for m, rows, part in parts
            ]
            yield config.prototype_weight * _mean(terms, joint)
        if config.mixed_weight and self._teacher is not None:
            wanted = self._mixture(self._teacher, batch, present, rng)
            terms = [trusted_dice(said.logits[m][rows], wanted[rows]) for m, rows, _ in parts]
            yield config.mixed_weight * _mean([*terms, trusted_dice(joint, wanted)], joint)

    def _mixture(
        self, teacher: Teacher, batch: Batch, present: Present, rng: np.random.Generator
    ) -> Tensor:
        """Return the beliefs of the hints, and what a mixture of the teacher's branches adds."""
        config = self.voxels.config
        taught: Branches = teacher(batch.image, present, every=True)
        mixed = mixed_labels(
            taught.logits.float(),
            present,
            rng,
            sure=config.consistency_sure,
            agreed=config.mixed_agreed,
        )
        left = (batch.inside - batch.belief.sum(1, keepdim=True)).clamp(min=0)
        return batch.belief + left * mixed * batch.plausible


def _parts(batch: Batch, present: Present) -> Iterator[tuple[int, Tensor, Batch]]:
    """Yield each modality that a patch has, which patches have it, and these with it alone."""
    for m, there in enumerate(present.unbind(1)):
        rows = there.nonzero()[:, 0]
        if len(rows):
            claims = batch.belief[rows], batch.plausible[rows]
            image = batch.image[rows, m : m + 1]
            yield m, rows, Batch(image, *claims, batch.inside[rows], batch.hull_share[rows])


def _mean(terms: list[Tensor], like: Tensor) -> Tensor:
    return torch.stack(terms).mean() if terms else like.new_zeros(())
