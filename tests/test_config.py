"""The one page of knobs: each is named once, explained, and kept in its range."""

import dataclasses
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from voxhint.cli import main
from voxhint.config import (
    LabelConfig,
    Machine,
    MeasureConfig,
    PredictConfig,
    Recipe,
    TrainConfig,
    bytes_of,
    read_recipe,
    seconds_of,
)
from voxhint.config.knob_list import listed
from voxhint.config.recipe import changed_recipe
from voxhint.config.renamed_knobs import _GONE, RENAMED
from voxhint.config.tags import TagConfig
from voxhint.core import LabelSet
from voxhint.core.errors import BadRecipeError
from voxhint.verbs.calibration import measure_trust
from voxhint.verbs.check import check
from voxhint.verbs.import_luna16 import Luna16Request
from voxhint.verbs.measure import Truth, measure
from voxhint.verbs.simulate import HintWriter


def recipe_of(folder: Path, text: str) -> Recipe:
    path = folder / "recipe.toml"
    path.write_text(text, "utf-8")
    return read_recipe(path)


def test_an_empty_recipe_has_every_default(tmp_path: Path) -> None:
    assert recipe_of(tmp_path, "") == Recipe()


def test_a_recipe_changes_only_what_it_names(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, '[train]\nsteps = 7\nbudget = "2h"\n[label]\nscale_mm = 4\n')
    assert recipe.train == TrainConfig(steps=7, budget="2h")
    assert recipe.label == LabelConfig(scale_mm=4.0)
    assert (recipe.predict, recipe.measure) == (PredictConfig(), MeasureConfig())


@pytest.mark.parametrize(
    ("table", "line", "knob"),
    [
        ("label", "scale = 3", "label.scale"),
        ("train", "widht = 8", "train.widht"),
        ("predict", "overlapp = 0.5", "predict.overlapp"),
        ("measure", "tolerance = 1", "measure.tolerance"),
        ("trian", "steps = 8", "trian.steps"),
        ("label", 'method = "magic"', "label.method"),
        ("label", "scale_mm = 0", "label.scale_mm"),
        ("label", "scale_mm = inf", "label.scale_mm"),
        ("label.pw4medseg", "sigma_mm = -1", "label.pw4medseg.sigma_mm"),
        ("label.tags", "trust = 1.1", "label.tags.trust"),
        ("label.tags", 'fuse = ["grad-cam++", "magic"]', "label.tags.fuse.1"),
        ("label.tags", "regions = 0", "label.tags.regions"),
        ("label.tags", "largest_mm = 0", "label.tags.largest_mm"),
        ("label.tags", 'verify = "perhaps"', "label.tags.verify"),
        ("train", "width = 0", "train.width"),
        ("train", "steps = 2.5", "train.steps"),
        ("train", "batch = 0", "train.batch"),
        ("train", "held_out = 0.6", "train.held_out"),
        ("train", "learning_rate = nan", "train.learning_rate"),
        ("train", "learning_rate = inf", "train.learning_rate"),
        ("train", "dice_weight = -1", "train.dice_weight"),
        ("train", "crf_weight = -1", "train.crf_weight"),
        ("train", 'network = "unet"', "train.network"),
        ("train", 'flips = "perhaps"', "train.flips"),
        ("train", 'pseudo_modalities = ["magic"]', "train.pseudo_modalities.0"),
        ("train", "crossmodal = 3", "train.crossmodal"),
        ("train.crossmodal", 'fusion = "magic"', "train.crossmodal.fusion"),
        ("train.crossmodal", "modality_dropout = 1.1", "train.crossmodal.modality_dropout"),
        ("train.crossmodal", "consistency_weight = -1", "train.crossmodal.consistency_weight"),
        ("predict", "overlap = 0.95", "predict.overlap"),
        ("measure", "tolerance_mm = 0", "measure.tolerance_mm"),
    ],
)
def test_a_typo_or_a_value_out_of_range_is_refused_by_its_name(
    tmp_path: Path, table: str, line: str, knob: str
) -> None:
    with pytest.raises(BadRecipeError, match=rf"recipe\.toml: {knob}: ") as caught:
        recipe_of(tmp_path, f"[{table}]\n{line}\n")
    assert "\n" not in str(caught.value)


def test_views_are_named_in_a_list(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, '[train]\npseudo_modalities = ["plain", "style"]\n')
    assert recipe.train.pseudo_modalities == ("plain", "style")


@pytest.mark.parametrize("text", ["[train", "steps", "a = 1\na = 2"])
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadRecipeError, match="mend the file"):
        recipe_of(tmp_path, text)


def test_a_recipe_that_is_missing_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRecipeError, match=r"gone\.toml"):
        read_recipe(tmp_path / "gone.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadRecipeError, match=r"bytes\.toml"):
        read_recipe(tmp_path / "bytes.toml")


OUT_OF_RANGE: tuple[tuple[type[Any], dict[str, Any], str], ...] = (
    (PredictConfig, {"overlap": 0.95}, "overlap: 0.95 should be less"),
    (PredictConfig, {"passes": 0}, "passes: 0 should be greater"),
    (TrainConfig, {"steps": -1}, "steps: -1 should be greater"),
    (TrainConfig, {"learning_rate": float("nan")}, "learning_rate: nan should be a finite number"),
    (TrainConfig, {"budget": "soon"}, "budget 'soon' is not a time"),
    (TrainConfig, {"hu_window": (240.0, -160.0)}, "hu_window 240 to -160 holds nothing"),
    (TagConfig, {"smallest_mm": 9.0, "largest_mm": 3.0}, "at least 9 mm and at most 3 mm"),
    (MeasureConfig, {"tolerance_mm": 0.0}, "tolerance_mm: 0.0 should be greater"),
    (Machine, {"seed": -1}, "seed: -1 should be greater"),
    (Machine, {"threads": -1}, "threads: -1 should be greater"),
    (Machine, {"max_ram": "8"}, "max-ram '8' is not a size"),
    (Luna16Request, {"window_mm": -1.0}, "window_mm: -1.0 should be greater"),
    (Luna16Request, {"windows": 0}, "windows: 0 should be greater"),
)


@pytest.mark.parametrize(("page", "knobs", "told"), OUT_OF_RANGE)
def test_python_is_refused_what_recipes_are(
    page: type[Any], knobs: dict[str, Any], told: str
) -> None:
    with pytest.raises(BadRecipeError, match=told):
        page(**knobs)
    with pytest.raises(BadRecipeError, match=told):
        dataclasses.replace(page(), **knobs)


def test_command_line_recipe_and_python_say_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BadRecipeError) as built:
        TrainConfig(width=0)
    with pytest.raises(BadRecipeError) as written:
        recipe_of(tmp_path, "[train]\nwidth = 0\n")
    assert str(written.value) == f"recipe.toml: train.{built.value}"
    with pytest.raises(SystemExit) as end:
        main(["train", str(tmp_path), "--out", str(tmp_path / "out"), "--set", "train.width=0"])
    assert end.value.code == 1
    assert capsys.readouterr().err == f"error: train.{built.value}\n"


def test_a_seed_below_zero_is_refused_by_every_verb(tmp_path: Path) -> None:
    told = "seed: -1 should be greater"
    truth = Truth({}, LabelSet(("background", "a"), (0, 1)), {})
    with pytest.raises(BadRecipeError, match=told):
        HintWriter(tmp_path, truth.labels, -1)
    with pytest.raises(BadRecipeError, match=told):
        measure(
            tmp_path,
            Truth({}, LabelSet(("background", "a"), (0, 1)), {}),
            config=MeasureConfig(),
            seed=-1,
        )
    with pytest.raises(BadRecipeError, match=told):
        measure_trust(tmp_path, tmp_path, seed=-1)
    with pytest.raises(BadRecipeError, match="registration_mm: nan"):
        check(tmp_path, registration_mm=float("nan"))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("20m", 1200), ("2h", 7200), ("45", 45), ("1.5h", 5400), (" 3 m ", 180)],
)
def test_a_budget_is_read_as_seconds(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "-2h", "0s", "2d", "2h30m", "1,5h", "soon"])
def test_a_budget_that_is_no_time_is_refused_with_examples(text: str) -> None:
    with pytest.raises(BadRecipeError, match="write 90s, 20m or 2h"):
        seconds_of(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("900M", 900 * 2**20),
        ("8G", 2**33),
        ("8g", 2**33),
        ("8GB", 2**33),
        ("8 GiB", 2**33),
        ("1.5T", 3 * 2**39),
    ],
)
def test_a_size_is_read_as_bytes(text: str, size: int) -> None:
    assert bytes_of(text) == size


@pytest.mark.parametrize("text", ["", "8", "G", "0G", "-8G", "8K", "8 apples"])
def test_a_size_that_is_none_is_refused_with_examples(text: str) -> None:
    with pytest.raises(BadRecipeError, match="write 900M or 8G"):
        bytes_of(text)


def test_no_two_options_of_a_command_share_a_name() -> None:
    # knobs at the top of a table are options, which have no table before them
    tops = [knob.name.split(".") for knob in listed(Recipe) if knob.name.count(".") == 1]
    names = [*(name for _, name in tops), *(field.name for field in dataclasses.fields(Machine))]
    assert [name for name, count in Counter(names).items() if count > 1] == []


def test_every_knob_has_a_default_and_says_what_it_does_and_takes() -> None:
    for knob in (*listed(Recipe), *listed(Machine)):
        assert knob.default is not dataclasses.MISSING
        assert knob.text.endswith("."), knob.name
        assert knob.takes, knob.name


@pytest.mark.parametrize(("old", "new"), sorted(RENAMED.items()))
def test_an_old_knob_is_told_its_new_name(tmp_path: Path, old: str, new: str) -> None:
    table, name = old.split(".")
    known = {knob.name for knob in listed(Recipe)}
    assert re.split("[ ,]", new)[0] in known
    assert old not in known
    with pytest.raises(BadRecipeError, match=rf"{old} is called {re.escape(new)} now; rename it$"):
        recipe_of(tmp_path, f"[{table}]\n{name} = 1\n")


def test_a_knob_that_is_gone_and_a_value_that_was_renamed_are_told(tmp_path: Path) -> None:
    assert not _GONE & {knob.name for knob in listed(Recipe)}
    with pytest.raises(BadRecipeError, match=r"train\.noise is no knob any more; remove it"):
        recipe_of(tmp_path, '[train]\nnoise = "gce"\n')
    with pytest.raises(BadRecipeError, match=r"train\.loss: 'published' is called 'pw4medseg' now"):
        recipe_of(tmp_path, '[train]\nloss = "published"\n')


def test_knobs_are_set_by_their_full_names() -> None:
    recipe = changed_recipe(None, {"label.tags.method": "grad-cam++", "train.width": 8})
    assert recipe.label.tags == TagConfig(method="grad-cam++")
    assert recipe.train == TrainConfig(width=8)
    with pytest.raises(BadRecipeError, match=r"did you mean train\.width\?"):
        changed_recipe(None, {"train.widht": 8})
