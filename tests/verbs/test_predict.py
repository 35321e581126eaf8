"""What a prediction says of its images before it begins."""

import errno
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from tests.files.series import Series
from tests.models.untrained import untrained_model
from tests.phantoms import make_study, scan, slanted_grid
from tests.training.scenes import plan
from tests.verbs.test_send_back import PLAN as SMALL
from torch import Tensor, nn

from voxhint.cli.main import main
from voxhint.config import PredictConfig, bytes_of
from voxhint.core import Case, Grid, Hint, LabelSet, Points, Tag, Volume
from voxhint.core.errors import OutputError
from voxhint.core.study import CaseFiles, Study
from voxhint.core.volume import STEPS
from voxhint.files.images import write_ids, write_image
from voxhint.files.validate.study import open_study
from voxhint.models.folder import Model, network_of
from voxhint.nets import weights_bytes
from voxhint.nets.trunk import begin_with
from voxhint.propagate import constraints_of
from voxhint.propagate.sparse_hints import sparse_constraints_of
from voxhint.verbs import mask_maker
from voxhint.verbs.mask_maker import MaskMaker
from voxhint.verbs.predict import _warnings_of, training_work
from voxhint.verbs.written import emptiness

Triple = tuple[float, float, float]


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
    config = PredictConfig(probabilities=True, uncertainty=True)
    maker = MaskMaker(model, None, config, 0)
    made = maker.predict(maker.prepare(volumes), chances)
    assert made.grid is grid
    assert made.classes.shape == grid.shape
    nothing = bool(chances) and not any(chances.values())
    assert (net.times == 0) == nothing
    assert (made.classes == 0).all() == nothing
    assert made.uncertainty is not None
    assert made.uncertainty.any() != nothing
    assert made.probability(2).max() <= STEPS
    assert (made.probability(2) == 0).all() == nothing
    assert (made.probability(1) > 0).any() == (chances.get("ball") != 0)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not reserve room")
def test_a_full_disk_is_told_before_probabilities_are_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    net = Asked(len(plan().labels.names))
    model = Model(plan(), net, Path("weights"), Fabric(accelerator="cpu", devices=1))
    grid = Grid((9, 8, 5), np.eye(4))
    image = Volume(np.ones(grid.shape, np.float32), grid, "HU")
    volumes = dict.fromkeys(plan().channels, image)
    maker = MaskMaker(model, None, PredictConfig(probabilities=True), 0)
    with pytest.raises(OutputError, match=r"has no room for .* \(No space left on device\)"):
        maker.predict(maker.prepare(volumes), {}, folder=tmp_path)
    assert net.times == 0


def test_no_voxels_of_images_are_read_for_what_hints_allow(tmp_path: Path) -> None:
    opened, _ = open_study(make_study(tmp_path / "study", hints=("points",)))
    read: list[bool] = []

    def reader(study: Study, files: CaseFiles, *, hints: bool, dense: bool, voxels: bool) -> Case:
        read.append(voxels)
        return opened.reader(study, files, hints=hints, dense=dense, voxels=voxels)

    files = opened.hinted[0]
    work = training_work(replace(opened, reader=reader), (files,), {})
    assert work.respect is not None
    respect, grid = work.respect(files.name), slanted_grid()
    assert read == [False]
    turn, deep = grid.turn_to_ras(), slice(0, grid.shape[0])
    probs = np.zeros((2, *grid.turned(turn).shape), np.float32)
    assert respect(probs, (deep, slice(None)), turn).any()


def test_planes_respect_hints_as_the_whole_image_does() -> None:
    grid, labels = Grid((9, 8, 5), np.diag([-1, 1.5, 2, 1])), LabelSet(("background", "a"), (0, 1))
    clicks = Points("a", grid.to_world(np.array([[1.0, 2, 3], [7, 0, 4]])), np.array([1.0, 0.6]))
    hints: list[Hint] = [clicks, Tag("a", "present")]
    dense = constraints_of(grid, hints, labels)
    sparse = sparse_constraints_of(grid, hints, labels)
    turn = grid.turn_to_ras()
    assert sparse is not None
    for planes in (slice(0, 3), slice(3, 9)):
        for one, two in zip(dense.bounds(planes, turn), sparse.bounds(planes, turn), strict=True):
            assert np.array_equal(one, two)
    assert turn.undo(dense.bounds(slice(0, 9), turn)[0])[1, 1, 2, 3] == 1


def test_a_prediction_tells_on_which_grid_its_masks_lie(tmp_path: Path) -> None:
    tilted, plain = Series(aside=0.3).write(tmp_path / "a_0000"), tmp_path / "b_0000.nii.gz"
    write_image(plain, scan(slanted_grid(), 0))
    (warning,) = _warnings_of({"a": {"CT": tilted}, "b": {"CT": plain}})
    assert warning.startswith("a_0000: slices are sheared")
    assert "masks and results lie" in warning


def test_a_forecast_counts_the_tiles_that_a_prediction_asks_about() -> None:
    wanted = plan()
    net = Asked(len(wanted.labels.names))
    model = Model(wanted, net, Path("weights"), Fabric(accelerator="cpu", devices=1))
    grid = Grid((21, 30, 9), np.eye(4))
    voxels = np.random.default_rng(0).random(grid.shape, np.float32)
    volumes = {name: Volume(voxels, grid, "HU") for name in wanted.channels}
    told: list[tuple[int, int]] = []
    for tta in (False, True):
        maker = MaskMaker(model, None, PredictConfig(tta=tta), 0)
        prepared = maker.prepare(volumes)
        tiles = maker.tiles(prepared)
        maker.telling(lambda tile, all_: told.append((tile, all_))).predict(prepared, {})
        assert told[-1][1] == tiles == max(tile for tile, _ in told)
        assert maker.asked(prepared) == tiles  # none holds one value all over
        net.times = 0
        assert maker.amid(volumes)[0] > 0
        assert net.times == 2 * len(maker._flips()) * 2**3 / 2


def test_a_mask_does_not_depend_on_the_axis_that_tiles_go_along(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    wanted = replace(plan(), patch=(8, 6, 4))
    net = nn.Conv3d(1, len(wanted.labels.names), 3, padding=1).eval()
    model = Model(wanted, net, Path("weights"), Fabric(accelerator="cpu", devices=1))
    config = PredictConfig(tta=True, probabilities=True)
    made, free = [], mask_maker._FIRST
    for shape in ((9, 13, 21), (12, 24, 4), (30, 13, 5)):
        volume = scan(slanted_grid(shape), 1)
        for orders in (free, ((0, 1, 2),) * 3):
            monkeypatch.setattr(mask_maker, "_FIRST", orders)
            maker = MaskMaker(model, None, config, 0)
            prepared = maker.prepare({"CT": volume})
            made.append((prepared.order.axes[0], maker.predict(prepared, {})))
        (_, found), (_, plain) = made[-2:]
        assert np.abs(found.probability(1).astype(int) - plain.probability(1)).max() <= 1
        assert (found.classes != plain.classes).mean() < 1e-3
        assert 0.01 < plain.classes.mean() < 0.99
    assert {first for first, _ in made} == {0, 1, 2}


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 2.0), (0.7, 1.4, 1.6), (1.9, 1.3, 2.5)], ids=str)
def test_less_memory_costs_time_and_changes_no_mask(spacing: Triple) -> None:
    torch.manual_seed(0)
    wanted = replace(plan(), patch=(8, 6, 4), spacing_mm=spacing)
    net = nn.Conv3d(1, len(wanted.labels.names), 3, padding=1).eval()
    model = Model(wanted, net, Path("weights"), Fabric(accelerator="cpu", devices=1))
    config = PredictConfig(tta=True, probabilities=True, uncertainty=True)
    volume = scan(slanted_grid((20, 31, 26)), 1)
    roomy = MaskMaker(model, None, config, 0)
    tight = replace(roomy, most_bytes=1)
    memory = roomy.memory({"CT": volume.grid})
    assert memory.most_bands > 1
    assert replace(roomy, most_bytes=memory.taken(1)).prepare({"CT": volume}).bands == 1
    prepared = tight.prepare({"CT": volume})
    assert prepared.bands == memory.most_bands
    told: list[tuple[int, int]] = []
    found = tight.telling(lambda *tile: told.append(tile)).predict(prepared, {})
    plain = roomy.predict(roomy.prepare({"CT": volume}), {})
    assert len(told) == tight.tiles(prepared) > roomy.tiles(roomy.prepare({"CT": volume}))
    assert np.abs(found.probability(1).astype(int) - plain.probability(1)).max() <= 1
    assert found.uncertainty is not None
    assert plain.uncertainty is not None
    assert np.abs(found.uncertainty.astype(int) - plain.uncertainty).max() <= 2
    assert (found.classes != plain.classes).mean() < 1e-3
    assert 0.01 < plain.classes.mean() < 0.99


def predicted(model: Path, images: Path, out: Path, limit: str) -> tuple[int, str]:
    """Predict within a limit, in a process of its own; return its exit code and what it told."""
    words = [
        "predict",
        model,
        images,
        "--out",
        out,
        "--max-ram",
        limit,
        "--threads",
        1,
        "--overlap",
        0,
    ]
    command = [sys.executable, "-m", "voxhint", *map(str, words), "--device", "cpu"]
    done = subprocess.run(command, check=False, text=True, stderr=subprocess.PIPE)
    return done.returncode, done.stderr


@pytest.mark.slow
def test_a_limit_is_kept_or_refused_with_what_would_fit(tmp_path: Path) -> None:
    names = ("background", *(f"l{number}" for number in range(60)))
    wanted = replace(
        SMALL, labels=LabelSet(names, tuple(range(61))), patch=(24, 24, 24), spacing_mm=(1, 1, 1)
    )
    model = untrained_model(tmp_path / "model", wanted)
    voxels = np.random.default_rng(0).integers(-900, 300, (120, 140, 100)).astype(np.float32)
    write_image(
        tmp_path / "in" / "a_0000.nii.gz", Volume(voxels, Grid(voxels.shape, np.eye(4)), "HU")
    )
    code, told = predicted(model, tmp_path / "in", tmp_path / "none", "100M")
    assert code == 1
    found = re.search(r"error: predicting needs up to .* allow --max-ram (\S+)\n", told)
    assert found is not None
    assert not (tmp_path / "none").exists()
    code, _ = predicted(model, tmp_path / "in", tmp_path / "out", found[1])
    assert code == 0
    peak = json.loads((tmp_path / "out" / "made.json").read_text())["peak_ram_mb"]
    assert bytes_of(found[1]) / 1.5 < peak * 2**20 <= bytes_of(found[1])


def test_many_masks_without_any_label_are_told_of(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.nii.gz" for name in "abcd"]
    grid = Grid((4, 4, 4), np.eye(4))
    for path in paths:
        write_ids(path, np.zeros(grid.shape, np.uint8), grid)
    (warning,) = emptiness(paths)
    assert warning.startswith("none of 4 masks holds any label")
    assert emptiness(paths[:2]) == ()
    write_ids(paths[3], np.ones(grid.shape, np.uint8), grid)
    assert emptiness(paths) == ()


def test_a_model_that_finds_nothing_anywhere_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = untrained_model(tmp_path / "model", SMALL)
    net = network_of(SMALL)
    begin_with(net, torch.tensor([1.0, *[1e-30] * (len(SMALL.labels.names) - 1)]))
    (model / "weights.safetensors").write_bytes(weights_bytes(net))
    for name in "abc":
        write_image(tmp_path / "in" / f"{name}_0000.nii.gz", scan(slanted_grid(), 0))
    words = ("predict", model, tmp_path / "in", "--out", tmp_path / "out", "--device", "cpu")
    with pytest.raises(SystemExit, match="0"):
        main([str(word) for word in words])
    assert "none of 3 masks holds any label" in capsys.readouterr().err
    warnings = json.loads((tmp_path / "out" / "made.json").read_text())["warnings"]
    assert warnings[-1].startswith("none of 3 masks")


@pytest.mark.parametrize("given", ["imagesTs", "imagesTs/a_0000.nii.gz"])
def test_masks_are_never_written_into_a_study(
    tmp_path: Path, given: str, capsys: pytest.CaptureFixture[str]
) -> None:
    study, model = tmp_path / "study", untrained_model(tmp_path / "model", SMALL)
    write_image(study / "imagesTs" / "a_0000.nii.gz", scan(slanted_grid(), 0))
    (study / "dataset.json").write_text("{}", "utf-8")
    for out in ([], ["--out", str(study / "masks")]):
        with pytest.raises(SystemExit, match="1"):
            main(["predict", str(model), str(study / given), *out])
        assert "choose a folder apart" in capsys.readouterr().err
    assert sorted(path.name for path in study.rglob("*") if path.is_file()) == [
        "a_0000.nii.gz",
        "dataset.json",
    ]
