"""What a report tells: plain values, gathered before a word is written."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from voxhint.measure.detection import Ranking
from voxhint.measure.table import ScoreTable


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture with its words."""

    caption: str
    alt: str
    """What it shows, for those who cannot see it."""

    png: bytes


@dataclass(frozen=True, slots=True)
class TagRanking:
    """How well a predictor tells which images hold a label."""

    auc: Ranking | None
    """None if only ranges of slices are tagged."""

    held_out: bool | None = None
    """Whether it rests on images of subjects kept aside; None if that is not known."""


@dataclass(frozen=True, slots=True)
class LabelVolume:
    """How large a label came out of its hints, in the median over the cases that show it."""

    label: float
    """Millilitres of the soft label."""

    hints_span: float
    """Millilitres that its hints span."""

    cases: int


@dataclass(frozen=True, slots=True, eq=False)
class RunFacts:
    """Everything known of a run; what is missing is left out of the report."""

    name: str
    made: Mapping[str, Any] = field(default_factory=dict)
    """`made.json`: verb, config, seed, versions, inputs, seconds, hints, skipped, warnings."""

    plan: Mapping[str, Any] | None = None
    """`model/plan.json`: what was measured of the study and how the network was laid out."""

    history: tuple[Mapping[str, float | None], ...] = ()
    """Rows of `model/history.csv`."""

    predictor: Mapping[str, TagRanking] = field(default_factory=dict)
    """For each label found from tags, how well its presence is told."""

    weights: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Networks that were not trained on this study: name, licence, data, ... of each."""

    volumes: Mapping[str, LabelVolume] = field(default_factory=dict)
    """Volume of each label that hints show, beside what they span."""

    scores: ScoreTable | None = None
    test_pictures: tuple[Picture, ...] = ()
    training_pictures: tuple[Picture, ...] = ()
    counterfactual_pictures: tuple[Picture, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    """Cases by what they are: training, test, masks of each."""

    problems: tuple[str, ...] = ()
    """What could not be read or shown."""
