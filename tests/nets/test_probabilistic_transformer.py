"""The probabilistic transformer: sizes, one pass and many, what is drawn and what it costs."""

import copy

import pytest
import torch
from torch import Tensor

from voxhint.core.errors import BadRecipeError
from voxhint.nets import ProbabilisticTransformer

Triple = tuple[int, int, int]

ONE: Triple = (1, 1, 1)
TWO: Triple = (2, 2, 2)
FLAT: Triple = (2, 2, 1)
PATCH: Triple = (8, 8, 4)


def transformer(
    strides: tuple[Triple, ...] = (ONE, FLAT, TWO),
    patch: Triple = PATCH,
    *,
    width: int = 1,
    attention: str = "bilinear",
    classes: int = 2,
) -> ProbabilisticTransformer:
    torch.manual_seed(0)
    return ProbabilisticTransformer(
        channels=1,
        classes=classes,
        patch=patch,
        strides=strides,
        kernels=tuple((3, 3, 1) if s == FLAT else (3, 3, 3) for s in strides),
        features=tuple(width * 2**level for level in range(len(strides))),
        attention=attention,
    )


def image(patch: Triple = PATCH, batch: int = 1) -> Tensor:
    return torch.randn(batch, 1, *patch, generator=torch.Generator().manual_seed(1))


def drawn_with(net: ProbabilisticTransformer, seed: int) -> Tensor:
    net.chance = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        logits: Tensor = net(image())
    return logits


@pytest.mark.parametrize("attention", ["bilinear", "additive"])
@pytest.mark.parametrize(
    ("strides", "patch"),
    [
        ((ONE, TWO), (8, 6, 4)),
        ((ONE, FLAT, TWO), (8, 12, 4)),
        ((ONE, FLAT, FLAT, TWO), (16, 16, 5 * 2)),
        ((ONE, TWO, TWO, TWO, TWO), (16, 32, 16)),
    ],
)
def test_logits_have_the_size_of_the_image_and_every_weight_a_gradient(
    attention: str, strides: tuple[Triple, ...], patch: Triple
) -> None:
    net = transformer(strides, patch, attention=attention, classes=3)
    logits = net(image(patch, 2))
    assert tuple(logits.shape) == (2, 3, *patch)
    (logits.square().mean() + net.penalty()).backward()
    assert all(weight.grad is not None for weight in net.parameters())


def test_at_full_size_it_is_unetr_plus_the_maps_of_the_moments() -> None:
    with torch.device("meta"):
        net = transformer((ONE, TWO, TWO, TWO, TWO), (96, 96, 96), width=16, classes=14)
    count = sum(weight.numel() for weight in net.parameters())
    moments = 2 * 4 * 64 + 2 * 64 + 1
    # MONAI's UNETR for 14 classes has so many, without the norms it does not use
    assert count - 12 * moments == 92_784_046


def test_a_pass_in_evaluation_is_always_the_same_and_one_in_training_is_drawn() -> None:
    net = transformer().eval()
    assert torch.equal(drawn_with(net, 1), drawn_with(net, 2))
    net.train()
    assert torch.equal(drawn_with(net, 1), drawn_with(net, 1))
    assert not torch.equal(drawn_with(net, 1), drawn_with(net, 2))


@pytest.mark.parametrize("attention", ["bilinear", "additive"])
def test_many_passes_come_close_to_each_other(attention: str) -> None:
    net = transformer(attention=attention).eval()

    def apart(passes: int) -> float:
        net.passes = passes
        seen = torch.stack([drawn_with(net, seed).softmax(1) for seed in range(4)])
        return float(seen.std(0).mean())

    assert apart(12) < 0.65 * apart(2)  # 0.41 is expected


def test_passes_average_probabilities_and_as_published_logits() -> None:
    for attention in ("bilinear", "additive"):
        net = transformer(attention=attention).eval()
        chance = torch.Generator().manual_seed(7)
        with torch.no_grad():
            both = [net._once(image(), sample=True)[0] for net.chance in (chance, chance)]
        net.passes = 2
        seen = drawn_with(net, 7)
        if attention == "additive":
            torch.testing.assert_close(seen, (both[0] + both[1]) / 2)
        else:
            wanted = (both[0].softmax(1) + both[1].softmax(1)) / 2
            torch.testing.assert_close(seen.softmax(1), wanted)


def test_a_fresh_repaired_network_has_no_penalty_and_a_fresh_published_one_does() -> None:
    penalties = {}
    for attention in ("bilinear", "additive"):
        net = transformer(attention=attention).train()
        net(image())
        penalties[attention] = float(net.penalty().detach())
    assert penalties["bilinear"] == pytest.approx(0, abs=1e-5)
    assert penalties["additive"] > 0.01


def test_a_penalty_is_that_of_one_pass_in_training() -> None:
    net = transformer().train()
    net(image())
    net.penalty()
    with pytest.raises(RuntimeError, match="no pass in training"):
        net.penalty()
    drawn_with(net.eval(), 1)
    with pytest.raises(RuntimeError):
        net.penalty()


def test_a_network_can_be_copied_before_its_first_pass() -> None:
    net = transformer().eval()
    assert torch.equal(drawn_with(copy.deepcopy(net), 1), drawn_with(net, 1))


def test_a_patch_that_is_never_halved_is_refused() -> None:
    with pytest.raises(BadRecipeError, match="allow more patch-voxels"):
        transformer((ONE,), (5, 5, 5))
