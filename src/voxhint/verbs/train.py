"""`voxhint train`: soft labels to a model."""

import dataclasses
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from voxhint.classify.classifier import FACTS, PREDICTOR, PREDICTOR_FILES
from voxhint.config import Machine, TrainConfig, seconds_of
from voxhint.core import Case, SoftLabel
from voxhint.core.errors import BadStudyError, about
from voxhint.core.progress import Tell, peak_ram_mb, silent, tell_found
from voxhint.core.study import CaseFiles, Study
from voxhint.files.atomic import replacing, write_json
from voxhint.files.description import read_object
from voxhint.files.hashing import hash_of
from voxhint.files.soft_labels import read_soft_label
from voxhint.models.device import open_fabric
from voxhint.models.folder import CALIBRATION, OWN_NETWORK, network_of, read_plan, write_history
from voxhint.models.planning import measure_images, require_views_of, trunk_wishes
from voxhint.models.shipped import ORIGIN
from voxhint.models.split import parted
from voxhint.nets import weights_bytes
from voxhint.prepare import Plan, claims_on, make_plan, prepare_image
from voxhint.prepare.plan import span_of, stacked_along
from voxhint.propagate import dense_label
from voxhint.runs import Manifest, complete, locked, read_made, start, study_inputs
from voxhint.runs.provenance import odd_files
from voxhint.train import Example, Result, Settings, Task, VoxelTask, step_seconds, train
from voxhint.train.resume import load_state
from voxhint.train.tasks.cross_modal import BranchTask
from voxhint.train.temperature import Temperature, fit_temperature
from voxhint.verbs.label import NETS, drawn_as, study_for

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_PREPARED = ".prepared"
_STATE = ".state.ckpt"
_DECIDED = "steps.json"  # the steps that a budget came to
_TAG_DICE = 0.5  # regions found by tags are small, and cross-entropy alone shrinks them
_SPANNED = 12  # cases that tell how far labels reach
_BELIEVED = 0.5  # belief in a label from which a voxel counts
_SPARE = 0.9  # share of a time budget for optimiser steps; the rest looks at held-out hints
_LENGTH = {f"config.{part}{knob}" for part in ("", "train.") for knob in ("steps", "budget")}
_HINTED = "config.hinted_masks"


def train_model(  # noqa: PLR0913  # each is a choice of its own
    study: Path,
    out: Path,
    *,
    labels: Path | None,
    config: TrainConfig,
    machine: Machine,
    network: Callable[[Plan], nn.Module] | None = None,
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
    """
    dense = config.supervision == "dense"
    opened, _ = study_for(study, out, machine, dense=dense)
    opened.learning_cases(dense=dense)
    require_views_of(opened, config)
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
    network: Callable[[Plan], nn.Module] | None = None,
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
        tell: Hears of progress.

    Returns:
        The output folder.
    """
    dense = config.supervision == "dense"
    files = study.learning_cases(dense=dense)
    manifest = Manifest(
        verb="train",
        config=dataclasses.asdict(config),
        seed=machine.seed,
        inputs={**_inputs(study, None if dense else labels), **_made_by(network)},
    )
    found = start(out, manifest, overwrite=machine.overwrite, longer=asks_more)
    if found.complete:
        return out
    tell_found(tell, found.warnings)
    began = time.monotonic()
    fabric = open_fabric(machine)
    taught = None if dense else labels
    plan = _plan(out, study, files, (taught, config), (machine, tell))
    examples = _examples(out / _PREPARED, study, files, taught, (plan, tell))
    _require_places(examples)
    fit, held_out = parted(files, examples, config.held_out, machine.seed)
    torch.manual_seed(machine.seed)
    net = network_of(plan) if network is None else network(plan)
    voxels = VoxelTask.of(fit, held_out, plan, _settled(config, labels))
    task = task_of(voxels)
    settings = Settings(
        steps=_steps(out, fabric, net, task, config, began),
        learning_rate=config.learning_rate,
        seed=machine.seed,
        state=out / _STATE,
        open_ended=True,
        until_settled=config.time is not None,
    )
    result = train(
        fabric,
        net,
        task,
        settings=settings,
        progress=lambda done, total, note: tell("train", done, total, note),
    )
    tell_found(tell, result.warnings)
    net.load_state_dict(result.weights)
    net.to(fabric.device).eval()
    warmth = fit_temperature(net, voxels.checks, fabric.device, spacing_mm=plan.spacing_mm)
    _write(out, net, result, labels, warmth)
    facts = {
        **_told(result, settings),
        "cases": {"fit": len(fit), "held_out": len(held_out)},
        "weights": hash_of([out / "weights.safetensors"]),
        "parameters": sum(p.numel() for p in net.parameters()),
        "peak_ram_mb": peak_ram_mb(),
        "warnings": [*found.warnings, *result.warnings],
    }
    complete(out, manifest, facts)
    return out


def _made_by(network: Callable[[Plan], nn.Module] | None) -> dict[str, str]:
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
    predictor = labels / NETS / PREDICTOR
    nets = [predictor / name for name in PREDICTOR_FILES]
    return [*sorted(labels.glob("*.nii.gz")), *nets, *sorted(predictor.glob(ORIGIN))]


def _told(result: Result, settings: Settings) -> dict[str, object]:
    """Return how long a training took and why it ended, as written into `made.json`."""
    last = result.history[-1]
    limit = "budget" if settings.until_settled else "steps"
    return {
        "seconds": {"train": round(last["seconds"], 1)},
        "steps": int(last["step"]),
        "ended": limit if last["step"] >= settings.steps else "settled",
    }


def task_of(voxels: VoxelTask) -> Task:
    """Return the task of voxels as the network of its plan wants it."""
    return BranchTask(voxels) if voxels.plan.network == "crossmodal" else voxels


def _settled(config: TrainConfig, labels: Path | None) -> TrainConfig:
    """Return the knobs, those left open set by what taught the labels."""
    flips, weight = config.flips, config.dice_weight
    if labels is not None and (labels / NETS / PREDICTOR).exists():
        told = read_object(labels / NETS / PREDICTOR / FACTS)
        flips = bool(told.get("mirror")) if flips is None else flips
        weight = _TAG_DICE if weight is None else weight
    return dataclasses.replace(config, flips=bool(flips), dice_weight=weight)


def _require_made_from(labels: Path, images: str | None) -> None:
    """Refuse soft labels of other images, whose cases may well be called the same, or changed ones.

    Raises:
        BadStudyError: They are.
    """
    made = read_made(labels)
    told = made.get("inputs")
    if made.get("verb") != "label" or not isinstance(told, dict) or told.get("imagesTr") != images:
        msg = f"{labels}: holds no soft labels of these images; run voxhint label on this study"
        raise BadStudyError(msg)
    read = {path.relative_to(labels).as_posix() for path in _read_of(labels)}
    for name, why in odd_files(labels):
        if name in read or name.endswith(".nii.gz"):
            msg = f"{labels / name}: {why}; run voxhint label again, which makes what is missing"
            raise BadStudyError(msg)


def _plan(
    out: Path,
    study: Study,
    files: Sequence[CaseFiles],
    what: tuple[Path | None, TrainConfig],
    how: tuple[Machine, Tell],
) -> Plan:
    """Return the plan: the one written down, or else measured and written down now."""
    (labels, config), (machine, tell) = what, how
    if (path := out / "plan.json").exists():
        return read_plan(path)
    prints = measure_images(study, files, machine.seed, tell)
    span_mm = _span_mm(study, files, labels, stacked_along(prints))
    plan = make_plan(
        prints,
        study.channels,
        study.labels,
        wishes=trunk_wishes(config, machine, study, span_mm),
        optional_channels=study.optional_channels,
    )
    write_json(path, plan.to_json())
    return plan


def _span_mm(
    study: Study, files: Sequence[CaseFiles], labels: Path | None, stacked: int | None
) -> tuple[float, float, float] | None:
    """Return how far the labels of a case reach, the median of some cases; None for no label."""
    spans = []
    for one in files[:: -(-len(files) // _SPANNED)]:
        with about(f"case {one.name}"):
            case = study.load(one, hints=False, dense=labels is None)
            soft = _soft(case, study, labels)
        turn = soft.grid.turn_to_ras(stacked)
        believed = turn.apply(soft.belief[1:].max(0) > _BELIEVED)
        spans.append(span_of(believed, soft.grid.turned(turn).spacing_mm))
    known = [span for span in spans if span is not None]
    if not known:
        return None
    i, j, k = np.median(known, axis=0).tolist()
    return i, j, k


def _require_places(examples: Sequence[Example]) -> None:
    """Refuse hints that show no place of any label.

    Raises:
        BadStudyError: All hints are tags of one state.
    """
    if not any(np.any(example.claims[0, 1:] > 0) for example in examples):
        msg = (
            "no hint shows where a label is, and tags alone need cases tagged present and cases "
            "tagged absent; add the missing kind, or points, boxes, scribbles or slices"
        )
        raise BadStudyError(msg)


def _examples(
    folder: Path,
    study: Study,
    files: Sequence[CaseFiles],
    labels: Path | None,
    how: tuple[Plan, Tell],
) -> list[Example]:
    plan, tell = how
    examples = []
    for number, case in enumerate(files):
        tell("prepare", number, len(files), case.name)
        with about(f"case {case.name}"):
            examples.append(_prepared(folder, study, case, labels, plan))
    return examples


def _prepared(
    folder: Path, study: Study, files: CaseFiles, labels: Path | None, plan: Plan
) -> Example:
    """Return a case ready for training, memory-mapped from files written once."""
    paths = [folder / f"{files.name}.{part}.npy" for part in ("image", "claims")]
    if not all(path.exists() for path in paths):
        case = study.load(files, hints=False, dense=labels is None)
        image, grid = prepare_image(case.images, plan)
        claims = claims_on(grid, _soft(case, study, labels))
        for path, array in zip(paths, (image, claims), strict=True):
            with replacing(path) as partial:
                np.save(partial, array.astype(np.float16))
    image, claims = (np.load(path, mmap_mode="r") for path in paths)
    return Example.of(files.name, image, claims)


def _soft(case: Case, study: Study, labels: Path | None) -> SoftLabel:
    if labels is None:
        return dense_label(case, study.labels)
    soft = read_soft_label(labels, case.name, study.labels)
    if soft is None:
        msg = f"{labels}: has no soft label of this case; run voxhint label again"
        raise BadStudyError(msg)
    return soft


def asks_more(changed: Sequence[str], found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Return whether a command differs from an earlier one only by asking for more of the same.

    Args:
        changed: Names of what differs, such as `config.train.steps`.
        found: What the folder of a training, or of a run, says it was begun with.
        wanted: The ticket of now.

    Returns:
        True for more steps, a longer budget, or hinted images that are to be predicted too.
    """
    if not set(changed) <= {*_LENGTH, _HINTED}:
        return False
    if _HINTED in changed and not wanted["config"]["hinted_masks"]:
        return False
    was, now = (told["config"].get("train", told["config"]) for told in (found, wanted))
    earlier, later = (TrainConfig(steps=c["steps"], budget=c["budget"]) for c in (was, now))
    if later.time is None:
        done = int(found.get("steps", 0)) if earlier.time else earlier.steps
        return (later.steps or 0) >= (done or 0)
    return earlier.time is None or seconds_of(later.time) >= seconds_of(earlier.time)


def _steps(
    out: Path, fabric: "Fabric", net: nn.Module, task: Task, config: TrainConfig, began: float
) -> int:
    """Return the number of steps; one that follows from a time budget is decided only once.

    A training that goes on is timed by the steps it has done.
    """
    if config.time is None:
        return config.steps or 0
    path = out / _DECIDED
    told = read_object(path) if path.exists() else {}
    if told.get("budget") != config.time:
        state = load_state(out / _STATE)
        left = seconds_of(config.time) - (time.monotonic() - began)
        if state is None or not state["step"]:
            steps = max(1, int(_SPARE * left / step_seconds(fabric, net, task)))
        else:
            each = state["seconds"] / state["step"]
            steps = state["step"] + int(max(0.0, left - state["seconds"]) / each)
        told = {"budget": config.time, "steps": steps}
        write_json(path, told)
    return int(told["steps"])


def _take_predictor(labels: Path | None, out: Path) -> None:
    """Copy the predictor that labelling trained: prediction asks it what an image holds."""
    if labels is None or not (source := labels / NETS / PREDICTOR).exists():
        return
    (out / PREDICTOR).mkdir(exist_ok=True)
    for name in (*PREDICTOR_FILES, *(path.name for path in source.glob(ORIGIN))):
        with replacing(out / PREDICTOR / name) as partial:
            shutil.copyfile(source / name, partial)


def _write(
    out: Path, net: nn.Module, result: Result, labels: Path | None, warmth: Temperature | None
) -> None:
    with replacing(out / "weights.safetensors") as partial:
        partial.write_bytes(weights_bytes(net))
    write_history(out / "history.csv", result.history)
    if warmth is not None:
        write_json(out / CALIBRATION, dataclasses.asdict(warmth))
    _take_predictor(labels, out)
    shutil.rmtree(out / _PREPARED, ignore_errors=True)
