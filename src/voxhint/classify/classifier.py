"""The image-level classifier: whether an image holds a label, and what in it speaks for that."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float32
from pydantic import BaseModel, FiniteFloat, TypeAdapter, ValidationError
from torch import Tensor, nn

from voxhint.classify.contrast import Contrast
from voxhint.classify.gradient_saliency import METHODS, saliency_map
from voxhint.classify.gradient_saliency import Settings as MapSettings
from voxhint.classify.platt_scaling import Calibration
from voxhint.config import LabelConfig
from voxhint.config.ranges import finding
from voxhint.core import Case, Volume
from voxhint.core.errors import BadFileError, BadRecipeError
from voxhint.core.progress import Tell
from voxhint.files.atomic import write_text
from voxhint.files.csv_tables import read_table, table_text
from voxhint.files.dataset_json import read_object
from voxhint.files.images import read_channels
from voxhint.files.unicode_names import plain
from voxhint.measure.roc import Ranking
from voxhint.models.folder import read_plan
from voxhint.nets import ClassifierNet, load_weights, short_classifier
from voxhint.nets.pretrained import KINDS, slice_classifier
from voxhint.prepare import Plan, from_working, normalised, prepare_image

if TYPE_CHECKING:
    from lightning_fabric import Fabric

CLASSIFIER = "classifier"
"""Folder of the classifier, beside labels and in a model."""

CLASSIFIER_FILE = "classifier.json"
CLASSIFICATION = "classification.csv"
"""Beside masks: what the classifier says of each image."""

ALLOWED, RULED_OUT = "allowed", "ruled out"
"""What `classification.csv` says of a label: masks may hold it, or never do."""

_COLUMNS = ("case", "label", "probability", "threshold", "in_mask")
CLASSIFIER_FILES = ("plan.json", "weights.safetensors", CLASSIFIER_FILE)
_ALIKE = 1.5  # times the finest spacing: coarser axes are not made coarser still
_FLIPS = ((), (2,), (3,), (4,), (2, 3), (2, 4), (3, 4), (2, 3, 4))
_SMOOTH_MM = 2.0  # gradients at single voxels are noise
_ALONE = "smooth-grad"  # the classifier's own map where another method makes the saliency
_NOISY = 8  # copies for SmoothGrad
_DEVIATIONS = 3.0  # that a channel without a unit is shown up to


class _Tissue(BaseModel):
    low: FiniteFloat
    high: FiniteFloat


class _Curve(BaseModel):
    slope: FiniteFloat
    intercept: FiniteFloat


class _Learnt(BaseModel):
    contrast: _Tissue
    operating_point: FiniteFloat
    auc: Ranking | None
    calibration: _Curve | None


_LEARNT = TypeAdapter(dict[str, _Learnt])
"""What `classifier.json` says of each label."""


@dataclass(frozen=True, slots=True, eq=False)
class Classifier:
    """A trained image-level classifier and what its scores mean."""

    net: ClassifierNet
    plan: Plan
    labels: tuple[str, ...]
    """Labels with a logit, in order; a subset of the study's."""

    facts: Mapping[str, Any]
    """For each label calibration, operating point, auc and contrast; see `classifier.json`."""

    fabric: "Fabric"
    mirror: bool
    weights: Mapping[str, str] | None = None
    """Name, licence and source of the public weights it started from."""

    def scores(
        self,
        image: Float32[np.ndarray, "channel i j k"],
        inside: Bool[np.ndarray, "i j k"] | None = None,
    ) -> dict[str, float]:
        """Return the logit of each label in a prepared image, averaged over its flips.

        Args:
            image: As the plan prepares it.
            inside: The voxels that speak, as one voice among all; None hears them all.
        """
        flips = _FLIPS if self.mirror else _FLIPS[:1]

        def flipped(values: np.ndarray) -> Tensor:
            batch = torch.from_numpy(values)[None].to(self.fabric.device)
            return torch.cat([batch.flip(axes) for axes in flips])

        counts = None if inside is None else flipped(inside[None].astype(np.float32))
        if counts is not None:
            counts = counts.expand(-1, len(self.labels), -1, -1, -1)
        with torch.inference_mode():
            logits = self.net(flipped(image), counts, among_all=True).mean(0)
        return dict(zip(self.labels, logits.tolist(), strict=True))

    def describe(self) -> dict[str, Any]:
        """Return how well each label's classifier is predicted, for `made.json` and the report."""
        return {
            name: {key: self.facts[name].get(key) for key in ("auc", "held_out")}
            for name in self.labels
        }

    def contrast(self, label: str) -> Contrast:
        """Return the kinds of tissue, in the order that suits a label."""
        return Contrast(**self.facts[label]["contrast"])

    def saliency(
        self, case: Case, label: str, config: LabelConfig, rng: np.random.Generator
    ) -> Float32[np.ndarray, "i j k"]:
        """Return the saliency of a label on the grid of a case's first channel."""
        prepared, working = prepare_image(case.images, self.plan)
        values = self.saliency_of(prepared, label, config, rng)
        return from_working(values, working, case.grid)

    def saliency_of(
        self,
        prepared: Float32[np.ndarray, "channel i j k"],
        label: str,
        config: LabelConfig,
        rng: np.random.Generator,
    ) -> Float32[np.ndarray, "i j k"]:
        """Return the saliency of a label in a prepared image, by the classifier alone."""
        settings = MapSettings(
            spacing_mm=self.plan.spacing_mm, smooth_mm=_SMOOTH_MM, samples=_NOISY, batch=_NOISY
        )
        image = torch.from_numpy(prepared).to(self.fabric.device)
        number = self.labels.index(label)
        method = config.tags.method if config.tags.method in METHODS else _ALONE
        return saliency_map(method, self.net, image, number, rng=rng, settings=settings)


def image_of(case: Case, plan: Plan) -> Float32[np.ndarray, "i j k"]:
    """Return the first channel on its own grid, scaled as the classifier saw it."""
    channel, volume = next(iter(case.images.items()))
    return normalised(volume.voxels, channel, plan)


def open_classifier(folder: Path, fabric: "Fabric") -> Classifier:
    """Open a trained classifier.

    Args:
        folder: What `fit_classifier` wrote.
        fabric: Device and precision.

    Returns:
        The classifier, in evaluation mode.

    Raises:
        BadFileError: Something is missing or damaged.
    """
    plan = read_plan(folder / "plan.json")
    told = read_object(folder / CLASSIFIER_FILE)
    try:
        labels = tuple(told["labels"])
        net = classifier_network(plan, labels, **told["network"])
        facts = {name: told["facts"][name] for name in labels}
        _LEARNT.validate_python(facts)
        mirror, weights = bool(told["mirror"]), told.get("weights")
    except (ValueError, KeyError, TypeError, RuntimeError, BadRecipeError) as error:
        why = finding(error) if isinstance(error, ValidationError) else type(error).__name__
        msg = f"{folder / CLASSIFIER_FILE}: damaged ({why}); label the study again"
        raise BadFileError(msg) from None
    load_weights(net, folder / "weights.safetensors")
    net.to(fabric.device).eval()
    return Classifier(net, plan, labels, facts, fabric, mirror, weights)


def require_names_of_today(folder: Path) -> None:
    """Refuse a folder in which an earlier version called the classifier otherwise.

    Args:
        folder: Of a model, or of the networks beside labels.

    Raises:
        BadFileError: It is one.
    """
    if (folder / "predictor").is_dir():
        msg = f"{folder / 'predictor'}: of an earlier voxhint, which called a classifier so; "
        raise BadFileError(msg + "label and train again, into a new folder")


def classifier_network(  # noqa: PLR0913  # what a saved classifier keeps, and a backbone with weights
    plan: Plan,
    labels: Sequence[str],
    pooling: str,
    *,
    two_and_half_d: bool = False,
    backbone_kind: str | None = None,
    fine_tune: bool = False,
    backbone: nn.Module | None = None,
) -> ClassifierNet:
    """Return the classifier of a plan with fresh weights.

    Args:
        plan: Decides the network's strides and kernels.
        labels: Each gets a logit.
        pooling: How the scores of places become one.
        two_and_half_d: See slice by slice.
        backbone_kind: Of the public backbone; None is the network of our own.
        fine_tune: Let the backbone learn too.
        backbone: The backbone with its weights; a fresh one if None.

    Returns:
        The classifier.
    """
    if backbone_kind is not None:
        return slice_classifier(
            KINDS[backbone_kind]() if backbone is None else backbone,
            labels=labels,
            patch=plan.patch,
            window=_window(plan),
            pooling=pooling,
            fine_tune=fine_tune,
        )
    fine = np.array(plan.spacing_mm) < _ALIKE * min(plan.spacing_mm)
    i, j, k = (2 if axis else 1 for axis in fine.tolist())
    return short_classifier(
        channels=len(plan.channels),
        labels=len(labels),
        stride=(i, j, k),
        kernel=plan.kernels[0],
        width=plan.features[0],
        pooling=pooling,
        two_and_half_d=two_and_half_d,
    )


def _window(plan: Plan) -> tuple[float, float]:
    """Return the range of the first channel's prepared values."""
    fixed = plan.intensity.get(plan.channels[0])
    if fixed is None:  # each image has a mean of 0 and a standard deviation of 1
        return -_DEVIATIONS, _DEVIATIONS
    scale = max(fixed.std, 1e-6)
    return (fixed.low - fixed.mean) / scale, (fixed.high - fixed.mean) / scale


def classify_images(
    classifier: Classifier,
    cases: Mapping[str, Mapping[str, Path]],
    table: Path,
    tell: Tell,
    trying: Callable[[str], AbstractContextManager[None]],
) -> Mapping[str, Mapping[str, float]]:
    """Ask once what each image holds, and write the answers down.

    Args:
        classifier: The classifier.
        cases: Paths of the images by case and channel.
        table: Where the answers go, read again if it is there: case, label, probability, its
            threshold at the operating point, and whether masks may hold the label. Without a
            calibration there are no probabilities, and the operating point alone decides.
        tell: Hears of progress.
        trying: Gives what each case is done in; it may end an error there, and the case with it.

    Returns:
        For each case the chance of each label: 0 where the classifier does not see it, and 1 where
        it does but nothing calibrates it.
    """
    rows = _answers(table, {plain(case): case for case in cases})  # as tables are read
    asked = {row["case"] for row in rows}
    for number, (case, images) in enumerate(cases.items()):
        if case in asked:
            continue
        tell("ask what images hold", number, len(cases), case)
        with trying(case):
            rows += _asked(classifier, case, read_channels(images))
    if not table.exists() or {row["case"] for row in rows} != asked:
        write_text(table, table_text(rows, _COLUMNS))
    chances: dict[str, dict[str, float]] = {case: {} for case in cases}
    for row in rows:
        chances[row["case"]][row["label"]] = _chance(row)
    return chances


def _answers(table: Path, cases: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the rows of a table of answers, none if it is not there yet."""
    if not table.exists():
        return []
    rows = read_table(table, table.name, needed=_COLUMNS, known=()).rows
    plain_rows = [{name: row.text(name) for name in _COLUMNS} for row in rows]
    return [{**row, "case": cases[row["case"]]} for row in plain_rows]


def chances_of(classifier: Classifier, volumes: Mapping[str, Volume]) -> dict[str, float]:
    """Return the chance of each label in one image, as `classify_images` does for many."""
    return {row["label"]: _chance(row) for row in _asked(classifier, "", volumes)}


def _asked(
    classifier: Classifier, case: str, volumes: Mapping[str, Volume]
) -> list[dict[str, str]]:
    """Return a row of answers for each label."""
    scores = classifier.scores(prepare_image(volumes, classifier.plan)[0])
    return [
        dict(zip(_COLUMNS, (case, name, *_answer(classifier.facts[name], score)), strict=True))
        for name, score in scores.items()
    ]


def _chance(row: Mapping[str, str]) -> float:
    """Return the chance in a row: 0 where it is ruled out, 1 where nothing calibrates it."""
    return float(row["probability"] or 1) if row["in_mask"] == ALLOWED else 0.0


def _answer(facts: Mapping[str, Any], score: float) -> tuple[str, str, str]:
    """Return probability, threshold and decision for the score of one label."""
    decision = ALLOWED if score >= facts["operating_point"] else RULED_OUT
    if facts["calibration"] is None:
        return "", "", decision
    curve = Calibration(**facts["calibration"])
    return (
        f"{curve.probability(score):.4f}",
        f"{curve.probability(facts['operating_point']):.4f}",
        decision,
    )
