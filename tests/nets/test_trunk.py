"""Both trunks: logits of the input's own size, whatever the plan's shape."""

import pytest
import torch
from torch import nn

from voxhint.core.errors import BadRecipeError
from voxhint.nets import build_trunk
from voxhint.nets.trunk import begin_with

Triple = tuple[int, int, int]

ONE: Triple = (1, 1, 1)
TWO: Triple = (2, 2, 2)
FLAT: Triple = (2, 2, 1)


def trunk(
    network: str, strides: tuple[Triple, ...], channels: int = 1, classes: int = 2
) -> nn.Module:
    torch.manual_seed(0)
    return build_trunk(
        network,
        channels=channels,
        classes=classes,
        strides=strides,
        kernels=tuple((3, 3, 1) if s == FLAT else (3, 3, 3) for s in strides),
        features=tuple(8 * 2**level for level in range(len(strides))),
    ).eval()


@pytest.mark.parametrize(("channels", "classes"), [(1, 2), (3, 5)])
@pytest.mark.parametrize("network", ["dynunet", "segresnet"])
@pytest.mark.parametrize(
    ("strides", "size"),
    [
        ((ONE, TWO, TWO), (16, 8, 12)),
        ((ONE, FLAT, TWO), (12, 16, 8)),
        ((ONE, FLAT, FLAT), (16, 12, 5)),
        ((ONE, TWO), (6, 8, 10)),
        ((ONE,), (5, 4, 7)),
    ],
)
def test_logits_have_the_size_of_the_image_and_a_layer_for_each_class(
    network: str, strides: tuple[Triple, ...], size: Triple, channels: int, classes: int
) -> None:
    net = trunk(network, strides, channels, classes)
    with torch.no_grad():
        logits = net(torch.randn(1, channels, *size))
    assert tuple(logits.shape) == (1, classes, *size)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("network", ["dynunet", "segresnet"])
def test_training_mode_gives_the_same_size_and_a_gradient_for_every_weight(network: str) -> None:
    net = trunk(network, (ONE, TWO)).train()
    logits = net(torch.randn(2, 1, 8, 8, 8))
    assert tuple(logits.shape) == (2, 2, 8, 8, 8)
    logits.square().sum().backward()
    assert all(weight.grad is not None for weight in net.parameters())


@pytest.mark.parametrize("network", ["dynunet", "segresnet"])
def test_one_seed_gives_one_network(network: str) -> None:
    first, second = (trunk(network, (ONE, TWO)).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_an_unknown_network_is_refused_with_the_known_ones_named() -> None:
    with pytest.raises(
        BadRecipeError, match="'unet' is unknown; use dynunet, segresnet or crossmodal"
    ):
        trunk("unet", (ONE, TWO))


def test_a_width_that_segresnet_cannot_have_is_refused() -> None:
    with pytest.raises(BadRecipeError, match="width 12 is not for segresnet; use a multiple of 8"):
        build_trunk(
            "segresnet",
            channels=1,
            classes=2,
            strides=(ONE, TWO),
            kernels=((3, 3, 3), (3, 3, 3)),
            features=(12, 24),
        )


@pytest.mark.parametrize("network", ["dynunet", "segresnet", "crossmodal"])
def test_a_fresh_network_begins_with_the_shares_of_the_classes(network: str) -> None:
    """Features are drawn around 0, so what it says of noise lies around its last biases."""
    net = trunk(network, (ONE, TWO, TWO), classes=3)
    shares = torch.tensor([0.98, 0.02, 0.0])
    begin_with(net, shares)
    with torch.no_grad():
        said = net(torch.randn(2, 1, 16, 16, 16)).mean((0, 2, 3, 4)).softmax(0)
    assert said[0] > 0.8
    assert said[0] > 10 * said[1] > 10 * said[2] > 0


def test_many_rare_labels_leave_most_to_background() -> None:
    net = trunk("dynunet", (ONE, TWO, TWO), classes=101)
    begin_with(net, torch.cat([torch.ones(1), torch.zeros(100)]))
    with torch.no_grad():
        said = net(torch.zeros(1, 1, 16, 16, 16)).mean((0, 2, 3, 4)).softmax(0)
    assert said[0] > 0.8
    assert said[1:].min() > 5e-4


def test_a_network_of_another_kind_stays_as_it_is() -> None:
    net = nn.Conv3d(1, 2, 1)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    begin_with(net, torch.tensor([0.9, 0.1]))
    for name, value in net.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
