"""The public backbones: names, shapes and values are those of their authors' code."""

from pathlib import Path

import pytest
import torch
from tests.nets.public import layout, made, picture
from torch import Tensor, nn

from voxhint.core.errors import BadFileError
from voxhint.nets.pretrained import KINDS, read_backbone
from voxhint.nets.resnet50 import ResNet50
from voxhint.nets.slices import _Backbone
from voxhint.nets.tiny_vit import TinyVit

# what the authors' code answers to `picture(40)` with the weights of `made`
VIT_FIRST = (-1.404182, 0.978434, 0.352048)
VIT_INSIDE = (1.006274, 0.259421, -0.503457)
VIT_LAST = 0.900662
RESNET_FIRST = (1.223788, 1.611725, 1.860569, 2.124772)
RESNET_LAST = (3.772822, 3.413546, 2.855494)


def whole_lite_medsam() -> dict[str, Tensor]:
    """Return the public file: the encoder among other parts."""
    return {
        **made(layout("lite_medsam_encoder")),
        "mask_decoder.iou_token.weight": torch.ones(1, 256),
    }


@pytest.fixture(scope="module")
def lite_medsam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "lite_medsam.pth"
    torch.save(whole_lite_medsam(), path)
    return path


def answer(net: nn.Module, edge: int = 40) -> Tensor:
    with torch.no_grad():
        found: Tensor = net.eval()(picture(edge))
    return found


def test_tiny_vit_answers_as_the_public_code_does(lite_medsam: Path) -> None:
    kind, net = read_backbone("medsam-tinyvit", lite_medsam)
    found = answer(net)
    assert kind == "medsam-tinyvit"
    assert found.shape == (1, 256, 10, 10)
    torch.testing.assert_close(found[0, :3, 0, 0], torch.tensor(VIT_FIRST), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found[0, 100, 4, :3], torch.tensor(VIT_INSIDE), rtol=1e-3, atol=1e-3)
    assert float(found[0, -1, -1, -1]) == pytest.approx(VIT_LAST, abs=1e-3)


def test_a_checkpoint_of_a_training_and_a_bare_encoder_are_read_too(
    lite_medsam: Path, tmp_path: Path
) -> None:
    state = whole_lite_medsam()
    bare = {k.removeprefix("image_encoder."): v for k, v in state.items() if "encoder" in k}
    torch.save({"model": state, "epoch": 3}, tmp_path / "training.pth")
    torch.save(bare, tmp_path / "bare.pth")
    wanted = read_backbone("medsam-tinyvit", lite_medsam)[1].state_dict()
    for name in ("training.pth", "bare.pth"):
        found = read_backbone("medsam-tinyvit", tmp_path / name)[1].state_dict()
        assert all(torch.equal(found[key], value) for key, value in wanted.items())


def test_resnet_of_keras_answers_as_the_public_port_does(tmp_path: Path) -> None:
    torch.save(made(layout("radimagenet_resnet50_keras")), tmp_path / "keras.pth")
    kind, net = read_backbone("radimagenet-resnet50", tmp_path / "keras.pth")
    found = answer(net)
    shares = found / found.mean()
    assert kind == "radimagenet-resnet50"
    assert found.shape == (1, 2048, 2, 2)
    torch.testing.assert_close(shares[0, :4, 0, 0], torch.tensor(RESNET_FIRST), rtol=1e-4, atol=0)
    torch.testing.assert_close(shares[0, -3:, 1, 1], torch.tensor(RESNET_LAST), rtol=1e-4, atol=0)


def test_the_authors_file_for_pytorch_is_told_by_its_names(tmp_path: Path) -> None:
    own = ResNet50("torch")
    numbers = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}
    parts = {name: name.partition(".") for name in own.state_dict()}
    named = {
        f"backbone.{numbers[first]}.{rest}": own.state_dict()[name]
        for name, (first, _, rest) in parts.items()
    }
    torch.save(named, tmp_path / "ResNet50.pt")
    kind, net = read_backbone("radimagenet-resnet50", tmp_path / "ResNet50.pt")
    assert kind == "radimagenet-resnet50-torch"
    torch.testing.assert_close(answer(net), answer(own))


def test_the_two_layouts_halve_at_different_places() -> None:
    with torch.device("meta"):
        nets = {"keras": ResNet50("keras"), "torch": ResNet50("torch")}
    strides = {}
    for name, net in nets.items():
        convs = [net.get_submodule(f"layer2.0.conv{n}") for n in (1, 2)]
        strides[name] = [conv.stride[0] for conv in convs if isinstance(conv, nn.Conv2d)]
        assert (net.conv1.bias is None) == (name == "torch")
    assert strides == {"keras": [2, 1], "torch": [1, 2]}


@pytest.mark.parametrize(
    ("kind", "edges"), [("medsam-tinyvit", (9, 16)), ("radimagenet-resnet50", (33, 64))]
)
def test_every_size_of_picture_gives_a_place_for_each_stride_begun(
    kind: str, edges: tuple[int, int]
) -> None:
    net = KINDS[kind]().eval()
    assert isinstance(net, _Backbone)
    with torch.no_grad():
        found = net(torch.zeros(1, 3, *edges))
    assert found.shape == (1, net.features, *(-(-edge // net.stride) for edge in edges))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda s: s.pop("image_encoder.neck.0.weight"), r"'neck\.0\.weight' is missing"),
        (
            lambda s: s.update({"image_encoder.neck.0.weight": torch.ones(256, 448, 1, 1)}),
            r"\(256, 448, 1, 1\), expected \(256, 320, 1, 1\)",
        ),
    ],
)
def test_other_weights_are_refused_in_one_line(change: object, told: str, tmp_path: Path) -> None:
    state = whole_lite_medsam()
    assert callable(change)
    change(state)
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(BadFileError, match=told) as caught:
        read_backbone("medsam-tinyvit", tmp_path / "other.pth")
    assert "\n" not in str(caught.value)


def test_weights_of_the_other_backbone_are_refused(lite_medsam: Path) -> None:
    with pytest.raises(BadFileError, match="no weights of radimagenet-resnet50"):
        read_backbone("radimagenet-resnet50", lite_medsam)


def test_the_layouts_are_those_of_the_networks() -> None:
    encoder = {f"image_encoder.{k}": tuple(v.shape) for k, v in TinyVit().state_dict().items()}
    assert encoder == layout("lite_medsam_encoder")
    with torch.device("meta"):
        resnet = {k: tuple(v.shape) for k, v in ResNet50("keras").state_dict().items()}
    assert resnet == layout("radimagenet_resnet50_keras")
