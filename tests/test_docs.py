"""The docs say what the program does: every command in them parses, every example runs."""

import dataclasses
import importlib.util
import re
import runpy
import shlex
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from tests.phantoms import make_study

from voxhint import config
from voxhint.cli.commands import COMMANDS
from voxhint.cli.main import _parse
from voxhint.cli.options import parser_of
from voxhint.config.knob_list import listed
from voxhint.core import Grid, LabelSet
from voxhint.core.compact import CompactSoftLabel
from voxhint.core.sparse_constraints import SparseConstraints
from voxhint.files.soft_labels import write_soft_label
from voxhint.verbs import run as run_verb
from voxhint.verbs.label import label
from voxhint.verbs.train import train_on

ROOT = Path(__file__).resolve().parents[1]
CPU = config.Machine(device="cpu", threads=1)
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
EXAMPLES = sorted(ROOT.glob("examples/*.py"))
RECIPES = sorted(ROOT.glob("recipes/*.toml"))


def blocks(page: Path, language: str) -> list[str]:
    """Return the code blocks of one language on a page."""
    text = page.read_text("utf-8")
    found = re.findall(rf"^ *```{language}\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    return [str(block) for block in found]


def commands() -> list[tuple[str, list[str]]]:
    """Return every command of ours on every page, and its words."""
    lines = [
        (page.name, shlex.split(line, comments=True))
        for page in PAGES
        for block in blocks(page, "bash")
        for line in block.replace("\\\n", " ").splitlines()
    ]
    return [(page, words[1:]) for page, words in lines if words[:1] == ["voxhint"]]


def test_a_command_in_the_docs_is_one_that_voxhint_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(commands()) > 5
    shutil.copy(ROOT / "examples" / "recipe.toml", tmp_path)
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    monkeypatch.chdir(tmp_path)
    for page, words in commands():
        if words[0] in ("help", "completion", "-V"):
            continue
        name, kind, rest = words[0], COMMANDS[words[0]], words[1:]
        if hasattr(kind, "kinds"):
            kind, rest = kind.kinds[rest[0]], rest[1:]
        try:
            _parse(name, kind, rest)
        except SystemExit:
            pytest.fail(f"{page}: voxhint {' '.join(words)} is refused")


PROSE = [
    ROOT / "README.md",
    *(page for page in PAGES if page.parent.name in ("tutorials", "how-to", "reference")),
]
"""Pages about what there is; results and decisions also name what there was."""

OF_OTHERS = {"--cuda", "--gpus-per-task", "--verify_dataset_integrity"}
"""Options of scripts/install, SLURM and nnU-Net."""

TABLES = "label|train|predict|measure|tags|classifier|flow|guided_flow|crossmodal|pw4medseg"


def every_option() -> set[str]:
    """Return the options of all commands."""
    kinds = [
        kind
        for command in COMMANDS.values()
        for kind in getattr(command, "kinds", {"": command}).values()
    ]
    actions = [action for kind in kinds for action in parser_of("any", kind)._actions]
    return {option for action in actions for option in action.option_strings}


def unknown_names(text: str) -> set[str]:
    """Return the options and knobs in the prose of a page that do not exist."""
    named = re.findall(r"`([^`\n]+)`", text)
    options = {code.split()[0] for code in named if code.startswith("--")}
    knobs = {
        found[0]
        for code in named
        if (found := re.match(rf"(?:{TABLES})\.(?!json|py)[a-z_.]+", code))
    }
    known = [knob.name for knob in listed(config.Recipe)]
    lost = {knob for knob in knobs if not any(f".{name}".endswith(f".{knob}") for name in known)}
    return (options - every_option() - OF_OTHERS) | lost


def test_the_text_of_a_page_names_options_and_knobs_that_exist() -> None:
    assert unknown_names("`--bell-mm` and `label.bell_mm = 3`") == {"--bell-mm", "label.bell_mm"}
    assert {
        page.name: lost for page in PROSE if (lost := unknown_names(page.read_text("utf-8")))
    } == {}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_a_recipe_is_read_and_changes_something(recipe: Path) -> None:
    assert config.read_recipe(recipe) != config.Recipe()


def test_the_recipe_in_the_docs_is_read() -> None:
    recipe = config.read_recipe(ROOT / "examples" / "recipe.toml")
    assert recipe.train.steps == 2000
    assert recipe != config.Recipe()


@pytest.fixture
def short_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder that holds a study, and let training be short there."""
    make_study(tmp_path / "study", cases=1, tests=1)

    def shortened(*what: Any, config: config.TrainConfig, **rest: Any) -> Path:
        quick = dataclasses.replace(config, steps=2, width=4, patch_voxels=4000)
        return train_on(*what, config=quick, **rest)

    monkeypatch.setattr(run_verb, "train_on", shortened)
    monkeypatch.chdir(tmp_path)
    return tmp_path


MADE = {
    "front_door": "lesion.png",
    "own_network": "model/weights.safetensors",
    "run_a_study": "run/report.html",
}
"""What each example leaves behind."""


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_an_example_runs(example: Path, short_training: Path) -> None:
    if example.stem == "own_network":
        folder = short_training
        label(folder / "study", folder / "labels", config=config.LabelConfig(), machine=CPU)
    runpy.run_path(str(example), run_name="__main__")
    assert (short_training / MADE[example.stem]).exists()


def test_the_soft_label_of_a_whole_scan_is_read_as_the_reference_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shown,) = blocks(ROOT / "docs" / "reference" / "files.md", "python")
    labels, shape = LabelSet(("background", "LABEL", "B"), (0, 1, 2)), (37, 4, 3)
    rng = np.random.default_rng(0)
    hints = SparseConstraints(
        places=np.zeros(0, np.int64),
        proven=np.zeros((3, 0), np.float32),
        possible=np.zeros((3, 0), np.float32),
        elsewhere=np.ones(3, np.float32),
        grid=Grid(shape, np.eye(4)),
    )
    first = rng.integers(3, size=shape).astype(np.uint8)
    prob, trust = rng.integers(2**14, 2**15, size=(2, *shape)).astype(np.uint16)
    known = CompactSoftLabel(first, (first + 1) % 3, prob, trust, np.zeros(3, np.bool_), hints)
    (tmp_path / "labels").mkdir()
    write_soft_label(tmp_path / "labels", "CASE", known, labels)
    monkeypatch.chdir(tmp_path)
    read: dict[str, np.ndarray] = {}
    exec(shown, read)
    for name, told in zip(("probability", "trust"), [*known.by_class()][1], strict=True):
        np.testing.assert_allclose(read[name], told, atol=1e-5)


def test_the_readme_shows_the_example_that_runs() -> None:
    (shown,) = blocks(ROOT / "README.md", "python")
    example = (ROOT / "examples" / "run_a_study.py").read_text("utf-8")
    assert shown.split() == re.sub(r'^""".*?"""', "", example, flags=re.DOTALL).split()


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("knobs", ROOT / "docs" / "hooks" / "knobs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_knob_stands_on_exactly_one_page_with_its_meaning(hook: ModuleType) -> None:
    marks = [
        mark for page in PAGES for mark in re.findall("<!-- knobs of (.*) -->", page.read_text())
    ]
    knobs = (*listed(config.Recipe), *listed(config.Machine, "machine."))
    assert sorted(marks) == sorted({knob.name.rpartition(".")[0] for knob in knobs})
    rows = [line for mark in marks for line in hook.table(mark).splitlines()[2:]]
    assert len(rows) == len(knobs)
    assert all(len(row.split("|")[-2].strip()) > 10 for row in rows)
    assert "from 0 to 0.5" in hook.on_page_markdown("<!-- knobs of train -->")
    assert "any of plain" in hook.table("train")


def test_other_pages_pass_the_hook_unchanged(hook: ModuleType) -> None:
    assert hook.on_page_markdown("# a page") == "# a page"
