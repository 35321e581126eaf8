"""MAISI-v2 through MONAI's networks: shapes of the public weights, conventions of the flow."""

from pathlib import Path
from typing import Any

import pytest
import torch
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import AutoencoderKlMaisi
from monai.networks.schedulers.rectified_flow import RFlowScheduler
from torch import Tensor, nn

from voxhint.core.errors import BadFileError, BadRecipeError
from voxhint.flow import Velocity, interpolate, invert, solve
from voxhint.flow.invert import S_MIN
from voxhint.nets import maisi
from voxhint.nets.maisi import Maisi, MaisiShape, MaisiVelocity, load_maisi

TINY = MaisiShape(autoencoder=(4, 4, 8), flow=(4, 4, 8, 8), head=4, groups=2)
SCALE = 0.97
WIDE_MM = (16.0, 16.0, 2.0)  # voxels that make small arrays whole scans


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return files laid out as the public ones, of tiny networks."""
    folder = tmp_path_factory.mktemp("maisi")
    torch.manual_seed(0)
    model = Maisi(TINY, SCALE)
    for weight in model.flow.parameters():
        if not weight.any():  # MONAI starts some at zero, and nothing would be heard
            nn.init.normal_(weight, std=0.3)
    autoencoder, flow = folder / "autoencoder_v1.pt", folder / "diff_unet_3d_rflow-ct.pt"
    torch.save(model.autoencoder.state_dict(), autoencoder)
    checkpoint = {
        "epoch": 300,
        "loss": torch.tensor(0.2),
        "num_train_timesteps": 1000,
        "scale_factor": torch.tensor(SCALE),
        "unet_state_dict": model.flow.state_dict(),
    }
    torch.save(checkpoint, flow)
    return autoencoder, flow


@pytest.fixture(scope="module")
def model(files: tuple[Path, Path]) -> Maisi:
    return load_maisi(*files, shape=TINY)


def scan(*shape: int) -> Tensor:
    return 600 * torch.randn(1, 1, *shape, generator=torch.Generator().manual_seed(0)) - 400


def latents() -> Tensor:
    return torch.randn(1, 4, 8, 8, 8, generator=torch.Generator().manual_seed(1))


def test_the_public_configuration_has_the_shapes_of_the_public_weights() -> None:
    with torch.device("meta"):  # 200 million weights, and no memory
        model = Maisi(MaisiShape(), 1.0)
    count = {
        name: sum(weight.numel() for weight in part.parameters())
        for name, part in model.named_children()
    }
    assert count == {"autoencoder": 20_944_897, "flow": 180_500_868}
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    assert shapes["autoencoder.encoder.blocks.0.conv.conv.weight"] == (64, 1, 3, 3, 3)
    assert shapes["autoencoder.quant_conv_mu.conv.weight"] == (4, 4, 1, 1, 1)
    assert shapes["flow.conv_in.conv.weight"] == (64, 4, 3, 3, 3)
    assert shapes["flow.class_embedding.weight"] == (128, 256)
    assert shapes["flow.spacing_layer.0.weight"] == (256, 3)
    assert shapes["flow.down_blocks.0.resnets.0.time_emb_proj.weight"] == (64, 512)
    assert shapes["flow.down_blocks.2.attentions.0.attn.to_q.weight"] == (256, 256)
    assert "flow.down_blocks.1.attentions.0.attn.to_q.weight" not in shapes


def test_exact_norms_and_undivided_convolutions_take_the_same_weights() -> None:
    with torch.device("meta"):
        ours = Maisi(MaisiShape(), 1.0).autoencoder
        theirs = AutoencoderKlMaisi(
            spatial_dims=3,
            in_channels=1,
            out_channels=1,
            latent_channels=4,
            num_channels=[64, 128, 256],
            num_res_blocks=[2, 2, 2],
            norm_num_groups=32,
            attention_levels=[False] * 3,
            norm_float16=True,
            num_splits=4,
            dim_split=1,
        )
    assert {k: v.shape for k, v in ours.state_dict().items()} == {
        k: v.shape for k, v in theirs.state_dict().items()
    }


def test_the_scale_is_the_one_in_the_file(model: Maisi) -> None:
    assert float(model.scale) == pytest.approx(SCALE)


def test_an_autoencoder_saved_from_a_training_is_read_too(
    files: tuple[Path, Path], tmp_path: Path, model: Maisi
) -> None:
    inner = {"unet_state_dict": torch.load(files[0], weights_only=True)}
    torch.save(inner, tmp_path / "inner.pt")
    again = load_maisi(tmp_path / "inner.pt", files[1], shape=TINY)
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in again.state_dict().items())


def test_files_in_the_wrong_order_and_weights_of_another_size_are_refused(
    files: tuple[Path, Path],
) -> None:
    autoencoder, flow = files
    with pytest.raises(BadFileError, match="no flow of MAISI"):
        load_maisi(flow, autoencoder, shape=TINY)
    with pytest.raises(BadFileError, match="no weights of MAISI's autoencoder") as caught:
        load_maisi(
            autoencoder,
            flow,
            shape=MaisiShape(autoencoder=(4, 8, 8), flow=TINY.flow, head=4, groups=2),
        )
    assert "\n" not in str(caught.value)


def test_latents_are_the_scaled_mean_made_up_to_whole_steps_with_air(model: Maisi) -> None:
    hu = scan(33, 32, 30)
    found = model.encode(hu)
    assert found.shape == (1, 4, 16, 8, 8)
    assert torch.equal(found, model.encode(hu))  # no draw
    air = torch.full((1, 1, 64, 32, 32), -1000.0)
    air[..., :33, :, :30] = hu
    torch.testing.assert_close(found, model.encode(air))
    image = ((air + 1000) / 2000).clamp(0, 1)
    torch.testing.assert_close(found, SCALE * model.autoencoder.encode(image)[0])
    assert model.decode(found, (33, 32, 30)).shape == hu.shape


def test_decoding_undoes_the_scale_and_gives_hounsfield_units(model: Maisi) -> None:
    found = model.decode(latents(), (32, 32, 32))
    expected = model.autoencoder.decode(latents() / SCALE).clamp(0, 1) * 2000 - 1000
    torch.testing.assert_close(found, expected)


def test_tiles_of_the_whole_image_are_no_tiles_and_small_ones_cover_it(
    model: Maisi, files: tuple[Path, Path]
) -> None:
    hu = scan(32, 32, 32)
    whole, parted = (load_maisi(*files, shape=TINY, tile=tile) for tile in (8, 6))
    assert torch.equal(whole.encode(hu), model.encode(hu))
    assert parted.encode(hu).shape == (1, 4, 8, 8, 8)
    assert torch.isfinite(parted.decode(latents(), (32, 32, 32))).all()
    with pytest.raises(BadRecipeError, match="even number"):
        load_maisi(*files, shape=TINY, tile=5)


class Listener(nn.Module):
    """Stands for the flow, and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.heard: dict[str, Tensor] = {}

    def forward(self, **asked: Tensor) -> Tensor:  # type: ignore[explicit-override]
        self.heard = asked
        return torch.full_like(asked["x"], 2.0)


def test_the_flow_is_asked_in_its_own_units() -> None:
    net = Listener()
    z = torch.zeros(2, 4, 8, 8, 4)
    MaisiVelocity(net, (16.0, 16.0, 2.5), 3)(z, torch.tensor([0.25, 1.0]))
    assert net.heard["timesteps"].tolist() == [250.0, 1000.0]
    assert net.heard["spacing_tensor"].tolist() == [[1600.0, 1600.0, 250.0]] * 2
    assert net.heard["class_labels"].tolist() == [3, 3]


def test_our_path_is_the_one_it_was_taught_on() -> None:
    scheduler = RFlowScheduler(use_discrete_timesteps=False)
    image, noise, s = latents(), -latents(), torch.tensor([0.3])
    ours = interpolate(image, noise, s)
    torch.testing.assert_close(ours.z, scheduler.add_noise(image, noise, 1000 * s))
    scheduler.set_timesteps(10)
    theirs, _ = scheduler.step(ours.velocity, 300, ours.z, 0)
    torch.testing.assert_close(theirs, image)
    torch.testing.assert_close(ours.image, image)


def test_it_is_a_velocity_that_our_solver_follows_there_and_back(model: Maisi) -> None:
    velocity = model.velocity(WIDE_MM)
    assert isinstance(velocity, Velocity)
    constant = MaisiVelocity(Listener(), WIDE_MM, 1)
    noisy = invert(constant, latents(), end=0.6, steps=30, scheme="euler")
    back = solve(constant, noisy, start=0.6, end=S_MIN, steps=30, scheme="euler")
    torch.testing.assert_close(back, latents(), rtol=0, atol=1e-5)
    torch.testing.assert_close(noisy, latents() - 2 * 0.58, rtol=0, atol=1e-5)


@pytest.mark.parametrize("other", [{"spacing_mm": (16.0, 16.0, 3.0)}, {"kind": "ct-contrast"}])
def test_spacing_and_kind_are_heard(model: Maisi, other: dict[str, Any]) -> None:
    told = {"spacing_mm": WIDE_MM, "kind": "ct", **other}
    s = torch.tensor([0.5])
    first, second = (model.velocity(**how)(latents(), s) for how in ({"spacing_mm": WIDE_MM}, told))
    assert not torch.allclose(first, second)


def test_gradients_reach_the_latents_and_no_weight(model: Maisi) -> None:
    z = latents().requires_grad_()
    total = model.velocity(WIDE_MM)(z, torch.tensor([0.5])).square().sum()
    (slopes,) = torch.autograd.grad(total, z)
    assert float(slopes.abs().sum()) > 0
    assert all(weight.grad is None for weight in model.parameters())


def test_a_small_field_of_view_is_refused_in_one_line(model: Maisi) -> None:
    cube = model.velocity((4.0, 4.0, 4.0))  # 128 mm
    with pytest.raises(BadRecipeError, match="128 x 128 mm across") as caught:
        cube(latents(), torch.tensor([1.0]))
    assert "\n" not in str(caught.value)
    model.velocity((8.0, 8.0, 0.5))(latents(), torch.tensor([1.0]))  # few slices are fine


def test_an_unknown_kind_is_refused_with_those_there_are(model: Maisi) -> None:
    with pytest.raises(BadRecipeError, match=", ".join(maisi.CLASSES)):
        model.velocity(WIDE_MM, "mr")
