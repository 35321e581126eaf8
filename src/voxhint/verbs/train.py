"""`voxhint train`: soft labels to a model."""

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from torch.distributed import DistError

from voxhint.classify.classifier import (
    CLASSIFIER,
    CLASSIFIER_FILE,
    CLASSIFIER_FILES,
    require_names_of_today,
)
from voxhint.config import Machine, TrainConfig, seconds_of
from voxhint.config.without_effect import require_used
from voxhint.core import Case, SoftLabel
from voxhint.core.compact import CompactSoftLabel
from voxhint.core.errors import BadRecipeError, BadStudyError, NotAvailableError
from voxhint.core.progress import Tell, peak_ram_mb, silent, tell_found
from voxhint.core.study import Study
from voxhint.files.atomic import replacing, write_json
from voxhint.files.dataset_json import read_object
from voxhint.files.hashing import hash_of
from voxhint.files.soft_labels import read_soft_label
from voxhint.measure.learning_curve import outlook
from voxhint.models.device import open_fabric
from voxhint.models.fit import fit, forget_progress
from voxhint.models.folder import CALIBRATION, OWN_NETWORK, NetworkFactory, weights_of
from voxhint.models.planning import require_views_of
from voxhint.models.segmentation_training import VoxelLearning, voxels_of
from voxhint.models.shipped_weights import ORIGIN
from voxhint.propagate import dense_label
from voxhint.runs import (
    MADE,
    Manifest,
    complete,
    is_started,
    locked,
    read_made,
    start,
    study_inputs,
)
from voxhint.runs.study_unchanged import odd_files
from voxhint.training import Result, Settings
from voxhint.training.loop import settled
from voxhint.training.temperature import fit_temperature
from voxhint.verbs.label import NETS, drawn_as, study_for
from voxhint.verbs.train_forecast import require_room_to_train

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_TAG_DICE = 0.5  # regions found by tags are small, and cross-entropy alone shrinks them
_LENGTH = {f"config.{part}{knob}" for part in ("", "train.") for knob in ("steps", "budget")}
_HINTED = "config.hinted_masks"


def train_model(  # noqa: PLR0913  # each is a choice of its own
    study: Path,
    out: Path,
    *,
    labels: Path | None,
    config: TrainConfig,
    machine: Machine,
    network: NetworkFactory | None = None,
    tell: Tell = silent,
) -> Path:
    """Train the trunk on soft labels (or on dense masks), going on where an earlier call stopped.

    Args:
        study: The study folder.
        out: The model folder: plan.json, weights.safetensors, history.csv, made.json.
        labels: What `label` wrote; not needed for dense supervision.
        config: Knobs of training.
        machine: Device, threads, memory, seed.
        network: Makes the network of the plan, if it is none of voxhint's.
        tell: Hears of progress.

    Returns:
        The output folder.

    Raises:
        BadRecipeError: Soft labels are given, and are not what is learnt from.
    """
    dense = config.supervision == "dense"
    if dense and labels is not None:
        msg = "soft labels have no effect with supervision dense; leave --labels out"
        raise BadRecipeError(msg)
    require_used(machine, "torchrun starts the processes of a training", "workers")
    fabric = open_fabric(machine, several=True)  # all meet before the first looks at the study
    if fabric.global_rank:
        return _follow(study, out, (labels, network), (config, machine), fabric)
    opened, _ = study_for(study, out, machine, dense=dense)
    opened.learning_cases(dense=dense)
    require_views_of(opened, config)
    require_room_to_train(opened, config, machine)
    with locked(out, source=study):
        return train_on(
            opened, out, labels=labels, config=config, machine=machine, network=network, tell=tell
        )


def train_on(  # noqa: PLR0913  # each is a choice of its own
    study: Study,
    out: Path,
    *,
    labels: Path | None,
    config: TrainConfig,
    machine: Machine,
    network: NetworkFactory | None = None,
    begin: Path | None = None,
    tell: Tell = silent,
) -> Path:
    """Train on the cases of an opened study, going on where an earlier call stopped.

    Args:
        study: What can be used of it.
        out: The model folder.
        labels: What `label` wrote; not needed for dense supervision.
        config: Knobs of training.
        machine: Device, threads, memory, seed.
        network: Makes the network of the plan, if it is none of voxhint's.
        begin: A model of the same labels and channels, whose weights training begins with.
        tell: Hears of progress.

    Returns:
        The output folder.
    """
    dense = config.supervision == "dense"
    manifest = Manifest(
        verb="train",
        config=dataclasses.asdict(config),
        seed=machine.seed,
        inputs={
            **_inputs(study, None if dense else labels),
            **_made_by(network),
            **begun_with(begin),
        },
    )
    fabric = open_fabric(machine, several=True)
    with fabric.rank_zero_first():  # the others wait
        found = start(out, manifest, overwrite=machine.overwrite, longer=asks_more)
    if found.complete:
        return out
    tell_found(tell, found.warnings)
    learning = learning_of(study, labels, (network, begin), (config, machine, tell))
    fitted = fit(learning, out, fabric=fabric, seed=machine.seed, tell=tell)
    tell_found(tell, fitted.result.warnings)
    if (told := outlook(fitted.result.history)) and fabric.is_global_zero:
        tell("outlook", 1, 1, told)
    temperature = fit_temperature(
        fitted.net,
        voxels_of(fitted.task).checks,
        fabric.device,
        spacing_mm=fitted.plan.spacing_mm,
    )
    if temperature is not None:
        write_json(out / CALIBRATION, dataclasses.asdict(temperature))
    _take_classifier(labels, out)
    forget_progress(out, resumable=True)
    facts = {
        **_how_long(fitted.result, fitted.settings),
        "cases": {"fit": len(fitted.fit), "held_out": len(fitted.held_out)},
        "weights": hash_of([out / "weights.safetensors"]),
        "parameters": sum(p.numel() for p in fitted.net.parameters()),
        "peak_ram_mb": peak_ram_mb(),
        "warnings": [*found.warnings, *fitted.result.warnings],
    }
    complete(out, manifest, facts)
    return out


def _follow(
    study: Path,
    out: Path,
    given: tuple[Path | None, NetworkFactory | None],
    how: tuple[TrainConfig, Machine],
    fabric: "Fabric",
) -> Path:
    """Share the steps of a training whose first process prepares, writes and tells.

    Returns:
        The output folder.

    Raises:
        NotAvailableError: It is not on a disk that all processes share, or others have ended.
        RuntimeError: Of torch, for another reason.
    """
    (labels, network), (config, machine) = given, how
    try:
        with fabric.rank_zero_first():
            pass
        if not is_started(out):
            msg = f"{out}: not there for process {fabric.global_rank}, as it is for the first; put "
            raise NotAvailableError(msg + "it on a disk that all machines share")
        if not (out / MADE).exists():
            opened, _ = study_for(study, out, machine, dense=config.supervision == "dense")
            learning = learning_of(opened, labels, (network, None), (config, machine, silent))
            fit(learning, out, fabric=fabric, seed=machine.seed, tell=silent)
    except RuntimeError as error:
        if not isinstance(error, DistError) and "gloo" not in str(error):
            raise
        msg = f"process {fabric.global_rank} lost the others; they say why, and the same command "
        raise NotAvailableError(msg + "goes on from here") from error
    return out


def learning_of(
    study: Study,
    labels: Path | None,
    made: tuple[NetworkFactory | None, Path | None],
    how: tuple[TrainConfig, Machine, Tell],
) -> VoxelLearning:
    """Return what is learnt from the cases of a study, by which network.

    Args:
        study: What can be used of it.
        labels: What `label` wrote; not needed for dense supervision.
        made: Makes the network, if it is none of voxhint's; a model to begin with.
        how: Knobs, machine, and who hears of progress.
    """
    config, machine, tell = how
    dense = config.supervision == "dense"

    def label_of(case: Case) -> SoftLabel | CompactSoftLabel:
        return dense_label(case, study.labels) if dense else _soft(labels, case, study)

    files, settled, began = study.learning_cases(dense=dense), _settled(config, labels), monotonic()
    lesions = _lesions(labels) if settled.flips else ()
    return VoxelLearning(study, files, label_of, settled, machine, tell, began, lesions, *made)


def begun_with(model: Path | None) -> dict[str, str]:
    """Return the hash of the weights that a training begins with, as an input."""
    return {} if model is None else {"begin": hash_of([weights_of(model)])}


def _made_by(network: NetworkFactory | None) -> dict[str, str]:
    """Return what made the network, as an input, where it was none of voxhint's."""
    name = getattr(network, "__qualname__", type(network).__qualname__)
    return {} if network is None else {OWN_NETWORK: f"{network.__module__}.{name}"}


def _inputs(study: Study, labels: Path | None) -> dict[str, str]:
    """Return the hashes of what training learns from: soft labels, or else dense masks."""
    inputs = study_inputs(study.root, ("dataset.json", "imagesTr", "cases.csv")) | drawn_as(study)
    if labels is None:
        return inputs | study_inputs(study.root, ("denseTr",))
    _require_made_from(labels, inputs.get("imagesTr"))
    return {**inputs, "labels": hash_of(_read_of(labels))}


def _read_of(labels: Path) -> list[Path]:
    """Return the files that training reads of what `label` wrote."""
    classifier = labels / NETS / CLASSIFIER
    nets = [classifier / name for name in CLASSIFIER_FILES]
    cases = sorted((*labels.glob("*.nii.gz"), *labels.glob("*__soft.npz")))
    return [*cases, *nets, *sorted(classifier.glob(ORIGIN))]


def _how_long(result: Result, settings: Settings) -> dict[str, object]:
    """Return how long a training took and why it ended, as written into `made.json`."""
    last = result.history[-1]
    limit = "budget" if settings.until_settled else "steps"
    early = settings.until_settled and last["step"] < settings.steps
    return {
        "seconds": {"train": round(last["seconds"], 1)},
        "steps": int(last["step"]),
        "ended": "settled" if early and settled(result.history) else limit,
    }


def _settled(config: TrainConfig, labels: Path | None) -> TrainConfig:
    """Return the knobs, those left open set by what taught the labels."""
    flips, weight = config.flips, config.dice_weight
    if told := _classifier_of(labels):
        flips = bool(told.get("mirror")) if flips is None else flips
        weight = _TAG_DICE if weight is None else weight
    return dataclasses.replace(config, flips=bool(flips), dice_weight=weight)


def _lesions(labels: Path | None) -> tuple[str, ...]:
    """Return the labels that tags taught: they are taken for lesions, which may lie anywhere."""
    return tuple(_classifier_of(labels).get("labels", ()))


def _classifier_of(labels: Path | None) -> Mapping[str, Any]:
    """Return what is written of the classifier that tags taught; nothing where there is none."""
    if labels is None or not (labels / NETS / CLASSIFIER).exists():
        return {}
    return read_object(labels / NETS / CLASSIFIER / CLASSIFIER_FILE)


def _require_made_from(labels: Path, images: str | None) -> None:
    """Refuse soft labels of other images, whose cases may well be called the same, or changed ones.

    Raises:
        BadStudyError: They are.
    """
    require_names_of_today(labels / NETS)
    made = read_made(labels)
    told = made.get("inputs")
    if made.get("verb") != "label" or not isinstance(told, dict) or told.get("imagesTr") != images:
        msg = f"{labels}: holds no soft labels of these images; run voxhint label on this study"
        raise BadStudyError(msg)
    read = {path.relative_to(labels).as_posix() for path in _read_of(labels)}
    for name, why in odd_files(labels):
        if name in read or name.endswith((".nii.gz", "__soft.npz")):
            msg = f"{labels / name}: {why}; run voxhint label again, which makes what is missing"
            raise BadStudyError(msg)


def _soft(labels: Path | None, case: Case, study: Study) -> SoftLabel | CompactSoftLabel:
    soft = None if labels is None else read_soft_label(labels, case.name, study.labels)
    if soft is None:
        msg = f"{labels}: has no soft label of this case; run voxhint label again"
        raise BadStudyError(msg)
    return soft


def asks_more(changed: Sequence[str], found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Return whether a command differs from an earlier one only by asking for more of the same.

    Args:
        changed: Names of what differs, such as `config.train.steps`.
        found: What the folder of a training, or of a run, says it was begun with.
        wanted: The manifest of now.

    Returns:
        True for more steps, a longer budget, or hinted images that are to be predicted too.
    """
    fewer = _HINTED in changed and not wanted["config"]["hinted_masks"]
    if fewer or not set(changed) <= {*_LENGTH, _HINTED}:
        return False
    earlier, later = _length(found), _length(wanted)
    if later.time is None:
        done = found.get("steps", 0) if earlier.time else earlier.steps or 0
        return (later.steps or 0) >= int(done)
    return earlier.time is None or seconds_of(later.time) >= seconds_of(earlier.time)


def _length(manifest: Mapping[str, Any]) -> TrainConfig:
    """Return the knobs of a training, or of that of a run, that say how long it is."""
    config = manifest["config"].get("train", manifest["config"])
    return TrainConfig(steps=config["steps"], budget=config["budget"])


def _take_classifier(labels: Path | None, out: Path) -> None:
    """Copy the classifier that labelling trained: prediction asks it what an image holds."""
    if labels is None or not (labels / NETS / CLASSIFIER).exists():
        return
    (out / CLASSIFIER).mkdir(exist_ok=True)
    source = labels / NETS / CLASSIFIER
    for name in (*CLASSIFIER_FILES, *(path.name for path in source.glob(ORIGIN))):
        with replacing(out / CLASSIFIER / name) as partial:
            shutil.copyfile(source / name, partial)
