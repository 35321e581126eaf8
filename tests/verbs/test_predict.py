"""What a prediction says of its images before it begins."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from tests.files.series import Series
from tests.phantoms import scan, slanted_grid
from tests.train.scenes import plan
from torch import Tensor, nn

from voxhint.config import PredictConfig
from voxhint.core import Grid, LabelSet, Volume
from voxhint.files.images import write_image
from voxhint.models.folder import Model
from voxhint.verbs.predict import MaskMaker, warnings_of


class Asked(nn.Module):
    """Sees the last class everywhere, and counts how often it was asked."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes, self.times = classes, 0

    def forward(self, image: Tensor) -> Tensor:  # type: ignore[explicit-override]
        self.times += 1
        logits = torch.zeros(len(image), self.classes, *image.shape[2:])
        logits[:, -1] = 5
        return logits


@pytest.mark.parametrize("chances", [{"ball": 0.0, "ring": 0.0}, {"ball": 0.0, "ring": 0.4}, {}])
def test_a_network_is_asked_unless_every_label_is_ruled_out(chances: dict[str, float]) -> None:
    wanted = replace(plan(), labels=LabelSet(("background", "ball", "ring"), (0, 1, 2)))
    net = Asked(len(wanted.labels.names))
    model = Model(wanted, net, Path("weights"), Fabric(accelerator="cpu", devices=1))
    grid = Grid((9, 8, 5), np.eye(4))
    volumes = {
        name: Volume(np.ones(grid.shape, np.float32), grid, "HU") for name in wanted.channels
    }
    probs, where = MaskMaker(model, None, PredictConfig(), 0).probabilities(volumes, chances)
    assert where is grid
    assert probs.shape == (len(wanted.labels.names), *grid.shape)
    assert np.allclose(probs.sum(0), 1)
    nothing = bool(chances) and not any(chances.values())
    assert (net.times == 0) == nothing
    assert (probs.argmax(0) == 0).all() == nothing


def test_a_prediction_tells_on_which_grid_its_masks_lie(tmp_path: Path) -> None:
    tilted, plain = Series(aside=0.3).write(tmp_path / "a_0000"), tmp_path / "b_0000.nii.gz"
    write_image(plain, scan(slanted_grid(), 0))
    (warning,) = warnings_of({"a": {"CT": tilted}, "b": {"CT": plain}})
    assert warning.startswith("a_0000: slices are sheared")
    assert "masks and results lie" in warning
