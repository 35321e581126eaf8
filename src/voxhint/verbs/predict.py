"""`voxhint predict`: a model and images to masks on the images' own grids."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from voxhint.classify.classifier import CLASSIFICATION, chances_of, classify_images
from voxhint.config import Machine, PredictConfig, unused
from voxhint.config.without_effect import require_used
from voxhint.core import LabelSet, Turn, Volume
from voxhint.core.errors import BadFileError
from voxhint.core.labels import file_name
from voxhint.core.progress import Tell, peak_ram_mb, silent, tell_found
from voxhint.core.study import CaseFiles, Study
from voxhint.core.words import told_seconds
from voxhint.core.workers import on_cluster, spread
from voxhint.files.dataset_json import NAME
from voxhint.files.hashing import hash_of
from voxhint.files.images import (
    image_warnings,
    read_channels,
    read_grid,
    write_ids,
    write_probability,
)
from voxhint.files.study.images_alone import as_cases
from voxhint.files.study.layout import some
from voxhint.models.device import cores, open_fabric
from voxhint.models.folder import Model, open_model, plan_of
from voxhint.models.image_description import cases_for, description_of
from voxhint.models.single_file import unpacked
from voxhint.predict import respect
from voxhint.prepare import Plan
from voxhint.propagate.study import constraints_for, hints_alone
from voxhint.runs import Manifest, complete, locked, start
from voxhint.runs.kept_warnings import keep_notes, kept
from voxhint.runs.skipped_images import Skipped, by_case, more_cases
from voxhint.verbs.mask_maker import MaskMaker, Prediction, Respect
from voxhint.verbs.memory_limit import limit_of, require_memory
from voxhint.verbs.written import emptiness

_NO_HINTS = "a prediction reads no hints and trains nothing"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Work:
    """What is to be predicted."""

    cases: Mapping[str, Mapping[str, Path]]
    """Paths of the images by case and channel."""

    inputs: Mapping[str, str] = field(default_factory=dict)
    respect: Callable[[str], Respect] | None = None
    """What the hints of a case allow, where masks must respect it."""

    name: str = "predict"
    warnings: tuple[str, ...] = ()
    """What a person should know of how the images are read."""

    skipped: tuple[str, ...] = ()
    """Which images are of no use, and why."""


def predict(
    model: Path,
    images: Path,
    out: Path,
    *,
    config: PredictConfig,
    machine: Machine,
    tell: Tell = silent,
) -> Path:
    """Write a mask for every image; one that cannot be read is skipped, and told of at the end.

    Args:
        model: What `train` wrote, a run that holds it, or a file of one.
        images: A folder of CASE_CCCC files like `imagesTs`; or one image, one DICOM series, or a
            zip of one.
        out: Where CASE.nii.gz goes.
        config: What to write.
        machine: Device and threads.
        tell: Hears of progress.

    Returns:
        The output folder.

    Raises:
        SkippedError: Images cannot be used; the masks of all others are there.
    """
    require_used(machine, _NO_HINTS, "undrawn", "skip_bad")
    with asked(model, images, machine) as (opened, folder):
        cases, told, skipped = cases_for(folder, opened.plan)
        warnings = (*opened.warnings, *told, *_warnings_of(cases))
        for what, lines in (("look at images", warnings), ("skipped", skipped)):
            for line in lines:
                tell(what, 1, 1, line)
        described = description_of(folder)
        inputs = {} if described is None else {NAME: hash_of([described])}
        work = Work(cases=cases, inputs=inputs, warnings=warnings, skipped=skipped)
        require_room_to_predict(opened, cases, config, machine)
        above = (folder for folder in images.absolute().parents[:2] if (folder / NAME).exists())
        with locked(out, source=next(above, images)):
            return predict_cases(opened, work, out, config=config, machine=machine, tell=tell)


@contextmanager
def asked(model: Path, images: Path, machine: Machine) -> Iterator[tuple[Model, Path]]:
    """Yield an opened model, and a folder of the images that it is asked about."""
    with (
        unpacked(model) as place,
        as_cases(images, channels=plan_of(place).needed) as folder,
    ):
        yield open_model(place, open_fabric(machine)), folder


def _warnings_of(cases: Mapping[str, Mapping[str, Path]]) -> tuple[str, ...]:
    """Return what a person should know of how images are read, such as on which grid masks lie."""
    found = []
    for path in (path for images in cases.values() for path in images.values()):
        with suppress(BadFileError):  # told when its case is skipped
            found += [f"{path.name}: {told}" for told in image_warnings(path)]
    return tuple(found)


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

    Raises:
        SkippedError: Images cannot be used; the masks of all others are there.
    """
    busy = max(1, min(machine.workers, len(work.cases)))  # memory is shared by no others
    machine = dataclasses.replace(machine, workers=busy)
    manifest = Manifest(
        verb="predict",
        config=dataclasses.asdict(config),
        seed=machine.seed,
        inputs={**work.inputs, "weights": hash_of([model.weights]), **by_case(work.cases)},
    )
    found = start(out, manifest, overwrite=machine.overwrite, longer=more_cases)
    skipped = Skipped(out, work.skipped, tell)
    if found.complete:
        skipped.require_none(len(work.cases))
        return out
    tell_found(tell, found.warnings)
    began = time.monotonic()
    maker = maker_of(model, config, machine)
    general = [*_missing(model.plan, work.cases)]
    if maker.classifier is None:
        why = "no label of this model was taught by tags"
        general += unused(config, why, "boundary_refinement")
    for warning in general:
        tell("look at images", 1, 1, warning)
    _write_cases(maker, work, out, skipped, (machine, tell))
    done = [case for case in work.cases if case not in skipped]
    if not done:  # then nothing is complete
        skipped.require_none(0)
    for warning in (nothing := emptiness([out / f"{case}.nii.gz" for case in done])):
        tell("look at masks", 1, 1, warning)
    known = kept(out)
    odd = [note for case in done for note in known.get(_about(case), ())]
    labels = model.plan.labels
    seconds = {"predict": round(time.monotonic() - began, 1)}
    facts = {
        "seconds": seconds,
        "peak_ram_mb": peak_ram_mb(),
        "labels": dict(zip(labels.names, labels.ids, strict=True)),
        "warnings": [*found.warnings, *work.warnings, *general, *odd, *nothing],
        "skipped": skipped.lines,
    }
    complete(out, skipped.manifest(manifest), facts)
    skipped.require_none(len(done))
    return out


def _write_cases(
    maker: MaskMaker, work: Work, out: Path, skipped: Skipped, told: tuple[Machine, Tell]
) -> None:
    """Write what is missing of every case that can be used."""
    machine, tell = told
    chances: Mapping[str, Mapping[str, float]] = {}
    if work.respect is None and maker.classifier is not None:  # hinted images have their own tags
        table = out / CLASSIFICATION
        chances = classify_images(maker.classifier, work.cases, table, tell, skipped.trying)
    missing = [
        case
        for case in work.cases
        if case not in skipped and not all(map(Path.exists, _paths(out, case, maker)))
    ]
    total, first = len(work.cases), len(work.cases) - len(missing)
    alone = (maker, tell) if machine.workers == 1 and not on_cluster() else None
    one = _Writer(out, work, chances, maker.config, machine, maker.model.weights.parent, alone)
    for number, (case, written) in enumerate(spread(one.write, missing, machine.workers), first):
        tell(work.name, number, total, case)
        with skipped.trying(case):
            for note in written():
                keep_notes(out, _about(case), [note])
                tell(work.name, number, total, note)
    tell(work.name, total, total, "")


@dataclass(frozen=True, slots=True, eq=False)
class _Writer:
    """Writes the masks of one case after the other, in this process or in one of several."""

    out: Path
    work: Work
    chances: Mapping[str, Mapping[str, float]]
    config: PredictConfig
    machine: Machine
    model: Path
    alone: tuple[MaskMaker, Tell] | None
    """The model as it was opened, and who hears of its tiles; None in one of several processes."""

    def write(self, case: str) -> list[str]:
        """Return what a person should know of the images of a case whose masks it writes."""
        if self.alone is None:
            maker = _opened(self.model, self.config, self.machine)
        else:
            maker, tell = self.alone
            number, total = [*self.work.cases].index(case), len(self.work.cases)
            at = (self.work.name, number, total, case)
            maker = maker.telling(partial(_tell_tile, tell, at, time.monotonic()))
        allowed = self.work.respect and self.work.respect(case)
        images, chances = self.work.cases[case], self.chances.get(case, {})
        volumes = read_channels(images)
        notes = [f"{images[name].name}: {note}" for name, v in volumes.items() for note in v.notes]
        if self.alone is not None:
            keep_notes(self.out, _about(case), notes)  # first: with its mask a case is done
        prepared = maker.prepare(volumes)
        del volumes  # a whole scan is not kept twice
        made = maker.predict(prepared, chances, allowed, self.out)
        write_prediction(self.out, case, maker.model.plan.labels, made)
        return notes


def write_prediction(out: Path, case: str, labels: LabelSet, made: Prediction) -> None:
    """Write the mask of a case last, and before it what else was asked for."""
    if made.stored is not None:
        for number, name in enumerate(labels.foreground, 1):
            write_probability(_chance(out, case, name), made.probability(number), made.grid)
    if made.uncertainty is not None:
        write_probability(out / f"{case}__uncertainty.nii.gz", made.uncertainty, made.grid)
    write_ids(out / f"{case}.nii.gz", labels.to_ids(made.classes), made.grid, labels)


@cache
def _opened(model: Path, config: PredictConfig, machine: Machine) -> MaskMaker:
    """Return the maker of masks of one of several processes."""
    threads = machine.threads or max(1, cores() // machine.workers)
    fabric = open_fabric(dataclasses.replace(machine, threads=threads))
    return maker_of(open_model(model, fabric), config, machine)


def maker_of(model: Model, config: PredictConfig, machine: Machine) -> MaskMaker:
    """Return what makes masks with a model, within the memory that is allowed."""
    return MaskMaker.of(model, config, machine.seed, limit_of(machine))


def require_room_to_predict(
    model: Model,
    cases: Mapping[str, Mapping[str, Path]],
    config: PredictConfig,
    machine: Machine,
) -> None:
    """Refuse to begin where an image does not fit into the memory that is allowed.

    Args:
        model: Opened.
        cases: Paths of the images by case and channel; their headers are read.
        config: What to write.
        machine: Gives `max_ram` and `workers`.
    """
    if machine.max_ram is None:
        return
    maker, needs = maker_of(model, config, machine), {}
    for case, images in cases.items():
        with suppress(BadFileError):  # told when the case is skipped
            memory = maker.memory({name: read_grid(path) for name, path in images.items()})
            needs[case] = memory.taken(memory.most_bands)
    require_memory("predicting", needs, machine)


def _tell_tile(
    tell: Tell, at: tuple[str, int, int, str], began: float, tile: int, tiles: int
) -> None:
    """Tell how far a long case is."""
    what, done, total, case = at
    left = (time.monotonic() - began) / tile * (tiles - tile)
    tell(what, done, total, f"{case}: tile {tile} of {tiles}, {told_seconds(left)} left")


def image_chances(maker: MaskMaker, volumes: Mapping[str, Volume]) -> Mapping[str, float]:
    """Return the chance of each label that tags taught, 0 where the classifier rules it out."""
    return {} if maker.classifier is None else chances_of(maker.classifier, volumes)


def _paths(out: Path, case: str, maker: MaskMaker) -> list[Path]:
    """Return what is written of a case."""
    labels = maker.model.plan.labels.foreground if maker.config.probabilities else ()
    parts = ("", "__uncertainty") if maker.config.uncertainty else ("",)
    whole = [out / f"{case}{part}.nii.gz" for part in parts]
    return whole + [_chance(out, case, name) for name in labels]


def _chance(out: Path, case: str, label: str) -> Path:
    """Return where the probability of a label is written."""
    return out / f"{case}__{file_name(label)}.nii.gz"


def _about(case: str) -> str:
    return f"case {case}"


def training_work(study: Study, files: tuple[CaseFiles, ...], inputs: Mapping[str, str]) -> Work:
    """Return the hinted images of a study as work whose masks respect the hints."""
    return Work(
        cases={case.name: case.images for case in files},
        inputs=inputs,
        respect=partial(_allowed, study, {case.name: case for case in files}),
        name="predict hinted images",
    )


def _allowed(study: Study, files: Mapping[str, CaseFiles], case: str) -> Respect:
    """Return what the hints of a case allow."""
    known = constraints_for(hints_alone(study, files[case]), study.labels)

    def likeliest(
        probs: Float32[np.ndarray, "class a b c"], part: tuple[slice, slice], turn: Turn
    ) -> UInt8[np.ndarray, "a b c"]:
        planes, rows = part
        return respect(probs, *(one[:, :, rows] for one in known.bounds(planes, turn)))

    return likeliest
