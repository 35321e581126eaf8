"""What known trainings cost and choose: a number that was tuned does not move unseen.

To pin new values after a change that is meant: `python -m tests.training.test_golden`.
"""

import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from tests.training import scenes
from tests.training.scenes import balls, learn, settings
from tests.training.test_tasks_cross_modal import network
from tests.training.test_tasks_cross_modal import task as branches
from tests.training.test_tasks_flow import PLAN, small_net
from tests.training.test_tasks_tags import a_task, tagged
from tests.training.test_tasks_tags import small_net as classifier
from tests.training.test_temperature import fitted
from torch import Tensor, nn

from voxhint.config import LabelConfig, TrainConfig
from voxhint.config.training import CrossModalConfig, Loss
from voxhint.nets.crossmodal import Branches
from voxhint.training import Bag, Example, FlowTask, TaggedImage, VoxelTask
from voxhint.training.loop import next_look, settled

PINNED = Path(__file__).with_suffix(".json")
CPU = torch.device("cpu")


def doubtful() -> list[Example]:
    """Return balls whose labels are facts in one half, and guesses or nothing in the other."""
    chance, examples = np.random.default_rng(0), []
    for one in balls(10):
        bounds = np.array(one.bounds, np.float32)
        trust = chance.random(bounds.shape[2:], np.float32)
        trust[:5] = 1
        bounds[0] *= trust
        bounds[1] = 1 - trust * (1 - bounds[1])
        examples.append(Example.of(one.name, np.asarray(one.image, np.float32), bounds))
    return examples


def voxels(config: TrainConfig) -> list[float]:
    task = VoxelTask.of(doubtful(), doubtful()[:1], scenes.plan(), config)
    net = scenes.small_net()
    held_out = task.validation_loss(net, CPU)
    assert held_out is not None
    return [float(task.loss(net, np.random.default_rng(0), CPU)), held_out, *task.class_shares()]


class Sure(nn.Module):
    """Branches that are sure enough to teach each other."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network()

    def forward(self, image: Tensor, joined: Tensor, *, every: bool) -> Branches:  # type: ignore[explicit-override]
        said: Branches = self.net(image, joined, every=every)
        return Branches(12 * said.logits, said.features)


def between_branches(weight: float) -> list[float]:
    config = CrossModalConfig(branch_weight=weight, consistency_weight=1.0)
    task = branches(TrainConfig(network="crossmodal", crossmodal=config), lacks=True)
    losses = []
    for step in (0, 40, 200, 399, 1000):
        task.before_step(step)
        losses.append(float(task.loss(Sure(), np.random.default_rng(0), CPU)))
    return losses


def tags() -> list[float]:
    images = [tagged(seed, present=seed % 2 == 0) for seed in range(6)]
    task, net = a_task(images, images[:3]), classifier()
    held_out = task.validation_loss(net, CPU)
    assert held_out is not None
    return [float(task.loss(net, np.random.default_rng(seed), CPU)) for seed in (0, 1)] + [held_out]


def flow() -> list[float]:
    rng = np.random.default_rng(0)
    images = [
        TaggedImage(
            rng.normal(0, 1, (1, 5, 6, 3)).astype(np.float32),
            (Bag((float(n % 2),), (0.0, 2.0 + n)),),
            (0.0, 0.0, 2.0, 0.0),
        )
        for n in range(10)
    ]
    task, net = FlowTask.of(images, images, PLAN, LabelConfig()), small_net()
    held_out = task.validation_loss(net, CPU)
    assert held_out is not None
    return [float(task.loss(net, np.random.default_rng(seed), CPU)) for seed in (0, 1)] + [held_out]


def loop() -> list[float]:
    with tempfile.TemporaryDirectory() as folder:
        history = learn(settings(Path(folder), steps=80)).history
    rates = [row["learning_rate"] for row in history]
    return [*rates, history[-1]["loss"], history[-1]["held_out"]]


def looks() -> list[float]:
    steps = [0]
    while steps[-1] < 400:
        steps.append(next_look(steps[-1]))
    return [float(step) for step in steps]


def endings() -> list[float]:
    """Return which trainings settle, by their last step and by what their second half gained."""
    return [
        float(settled([{"step": last / 2, "held_out": 1.0}, {"step": last, "held_out": late}]))
        for last in (999.0, 1000.0)
        for late in (0.985, 0.989, 0.991, 1.0)
    ]


def temperatures() -> list[float]:
    found = []
    for few in (4, 5):
        chance = torch.Generator().manual_seed(few)
        logits = 3 * torch.randn(1, 2, 12, 12, 12, generator=chance)
        belief = 0.9 * torch.rand(1, 1, 12, 12, 12, generator=chance)
        belief = torch.cat([belief, 0.95 - belief], 1)
        belief[:, 0, 0, 0, :few], belief[:, 1, 0, 0, :few] = 0.9995, 0
        belief[:, 1, 5, :, 3], belief[:, 0, 5, :, 3] = 0.9995, 0
        one = fitted(logits, belief, (belief + 0.05).clamp(max=1))
        found += [one.temperature, one.loss_before, one.loss_after, float(one.facts)]
    same = torch.full((1, 2, 12, 12, 12), 1e-3) * torch.tensor([0, 1])[:, None, None, None]
    known = torch.zeros_like(same)
    known[:, 1] = 1
    return [*found, fitted(same, known, known).temperature]


TRAININGS: dict[str, Callable[[], list[float]]] = {
    **{f"loss {name}": partial(voxels, TrainConfig(loss=name)) for name in get_args(Loss)},
    "dense": partial(voxels, TrainConfig(supervision="dense")),
    "gated crf": partial(voxels, TrainConfig(crf_weight=100.0)),
    "branches": partial(between_branches, 0.0),
    "branches of their own": partial(between_branches, 1.0),
    "tags": tags,
    "flow": flow,
    "loop": loop,
    "looks": looks,
    "endings": endings,
    "temperatures": temperatures,
}


def told(training: str) -> list[float]:
    torch.set_num_threads(1)
    with torch.set_grad_enabled(training == "loop"):
        return TRAININGS[training]()


@pytest.mark.parametrize("training", TRAININGS)
def test_a_known_training_costs_what_it_did(training: str) -> None:
    pinned = json.loads(PINNED.read_text())[training]
    # processors round differently; a training sums that up over its steps
    rtol = 0.02 if training == "loop" else 1e-3
    np.testing.assert_allclose(told(training), pinned, rtol=rtol, atol=1e-6)


if __name__ == "__main__":
    rows = {name: [round(float(n), 7) for n in told(name)] for name in TRAININGS}
    PINNED.write_text(json.dumps(rows, indent=0) + "\n")
