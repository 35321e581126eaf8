"""What a report tells: plain values, gathered before a word is written."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from voxhint.measure.roc import Ranking
from voxhint.measure.score_table import ScoreTable


@dataclass(frozen=True, slots=True)
class Panel:
    """One thing a picture shows, on all of its slices."""

    title: str
    webp: bytes
    """The slices, one below the other."""


@dataclass(frozen=True, slots=True)
class Slices:
    """A case seen from one side: the same slices in every panel."""

    view: str
    """axial or coronal."""

    places: tuple[str, ...]
    """Where each slice lies, in words."""

    best: int
    """The slice to show first."""

    letters: tuple[str, str, str, str]
    """What lies at the left, right, top and bottom edge."""

    shape: tuple[int, int]
    """Width and height of a slice in pixels."""

    ruler_mm: int
    ruler_share: float
    """Length of the ruler as a share of the width."""

    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """A case to look at, with why it was chosen and what is known of it."""

    case: str
    reason: str
    """Empty if it is one of many."""

    notes: tuple[str, ...]
    """Its hints, and how sure its labels are, a sentence each."""

    views: tuple[Slices, ...]
    colours: tuple[tuple[str, str], ...]
    """Name and colour of each label."""

    file: str | None = None
    """The mask that is shown, as a path from the page."""


@dataclass(frozen=True, slots=True)
class TagRanking:
    """How well a classifier tells which images hold a label."""

    auc: Ranking | None
    """None if only ranges of slices are tagged."""

    held_out: bool | None = None
    """Whether it rests on images of held-out subjects; None if that is not known."""


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

    classifier: Mapping[str, TagRanking] = field(default_factory=dict)
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

    files: tuple[tuple[str, str], ...] = ()
    """What lies beside the page: path from the page, and what it holds."""

    problems: tuple[str, ...] = ()
    """What could not be read or shown."""
