"""No knob is ignored without a word: refused beside another choice, told where a study lacks it."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

import voxhint
from voxhint.classify.counterfactual import METHODS
from voxhint.config import LabelConfig, TrainConfig, require_effect, unused, without_effect
from voxhint.config.effect import _CHANGES, _PULLS
from voxhint.config.recipe import read_recipe
from voxhint.core.errors import BadRecipeError

IDLE: tuple[tuple[type[Any], dict[str, Any], dict[str, Any]], ...] = (
    (LabelConfig, {"bell_mm": 5.0}, {"method": "pw4medseg"}),
    (LabelConfig, {"edge_weight": 1.0, "method": "none"}, {"method": "geodesic"}),
    (LabelConfig, {"across_steps": 9, "across_cases": False}, {"across_cases": True}),
    (LabelConfig, {"tag_error": 0.1}, {"tag_threshold": "fdr"}),
    (LabelConfig, {"null_quantile": 0.9, "tag_threshold": "fdr"}, {"tag_threshold": "cluster"}),
    (LabelConfig, {"edit_start": 0.4}, {"tag_fused": ("label-flow",)}),
    (LabelConfig, {"edit_block_mm": 4.0, "tag_method": "label-flow"}, {"tag_method": "inpaint"}),
    (LabelConfig, {"guide_rho": 1.0, "tag_method": "inpaint"}, {"tag_method": "guided-flow"}),
    (LabelConfig, {"guide_gate": 0.1}, {"tag_method": "pixel-counterfactual"}),
    (LabelConfig, {"flow_steps": 9, "tag_method": "pixel-counterfactual"},
     {"tag_method": "edit-flow"}),
    (LabelConfig, {"predictor_tune": False}, {"predictor_backbone": "medsam-tinyvit"}),
    (LabelConfig, {"predictor_width": 8, "predictor_backbone": "medsam-tinyvit"},
     {"predictor_backbone": "own"}),
    (TrainConfig, {"kl_weight": 1.0}, {"network": "probabilistic"}),
    (TrainConfig, {"fusion": "gated", "network": "dynunet"}, {"network": "crossmodal"}),
    (TrainConfig, {"ramp": 9}, {"prototype_weight": 0.1}),
    (TrainConfig, {"consistency_back": 0.1}, {"consistency_weight": 0.1}),
    (TrainConfig, {"mixed_agreed": True}, {"mixed_weight": 0.1}),
    (TrainConfig, {"dice_weight": 0.1, "loss": "published"}, {"loss": "hints"}),
)  # fmt: skip


@pytest.mark.parametrize(("page", "idle", "asked"), IDLE)
def test_a_knob_of_another_choice_is_refused_by_name(
    page: type[Any], idle: dict[str, Any], asked: dict[str, Any]
) -> None:
    with pytest.raises(BadRecipeError, match=f"^{next(iter(idle))} has an effect only with") as no:
        require_effect(page(**idle))
    assert "\n" not in str(no.value)
    require_effect(page(**{**idle, **asked}))


def test_defaults_and_all_recipes_have_an_effect() -> None:
    recipes = sorted((Path(__file__).parents[1] / "recipes").glob("*.toml"))
    assert recipes
    for config in (LabelConfig(), TrainConfig()):
        require_effect(config)
    for recipe in map(read_recipe, recipes):
        require_effect(recipe.label)
        require_effect(recipe.train)


def test_what_each_map_uses_is_what_it_says_of_itself() -> None:
    assert set(METHODS) == set(_CHANGES)
    for name, method in METHODS.items():
        assert method.ask.__doc__
        _, _, uses = method.ask.__doc__.partition("ses ")
        words = set(re.findall(r"[a-z_]+", uses.partition("\n\n")[0]))
        for knob in _CHANGES[name].split():
            assert knob in words, (name, knob)
        for knob in _PULLS.get(name, "").split():
            assert knob in words or {"guided", "guidance"} & words, (name, knob)


def test_every_knob_is_read_somewhere() -> None:
    """A knob that nothing asks is worse than none."""
    folder = Path(voxhint.__file__).parent
    texts = [p.read_text() for p in folder.rglob("*.py") if p.parent.name != "config"]
    text = "\n".join(texts)
    for page in (LabelConfig, TrainConfig):
        for knob in dataclasses.fields(page):
            name = re.sub("^(edit|guide)_", "", knob.name)
            assert re.search(rf'\.{knob.name}\b|"{name}"', text), knob.name


def test_knobs_that_a_study_gives_no_effect_are_told() -> None:
    tagged = LabelConfig(tag_method="cam", presence_specificity=0.9, across_trust=0.1)
    assert without_effect(tagged, tags=True, across=True) == ()
    assert without_effect(LabelConfig(weights="none"), tags=False, across=False) == ()
    (tags,) = without_effect(tagged, tags=False, across=True)
    assert tags.startswith("tag_method, presence_specificity: without effect")
    (across,) = without_effect(tagged, tags=True, across=False)
    assert across.startswith("across_trust: without effect")
    assert unused(tagged, "of this", "tag_method", "regions") == [
        "tag_method: without effect, as of this"
    ]
