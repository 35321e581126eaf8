"""A network handed on gives the masks that voxhint gives, with nothing of voxhint beside it."""

import json
import runpy
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from tests.models.untrained import untrained_model
from tests.phantoms import scan, slanted_grid
from tests.training.scenes import plan
from tests.verbs.test_send_back import called

from voxhint.cli.main import main
from voxhint.core import Grid, LabelSet, Volume
from voxhint.core.errors import BadFileError
from voxhint.core.grid import Axis
from voxhint.files.images import read_ids, write_image
from voxhint.prepare import Plan, from_working, prepare_image
from voxhint.prepare.plan import Intensity
from voxhint.verbs.export import export
from voxhint.verbs.export_network import SCRIPTS, plan_for_others

PLAN = replace(
    plan(),
    channels=("CT", "PET"),
    optional_channels=("PET",),
    labels=LabelSet(("background", "liver", "spleen"), (0, 7, 3)),
    spacing_mm=(1.5, 1.0, 3.0),
    patch=(8, 12, 4),
    strides=((1, 1, 1), (2, 2, 1)),
    kernels=((3, 3, 1), (3, 3, 3)),
    features=(4, 8),
    intensity={"CT": Intensity(-50.0, 150.0, 20.0, 35.0)},
)
CALIBRATION = {"temperature": 1.7, "facts": 9, "loss_before": 2.0, "loss_after": 1.0}


def make_run(folder: Path, wanted: Plan = PLAN) -> Path:
    """Return a run that holds an untrained model."""
    model = untrained_model(folder / "model", wanted)
    (model / "calibration.json").write_text(json.dumps(CALIBRATION))
    (model / "made.json").write_text(json.dumps({"verb": "train"}))
    (folder / "made.json").write_text(json.dumps({"verb": "run", "study": "../study"}))
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Return a folder with a case of two channels on grids of their own."""
    folder = tmp_path / "images"
    write_image(folder / "a_0000.nii.gz", scan(slanted_grid(), 0))
    write_image(folder / "a_0001.nii.gz", scan(slanted_grid().spaced(np.array([2.5, 2, 2])), 1))
    (folder / "dataset.json").write_text(json.dumps({"channel_names": {"0": "CT", "1": "PET"}}))
    return folder


def own_mask(run: Path, images: Path, out: Path) -> np.ndarray:
    words = ("--out", out, "--precision", "float32")  # which is what other programs compute in
    assert called("predict", run, images, *words) == 0
    return read_ids(out / "a.nii.gz")[0]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit.load. is deprecated:DeprecationWarning")
@pytest.mark.parametrize(
    ("target", "network"),
    [
        ("onnx", "dynunet"),
        ("torchscript", "dynunet"),
        ("onnx", "segresnet"),
        ("onnx", "crossmodal"),
        ("torchscript", "crossmodal"),
    ],
)
def test_the_script_that_comes_along_makes_the_same_mask(
    tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch, target: str, network: str
) -> None:
    if target == "onnx":
        pytest.importorskip("onnx")
        pytest.importorskip("onnxruntime")
    run = make_run(tmp_path / "run", replace(PLAN, network=network, features=(8, 8)))
    made = export(run, to=target, out=tmp_path / "out")
    assert not made.warnings
    monkeypatch.syspath_prepend(made.out)
    monkeypatch.delitem(sys.modules, "preparation", raising=False)
    for channels in (2, 1):  # the second may be missing
        given = [str(images / "a_0000.nii.gz"), str(images / "a_0001.nii.gz")]
        if channels == 1:
            (images / "a_0001.nii.gz").unlink()
            given[1] = "-"
        mask = tmp_path / f"mask{channels}.nii.gz"
        monkeypatch.setattr(sys, "argv", ["predict.py", *given, "--out", str(mask)])
        runpy.run_path(str(made.out / "predict.py"), run_name="__main__")
        theirs, grid = read_ids(mask)
        ours = own_mask(run, images, tmp_path / f"own{channels}")
        assert len(np.unique(ours)) > 1
        assert (theirs != ours).mean() < 0.001
        assert grid.same(slanted_grid())


def grids() -> list[Grid]:
    """Return grids whose axes run in every order and both ways, one of them oblique and thick."""
    plain = np.diag([-1.0, 1.25, 2.0, 1.0])
    turned = [plain[:, [*order, 3]] for order in permutations(range(3))]
    thick = slanted_grid().affine @ np.diag([1, 1, 4.0, 1])
    tilted = thick.copy()
    tilted[:3, :3] = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0] @ np.diag(
        [0.9, 0.9, 6]
    )
    return [Grid((9, 8, 7), affine) for affine in (*turned, thick, tilted)]


@pytest.mark.parametrize("grid", grids(), ids=str)
@pytest.mark.parametrize("stacked", [None, 2, 0])
def test_preparation_without_voxhint_is_that_of_voxhint(
    monkeypatch: pytest.MonkeyPatch, grid: Grid, stacked: Axis | None
) -> None:
    alone = runpy.run_path(str(SCRIPTS / "preparation.py"))
    wanted = replace(PLAN, stacked=stacked)
    rng = np.random.default_rng(0)
    volumes = {
        name: Volume(rng.normal(0, 60, one.shape).astype(np.float32), one)
        for name, one in (("CT", grid), ("PET", slanted_grid()))
    }
    ours, working = prepare_image(volumes, wanted)
    given = {name: (one.voxels, one.grid.affine) for name, one in volumes.items()}
    theirs, affine = alone["prepare"](given, plan_for_others(wanted, "model.onnx"))
    np.testing.assert_allclose(affine, working.affine, atol=1e-9)
    np.testing.assert_allclose(theirs, ours, atol=1e-4)
    back = alone["restore"](ours, working.affine, grid.shape, grid.affine)
    wanted_back = np.stack([from_working(one, working, grid) for one in ours])
    np.testing.assert_allclose(back, wanted_back, atol=1e-4)


@pytest.mark.slow
def test_nothing_in_the_files_names_a_folder_of_this_machine(run: Path, tmp_path: Path) -> None:
    made = export(run, to="torchscript", out=tmp_path / "out").out
    shutil.unpack_archive(made / "model.ts", tmp_path / "open", "zip")
    for path in [*made.iterdir(), *(tmp_path / "open").rglob("*")]:
        if path.is_file() and path.name not in ("predict.py", "preparation.py"):
            held = path.read_bytes()
            assert str(SCRIPTS.parent).encode() not in held
            assert b"site-packages" not in held


def test_what_only_voxhint_makes_is_refused_and_what_is_left_out_is_told(tmp_path: Path) -> None:
    views = replace(PLAN, channels=("CT",), optional_channels=(), views=("plain", "smooth"))
    run = make_run(tmp_path / "views", views)
    with pytest.raises(BadFileError, match="sees pseudo-modalities"):
        export(run, to="torchscript", out=tmp_path / "out")
    tags = make_run(tmp_path / "tags")
    (tags / "model" / "classifier").mkdir()
    (line,) = export(tags, to="torchscript", out=tmp_path / "out").warnings
    assert "the network alone" in line


def test_onnx_without_its_extra_is_one_line(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    words = ["export", str(run), "--to", "onnx", "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 3
    assert 'pip install "voxhint[onnx]"' in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def bundle_run(bundle: Path, *words: str) -> None:
    """Run MONAI's own command, where voxhint cannot be imported."""
    alone = "import sys; sys.modules['voxhint'] = None; import runpy; "
    code = alone + "runpy.run_module('monai.bundle', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=bundle,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize("network", ["dynunet", "segresnet"])
def test_monai_runs_a_bundle_by_its_own_command_and_makes_the_same_mask(
    tmp_path: Path, images: Path, network: str
) -> None:
    pytest.importorskip("ignite")
    pytest.importorskip("fire")
    run = make_run(tmp_path / "run", replace(PLAN, network=network, features=(8, 8)))
    bundle = export(run, to="monai-bundle", out=tmp_path / "bundle").out
    files = ("--meta_file", "configs/metadata.json", "--config_file", "configs/inference.json")
    bundle_run(bundle, "verify_net_in_out", "network_def", *files, "--device", "cpu")
    folders = ("--dataset_dir", str(images), "--output_dir", str(tmp_path / "masks"))
    bundle_run(bundle, "run", *files, *folders, "--device", "$torch.device('cpu')")
    theirs, grid = read_ids(tmp_path / "masks" / "a_0000_mask.nii.gz")
    ours = own_mask(run, images, tmp_path / "own")
    assert len(np.unique(ours)) > 1
    assert (theirs != ours).mean() < 0.001
    assert grid.same(slanted_grid())


def test_a_bundle_tells_what_monai_asks_and_no_name_in_it_is_carried_out(tmp_path: Path) -> None:
    evil = "$__import__('os').system('true')"
    named = replace(PLAN, labels=LabelSet(("background", evil, "@b"), (0, 7, 3)))
    bundle = export(make_run(tmp_path / "run", named), to="monai-bundle", out=tmp_path / "m").out
    told = json.loads((bundle / "configs" / "metadata.json").read_text())
    assert told.keys() >= {
        *("schema", "version", "monai_version", "pytorch_version", "numpy_version"),
        *("required_packages_version", "task", "description", "authors", "copyright"),
    }
    pred = told["network_data_format"]["outputs"]["pred"]
    assert (pred["num_channels"], pred["channel_def"]["2"]) == (3, "b")
    for name in ("metadata.json", "inference.json"):
        held = (bundle / "configs" / name).read_text()
        assert f'"{evil}' not in held
        assert '"@b"' not in held
