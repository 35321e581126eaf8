"""What `import voxhint` gives: exactly this, light, checked, arrays in and arrays out."""

import ast
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import Float32
from tests.phantoms import make_study
from tests.poses import TURNS, grid_at
from torch import nn

import voxhint as vh
from voxhint.api.images import grid_of
from voxhint.core import Grid, Turn
from voxhint.files.images import write_image
from voxhint.prepare import Plan

LIGHT = """
import sys
import voxhint
assert voxhint.__version__[0].isdigit()
assert not [n for n in ("torch", "numpy", "pydantic", "monai") if n in sys.modules]
assert dir(voxhint) == voxhint.__all__
for name in voxhint.__all__:
    assert getattr(voxhint, name).__doc__
"""


def test_importing_it_is_light_and_completion_shows_what_it_offers() -> None:
    subprocess.run([sys.executable, "-c", LIGHT], check=True, timeout=120)
    with pytest.raises(AttributeError, match="no attribute 'core2'"):
        _ = vh.core2


def test_no_room_hides_a_function_of_the_front_door() -> None:
    rooms = {path.parent.name for path in Path(vh.__file__).parent.glob("*/__init__.py")}
    assert not rooms & set(vh.__all__)


def ball() -> Float32[np.ndarray, "i j k"]:
    apart = np.linalg.norm(np.indices((20, 20, 12)).T - (10, 10, 6), axis=-1).T
    return np.asarray(apart < 4, np.float32)


CLICKS = (
    vh.Points("ball", [[20, 20, 18], [24, 20, 18]]),
    vh.Points("background", [[2, 2, 3], [36, 36, 30], [20, 20, 33], [20, 34, 18]]),
)


@pytest.mark.parametrize("as_path", [False, True])
def test_a_soft_label_of_an_array_or_a_path_finds_what_was_clicked(
    tmp_path: Path, *, as_path: bool
) -> None:
    image: object = ball()
    given: dict[str, object] = {"spacing": (2, 2, 3)}
    if as_path:
        write_image(tmp_path / "scan.nii.gz", vh.Volume(ball(), grid(), "a.u."))
        image, given = str(tmp_path / "scan.nii.gz"), {}
    soft = vh.soft_label(image, CLICKS, ["ball"], **given)  # type: ignore[arg-type]
    assert soft.probs.shape == (2, 20, 20, 12)
    found = soft.largest_class() == 1
    assert found[10, 10, 6]
    assert (found & (ball() > 0)).sum() > 0.9 * found.sum()
    assert len(repr(soft)) < 80


def grid() -> Grid:
    return grid_of((20, 20, 12), spacing=(2, 2, 3))


def test_scribbles_lie_on_the_image_and_prove_what_they_cross() -> None:
    drawn = np.full((20, 20, 12), 255)
    drawn[10, 8:12, 6], drawn[1, :, 6] = 1, 0
    soft = vh.soft_label(ball(), [vh.Scribbles(drawn)], ["ball"])
    assert (soft.probs[1, 10, 8:12, 6] == 1).all()
    assert (soft.probs[0, 1, :, 6] == 1).all()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda: vh.TrainConfig(steps=-1), "steps: -1 should be greater"),
        (lambda: vh.Points("a", [[1, 2]]), "give x, y, z in mm"),
        (lambda: vh.Points("a", [1, 2, float("nan")]), "give numbers in mm"),
        (lambda: vh.Points("a", [1, 2, 3], 2.0), "confidence of 2"),
        (lambda: vh.Box("a", [2, 2, 2], [1, 3, 3]), "lower corner first"),
        (lambda: vh.Diameter("a", [1, 2, 3], 0), "give x, y, z and a size"),
        (lambda: vh.Tag("a", "maybe"), "use present, absent or unknown"),
        (lambda: vh.soft_label(ball(), [], ["ball"]), "no hint is given"),
        (lambda: vh.soft_label(ball(), CLICKS, ["heart"]), "the labels are background, heart"),
        (lambda: vh.soft_label(ball()[0], CLICKS, ["ball"]), "three axes"),
        (lambda: vh.soft_label(ball(), [vh.Points("a", [5, 5, 99])], ["a"]), "point .* outside"),
        (lambda: vh.soft_label(ball(), [vh.Diameter("a", [5, 5, 99], 4)], ["a"]), "centre .* outs"),
        (
            lambda: vh.soft_label(ball(), [vh.Box("a", [5, 5, 50], [9, 9, 60])], ["a"]),
            "box .* outside",
        ),
        (lambda: vh.soft_label(ball() + np.nan, CLICKS, ["ball"]), "that are no numbers"),
        (
            lambda: vh.soft_label(ball(), [vh.Scribbles(np.full((20, 20, 12), 7))], ["ball"]),
            "scribbles hold",
        ),
        (lambda: vh.Model.load("/no/model"), "holds no trained model"),
    ],
)
def test_what_is_wrong_is_refused_in_one_line(wrong: Callable[[], object], told: str) -> None:
    with pytest.raises(vh.VoxhintError, match=told) as no:
        wrong()
    assert "\n" not in str(no.value)


def test_a_box_within_the_outer_half_of_the_last_slice_lies_in_the_image() -> None:
    soft = vh.soft_label(ball(), [vh.Box("ball", [5, 5, 11.1], [9, 9, 11.4])], ["ball"])
    assert soft.probs.shape == (2, 20, 20, 12)


def test_a_figure_shows_the_slice_with_most_of_the_mask() -> None:
    mask = np.zeros((20, 20, 12), np.uint8)
    mask[4:8, 4:8, 6], mask[4, 4, 5] = 1, 1
    figure = vh.show(ball(), mask, spacing=(1, 1, 2))
    assert figure.axes[0].get_title() == "slice 6"
    assert len(vh.show(ball(), slices=[1, 2]).axes) == 2
    with pytest.raises(vh.VoxhintError, match="give both on one grid"):
        vh.show(ball(), np.zeros((2, 2, 2)))


@pytest.mark.parametrize("turn", TURNS)
def test_a_figure_looks_alike_however_an_image_is_stored(turn: Turn) -> None:
    grid, voxels = grid_at((6, 5, 4), (1.0, 2.0, 3.0)), np.arange(120.0, dtype=np.float32)
    stored = vh.Volume(turn.apply(voxels.reshape(6, 5, 4)), grid.turned(turn))
    layer = 3 if turn.flips[turn.axes.index(2)] else 0
    (axes,) = vh.show(stored, axis=turn.axes.index(2), slices=[layer]).axes
    assert np.array_equal(
        np.asarray(axes.images[0].get_array()), voxels.reshape(6, 5, 4)[:, :, 0].T
    )
    assert axes.get_ylim() == (-0.5, 4.5)  # anterior is up
    assert axes.get_xlim() == (5.5, -0.5)  # the patient's right is left
    assert axes.get_aspect() == 2


def own(plan: Plan) -> nn.Module:
    return nn.Conv3d(len(plan.channels), len(plan.labels.names), 3, padding=1)


def test_a_network_of_ones_own_is_trained_and_opened_with_its_maker(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", dense=True)
    how = vh.TrainConfig(supervision="dense", steps=2, patch_voxels=4000)
    machine = vh.Machine(device="cpu", threads=1)
    model = vh.train(str(study), str(tmp_path / "model"), config=how, machine=machine, network=own)
    image = next((study / "imagesTs").iterdir())
    mask = model.predict(str(image))
    assert set(np.unique(mask.ids)) <= set(mask.names.ids)
    again = vh.Model.load(str(tmp_path / "model"), machine=machine, network=own).predict(image)
    assert np.array_equal(mask.ids, again.ids)
    assert "ball" in repr(model)
    with pytest.raises(vh.VoxhintError, match=r"network was made by .*own; open it with"):
        vh.Model.load(tmp_path / "model", machine=machine)


@pytest.mark.parametrize(
    "machine", [vh.Machine(undrawn=0), vh.Machine(skip_bad=True), vh.Machine(max_ram="8G")]
)
def test_what_a_prediction_does_not_ask_is_refused(tmp_path: Path, machine: vh.Machine) -> None:
    with pytest.raises(vh.VoxhintError, match="without effect, as a prediction reads no hints"):
        vh.Model.load(tmp_path, machine=machine)


@pytest.mark.parametrize("verb", [vh.run, vh.train])
def test_a_forecast_is_not_a_whole_run(tmp_path: Path, verb: Callable[..., object]) -> None:
    with pytest.raises(vh.VoxhintError, match="dry_run: without effect"):
        verb(tmp_path, tmp_path / "out", machine=vh.Machine(dry_run=True))


def test_the_notebook_runs() -> None:
    path = Path(__file__).parents[2] / "examples" / "hints_to_mask.ipynb"
    cells = json.loads(path.read_text("utf-8"))["cells"]
    names: dict[str, object] = {}
    shown: list[object] = []
    for cell in cells:
        if cell["cell_type"] != "code":
            continue
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, str(path), "exec"), names)
        if isinstance(last, ast.Expr):
            shown.append(eval(compile(ast.Expression(last.value), str(path), "eval"), names))
    assert float(str(shown[-1]).removeprefix("Dice ")) > 0.8
