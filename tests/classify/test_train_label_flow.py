"""A flow is trained on a study's tags, opened again, and asked about images with and without."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from tests.training.scenes import plan

from voxhint.classify.tag_bags import TagJob
from voxhint.classify.train_label_flow import (
    LabelFlow,
    _open_label_flow,
    fit_label_flow,
    flow_network,
)
from voxhint.config import LabelConfig, Machine
from voxhint.config.tags import FlowConfig, TagConfig
from voxhint.core.errors import BadFileError
from voxhint.files import open_study
from voxhint.flow import Velocity
from voxhint.nets.flow_unet import UNKNOWN
from voxhint.verbs.phantom_study import write_phantom_study

FABRIC = Fabric(accelerator="cpu", devices=1)
LABELS = ("ball", "ring")


def a_flow() -> LabelFlow:
    """Return a flow whose weights are nowhere 0."""
    torch.manual_seed(0)
    net = flow_network(plan(), LABELS)
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    net.eval().requires_grad_(requires_grad=False)
    return LabelFlow(net, plan(), LABELS, FABRIC)


def points() -> tuple[torch.Tensor, torch.Tensor]:
    z = torch.randn(3, 1, 8, 8, 4, generator=torch.Generator().manual_seed(1))
    return z, torch.tensor([0.2, 0.5, 0.8])


def test_every_state_of_every_label_has_a_velocity_of_its_own() -> None:
    flow, (z, s) = a_flow(), points()
    found = []
    for label in LABELS:
        for state in ("absent", "present"):
            velocity = flow.velocity(label, state)
            assert isinstance(velocity, Velocity)
            found.append(velocity(z, s))
    for number, first in enumerate(found):
        assert first.shape == z.shape
        assert not any(torch.equal(first, second) for second in found[number + 1 :])
    unknown = [flow.velocity(label, "unknown")(z, s) for label in LABELS]
    assert torch.equal(*unknown)


def test_the_states_weighed_by_what_is_seen_are_the_velocity_of_which_nothing_is_known() -> None:
    flow, (z, s) = a_flow(), points()
    seen = flow.net(z, s, torch.full((3, 2), UNKNOWN)).label_logits[:, 1].sigmoid()
    chance = seen[:, None, None, None, None]
    absent, present, unknown = (
        flow.velocity("ring", state)(z, s) for state in ("absent", "present", "unknown")
    )
    torch.testing.assert_close(chance * present + (1 - chance) * absent, unknown)


def test_going_towards_present_makes_it_likelier() -> None:
    flow, (z, s) = a_flow(), points()
    told = torch.full((3, 2), UNKNOWN)
    uphill = flow.velocity("ball", "present")(z, s) - flow.velocity("ball", "absent")(z, s)
    step = 1e-3 * uphill / uphill.flatten(1).norm(dim=1)[:, None, None, None, None]
    before, after = (flow.net(x, s, told).label_logits[:, 0] for x in (z, z + step))
    assert (after > before).all()


def test_half_precision_of_the_network_hardly_moves_a_velocity() -> None:
    flow, (z, s) = a_flow(), points()
    coarse = replace(flow, fabric=Fabric(accelerator="cpu", devices=1, precision="bf16-mixed"))
    for state in ("absent", "present", "unknown"):
        exact = flow.velocity("ball", state)(z, s)
        found = coarse.velocity("ball", state)(z, s)
        assert found.dtype == torch.float32
        assert float((found - exact).norm() / exact.norm()) < 0.03


def test_it_answers_where_gradients_are_switched_off_and_at_both_ends() -> None:
    flow, (z, _) = a_flow(), points()
    s = torch.tensor([0.0, 0.5, 1.0])
    with torch.inference_mode():
        quiet = flow.velocity("ball", "absent")(z.clone(), s.clone())
    assert torch.isfinite(quiet).all()
    torch.testing.assert_close(quiet, flow.velocity("ball", "absent")(z, s))


def test_a_flow_is_trained_once_opened_again_and_refused_when_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voxhint.classify.train_label_flow._WIDTH", 4)
    monkeypatch.setattr("voxhint.classify.train_label_flow._INPUT_VOXELS", 2000)
    write_phantom_study(tmp_path / "study", kind="lung", cases=4, test_cases=0)
    study = open_study(tmp_path / "study")[0]
    config = LabelConfig(tags=TagConfig(weights="none"), flow=FlowConfig(steps=2))
    told: list[str] = []
    flows = [
        fit_label_flow(
            tmp_path / "flow",
            TagJob(
                study,
                ("nodule",),
                config,
                Machine(threads=1, device="cpu"),
                lambda what, done, total, note: told.append(what),
            ),
        )
        for _ in range(2)
    ]
    assert told.count("train the flow") == 2
    z, s = points()
    first, second = (flow.velocity("nodule", "unknown")(z, s) for flow in flows)
    assert torch.equal(first, second)
    (tmp_path / "flow" / "flow.json").write_text("{}")
    with pytest.raises(BadFileError, match="damaged"):
        _open_label_flow(tmp_path / "flow", FABRIC)
