"""Knobs that another choice leaves without effect: said before any work, never ignored."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from voxhint.config.knob_list import listed
from voxhint.config.labelling import LabelConfig
from voxhint.config.ranges import Knobs
from voxhint.config.training import TrainConfig
from voxhint.core.errors import BadRecipeError

_GUIDED = ("guided-flow", "guided-flow-paired")
_BY_FLOW = (*_GUIDED, "label-flow", "edit-flow")
_OF_TAGS = ("tags.", "classifier.", "flow.", "guided_flow.")


@dataclass(frozen=True, slots=True)
class _Rule:
    """Some knobs, and what gives them an effect."""

    names: str
    """Of one knob, or of a table, with a dot at the end."""

    holds: Callable[[Any], bool]
    """Of the whole config."""

    needs: str
    """The same in words."""


def _maps(config: LabelConfig) -> set[str]:
    return {config.tags.method, *(config.tags.fuse or ())}


_LABELLING = (
    _Rule("pw4medseg.", lambda c: c.method == "pw4medseg", "method pw4medseg"),
    _Rule("scale_mm", lambda c: c.method == "geodesic", "method geodesic"),
    _Rule("server", lambda c: c.method == "nninteractive", "method nninteractive"),
    _Rule("classifier.dimensions", lambda c: c.classifier.backbone == "own", "backbone own"),
    _Rule(
        "classifier.freeze_backbone",
        lambda c: c.classifier.backbone != "own",
        "another classifier.backbone",
    ),
    _Rule(
        "guided_flow.",
        lambda c: not _maps(c).isdisjoint(_GUIDED),
        f"tags.method or tags.fuse {' or '.join(_GUIDED)}",
    ),
    _Rule(
        "flow.",
        lambda c: not _maps(c).isdisjoint(_BY_FLOW),
        f"tags.method or tags.fuse {' or '.join(_BY_FLOW)}",
    ),
)
_TRAINING = (
    _Rule("pw4medseg.", lambda c: c.network == "probabilistic", "network probabilistic"),
    _Rule("crossmodal.", lambda c: c.network in ("auto", "crossmodal"), "network crossmodal"),
    _Rule("dice_weight", lambda c: c.loss != "pw4medseg", "loss hints or probability"),
)


def _set_knobs(config: Knobs, tables: Iterable[str] = ("",)) -> list[str]:
    """Return which knobs are not at their defaults.

    Args:
        config: Whose knobs they are.
        tables: The knobs asked about: names, or tables with a dot at the end; all if not given.
    """
    plain = type(config)()
    named = tuple(tables)
    inside = tuple(name for name in named if not name or name.endswith("."))
    asked = [
        knob.name
        for knob in listed(type(config))
        if knob.name in named or knob.name.startswith(inside)
    ]
    return [name for name in asked if attrgetter(name)(config) != attrgetter(name)(plain)]


def require_effect(config: LabelConfig | TrainConfig) -> None:
    """Refuse knobs that were set and change nothing, because of other knobs.

    Raises:
        BadRecipeError: There is one.
    """
    for rule in _LABELLING if isinstance(config, LabelConfig) else _TRAINING:
        idle = _set_knobs(config, (rule.names,))
        if idle and not rule.holds(config):
            verb = "has" if len(idle) == 1 else "have"
            msg = f"{', '.join(idle)} {verb} an effect only with {rule.needs}; set that, or leave "
            raise BadRecipeError(msg + f"{'it' if len(idle) == 1 else 'them'} out")


def unused(config: Knobs, why: str, *tables: str) -> list[str]:
    """Return one line about knobs that were set although nothing asks them; none if none was.

    Args:
        config: Whose knobs they are.
        why: Why nothing asks them.
        tables: Names or tables, as for `_set_knobs`; all knobs if none is given.
    """
    idle = _set_knobs(config, tables or ("",))
    return [f"{', '.join(idle)}: without effect, as {why}"] if idle else []


def require_used(config: Knobs, why: str, *tables: str) -> None:
    """Refuse knobs that were set although nothing asks them.

    Args:
        config: Whose knobs they are.
        why: Why nothing asks them.
        tables: Names or tables, as for `_set_knobs`.

    Raises:
        BadRecipeError: There is one.
    """
    for line in unused(config, why, *tables):
        msg = f"{line}; leave it out"
        raise BadRecipeError(msg)


def without_effect(config: LabelConfig, *, tags: bool) -> tuple[str, ...]:
    """Return what was set in vain, as a study has nothing that it could change.

    Args:
        config: Of labelling.
        tags: Whether there are labels that only tags name.
    """
    why = "no label is known by tags alone"
    told = [] if tags else _set_knobs(config, _OF_TAGS)
    told = [name for name in told if name != "tags.weights"]
    return (f"{', '.join(told)}: without effect, as {why}",) if told else ()
