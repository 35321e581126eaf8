"""One readable training loop, whatever is learnt: loss, step, average, checkpoint."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from voxhint.core.errors import BadFileError
from voxhint.nets.weights import named_weights
from voxhint.training.distributed_batch import Shared
from voxhint.training.resume import load_state, save_state

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_WARM_UP = 50  # steps until the full step size
_CLIP = 5.0  # gradient norm
_LOOK = 10  # steps between the first looks at held-out hints; later ones are a tenth of all apart
_SAVE_SECONDS = 10.0
_YOUNG = 1000  # steps before which no training is told to stop
_WORTH = 0.01  # share by which twice the steps must lower the validation loss


@runtime_checkable
class Progress(Protocol):
    """Hears how far a long job is."""

    def __call__(self, done: int, total: int, note: str, /) -> None:
        """Take note of `done` of `total`."""


@runtime_checkable
class Task(Protocol):
    """What is learnt: the loop knows no more of it."""

    def loss(self, model: nn.Module, rng: np.random.Generator, device: torch.device, /) -> Tensor:
        """Return the loss of a batch drawn with `rng`, with its graph."""

    def validation_loss(self, net: nn.Module, device: torch.device, /) -> float | None:
        """Return the loss of held-out hints, in nats; None if none are held out."""


@runtime_checkable
class StepHook(Protocol):
    """A task that wants to know, before each step, how far training is."""

    def before_step(self, step: int, /) -> None:
        """Take note of the steps done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What stays the same during one training."""

    steps: int
    """At most, all calls together."""

    learning_rate: float
    """Peak of AdamW's step size."""

    seed: int
    state: Path
    """Checkpoint to go on from, if it is there."""

    ema_decay: float = 0.99
    """Share of the averaged weights that one step leaves as it is."""

    open_ended: bool = False
    """The step size stays, and the average spans the last tenth of the steps, which does what a
    falling step size would: more steps may be asked for later."""

    until_settled: bool = False
    """Stop before where held-out hints no longer get better."""

    seconds: float | None = None
    """Stop before after so many seconds of training, all calls together."""


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What training gives."""

    weights: Mapping[str, Tensor]
    """The averaged weights of the least validation loss, each by its first name."""

    history: Sequence[Mapping[str, float]]
    """Rows of step, loss, held_out, learning_rate and seconds."""

    warnings: tuple[str, ...] = ()
    """What a person should know of the checkpoint that was there."""


def train(
    fabric: "Fabric", net: nn.Module, task: Task, *, settings: Settings, progress: Progress
) -> Result:
    """Train a network, going on from a checkpoint if there is one.

    All chance in a step comes from (seed, step), so an interrupted training ends with the same
    weights as an uninterrupted one on the same machine and thread count, and several processes
    learn what one does, rounding aside.

    Args:
        fabric: Device and precision; launched, where several processes share each batch.
        net: With its first weights.
        task: What to learn, and from what; without held-out hints the last checkpoint is taken.
        settings: Steps, step size, seed and places.
        progress: Hears of every step.

    Returns:
        The chosen weights and the history.
    """
    for weight in net.parameters():
        if weight.dim() == 5:  # those of pictures have four axes, and no such format
            weight.data = weight.data.contiguous(memory_format=torch.channels_last_3d)
    optimizer = torch.optim.AdamW(
        net.parameters(), settings.learning_rate, weight_decay=1e-2, fused=True
    )
    model, optimizer = fabric.setup(net, optimizer)
    asked = Shared(model) if fabric.world_size > 1 else model
    run = _Run.start(net, optimizer, settings.state)
    run.tell(progress, settings.steps)
    saved, began = time.monotonic(), time.monotonic() - run.seconds
    while run.goes_on(settings):
        rate = _set_rate(optimizer, run.step, settings)
        if isinstance(task, StepHook):
            task.before_step(run.step)
        rng = np.random.default_rng([settings.seed, run.step, 0])  # one batch for all processes
        run.add(_descend(fabric, model, optimizer, task.loss(asked, rng, fabric.device)))
        _average(run.averaged, net, run.step, 1.0 if settings.open_ended else settings.ema_decay)
        run.step += 1
        run.seconds = fabric.broadcast(time.monotonic() - began)  # all end at the same step
        if run.step == next_look(run.step - 1) or not run.goes_on(settings):
            run.check(_score(net, run.averaged, task, fabric), rate)
        if time.monotonic() - saved > _SAVE_SECONDS:
            run.save(settings.state, fabric)
            saved = time.monotonic()
        progress(run.step, settings.steps, f"loss {run.recent:.3f}")
    run.save(settings.state, fabric)
    return Result(run.best, run.history, run.warnings)


def _descend(
    fabric: "Fabric", model: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor
) -> float:
    """Take a step against the gradient of a loss.

    Returns:
        The loss.
    """
    optimizer.zero_grad()
    fabric.backward(loss)
    fabric.clip_gradients(model, optimizer, max_norm=_CLIP)
    optimizer.step()
    return float(loss.detach())


def next_look(step: int) -> int:
    """Return the first step after `step` at which held-out hints are looked at.

    However long a training will be, looks are the same: every ten steps, later every tenth of them.
    """
    look = 0
    while look <= step:
        look += max(_LOOK, look // _LOOK)
    return look


def settled(history: Sequence[Mapping[str, float]]) -> bool:
    """Return whether the second half of a training hardly lowered the validation loss."""
    if not history or history[-1]["step"] < _YOUNG or "held_out" not in history[-1]:
        return False
    half = history[-1]["step"] / 2
    early = min(row["held_out"] for row in history if row["step"] <= half)
    late = min(row["held_out"] for row in history if row["step"] > half)
    return late > (1 - _WORTH) * early


def _set_rate(optimizer: torch.optim.Optimizer, step: int, settings: Settings) -> float:
    """Set the step size: a short rise, then the peak or a polynomial fall.

    Returns:
        The step size.
    """
    rate = settings.learning_rate * min(1.0, (step + 1) / _WARM_UP)
    if not settings.open_ended:
        rate *= float((1 - step / settings.steps) ** 0.9)
    for group in optimizer.param_groups:
        group["lr"] = rate
    return rate


def _average(averaged: dict[str, Tensor], net: nn.Module, step: int, most: float) -> None:
    """Move the running average of the weights; early on it forgets faster.

    Source:
        Shamir and Zhang 2013, "Stochastic gradient descent for non-smooth optimization", section
        4: without a limit this is polynomial-decay averaging.
    """
    keep = min(most, (1 + step) / (10 + step))
    with torch.no_grad():
        for name, value in named_weights(net).items():
            if value.is_floating_point():
                averaged[name].lerp_(value, 1 - keep)
            else:
                averaged[name].copy_(value)


def _score(
    net: nn.Module, averaged: Mapping[str, Tensor], task: Task, fabric: "Fabric"
) -> float | None:
    """Return the validation loss of the averaged weights, in nats."""
    current = _copied(net)
    net.load_state_dict(averaged, strict=False)
    net.eval()
    with torch.no_grad(), fabric.autocast():
        score = task.validation_loss(net, fabric.device)
    net.train()
    net.load_state_dict(current, strict=False)
    return score


def _copied(net: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in named_weights(net).items()}


@dataclass(slots=True, eq=False)
class _Run:
    """What changes during training, all of which a checkpoint holds."""

    net: nn.Module
    optimizer: torch.optim.Optimizer
    averaged: dict[str, Tensor]
    best: dict[str, Tensor]
    best_score: float
    history: list[dict[str, float]]
    losses: list[float]
    step: int
    seconds: float
    warnings: tuple[str, ...] = ()

    @staticmethod
    def start(net: nn.Module, optimizer: torch.optim.Optimizer, path: Path) -> "_Run":
        """Return the run of a checkpoint, or a new one, as when the checkpoint is damaged."""
        first = _copied(net)
        run = _Run(net, optimizer, first, dict(first), float("inf"), [], [], 0, 0.0)
        try:
            state = load_state(path)
        except BadFileError as error:
            run.warnings = (str(error),)
            return run
        if state is not None:
            device = next(net.parameters()).device
            net.load_state_dict(state["net"], strict=False)
            optimizer.load_state_dict(state["optimizer"])
            run.averaged = {name: state["averaged"][name].to(device) for name in first}
            run.best, run.best_score = state["best"], state["best_score"]
            run.history, run.losses = state["history"], state["losses"]
            run.step, run.seconds = state["step"], state["seconds"]
        return run

    def tell(self, progress: Progress, steps: int) -> None:
        """Tell what was odd about the checkpoint."""
        for warning in self.warnings:
            progress(self.step, steps, warning)

    @property
    def recent(self) -> float:
        """Return the mean loss since the last check, or that of the check."""
        return float(np.mean(self.losses)) if self.losses else self.history[-1]["loss"]

    def goes_on(self, settings: Settings) -> bool:
        """Return whether another step is to be taken."""
        late = settings.seconds is not None and self.seconds > settings.seconds
        done = settings.until_settled and settled(self.history)
        return self.step < settings.steps and not late and not done

    def add(self, loss: float) -> None:
        """Take note of one step's loss."""
        self.losses.append(loss)

    def check(self, score: float | None, rate: float) -> None:
        """Write a row of history, and keep the averaged weights if they are the best so far."""
        row = {"step": float(self.step), "loss": self.recent, "learning_rate": rate}
        if score is not None:
            row["held_out"] = score
        row["seconds"] = round(self.seconds, 1)
        if score is None or score <= self.best_score:
            self.best = {name: value.clone() for name, value in self.averaged.items()}
            self.best_score = float("inf") if score is None else score
        self.history.append(row)
        self.losses = []

    def save(self, path: Path, fabric: "Fabric") -> None:
        """Write everything needed to go on."""
        if fabric.global_rank:
            return
        state = {
            "net": {name: value.detach() for name, value in named_weights(self.net).items()},
            "optimizer": self.optimizer.state_dict(),
            "averaged": self.averaged,
            "best": self.best,
            "best_score": self.best_score,
            "history": self.history,
            "losses": self.losses,
            "step": self.step,
            "seconds": self.seconds,
        }
        save_state(path, state)
