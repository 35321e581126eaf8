"""Knobs that another choice leaves without effect: said before any work, never ignored."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from voxhint.config.labelling import LabelConfig
from voxhint.config.ranges import Knobs
from voxhint.config.training import TrainConfig
from voxhint.core.errors import BadRecipeError

_LABEL_FLOW = "start steps scheme weight reference difference"
_STEERED = "init start steps scheme repeats difference reference"
_CHANGES: Mapping[str, str] = {
    "guided-flow": _STEERED,
    "guided-flow-paired": _STEERED,
    "label-flow": _LABEL_FLOW,
    "edit-flow": "start steps weight repeats difference",
    "flow-contrast": "start steps repeats",
    "inpaint": "start steps repeats block_mm difference",
    "pixel-counterfactual": "steps difference",
    "reconstruction-error": "init start steps scheme repeats difference",
}
"""Maps of what goes away with a label, and the `edit` knobs that each uses."""

_GUIDED = "first rho mu iterations recurrences draws sigma schedule gradient"
_PULLS: Mapping[str, str] = {
    "guided-flow": _GUIDED,
    "guided-flow-paired": _GUIDED,
    "inpaint": "recurrences",
    "pixel-counterfactual": "rho draws sigma",
}
"""Maps that are guided, and the `guide` knobs that each uses beside the gate."""

_FLOWLESS = "pixel-counterfactual"
_CROSS_CASE = ("across_steps", "across_trust")
_UNTAGGED = frozenset(
    {*_CROSS_CASE, "method", "bell_mm", "across_cases", "weights", "reach_mm", "edge_weight"}
    | {"guess_trust"}
)
_TAGGED = tuple(knob.name for knob in dataclasses.fields(LabelConfig) if knob.name not in _UNTAGGED)


@dataclass(frozen=True, slots=True)
class _Rule:
    """Some knobs, and what gives them an effect."""

    names: tuple[str, ...]
    holds: Callable[..., bool]
    """Of the whole config."""

    needs: str
    """The same in words."""


def _rule(names: str, holds: Callable[..., bool], needs: str) -> _Rule:
    return _Rule(tuple(names.split()), holds, needs)


def set_knobs(config: Knobs, names: Iterator[str] | tuple[str, ...]) -> list[str]:
    """Return which of some knobs are not at their defaults."""
    plain = type(config)()
    return [name for name in names if getattr(config, name) != getattr(plain, name)]


def require_effect(config: LabelConfig | TrainConfig) -> None:
    """Refuse knobs that were set and change nothing, because of other knobs.

    Args:
        config: Of labelling or training.

    Raises:
        BadRecipeError: There is one.
    """
    rules = (*_LABELLING, *_of_maps(config)) if isinstance(config, LabelConfig) else _TRAINING
    for rule in rules:
        idle = set_knobs(config, rule.names)
        if idle and not rule.holds(config):
            verb = "has" if len(idle) == 1 else "have"
            msg = f"{', '.join(idle)} {verb} an effect only with {rule.needs}; set that, or leave "
            raise BadRecipeError(msg + f"{'it' if len(idle) == 1 else 'them'} out")


def _of_maps(config: LabelConfig) -> Iterator[_Rule]:
    """Yield a rule for each knob of a map of what goes away."""
    chosen = {config.tag_method, *(config.tag_fused or ())}
    for prefix, uses in (("edit", _CHANGES), ("guide", _PULLS)):
        for knob in sorted({name for names in uses.values() for name in names.split()}):
            maps = [name for name, names in uses.items() if knob in names.split()]
            used = not chosen.isdisjoint(maps)
            yield _Rule((f"{prefix}_{knob}",), lambda _, used=used: used, _maps(maps))
    changing = not chosen.isdisjoint(_CHANGES)
    yield _rule("edit_smooth_mm guide_gate", lambda _: changing, _maps(_CHANGES))
    flows = [name for name in _CHANGES if name != _FLOWLESS]
    learnt = [k.name for k in dataclasses.fields(LabelConfig) if k.name.startswith("flow_")]
    asked = not chosen.isdisjoint(flows)
    yield _Rule((*learnt, "edit_windows"), lambda _: asked, _maps(flows))


def _maps(names: Mapping[str, str] | list[str]) -> str:
    return f"tag_method or tag_fused {' or '.join(names)}"


_LABELLING = (
    _rule("bell_mm", lambda c: c.method == "pw4medseg", "method pw4medseg"),
    _rule("reach_mm edge_weight guess_trust", lambda c: c.method == "geodesic", "method geodesic"),
    _rule(
        " ".join(_CROSS_CASE),
        lambda c: c.method == "geodesic" and c.across_cases,
        "method geodesic and across_cases",
    ),
    _rule(
        "tag_error null_contexts",
        lambda c: c.tag_threshold != "quantile",
        "tag_threshold fdr or cluster",
    ),
    _rule("null_quantile", lambda c: c.tag_threshold != "fdr", "tag_threshold quantile or cluster"),
    _rule(
        "predictor_width predictor_flat",
        lambda c: c.predictor_backbone == "own",
        "predictor_backbone own",
    ),
    _rule("predictor_tune", lambda c: c.predictor_backbone != "own", "another predictor_backbone"),
)
_TRAINING = (
    _rule("attention kl_weight", lambda c: c.network == "probabilistic", "network probabilistic"),
    _rule(
        "fusion shared_encoder branch_width joint_output modality_dropout branch_weight "
        "consistency_weight prototype_weight mixed_weight",
        lambda c: c.network in ("auto", "crossmodal"),
        "network crossmodal",
    ),
    _rule("consistency_back", lambda c: c.consistency_weight > 0, "a consistency_weight"),
    _rule(
        "consistency_sure",
        lambda c: c.consistency_weight > 0 or c.mixed_weight > 0,
        "a consistency_weight or mixed_weight",
    ),
    _rule("mixed_agreed", lambda c: c.mixed_weight > 0, "a mixed_weight"),
    _rule(
        "ramp",
        lambda c: c.consistency_weight + c.prototype_weight + c.mixed_weight > 0,
        "a consistency_weight, prototype_weight or mixed_weight",
    ),
    _rule("dice_weight", lambda c: c.loss != "published", "loss hints or probability"),
)


def unused(config: Knobs, why: str, *names: str) -> list[str]:
    """Return one line about knobs that were set although nothing asks them; none if none was.

    Args:
        config: Whose knobs they are.
        why: Why nothing asks them.
        names: Their names; all knobs if none is given.
    """
    idle = set_knobs(config, names or tuple(knob.name for knob in dataclasses.fields(config)))  # type: ignore[arg-type]
    return [f"{', '.join(idle)}: without effect, as {why}"] if idle else []


def without_effect(config: LabelConfig, *, tags: bool, across: bool) -> tuple[str, ...]:
    """Return what was set in vain, as a study has nothing that it could change.

    Args:
        config: Of labelling.
        tags: Whether there are labels that only tags name.
        across: Whether cases teach each other.
    """
    told = [] if tags else unused(config, "no label is known by tags alone", *_TAGGED)
    if not across:
        told += unused(config, "cases teach each other nothing here", *_CROSS_CASE)
    return tuple(told)
