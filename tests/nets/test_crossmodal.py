"""Whatever modalities are there: none is privileged, and one that is missing has no say."""

from itertools import product

import pytest
import torch
from torch import Tensor, nn

from voxhint.core.errors import BadRecipeError
from voxhint.nets import build_trunk
from voxhint.nets.crossmodal import Branches, CrossModal, shown

Triple = tuple[int, int, int]
FUSIONS = ("sum", "squeeze", "gated", "attention")
SIZE = (8, 8, 4)
STRIDES: tuple[Triple, ...] = ((1, 1, 1), (2, 2, 1), (2, 2, 2))
FEATURES = (4, 8, 16)
KERNELS: tuple[Triple, ...] = ((3, 3, 1), (3, 3, 3), (3, 3, 3))


def network(modalities: int = 2, **options: object) -> CrossModal:
    torch.manual_seed(0)
    net = build_trunk(
        "crossmodal",
        channels=modalities,
        classes=3,
        strides=STRIDES,
        kernels=KERNELS,
        features=FEATURES,
        options=options,
    )
    assert isinstance(net, CrossModal)
    return net.eval()


def images(modalities: int = 2, batch: int = 1) -> Tensor:
    return torch.randn(batch, modalities, *SIZE, generator=torch.Generator().manual_seed(1))


def branches(net: CrossModal, image: Tensor, present: Tensor | None = None) -> Branches:
    with torch.no_grad():
        said = net(image, present, every=True)
    assert isinstance(said, Branches)
    return said


def count(net: nn.Module) -> int:
    return sum(weight.numel() for weight in net.parameters())


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("output", ["joint", "mean"])
@pytest.mark.parametrize(
    ("strides", "size"),
    [
        (((1, 1, 1), (2, 2, 1), (2, 2, 1), (2, 2, 2)), (32, 16, 10)),
        (((1, 1, 1), (2, 2, 2)), (4, 6, 8)),
        (((1, 1, 1),), (5, 4, 7)),
    ],
)
def test_logits_have_the_size_of_the_image_whatever_the_plan_is_shaped_like(
    fusion: str, output: str, strides: tuple[Triple, ...], size: Triple
) -> None:
    net = CrossModal(
        modalities=2,
        classes=3,
        strides=strides,
        kernels=tuple((3, 3, 1) if s[2] == 1 else (3, 3, 3) for s in strides),
        features=tuple(4 * 2**level for level in range(len(strides))),
        fusion=fusion,
        output=output,
    ).eval()
    image = torch.randn(1, 2, *size)
    with torch.no_grad():
        logits = net(image)
    assert isinstance(logits, Tensor)
    assert tuple(logits.shape) == (1, 3, *size)
    assert tuple(branches(net, image).logits.shape) == (3, 1, 3, *size)


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("output", ["joint", "mean"])
def test_every_subset_of_modalities_gives_something_finite_of_its_own(
    fusion: str, output: str
) -> None:
    net, image = network(3, fusion=fusion, output=output), images(3)
    with torch.no_grad():
        told = [net(image, torch.tensor([subset])) for subset in product((False, True), repeat=3)]
    assert all(isinstance(one, Tensor) and one.isfinite().all() for one in told)
    apart = [(a - b).abs().max() for i, a in enumerate(told) for b in told[:i]]
    assert min(apart) > 1e-4


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("output", ["joint", "mean"])
def test_a_missing_modality_has_no_say_whatever_voxels_it_holds(fusion: str, output: str) -> None:
    net, image = network(2, fusion=fusion, output=output), images(2)
    present = torch.tensor([[True, False]])
    other, empty = image.clone(), image.clone()
    other[:, 1] = 100 * torch.randn(*SIZE)
    empty[:, 1] = 0
    with torch.no_grad():
        told = net(image, present)
        assert torch.equal(told, net(other, present))
        assert torch.allclose(told, net(empty), atol=1e-5)
        assert not torch.allclose(told, net(image), atol=1e-3)


def test_a_channel_of_zeros_counts_as_missing_patch_by_patch() -> None:
    image = images(2, batch=2)
    image[1, 0] = 0
    assert shown(image).tolist() == [[True, True], [False, True]]
    net = network(2)
    with torch.no_grad():
        both, alone = net(image), net(image[1:])
    assert torch.allclose(both[1:], alone, atol=1e-5)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_branch_looks_at_its_own_modality_alone(fusion: str) -> None:
    net, image = network(2, fusion=fusion), images(2)
    other = image.clone()
    other[:, 1] += 1 + torch.randn(*SIZE)
    first, second = branches(net, image).logits, branches(net, other).logits
    assert torch.equal(first[0], second[0])
    assert not torch.allclose(first[1], second[1], atol=1e-3)
    assert not torch.allclose(first[2], second[2], atol=1e-3)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_permuting_modalities_with_their_weights_permutes_their_branches(fusion: str) -> None:
    order = [2, 0, 1]
    net, other, image = network(3, fusion=fusion), network(3, fusion=fusion), images(3)
    other.encoders = nn.ModuleList(net.encoders[m] for m in order)
    other.decoders = nn.ModuleList(net.decoders[m] for m in [*order, 3])
    other.heads = nn.ModuleList(net.heads[m] for m in [*order, 3])
    for join in other.joins:
        for name, parts in join.named_children():
            if isinstance(parts, nn.ModuleList):
                setattr(join, name, nn.ModuleList(parts[m] for m in order))
    said, again = branches(net, image).logits, branches(other, image[:, order]).logits
    assert torch.allclose(again, said[[*order, 3]], atol=1e-5)


@pytest.mark.parametrize("modalities", [2, 3, 4])
def test_shared_convolutions_halve_the_parameters_or_so(modalities: int) -> None:
    own, shared = network(modalities), network(modalities, shared=True)
    assert 0.35 < count(shared) / count(own) < 0.7
    norms = [p for n, p in shared.named_parameters() if "norm" in n and "encoders" in n]
    assert len(norms) == modalities * len(STRIDES) * 4


@pytest.mark.parametrize("fusion", FUSIONS)
def test_thin_branches_keep_the_joint_decoder_as_wide(fusion: str) -> None:
    wide, thin = (network(2, fusion=fusion, branch_width=share) for share in (1.0, 0.5))
    assert count(thin.decoders[-1]) == count(wide.decoders[-1])
    assert count(thin.encoders[0]) < 0.5 * count(wide.encoders[0])
    assert count(thin.decoders[0]) < 0.5 * count(wide.decoders[0])
    said = branches(thin, images(2))
    assert tuple(said.logits.shape) == (3, 1, 3, *SIZE)
    assert [one.shape[1] for one in said.features] == [4, 4, 4]


def test_shared_convolutions_are_learnt_from_every_modality() -> None:
    net, image = network(2, shared=True), images(2)
    for m in (0, 1):
        net.zero_grad()
        said = net(image, every=True)
        assert isinstance(said, Branches)
        said.logits[m].square().sum().backward()  # type: ignore[no-untyped-call]
        weights = dict(net.encoders[0].named_parameters())
        moved = [n for n, w in weights.items() if w.grad is not None and w.grad.any()]
        assert any("conv" in name for name in moved)
        assert any("norm" in name for name in moved) == (m == 0)


def test_a_gradient_reaches_every_weight() -> None:
    for fusion in FUSIONS:
        net = network(2, fusion=fusion).train()
        said = net(images(2, batch=2), every=True)
        assert isinstance(said, Branches)
        said.logits.square().sum().backward()  # type: ignore[no-untyped-call]
        assert not [name for name, weight in net.named_parameters() if weight.grad is None]


def test_the_mean_of_branches_is_a_mean_of_probabilities_of_those_present() -> None:
    net, image = network(2, output="mean"), images(2)
    for present in ([True, True], [False, True]):
        mask = torch.tensor([present])
        counted = [*present, True]
        said = branches(net, image, mask).logits.softmax(2)[counted].mean(0)
        with torch.no_grad():
            told = net(image, mask)
        assert isinstance(told, Tensor)
        assert torch.allclose(told.softmax(1), said, atol=1e-6)


@pytest.mark.parametrize(("knob", "known"), [("fusion", "gated"), ("output", "mean")])
def test_an_unknown_word_is_refused_with_the_known_ones_named(knob: str, known: str) -> None:
    with pytest.raises(BadRecipeError, match=rf"{knob} 'magic' is unknown; use .*{known}"):
        network(2, **{knob: "magic"})
