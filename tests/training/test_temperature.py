"""Laws of the temperature: whom it believes, and what it undoes."""

import numpy as np
import pytest
import torch
from tests.training.scenes import small_net
from torch import Tensor, nn

from voxhint.training.batches import Batch
from voxhint.training.temperature import Temperature, fit_temperature, voxels_nearest

CPU = torch.device("cpu")
UNIT = (1.0, 1.0, 1.0)
SIDE = 20


class Constant(nn.Module):
    """A network that always says the same."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, image: Tensor) -> Tensor:  # type: ignore[explicit-override]
        return self.logits


def drawn(seed: int) -> tuple[Tensor, Tensor]:
    """Return logits, and classes drawn as the logits say, one-hot."""
    chance = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(1, 2, SIDE, SIDE, SIDE, generator=chance)
    one = torch.rand(1, SIDE, SIDE, SIDE, generator=chance) < logits.softmax(1)[:, 1]
    return logits, torch.stack([~one, one], 1).float()


def fitted(logits: Tensor, belief: Tensor, plausible: Tensor) -> Temperature:
    nothing = torch.zeros(1, 1, *belief.shape[2:])
    batch = Batch(nothing, belief, plausible, nothing)
    found = fit_temperature(Constant(logits), [batch], CPU, spacing_mm=UNIT)
    assert found is not None
    return found


@pytest.mark.parametrize("factor", [0.25, 1.0, 4.0])
def test_it_undoes_a_factor_of_the_logits(factor: float) -> None:
    logits, known = drawn(0)
    found = fitted(factor * logits, known, known)
    assert found.temperature == pytest.approx(factor, rel=0.05)
    assert found.loss_after <= found.loss_before
    assert found.facts == SIDE**3


def test_facts_outweigh_guesses_that_flatter_the_network() -> None:
    logits, known = drawn(1)
    facts = torch.rand(1, 1, SIDE, SIDE, SIDE, generator=torch.Generator().manual_seed(2)) < 0.1
    flattery = 0.9 * torch.stack([logits[:, 0] > logits[:, 1], logits[:, 0] <= logits[:, 1]], 1)
    belief = torch.where(facts, known, flattery)
    plausible = torch.where(facts, known, flattery + 0.1)
    found = fitted(3 * logits, belief, plausible)
    assert found.temperature == pytest.approx(3, rel=0.2)
    assert found.facts == int(facts.sum())


def test_a_fact_speaks_for_the_volume_nearest_to_it() -> None:
    logits = torch.zeros(1, 2, SIDE, SIDE, SIDE)
    logits[:, 1] = 2.0
    known = torch.zeros_like(logits)
    known[:, 0, 3, 2::5, 2::5] = 1  # 16 facts in a plane, whose side is two fifths of the volume
    known[:, 1, 12, ::2, ::2] = 1  # 100 facts in another
    alone = fitted(logits, known, torch.where(known.amax(1, keepdim=True) > 0, known, 1))
    share_wrong = 1 / (1 + torch.e ** (2 / alone.temperature))
    assert share_wrong == pytest.approx(0.4, abs=0.05)
    assert alone.facts == 16 + 100


def test_guesses_decide_where_no_fact_shows_a_class() -> None:
    logits, known = drawn(3)
    belief, plausible = 0.9 * known, 0.9 * known + 0.1
    found = fitted(2 * logits, belief, plausible)
    assert found.facts == 0
    assert found.temperature == pytest.approx(2, rel=0.2)


def test_without_held_out_hints_there_is_none() -> None:
    assert fit_temperature(small_net(), [], CPU, spacing_mm=UNIT) is None


def facts_at(*places: tuple[int, int, int]) -> np.ndarray:
    facts = np.zeros((12, 10, 8), np.bool_)
    facts[tuple(np.transpose(places))] = True
    return facts


def test_two_facts_share_a_field_by_its_middle() -> None:
    weights = voxels_nearest(facts_at((1, 5, 4), (6, 5, 4)), (1.0, 1.0, 1.0))
    assert weights.tolist() == [4 * 80, 8 * 80]


def test_spacing_decides_who_is_near() -> None:
    facts = facts_at((0, 0, 0), (0, 9, 0), (11, 0, 0))
    near, _, far = voxels_nearest(facts, (1.0, 100.0, 1.0))
    assert near + far == facts.size / 2
    assert near == far


def test_a_crowd_at_one_place_counts_as_one() -> None:
    crowd = [(1 + i, 4 + j, 3) for i in range(3) for j in range(3)]
    *nine, other = voxels_nearest(facts_at(*crowd, (10, 5, 3)), (1.0, 1.0, 1.0))
    alone, across = voxels_nearest(facts_at((2, 5, 3), (10, 5, 3)), (1.0, 1.0, 1.0))
    assert sum(nine) / other == pytest.approx(alone / across, rel=0.25)


@pytest.mark.parametrize("count", [1, 7, 900])
def test_all_voxels_are_given_away(count: int) -> None:
    facts = np.zeros((12, 10, 8), np.bool_)
    chosen = np.random.default_rng(count).choice(facts.size, count, replace=False)
    facts.ravel()[chosen] = True
    weights = voxels_nearest(facts, (0.7, 1.0, 3.0))
    assert len(weights) == count
    assert weights.sum() == facts.size


def test_many_facts_stand_for_the_same_each_and_none_for_nothing() -> None:
    facts = np.arange(20 * 20 * 20).reshape(20, 20, 20) % 3 == 0
    weights = voxels_nearest(facts, (1.0, 1.0, 1.0))
    assert np.ptp(weights) == 0
    assert weights.sum() == pytest.approx(facts.size, rel=1e-5)
    assert voxels_nearest(np.zeros_like(facts), (1.0, 1.0, 1.0)).size == 0
