"""Training an image-level predictor on the tags of a study, and learning what its scores mean."""

import dataclasses
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from skimage.filters import threshold_otsu

from voxhint.classify.backbone import start_of
from voxhint.classify.calibration import calibrate
from voxhint.classify.classifier import FACTS, Presence, network_for, open_presence
from voxhint.classify.refinement import Contrast
from voxhint.config import LabelConfig, Machine
from voxhint.core import LabelSet, Strokes, Tag
from voxhint.core.errors import about
from voxhint.core.progress import Tell
from voxhint.core.study import CaseFiles, Study
from voxhint.files.atomic import replacing, write_json
from voxhint.files.description import read_object
from voxhint.measure.detection import ranking
from voxhint.models.device import open_fabric
from voxhint.models.folder import read_plan, write_history
from voxhint.models.planning import measure_images
from voxhint.models.shipped import ORIGIN, take_shipped
from voxhint.models.split import parted
from voxhint.nets import weights_bytes
from voxhint.prepare import Plan, Wishes, make_plan, prepare_image
from voxhint.train import Bag, Settings, TaggedImage, TagTask, train

_BATCH = 12
_WIDTH = 16  # feature maps at the first level
_HELD_OUT = 0.1  # share of the subjects whose tags choose the checkpoint and the calibration
_SAMPLES = 400  # voxels of each image that decide what is dense
_LOOKS = 40  # images that decide whether a label is bright or dark
_NO_GATE = -1e9
_SHIPPED_SPECIFICITY = LabelConfig().tags.specificity  # what their gates were set by
_SPECIFICITY = "specificity"

Tagged = tuple[CaseFiles, TaggedImage]


def bags_of(study: Study, name: str, labels: Sequence[str]) -> tuple[Bag, ...]:
    """Return what is said of a case: one bag for the whole image, one for each range of slices."""
    whole = dict.fromkeys(labels, float("nan"))
    ranges: dict[tuple[float, float], dict[str, float]] = {}
    for hint in study.hints.get(name, ()):
        if isinstance(hint, Strokes) or hint.label not in whole:
            continue
        if not isinstance(hint, Tag):
            whole[hint.label] = 1.0  # who marks a place says that there is one
        elif hint.state != "unknown":
            known = 1.0 if hint.state == "present" else 0.0
            if hint.z_range_mm is None:
                whole[hint.label] = known
            else:
                part = ranges.setdefault(hint.z_range_mm, dict.fromkeys(labels, float("nan")))
                part[hint.label] = known
    bags = [Bag(tuple(part.values()), heights) for heights, part in ranges.items()]
    if not all(np.isnan(value) for value in whole.values()):
        bags.append(Bag(tuple(whole.values())))
    return tuple(bags)


def sought(study: Study) -> tuple[str, ...]:
    """Return the labels that tags alone must find somewhere, and for which both states are told."""
    found = []
    for label in study.labels.foreground:
        states = {
            bag.states[0] for files in study.training for bag in bags_of(study, files.name, [label])
        }
        if {0.0, 1.0} <= states and any(
            needs_place(study, files.name, label) for files in study.training
        ):
            found.append(label)
    return tuple(found)


def needs_place(study: Study, name: str, label: str) -> bool:
    """Return whether a case is tagged to hold a label of which no hint shows the place."""
    hints = [
        hint
        for hint in study.hints.get(name, ())
        if not isinstance(hint, Strokes) and hint.label == label
    ]
    tagged = any(isinstance(hint, Tag) and hint.state == "present" for hint in hints)
    shown = any(not isinstance(hint, Tag) for hint in hints)
    drawn = any(file.label in (None, label) for file in study.stroke_files.get(name, ()))
    return tagged and not shown and not drawn


def fit_presence(
    folder: Path,
    study: Study,
    labels: tuple[str, ...],
    *,
    config: LabelConfig,
    machine: Machine,
    tell: Tell,
) -> Presence:
    """Train the predictor of a study, going on where an earlier call stopped.

    One that comes with voxhint is taken instead, where there is one and the knobs allow it.

    Args:
        folder: Where plan.json, weights.safetensors and presence.json go.
        study: With tags of both states.
        labels: Those to learn.
        config: Knobs of the predictor.
        machine: Device, threads, seed.
        tell: Hears of progress.

    Returns:
        The predictor, calibrated.
    """
    fabric = open_fabric(machine)
    how = (machine, tell)
    if (folder / FACTS).exists() or take_shipped("predictor", folder, study, labels, config, how):
        if (folder / ORIGIN).exists() and config.tags.specificity != _SHIPPED_SPECIFICITY:
            _gate_anew(folder, study, open_presence(folder, fabric), config, tell)
        return open_presence(folder, fabric)
    start = start_of(study, config.classifier)
    wishes = Wishes(
        network="predictor",
        width=_WIDTH,
        patch_voxels=config.classifier.input_voxels,
        batch=_BATCH,
        whole=True,
    )
    plan = tag_plan(folder, study, labels, wishes, how)
    files, images = prepared_images(folder / ".prepared", study, plan, tell)
    tagged = list(zip(files, images, strict=True))
    fit, held_out = parted(files, tagged, _HELD_OUT, machine.seed)
    torch.manual_seed(machine.seed)
    net = network_for(plan, labels, **start.network, backbone=start.backbone)
    task = TagTask.of(
        [image for _, image in fit],
        [image for _, image in held_out],
        patch=plan.patch,
        batch=plan.batch,
        mirror=config.classifier.flips,
    )
    state = folder / ".state.ckpt"
    result = train(
        fabric,
        net,
        task,
        settings=Settings(
            steps=config.classifier.steps,
            learning_rate=start.learning_rate,
            seed=machine.seed,
            state=state,
        ),
        progress=lambda done, total, note: tell("train the predictor", done, total, note),
    )
    net.load_state_dict(result.weights)
    with replacing(folder / "weights.safetensors") as partial:
        partial.write_bytes(weights_bytes(net))
    write_history(folder / "history.csv", result.history)
    net.to(fabric.device).eval()
    presence = Presence(net, plan, labels, {}, fabric, config.classifier.flips)
    rng = np.random.default_rng(machine.seed)
    facts = {name: _facts(presence, name, (tagged, held_out), config, rng) for name in labels}
    told = {"labels": labels, "mirror": config.classifier.flips, "network": start.network}
    write_json(folder / FACTS, {**told, "weights": start.weights, "facts": facts})
    state.unlink(missing_ok=True)
    shutil.rmtree(folder / ".prepared", ignore_errors=True)
    return open_presence(folder, fabric)


def _gate_anew(
    folder: Path, study: Study, presence: Presence, config: LabelConfig, tell: Tell
) -> None:
    """Set the gate of a predictor that comes with voxhint by the study's own images.

    Its own gate follows from images that are not here, and from the usual specificity.
    """
    told = read_object(folder / FACTS)
    if told.get(_SPECIFICITY) == config.tags.specificity:
        return
    files, images = prepared_images(folder / ".prepared", study, presence.plan, tell)
    for label in presence.labels:
        rows = _scored(presence, label, list(zip(files, images, strict=True)))
        told["facts"][label]["gate"] = _gate(rows, config)
    write_json(folder / FACTS, {**told, _SPECIFICITY: config.tags.specificity})
    shutil.rmtree(folder / ".prepared", ignore_errors=True)


def tag_plan(
    folder: Path, study: Study, labels: tuple[str, ...], wishes: Wishes, how: tuple[Machine, Tell]
) -> Plan:
    """Return the plan of a network that learns tags, made once from the cases they speak of."""
    machine, tell = how
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "plan.json"
    if path.exists():
        return read_plan(path)
    plan = make_plan(
        measure_images(study, _spoken_of(study, labels), machine.seed, tell),
        study.channels,
        LabelSet(("background", *labels), tuple(range(len(labels) + 1))),
        wishes=wishes,
        optional_channels=study.optional_channels,
    )
    write_json(path, plan.to_json())
    return plan


def _spoken_of(study: Study, labels: tuple[str, ...]) -> tuple[CaseFiles, ...]:
    """Return the training cases of which something is said about the labels."""
    return tuple(files for files in study.training if bags_of(study, files.name, labels))


def prepared_images(
    folder: Path, study: Study, plan: Plan, tell: Tell
) -> tuple[tuple[CaseFiles, ...], list[TaggedImage]]:
    """Return the cases to learn tags from, and each ready for the network of a plan."""
    cases = _spoken_of(study, plan.labels.foreground)
    images = []
    for number, files in enumerate(cases):
        tell(f"prepare for the {plan.network}", number, len(cases), files.name)
        images.append(_prepared(folder, study, files, plan))
    return cases, images


def _prepared(folder: Path, study: Study, files: CaseFiles, plan: Plan) -> TaggedImage:
    """Return a case ready for learning tags, memory-mapped from a file written once."""
    path = folder / f"{files.name}.npy"
    rise = folder / f"{files.name}.rise.npy"
    if not (path.exists() and rise.exists()):
        with about(f"case {files.name}"):
            case = study.load(files, hints=False)
        image, grid = prepare_image(case.images, plan)
        with replacing(path) as partial:
            np.save(partial, image.astype(np.float16))
        with replacing(rise) as partial:
            np.save(partial, grid.affine[2])
    di, dj, dk, z = np.load(rise).tolist()
    return TaggedImage(
        np.load(path, mmap_mode="r"),
        bags_of(study, files.name, plan.labels.foreground),
        (di, dj, dk, z),
    )


def _facts(
    presence: Presence,
    label: str,
    tagged: tuple[Sequence[Tagged], Sequence[Tagged]],
    config: LabelConfig,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Return what a label's scores mean, from tags alone.

    The gate follows from all training images tagged absent; ranking and calibration from images
    held out, or from all where those are of one state.
    """
    everything = _scored(presence, label, tagged[0])
    aside = {files.subject for files, _ in tagged[1]}
    held_out = [row for row in everything if row.subject in aside]
    contrast = _contrast(presence, label, [image for _, image in tagged[0]], config, rng)
    facts: dict[str, Any] = {"contrast": dataclasses.asdict(contrast)}
    if not everything:  # tags speak of ranges of slices only
        return {**facts, "gate": _NO_GATE, "auc": None, "calibration": None}
    apart = len({row.present for row in held_out}) > 1
    tried = held_out if apart else everything
    facts["held_out"] = apart
    scores, truth = np.array([r.score for r in tried]), np.array([r.present for r in tried])
    drawn = np.random.default_rng(0)  # intervals are the same at every look
    facts["auc"] = dataclasses.asdict(
        ranking(scores, truth, [row.subject for row in tried], rng=drawn)
    )
    facts["calibration"] = dataclasses.asdict(calibrate(scores, truth))
    return {**facts, "gate": _gate(everything, config)}


def _gate(rows: Sequence["_Scored"], config: LabelConfig) -> float:
    """Return the score below which the wanted share of the images tagged absent lies."""
    absent = [row.score for row in rows if not row.present]
    return float(np.quantile(absent, config.tags.specificity)) if absent else _NO_GATE


@dataclass(frozen=True, slots=True)
class _Scored:
    """What the predictor says of an image, and what its tag says."""

    subject: str
    score: float
    present: bool


def _scored(presence: Presence, label: str, tagged: Sequence[Tagged]) -> list[_Scored]:
    """Return the scores of the images that are tagged as a whole."""
    number = presence.labels.index(label)
    rows = []
    for files, image in tagged:
        states = [bag.states[number] for bag in image.bags if bag.z_range_mm is None]
        if states and not np.isnan(states[0]):
            score = presence.scores(np.asarray(image.image, np.float32))[label]
            rows.append(_Scored(files.subject, score, states[0] > 0))
    return rows


def _contrast(
    presence: Presence,
    label: str,
    images: Sequence[TaggedImage],
    config: LabelConfig,
    rng: np.random.Generator,
) -> Contrast:
    """Return the two kinds of tissue in the images, the surround of the label first.

    Otsu's threshold parts the voxels of the first channel. The label is of the kind that the
    evidence in images tagged present prefers.
    """
    values = np.concatenate(
        [rng.choice(np.asarray(i.image[0], np.float32).ravel(), _SAMPLES) for i in images]
    )
    border = float(threshold_otsu(values))  # type: ignore[no-untyped-call]
    low, high = float(values[values <= border].mean()), float(values[values > border].mean())
    number = presence.labels.index(label)
    shown = [image for image in images if any(bag.states[number] > 0 for bag in image.bags)]
    brighter = []
    for image in shown[:: max(1, -(-len(shown) // _LOOKS))]:
        prepared = np.asarray(image.image, np.float32)
        found = np.maximum(presence.evidence_of(prepared, label, config, rng), 0)
        if found.sum() > 0:
            seen = float((found * prepared[0]).sum() / found.sum())
            brighter.append(seen > float(np.median(prepared[0])))
    return Contrast(low, high) if np.mean(brighter or [True]) >= 0.5 else Contrast(high, low)
