"""What a classifier of tags starts from: a fresh network of ours, or public weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from voxhint.config.tags import ClassifierConfig
from voxhint.core.errors import BadRecipeError
from voxhint.core.study import Study
from voxhint.files.hashing import hash_of
from voxhint.models.public_weights import KNOWN, find_weights
from voxhint.nets.pretrained import read_backbone

_RATE = 3e-3
_TUNING_RATE = 1e-4  # more of it and a backbone forgets what it was taught


@dataclass(frozen=True, slots=True, eq=False)
class FirstWeights:
    """The network before its first step: fresh, or on public weights."""

    network: Mapping[str, Any]
    """What `classifier_network` needs to build it again."""

    learning_rate: float
    backbone: nn.Module | None = None
    weights: Mapping[str, str] | None = None
    """Name, licence, data, source and hash of public weights."""


def first_weights(study: Study, config: ClassifierConfig) -> FirstWeights:
    """Open what a classifier starts from, before anything costly is done.

    Args:
        study: What it will learn from.
        config: Knobs of the classifier.

    Returns:
        The first weights.

    Raises:
        BadRecipeError: The knobs contradict each other, or the study has too many channels.
    """
    name = config.backbone
    if name == "own":
        if config.backbone_weights is not None:
            msg = "backbone_weights needs backbone: name the network that the weights belong to"
            raise BadRecipeError(msg)
        return FirstWeights(
            {"pooling": config.pooling, "two_and_half_d": config.dimensions == "2.5d"}, _RATE
        )
    if len(study.channels) > 1:
        msg = f"{name} looks at one channel, the study has {len(study.channels)}; use the own one"
        raise BadRecipeError(msg)
    path = find_weights(name, config.backbone_weights)
    kind, backbone = read_backbone(name, path)
    known = KNOWN[name]
    return FirstWeights(
        {"pooling": config.pooling, "backbone_kind": kind, "fine_tune": not config.freeze_backbone},
        _RATE if config.freeze_backbone else _TUNING_RATE,
        backbone,
        {
            "name": name,
            "licence": known.licence,
            "data": known.data,
            "source": known.source,
            "hash": hash_of([path]),
        },
    )
