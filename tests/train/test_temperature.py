"""Laws of the temperature: whom it believes, and what it undoes."""

import pytest
import torch
from tests.train.scenes import small_net
from torch import Tensor, nn

from voxhint.train.batches import Batch
from voxhint.train.temperature import Temperature, fit_temperature

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
