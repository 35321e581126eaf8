"""Training the image-level classifier on the tags of a study, and learning what its scores mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from voxhint.classify.classifier import (
    CLASSIFIER_FILE,
    Classifier,
    classifier_network,
    open_classifier,
)
from voxhint.classify.operating_point import Tagged, facts_of_label, operating_point, scored_images
from voxhint.classify.tag_bags import TagJob, bags_of
from voxhint.config import LabelConfig
from voxhint.config.tags import ClassifierConfig
from voxhint.core import LabelSet
from voxhint.core.errors import BadRecipeError
from voxhint.core.study import CaseFiles, Study
from voxhint.files.atomic import write_json
from voxhint.files.dataset_json import read_object
from voxhint.files.hashing import hash_of
from voxhint.models.device import open_fabric
from voxhint.models.fit import STATE, fit, forget_progress, prepare_cases, stored
from voxhint.models.planning import measure_images
from voxhint.models.public_weights import KNOWN, find_weights
from voxhint.models.shipped_weights import ORIGIN, Part, take_shipped
from voxhint.nets import ClassifierNet
from voxhint.nets.pretrained import read_backbone
from voxhint.prepare import Plan, PlanOptions, make_plan, prepare_image
from voxhint.training import Settings, TaggedImage, TagTask, Task

if TYPE_CHECKING:
    from lightning_fabric import Fabric


_BATCH = 12
_WIDTH = 16  # feature maps at the first level
_HELD_OUT = 0.1  # share of the subjects whose tags choose the checkpoint and the calibration
_SHIPPED_SPECIFICITY = LabelConfig().tags.specificity  # of the weights that come along
_SPECIFICITY = "specificity"
_PREPARE = "prepare for the classifier"
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
        name: facts_of_label(classifier, name, (fitted.examples, fitted.held_out), config, rng)
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

    def prepare(self, folder: Path, files: CaseFiles, plan: Plan) -> Tagged:
        """Return a case with its bags."""
        return files, tagged_image(folder, self.job.study, files, plan)

    def network(self, plan: Plan, task: Task) -> ClassifierNet:
        """Return the network, on its public backbone if there is one."""
        del task
        first = self.first
        return classifier_network(plan, self.job.labels, **first.network, backbone=first.backbone)

    def task(self, fit: Sequence[Tagged], held_out: Sequence[Tagged], plan: Plan) -> Task:
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

    def prepare(where: Path, files: CaseFiles) -> Tagged:
        return files, tagged_image(where, job.study, files, classifier.plan)

    tagged = prepare_cases(folder, cases, prepare, _PREPARE, job.tell)
    for label in classifier.labels:
        point = operating_point(scored_images(classifier, label, tagged), job.config)
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
