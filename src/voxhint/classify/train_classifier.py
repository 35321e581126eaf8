"""Training the image-level classifier on the tags of a study, and learning what its scores mean."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from skimage.filters import threshold_otsu

from voxhint.classify.classifier import (
    CLASSIFIER_FILE,
    Classifier,
    classifier_network,
    open_classifier,
)
from voxhint.classify.platt_scaling import calibrate
from voxhint.classify.refinement import Contrast
from voxhint.classify.tag_bags import TagJob, bags_of
from voxhint.config import LabelConfig
from voxhint.core import LabelSet
from voxhint.core.study import CaseFiles, Study
from voxhint.files.atomic import write_json
from voxhint.files.dataset_json import read_object
from voxhint.measure.roc import ranking
from voxhint.models.device import open_fabric
from voxhint.models.fit import STATE, fit, forget_progress, prepare_cases, stored
from voxhint.models.planning import measure_images
from voxhint.models.shipped_weights import ORIGIN, Part, take_shipped
from voxhint.nets import ClassifierNet
from voxhint.prepare import Plan, PlanOptions, make_plan, prepare_image
from voxhint.train import Settings, TaggedImage, TagTask, Task

if TYPE_CHECKING:
    from lightning_fabric import Fabric

from collections.abc import Mapping

from torch import nn

from voxhint.config.tags import ClassifierConfig
from voxhint.core.errors import BadRecipeError
from voxhint.files.hashing import hash_of
from voxhint.models.public_weights import KNOWN, find_weights
from voxhint.nets.pretrained import read_backbone

_RATE = 3e-3
_TUNING_RATE = 1e-4  # more of it and a backbone forgets what it was taught


@dataclass(frozen=True, slots=True, eq=False)
class _FirstWeights:
    """The network before its first step: fresh, or on public weights."""

    network: Mapping[str, Any]
    """What `classifier_network` needs to build it again."""

    learning_rate: float
    backbone: nn.Module | None = None
    weights: Mapping[str, str] | None = None
    """Name, licence, data, source and hash of public weights."""


_BATCH = 12
_WIDTH = 16  # feature maps at the first level
_HELD_OUT = 0.1  # share of the subjects whose tags choose the checkpoint and the calibration
_SAMPLES = 400  # voxels of each image that decide what is dense
_LOOKS = 40  # images that decide whether a label is bright or dark
_SHIPPED_SPECIFICITY = LabelConfig().tags.specificity  # of the weights that come along
_SPECIFICITY = "specificity"
_PREPARE = "prepare for the classifier"
_NO_LIMIT = -1e9  # operating point where nothing tells one: every image is above it
_Tagged = tuple[CaseFiles, TaggedImage]


def fit_classifier(folder: Path, job: TagJob) -> Classifier:
    """Train the classifier of a study, going on where an earlier call stopped.

    One that comes with voxhint is taken instead, where there is one and the knobs allow it.

    Args:
        folder: Where plan.json, weights.safetensors and classifier.json go.
        job: What to learn.

    Returns:
        The classifier, calibrated.
    """
    config, labels, mirror = job.config, job.labels, job.config.classifier.flips
    fabric = open_fabric(job.machine)
    if (folder / CLASSIFIER_FILE).exists() or take_shipped_for("classifier", folder, job):
        if (folder / ORIGIN).exists() and config.tags.specificity != _SHIPPED_SPECIFICITY:
            _set_operating_points(folder, open_classifier(folder, fabric), job)
        return open_classifier(folder, fabric)
    first = _first_weights(job.study, config.classifier)
    learning = _ClassifierLearning(job, first)
    fitted = fit(learning, folder, fabric=fabric, seed=job.machine.seed, tell=job.tell)
    classifier = Classifier(fitted.net, fitted.plan, labels, {}, fabric, mirror)
    rng = np.random.default_rng(job.machine.seed)
    facts = {
        name: _facts(classifier, name, (fitted.examples, fitted.held_out), config, rng)
        for name in labels
    }
    told = {"labels": labels, "mirror": mirror, "network": first.network}
    write_json(folder / CLASSIFIER_FILE, {**told, "weights": first.weights, "facts": facts})
    forget_progress(folder)
    return open_classifier(folder, fabric)


@dataclass(frozen=True, slots=True, eq=False)
class _ClassifierLearning:
    """Learning image-level tags."""

    job: TagJob
    first: _FirstWeights
    prepare_step = _PREPARE
    train_step = "train the classifier"
    held_out = _HELD_OUT

    def make_plan(self) -> Plan:
        """Return the plan of a network that sees whole images."""
        options = PlanOptions(
            network="classifier",
            width=_WIDTH,
            patch_voxels=self.job.config.classifier.input_voxels,
            batch=_BATCH,
            whole=True,
        )
        return tag_plan(self.job, options)

    def files(self, plan: Plan) -> Sequence[CaseFiles]:
        """Return the cases of which tags say anything."""
        return tagged_cases(self.job.study, plan.labels.foreground)

    def prepare(self, folder: Path, files: CaseFiles, plan: Plan) -> _Tagged:
        """Return a case with its bags."""
        return files, tagged_image(folder, self.job.study, files, plan)

    def network(self, plan: Plan, task: Task) -> ClassifierNet:
        """Return the network, on its public backbone if there is one."""
        del task
        first = self.first
        return classifier_network(plan, self.job.labels, **first.network, backbone=first.backbone)

    def task(self, fit: Sequence[_Tagged], held_out: Sequence[_Tagged], plan: Plan) -> Task:
        """Return the task of tags."""
        return TagTask.of(
            [image for _, image in fit],
            [image for _, image in held_out],
            patch=plan.patch,
            batch=plan.batch,
            mirror=self.job.config.classifier.flips,
        )

    def loop(self, folder: Path, fabric: "Fabric", net: ClassifierNet, task: Task) -> Settings:
        """Return a fixed number of steps, of a size that suits the first weights."""
        del fabric, net, task
        return Settings(
            steps=self.job.config.classifier.steps,
            learning_rate=self.first.learning_rate,
            seed=self.job.machine.seed,
            state=folder / STATE,
        )


def _set_operating_points(folder: Path, classifier: Classifier, job: TagJob) -> None:
    """Set the operating points of a classifier that comes with voxhint by the study's own images.

    Its own follow from images that are not here, and from the usual specificity.
    """
    told = read_object(folder / CLASSIFIER_FILE)
    if told.get(_SPECIFICITY) == job.config.tags.specificity:
        return
    cases = tagged_cases(job.study, classifier.plan.labels.foreground)

    def prepare(where: Path, files: CaseFiles) -> _Tagged:
        return files, tagged_image(where, job.study, files, classifier.plan)

    tagged = prepare_cases(folder, cases, prepare, _PREPARE, job.tell)
    for label in classifier.labels:
        point = _operating_point(_scored(classifier, label, tagged), job.config)
        told["facts"][label]["operating_point"] = point
    write_json(folder / CLASSIFIER_FILE, {**told, _SPECIFICITY: job.config.tags.specificity})
    forget_progress(folder)


def take_shipped_for(part: Part, folder: Path, job: TagJob) -> bool:
    """Return whether a network that comes with voxhint suits the job; it is then in the folder."""
    how = (job.machine, job.tell)
    return take_shipped(part, folder, job.study, job.labels, job.config, how)


def tag_plan(job: TagJob, options: PlanOptions) -> Plan:
    """Return the plan of a network that learns tags, from the cases they speak of."""
    cases = tagged_cases(job.study, job.labels)
    return make_plan(
        measure_images(job.study, cases, job.machine.seed, job.tell),
        job.study.channels,
        LabelSet(("background", *job.labels), tuple(range(len(job.labels) + 1))),
        options=options,
        optional_channels=job.study.optional_channels,
    )


def tagged_cases(study: Study, labels: Sequence[str]) -> tuple[CaseFiles, ...]:
    """Return the training cases of which something is said about the labels."""
    return tuple(files for files in study.training if bags_of(study, files.name, labels))


def tagged_image(folder: Path, study: Study, files: CaseFiles, plan: Plan) -> TaggedImage:
    """Return a case ready for learning tags, memory-mapped from files in a folder."""

    def make() -> tuple[np.ndarray, np.ndarray]:
        image, grid = prepare_image(study.load(files, hints=False).images, plan)
        return image.astype(np.float16), grid.affine[2]

    paths = (folder / f"{files.name}.npy", folder / f"{files.name}.rise.npy")
    image, rise = stored(paths, make)
    di, dj, dk, z = rise.tolist()
    bags = bags_of(study, files.name, plan.labels.foreground)
    return TaggedImage(image, bags, (di, dj, dk, z))


def _facts(
    classifier: Classifier,
    label: str,
    tagged: tuple[Sequence[_Tagged], Sequence[_Tagged]],
    config: LabelConfig,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Return what a label's scores mean, from tags alone.

    The operating point follows from all training images tagged absent; ranking and calibration
    from images held out, or from all where those are of one state.
    """
    everything = _scored(classifier, label, tagged[0])
    contrast = _contrast(classifier, label, tagged[0], config, rng)
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
    return {**facts, "operating_point": _operating_point(everything, config)}


def _operating_point(rows: Sequence["_Scored"], config: LabelConfig) -> float:
    """Return the score below which the wanted share of the images tagged absent lies."""
    absent = [row.score for row in rows if not row.present]
    return float(np.quantile(absent, config.tags.specificity)) if absent else _NO_LIMIT


@dataclass(frozen=True, slots=True)
class _Scored:
    """What the classifier says of an image, and what its tag says."""

    subject: str
    score: float
    present: bool


def _scored(classifier: Classifier, label: str, tagged: Sequence[_Tagged]) -> list[_Scored]:
    """Return the scores of the images that are tagged as a whole."""
    number = classifier.labels.index(label)
    rows = []
    for files, image in tagged:
        states = [bag.states[number] for bag in image.bags if bag.z_range_mm is None]
        if states and not np.isnan(states[0]):
            score = classifier.scores(np.asarray(image.image, np.float32))[label]
            rows.append(_Scored(files.subject, score, states[0] > 0))
    return rows


def _contrast(
    classifier: Classifier,
    label: str,
    tagged: Sequence[_Tagged],
    config: LabelConfig,
    rng: np.random.Generator,
) -> Contrast:
    """Return the two kinds of tissue in the images, the surround of the label first.

    Otsu's threshold parts the voxels of the first channel. The label is of the kind that the
    saliency in images tagged present prefers.
    """
    images = [image for _, image in tagged]
    values = np.concatenate(
        [rng.choice(np.asarray(i.image[0], np.float32).ravel(), _SAMPLES) for i in images]
    )
    border = float(threshold_otsu(values))  # type: ignore[no-untyped-call]
    low, high = float(values[values <= border].mean()), float(values[values > border].mean())
    number = classifier.labels.index(label)
    shown = [image for image in images if any(bag.states[number] > 0 for bag in image.bags)]
    brighter = []
    for image in shown[:: max(1, -(-len(shown) // _LOOKS))]:
        prepared = np.asarray(image.image, np.float32)
        found = np.maximum(classifier.saliency_of(prepared, label, config, rng), 0)
        if found.sum() > 0:
            seen = float((found * prepared[0]).sum() / found.sum())
            brighter.append(seen > float(np.median(prepared[0])))
    return Contrast(low, high) if np.mean(brighter or [True]) >= 0.5 else Contrast(high, low)


def _first_weights(study: Study, config: ClassifierConfig) -> _FirstWeights:
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
        return _FirstWeights(
            {"pooling": config.pooling, "two_and_half_d": config.dimensions == "2.5d"}, _RATE
        )
    if len(study.channels) > 1:
        msg = f"{name} looks at one channel, the study has {len(study.channels)}; use the own one"
        raise BadRecipeError(msg)
    path = find_weights(name, config.backbone_weights)
    kind, backbone = read_backbone(name, path)
    known = KNOWN[name]
    return _FirstWeights(
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
