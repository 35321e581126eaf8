"""`voxhint predict`: a model and images to masks on the images' own grids."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from voxhint.config import Machine, PredictConfig
from voxhint.core import Grid, SoftLabel, Volume
from voxhint.core.errors import BadFileError, about
from voxhint.files.description import NAME, Description
from voxhint.files.images import image_warnings, read_volume, write_ids, write_probability
from voxhint.files.layout import find_cases, some
from voxhint.files.study import CaseFiles, Study
from voxhint.label import facts_of, gather_evidence
from voxhint.predict import entropy, predict_tiles, respect, restore
from voxhint.prepare import Plan, prepare_image
from voxhint.verbs.job import Ticket, alone, finish, hash_of, start
from voxhint.verbs.label import evidence_case
from voxhint.verbs.machine import open_fabric
from voxhint.verbs.models import Model, open_model
from voxhint.verbs.presence import PREDICTOR, ask_presence, open_presence
from voxhint.verbs.tell import Tell, peak_ram_mb, silent

Facts = Callable[[str], SoftLabel]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Work:
    """What is to be predicted."""

    cases: Mapping[str, Mapping[str, Path]]
    """Paths of the images by case and channel."""

    inputs: Mapping[str, str] = field(default_factory=dict)
    facts: Facts | None = None
    """What the hints of a case prove, where masks must respect it."""

    name: str = "predict"
    warnings: tuple[str, ...] = ()
    """What a person should know of how the images are read."""


def predict(
    model: Path,
    images: Path,
    out: Path,
    *,
    config: PredictConfig,
    machine: Machine,
    tell: Tell = silent,
) -> Path:
    """Write a mask for every case in a folder of images.

    Args:
        model: What `train` wrote, or a run that holds it.
        images: A folder of CASE_CCCC files like `imagesTs`.
        out: Where CASE.nii.gz goes.
        config: What to write.
        machine: Device and threads.
        tell: Hears of progress.

    Returns:
        The output folder.
    """
    opened = open_model(model, open_fabric(machine))
    cases = _cases(images, opened.plan)
    warnings = warnings_of(cases)
    for warning in warnings:
        tell("look at images", 1, 1, warning)
    work = Work(cases=cases, inputs={"images": hash_of([images])}, warnings=warnings)
    study = images.parent if (images.parent / NAME).exists() else images
    with alone(out, source=study):
        return predict_cases(opened, work, out, config=config, machine=machine, tell=tell)


def forecast_prediction(
    model: Path, images: Path, config: PredictConfig, machine: Machine
) -> Iterator[str]:
    """Yield what a prediction would do and need, measured on the first case; nothing is written."""
    opened = open_model(model, open_fabric(machine))
    cases = _cases(images, opened.plan)
    began = time.monotonic()
    first = next(iter(cases.values()))
    volumes = {name: read_volume(path, channel=name) for name, path in first.items()}
    _probabilities(opened, volumes, config)
    seconds = time.monotonic() - began
    yield f"{len(cases)} cases to predict; the first took {seconds:.1f} s"
    yield f"in all about {seconds * len(cases) / 60:.0f} min; peak so far {peak_ram_mb()} MiB"


def _cases(images: Path, plan: Plan) -> Mapping[str, Mapping[str, Path]]:
    spec = Description(channels=plan.channels, labels=plan.labels, optional=plan.optional_channels)
    cases, problems = find_cases(images, spec)
    errors = [str(problem) for problem in problems if problem.severity == "error"]
    if errors or not cases:
        msg = "\n".join(errors) or f"{images}: holds no image; name a folder of CASE_0000 files"
        raise BadFileError(msg)
    return cases


def warnings_of(cases: Mapping[str, Mapping[str, Path]]) -> tuple[str, ...]:
    """Return what a person should know of how images are read, such as on which grid masks lie."""
    paths = [path for images in cases.values() for path in images.values()]
    return tuple(f"{path.name}: {told}" for path in paths for told in image_warnings(path))


def _missing(plan: Plan, cases: Mapping[str, Mapping[str, Path]]) -> Iterator[str]:
    """Yield which channels the model knows and some cases lack."""
    for channel in plan.channels:
        lacking = [case for case, images in cases.items() if channel not in images]
        if lacking:
            yield (
                f"channel {channel} is missing in {len(lacking)} of {len(cases)} cases "
                f"({some(lacking)}); their masks rest on the other channels"
            )


def predict_cases(
    model: Model,
    work: Work,
    out: Path,
    *,
    config: PredictConfig,
    machine: Machine,
    tell: Tell = silent,
) -> Path:
    """Write the masks of given cases; those that are there already are left alone.

    Args:
        model: Opened on its device.
        work: Cases, and what their hints prove.
        out: Where CASE.nii.gz goes.
        config: What to write.
        machine: Seed and overwrite.
        tell: Hears of progress.

    Returns:
        The output folder.
    """
    ticket = Ticket(
        verb="predict",
        config=dataclasses.asdict(config),
        seed=machine.seed,
        inputs={**work.inputs, "weights": hash_of([model.weights])},
    )
    if start(out, ticket, overwrite=machine.overwrite):
        return out
    began = time.monotonic()
    missing = tuple(_missing(model.plan, work.cases))
    for warning in missing:
        tell("look at images", 1, 1, warning)
    absent: Mapping[str, frozenset[str]] = {}
    predictor = model.weights.parent / PREDICTOR
    if work.facts is None and predictor.exists():  # hinted images have tags of their own
        presence = open_presence(predictor, model.fabric)
        absent = ask_presence(presence, work.cases, out / "presence.csv", tell)
    for number, (case, images) in enumerate(work.cases.items()):
        tell(work.name, number, len(work.cases), case)
        if not (out / f"{case}.nii.gz").exists():  # written last, so the others are there too
            with about(f"case {case}"):
                _write_case(
                    model, case, images, (out, work.facts, absent.get(case, frozenset()), config)
                )
    tell(work.name, len(work.cases), len(work.cases), "")
    seconds = {"predict": round(time.monotonic() - began, 1)}
    facts = {
        "seconds": seconds,
        "peak_ram_mb": peak_ram_mb(),
        "warnings": [*work.warnings, *missing],
    }
    finish(out, ticket, facts)
    return out


def _write_case(
    model: Model,
    case: str,
    images: Mapping[str, Path],
    how: tuple[Path, Facts | None, frozenset[str], PredictConfig],
) -> None:
    out, facts, absent, config = how
    volumes = {name: read_volume(path, channel=name) for name, path in images.items()}
    probs, grid = _probabilities(model, volumes, config)
    labels = model.plan.labels
    for number in map(labels.number, absent):
        probs[0] += probs[number]
        probs[number] = 0
    if config.probabilities:
        for name, values in zip(labels.foreground, probs[1:], strict=True):
            write_probability(out / f"{case}__{name}.nii.gz", values, grid)
    if config.uncertainty:
        write_probability(out / f"{case}__uncertainty.nii.gz", entropy(probs), grid)
    classes = probs.argmax(0).astype(np.uint8) if facts is None else respect(probs, facts(case))
    write_ids(out / f"{case}.nii.gz", labels.to_ids(classes), grid)


def _probabilities(
    model: Model, volumes: Mapping[str, Volume], config: PredictConfig
) -> tuple[Float32[np.ndarray, "class i j k"], Grid]:
    """Return class probabilities on the first channel's own grid."""
    prepared, working = prepare_image(volumes, model.plan)
    with model.fabric.autocast():
        tiled = predict_tiles(
            model.net,
            prepared,
            patch=model.plan.patch,
            overlap=config.overlap,
            device=model.fabric.device,
        )
    grid = next(iter(volumes.values())).grid
    return restore(tiled, working, grid), grid


def training_work(study: Study, files: tuple[CaseFiles, ...], inputs: Mapping[str, str]) -> Work:
    """Return the hinted images of a study as work whose masks respect the hints."""
    by_name = {case.name: case for case in files}

    def facts(name: str) -> SoftLabel:
        case = evidence_case(study, by_name[name])
        return facts_of(gather_evidence(case.grid, case.hints, study.labels))

    cases = {case.name: case.images for case in files}
    return Work(cases=cases, inputs=inputs, facts=facts, name="predict hinted images")
