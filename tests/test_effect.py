"""No knob is ignored without a word: refused beside another choice, told where a study lacks it."""

import re
from pathlib import Path
from typing import Any

import pytest

import voxhint
from voxhint.classify.counterfactual import METHODS
from voxhint.config import (
    LabelConfig,
    Recipe,
    TrainConfig,
    require_effect,
    unused,
    without_effect,
)
from voxhint.config.knob_list import listed
from voxhint.config.ranges import changed
from voxhint.config.recipe import read_recipe
from voxhint.config.without_effect import _BY_FLOW
from voxhint.core.errors import BadRecipeError

Knobs = dict[str, object]
IDLE: tuple[tuple[type[Any], Knobs, Knobs], ...] = (
    (LabelConfig, {"pw4medseg.sigma_mm": 5.0}, {"method": "pw4medseg"}),
    (LabelConfig, {"scale_mm": 1.0, "method": "none"}, {"method": "geodesic"}),
    (LabelConfig, {"guided_flow.start": 0.4}, {"tags.fuse": ("guided-flow",)}),
    (LabelConfig, {"guided_flow.gate": 0.1, "tags.method": "label-flow"},
     {"tags.method": "guided-flow-paired"}),
    (LabelConfig, {"flow.steps": 9, "tags.method": "pixel-counterfactual"},
     {"tags.method": "edit-flow"}),
    (LabelConfig, {"classifier.freeze_backbone": True}, {"classifier.backbone": "medsam-tinyvit"}),
    (LabelConfig, {"classifier.dimensions": "2.5d", "classifier.backbone": "medsam-tinyvit"},
     {"classifier.backbone": "own"}),
    (TrainConfig, {"pw4medseg.kl_weight": 1.0}, {"network": "probabilistic"}),
    (TrainConfig, {"crossmodal.fusion": "gated", "network": "dynunet"}, {"network": "crossmodal"}),
    (TrainConfig, {"dice_weight": 0.1, "loss": "pw4medseg"}, {"loss": "hints"}),
)  # fmt: skip


@pytest.mark.parametrize(("page", "idle", "asked"), IDLE)
def test_a_knob_of_another_choice_is_refused_by_name(
    page: type[Any], idle: Knobs, asked: Knobs
) -> None:
    with pytest.raises(BadRecipeError, match=f"^{next(iter(idle))} has an effect only with") as no:
        require_effect(changed(page(), idle))
    assert "\n" not in str(no.value)
    require_effect(changed(page(), {**idle, **asked}))


def test_defaults_and_all_recipes_have_an_effect() -> None:
    recipes = sorted((Path(__file__).parents[1] / "recipes").glob("*.toml"))
    assert recipes
    for config in (LabelConfig(), TrainConfig()):
        require_effect(config)
    for recipe in map(read_recipe, recipes):
        require_effect(recipe.label)
        require_effect(recipe.train)


def test_a_flow_is_asked_by_the_maps_that_say_so() -> None:
    assert {name for name, method in METHODS.items() if method.needs_flow} == set(_BY_FLOW)


def test_every_knob_is_read_somewhere() -> None:
    """A knob that nothing asks is worse than none."""
    folder = Path(voxhint.__file__).parent
    texts = [p.read_text() for p in folder.rglob("*.py") if p.parent.name != "config"]
    text = "\n".join(texts)
    for knob in listed(Recipe):
        assert re.search(rf"\.{knob.name.rpartition('.')[2]}\b", text), knob.name


def test_knobs_that_a_study_gives_no_effect_are_told() -> None:
    tagged = changed(LabelConfig(), {"tags.method": "grad-cam++", "tags.specificity": 0.9})
    assert without_effect(tagged, tags=True) == ()
    assert without_effect(changed(LabelConfig(), {"tags.weights": "none"}), tags=False) == ()
    (told,) = without_effect(tagged, tags=False)
    assert told.startswith("tags.method, tags.specificity: without effect")
    assert unused(tagged, "of this", "tags.method", "tags.regions") == [
        "tags.method: without effect, as of this"
    ]
