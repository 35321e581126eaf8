"""A batch over several processes: each reads and computes its share, and all know the whole.

Losses weigh a patch by how much of it is known, so that the mean of the losses of shares is not the
loss of the batch. Logits are therefore put together before the loss: its value, and its gradient,
are those of one process with the whole batch.
"""

from typing import Any

import torch
from torch import Tensor, distributed, nn

from voxhint.nets.crossmodal import Branches


def _alone() -> bool:
    return not (distributed.is_available() and distributed.is_initialized())


def share_of(batch: int) -> slice:
    """Return which patches of a batch are this process's: all of them, if it is alone."""
    if _alone():
        return slice(0, batch)
    each = batch // distributed.get_world_size()
    return slice(distributed.get_rank() * each, (distributed.get_rank() + 1) * each)


def whole(share: Tensor, axis: int = 0) -> Tensor:
    """Return the shares of all processes, one after the other.

    Args:
        share: Of as many patches in every process.
        axis: Along which patches lie.
    """
    if _alone():
        return share
    count = distributed.get_world_size()
    shares = [torch.empty_like(share, memory_format=torch.contiguous_format) for _ in range(count)]
    distributed.all_gather(shares, share.detach().contiguous())
    if share.requires_grad:  # gradients of weights are averaged over processes, and not added up
        share.register_hook(lambda gradient: gradient * count)  # type: ignore[no-untyped-call]
    shares[distributed.get_rank()] = share
    return torch.cat(shares, axis)


class Shared(nn.Module):
    """A network that is given a whole batch, and asked in every process about a share of it."""

    def __init__(self, model: nn.Module) -> None:
        """Take a network that a fabric has set up."""
        super().__init__()
        self.model = model

    @property
    def module(self) -> Any:  # noqa: ANN401
        """Return the network itself."""
        return self.model.module

    def forward(  # type: ignore[explicit-override]  # typing.override needs Python 3.12
        self, *batch: Tensor, **how: bool
    ) -> Tensor | Branches:
        """Return what the network says of the whole batch."""
        mine = share_of(len(batch[0]))
        said = self.model(*(part[mine] for part in batch), **how)
        if isinstance(said, Branches):
            return Branches(whole(said.logits, 1), ())
        return whole(said)
