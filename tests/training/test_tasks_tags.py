"""Tags are learnt from bags: whole images and ranges of slices."""

import math
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric

from voxhint.nets import ClassifierNet, short_classifier
from voxhint.training import Bag, Settings, TaggedImage, TagTask, train

PATCH = (12, 12, 4)
CPU = torch.device("cpu")


def tagged(seed: int, *, present: bool, slices: int = 4) -> TaggedImage:
    """Return noise, with a bright ball somewhere if the label is present."""
    rng = np.random.default_rng(seed)
    image = rng.normal(0, 0.3, (1, 12, 12, slices)).astype(np.float32)
    if present:
        i, j, k = (int(rng.integers(1, n - 1)) for n in (12, 12, slices))
        image[0, i - 1 : i + 2, j - 1 : j + 2, k - 1 : k + 1] += 3.0
    return TaggedImage(image, (Bag((float(present),)),), (0.0, 0.0, 2.0, 10.0))


def small_net() -> ClassifierNet:
    torch.manual_seed(0)
    return short_classifier(channels=1, labels=1, stride=(2, 2, 1), kernel=(3, 3, 3), width=4)


def a_task(images: list[TaggedImage], held_out: list[TaggedImage] | None = None) -> TagTask:
    return TagTask.of(images, held_out or [], patch=PATCH, batch=6, mirror=True)


def test_a_ball_is_told_from_noise_by_tags_alone(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    fit = [tagged(seed, present=seed % 2 == 0) for seed in range(20)]
    others = [tagged(100 + seed, present=seed % 2 == 0) for seed in range(10)]
    how = Settings(steps=80, learning_rate=1e-2, seed=0, state=tmp_path / "s")
    net = small_net()
    fabric = Fabric(accelerator="cpu", devices=1)
    result = train(fabric, net, a_task(fit, others), settings=how, progress=lambda *_: None)
    net.load_state_dict(result.weights)
    net.eval()
    with torch.no_grad():
        logits = [float(net(torch.from_numpy(np.array(x.image))[None])) for x in others]
    assert min(logits[::2]) > max(logits[1::2])


def test_a_range_of_slices_is_found_in_world_millimetres() -> None:
    image = tagged(0, present=False, slices=6)
    # slices lie at z = 10, 12, 14, 16, 18, 20
    inside = image.inside(Bag((1.0,), (13.0, 17.0)))
    assert inside[0, 0, 0].tolist() == [0, 0, 1, 1, 0, 0]
    assert image.inside(Bag((1.0,))).all()


def test_a_range_between_two_slices_takes_the_nearest() -> None:
    inside = tagged(0, present=False).inside(Bag((1.0,), (12.3, 12.4)))
    assert inside[0, 0, 0].tolist() == [0, 1, 0, 0]


def test_a_label_tagged_in_one_state_only_is_not_drawn() -> None:
    images = [
        TaggedImage(i.image, (Bag((float(n), 1.0)),), i.rise_mm)
        for n, i in enumerate([tagged(0, present=False), tagged(1, present=True)])
    ]
    task = TagTask.of(images, [], patch=PATCH, batch=2, mirror=False)
    assert len(task.places) == 1


def test_unknown_states_say_nothing() -> None:
    known = [tagged(n, present=bool(n)) for n in range(2)]
    task = a_task(known)
    net = small_net().eval().requires_grad_(requires_grad=False)
    blind = [TaggedImage(i.image, (Bag((math.nan,)),), i.rise_mm) for i in known]
    assert a_task(known, blind).validation_loss(net, CPU) is None
    validation_loss = a_task(known, [*known, *blind]).validation_loss(net, CPU)
    assert validation_loss == a_task(known, known).validation_loss(net, CPU)
    assert torch.isfinite(task.loss(net, np.random.default_rng(0), CPU))


def test_the_same_generator_draws_the_same_batch() -> None:
    task = a_task([tagged(n, present=bool(n % 2)) for n in range(6)])
    net = small_net().eval()
    first, second = (task.loss(net, np.random.default_rng(3), CPU) for _ in range(2))
    assert torch.equal(first, second)
