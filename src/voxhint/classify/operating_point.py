"""What the scores of a classifier mean, from tags alone: operating point and ranking."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np

from voxhint.classify.classifier import Classifier
from voxhint.classify.contrast import learn_contrast
from voxhint.classify.platt_scaling import calibrate
from voxhint.config import LabelConfig
from voxhint.core.study import CaseFiles
from voxhint.measure.roc import ranking
from voxhint.training import TaggedImage

_NO_LIMIT = -1e9  # operating point where nothing tells one: every image is above it
Tagged = tuple[CaseFiles, TaggedImage]


def facts_of_label(
    classifier: Classifier,
    label: str,
    tagged: tuple[Sequence[Tagged], Sequence[Tagged]],
    config: LabelConfig,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Return what a label's scores mean, from tags alone.

    The operating point follows from all training images tagged absent; ranking and calibration
    from images held out, or from all where those are of one state.
    """
    everything = scored_images(classifier, label, tagged[0])
    contrast = learn_contrast(
        [*map(itemgetter(1), tagged[0])],
        classifier.labels.index(label),
        lambda prepared: classifier.saliency_of(prepared, label, config, rng),
        rng,
    )
    facts: dict[str, Any] = {"contrast": dataclasses.asdict(contrast)}
    if not everything:  # tags speak of ranges of slices only
        return {**facts, "operating_point": _NO_LIMIT, "auc": None, "calibration": None}
    aside = {files.subject for files, _ in tagged[1]}
    held_out = [row for row in everything if row.subject in aside]
    facts["held_out"] = len({row.present for row in held_out}) > 1
    tried = held_out if facts["held_out"] else everything
    scores, truth = np.array([r.score for r in tried]), np.array([r.present for r in tried])
    drawn = np.random.default_rng(0)  # intervals are the same at every look
    facts["auc"] = dataclasses.asdict(
        ranking(scores, truth, [row.subject for row in tried], rng=drawn)
    )
    facts["calibration"] = dataclasses.asdict(calibrate(scores, truth))
    return {**facts, "operating_point": operating_point(everything, config)}


def operating_point(rows: Sequence["_Scored"], config: LabelConfig) -> float:
    """Return the score below which the wanted share of the images tagged absent lies."""
    absent = [row.score for row in rows if not row.present]
    return float(np.quantile(absent, config.tags.specificity)) if absent else _NO_LIMIT


@dataclass(frozen=True, slots=True)
class _Scored:
    """What the classifier says of an image, and what its tag says."""

    subject: str
    score: float
    present: bool


def scored_images(classifier: Classifier, label: str, tagged: Sequence[Tagged]) -> list[_Scored]:
    """Return the scores of the images that are tagged as a whole."""
    number = classifier.labels.index(label)
    rows = []
    for files, image in tagged:
        states = [bag.states[number] for bag in image.bags if bag.z_range_mm is None]
        if states and not np.isnan(states[0]):
            score = classifier.scores(np.asarray(image.image, np.float32))[label]
            rows.append(_Scored(files.subject, score, states[0] > 0))
    return rows
