"""`voxhint predict`: a model and images to masks on the images' own grids."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from voxhint.classify.boundary import refine_boundaries
from voxhint.classify.classifier import (
    CLASSIFICATION,
    CLASSIFIER,
    Classifier,
    chances_of,
    classify_images,
    open_classifier,
    require_names_of_today,
)
from voxhint.classify.false_positives import reduce_false_positives
from voxhint.config import Machine, PredictConfig, unused
from voxhint.core import Grid, SoftLabel, Volume
from voxhint.core.errors import about
from voxhint.core.labels import file_name
from voxhint.core.progress import Tell, peak_ram_mb, silent, tell_found
from voxhint.core.study import CaseFiles, Study
from voxhint.core.words import counted
from voxhint.files.description import NAME
from voxhint.files.hashing import hash_of
from voxhint.files.images import image_warnings, read_volume, write_ids, write_probability
from voxhint.files.study.images_alone import as_cases
from voxhint.files.study.layout import some
from voxhint.models.device import open_fabric
from voxhint.models.folder import Model, open_model, plan_of, segmenter_of
from voxhint.models.image_description import cases_for, description_of
from voxhint.models.single_file import unpacked
from voxhint.predict import entropy, predict_tiles, respect, restore
from voxhint.prepare import Plan, normalised, prepare_image
from voxhint.propagate import constraints_of, facts_of
from voxhint.propagate.study import aligned_case
from voxhint.runs import Manifest, complete, locked, start
from voxhint.runs.kept_warnings import keep_notes, kept

Facts = Callable[[str], SoftLabel]

_FLIPS = ((), (1,), (2,), (1, 2))


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
    """Write a mask for every image.

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
    """
    with (
        unpacked(model) as place,
        as_cases(images, channels=plan_of(place).needed) as folder,
    ):
        opened = open_model(place, open_fabric(machine))
        cases, told = cases_for(folder, opened.plan)
        warnings = (*opened.warnings, *told, *warnings_of(cases))
        for warning in warnings:
            tell("look at images", 1, 1, warning)
        described = description_of(folder)
        inputs = {} if described is None else {NAME: hash_of([described])}
        work = Work(cases=cases, inputs={"images": hash_of([images]), **inputs}, warnings=warnings)
        study = images.parent if (images.parent / NAME).exists() else images
        with locked(out, source=study):
            return predict_cases(opened, work, out, config=config, machine=machine, tell=tell)


def forecast_prediction(
    model: Path, images: Path, config: PredictConfig, machine: Machine
) -> Iterator[str]:
    """Yield what a prediction would do and need, measured on the first case; nothing is written."""
    with (
        unpacked(model) as place,
        as_cases(images, channels=plan_of(place).needed) as folder,
    ):
        opened = open_model(place, open_fabric(machine))
        cases, _ = cases_for(folder, opened.plan)
        began = time.monotonic()
        first = next(iter(cases.values()))
        volumes = {name: read_volume(path, channel=name) for name, path in first.items()}
        MaskMaker.of(opened, config, machine.seed).probabilities(volumes, {})
        seconds = time.monotonic() - began
    yield f"{counted(len(cases), 'case')} to predict; the first took {seconds:.1f} s"
    minutes, peak = seconds * len(cases) / 60, peak_ram_mb() / 1024
    yield f"in all about {minutes:.0f} min; peak so far {peak:.1f} GiB"


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
    manifest = Manifest(
        verb="predict",
        config=dataclasses.asdict(config),
        seed=machine.seed,
        inputs={**work.inputs, "weights": hash_of([model.weights])},
    )
    found = start(out, manifest, overwrite=machine.overwrite)
    if found.complete:
        return out
    tell_found(tell, found.warnings)
    began = time.monotonic()
    maker = MaskMaker.of(model, config, machine.seed)
    general = [*_missing(model.plan, work.cases)]
    if maker.classifier is None:
        general += unused(
            config, "no label of this model was taught by tags", "boundary_refinement"
        )
    for warning in general:
        tell("look at images", 1, 1, warning)
    chances: Mapping[str, Mapping[str, float]] = {}
    if work.facts is None and maker.classifier is not None:  # hinted images have their own tags
        chances = classify_images(maker.classifier, work.cases, out / CLASSIFICATION, tell)
    for number, (case, images) in enumerate(work.cases.items()):
        tell(work.name, number, len(work.cases), case)
        if not all(path.exists() for path in _paths(out, case, maker)):
            with about(f"case {case}"):
                proven = work.facts and work.facts(case)
                heard = partial(_tell_tile, tell, (work.name, number, len(work.cases), case))
                telling = dataclasses.replace(maker, progress=heard)
                notes = _write_case(telling, case, images, (out, proven, chances.get(case, {})))
            for note in notes:
                tell(work.name, number, len(work.cases), note)
    tell(work.name, len(work.cases), len(work.cases), "")
    odd = [note for case in work.cases for note in kept(out).get(_about(case), ())]
    labels = model.plan.labels
    seconds = {"predict": round(time.monotonic() - began, 1)}
    facts = {
        "seconds": seconds,
        "peak_ram_mb": peak_ram_mb(),
        "labels": dict(zip(labels.names, labels.ids, strict=True)),
        "warnings": [*found.warnings, *work.warnings, *general, *odd],
    }
    complete(out, manifest, facts)
    return out


@dataclass(frozen=True, slots=True, eq=False)
class MaskMaker:
    """A trained network, and what tags taught of the labels that nothing else shows."""

    model: Model
    classifier: Classifier | None
    config: PredictConfig
    seed: int
    progress: Callable[[int], None] | None = None
    """Hears of each tile of an image, by its number."""

    @staticmethod
    def of(model: Model, config: PredictConfig, seed: int) -> "MaskMaker":
        """Return the maker of a model folder."""
        require_names_of_today(model.weights.parent)
        folder = model.weights.parent / CLASSIFIER
        classifier = open_classifier(folder, model.fabric) if folder.exists() else None
        return MaskMaker(model, classifier, config, seed)

    def probabilities(
        self, volumes: Mapping[str, Volume], chances: Mapping[str, float]
    ) -> tuple[Float32[np.ndarray, "class i j k"], Grid]:
        """Return class probabilities on the first channel's own grid.

        Args:
            volumes: The image by channel.
            chances: Of labels that tags taught, what the classifier gives them; 0 rules one out.

        Returns:
            The probabilities and their grid.
        """
        plan, device = self.model.plan, self.model.fabric.device
        grid = next(iter(volumes.values())).grid
        ruled_out = [label for label, chance in chances.items() if chance == 0]
        if set(ruled_out) >= set(plan.labels.foreground):  # nothing is left to look for
            return _background(len(plan.labels.names), grid), grid
        prepared, working = prepare_image(volumes, plan)
        mirrored = self.classifier is not None and self.classifier.mirror
        flips = _FLIPS if (mirrored if self.config.tta is None else self.config.tta) else ((),)
        total = np.zeros((len(plan.labels.names), *prepared.shape[1:]), np.float32)
        segment = segmenter_of(self.model, self.config, self.seed)
        for axes in flips:
            with self.model.fabric.autocast():
                tiled = predict_tiles(
                    segment,
                    np.ascontiguousarray(np.flip(prepared, axes)),
                    patch=plan.patch,
                    overlap=self.config.overlap,
                    device=device,
                    progress=self.progress,
                )
            total += np.flip(tiled, axes) / len(flips)
        probs = restore(total, working, grid)
        if self.classifier is not None:
            probs = self._with_refined_boundaries(
                probs, next(iter(volumes.items())), chances, self.classifier
            )
            if chances:  # where a person tagged the image, that is obeyed
                probs = reduce_false_positives(probs, plan.labels, volumes, self.classifier)
        for label in ruled_out:
            number = plan.labels.number(label)
            probs[0] += probs[number]
            probs[number] = 0
        return probs, grid

    def _with_refined_boundaries(
        self,
        probs: Float32[np.ndarray, "class i j k"],
        shown: tuple[str, Volume],
        chances: Mapping[str, float],
        classifier: Classifier,
    ) -> Float32[np.ndarray, "class i j k"]:
        """Return probabilities in which borders of labels that tags taught follow the image.

        The image has its full say where the classifier thinks the label as likely as not, or more.
        """
        channel, volume = shown
        image = normalised(volume.voxels, channel, classifier.plan)
        i, j, k = (float(s) for s in volume.grid.spacing_mm)
        for label in classifier.labels:
            probs = refine_boundaries(
                probs,
                self.model.plan.labels.number(label),
                image,
                spacing_mm=(i, j, k),
                contrast=classifier.contrast(label),
                gain=self.config.boundary_refinement * min(1.0, 2 * chances.get(label, 1.0)),
            )
        return probs


def _tell_tile(tell: Tell, at: tuple[str, int, int, str], tile: int) -> None:
    """Tell how far a long case is."""
    what, done, total, case = at
    tell(what, done, total, f"{case}, tile {tile}")


def _background(classes: int, grid: Grid) -> Float32[np.ndarray, "class i j k"]:
    """Return the probabilities of an image that holds background alone."""
    probs = np.zeros((classes, *grid.shape), np.float32)
    probs[0] = 1
    return probs


def image_chances(maker: MaskMaker, volumes: Mapping[str, Volume]) -> Mapping[str, float]:
    """Return the chance of each label that tags taught, 0 where the classifier rules it out."""
    return {} if maker.classifier is None else chances_of(maker.classifier, volumes)


def _paths(out: Path, case: str, maker: MaskMaker) -> list[Path]:
    """Return what is written of a case."""
    labels = maker.model.plan.labels.foreground if maker.config.probabilities else ()
    parts = [f"__{name}" for name in labels] + ["__uncertainty"] * maker.config.uncertainty
    return [out / f"{case}{part}.nii.gz" for part in ("", *parts)]


def _write_case(
    maker: MaskMaker,
    case: str,
    images: Mapping[str, Path],
    how: tuple[Path, SoftLabel | None, Mapping[str, float]],
) -> list[str]:
    """Write the masks of one case.

    Returns:
        What a person should know of how its images were read.
    """
    out, facts, chances = how
    volumes = {name: read_volume(path, channel=name) for name, path in images.items()}
    notes = [f"{images[name].name}: {note}" for name, v in volumes.items() for note in v.notes]
    keep_notes(out, _about(case), notes)  # first: with its mask a case is done
    probs, grid = maker.probabilities(volumes, chances)
    labels = maker.model.plan.labels
    if maker.config.probabilities:
        for name, values in zip(labels.foreground, probs[1:], strict=True):
            write_probability(out / f"{case}__{file_name(name)}.nii.gz", values, grid)
    if maker.config.uncertainty:
        write_probability(out / f"{case}__uncertainty.nii.gz", entropy(probs), grid)
    classes = probs.argmax(0).astype(np.uint8) if facts is None else respect(probs, facts)
    write_ids(out / f"{case}.nii.gz", labels.to_ids(classes), grid, labels)
    return notes


def _about(case: str) -> str:
    return f"case {case}"


def training_work(study: Study, files: tuple[CaseFiles, ...], inputs: Mapping[str, str]) -> Work:
    """Return the hinted images of a study as work whose masks respect the hints."""
    by_name = {case.name: case for case in files}

    def facts(name: str) -> SoftLabel:
        case = aligned_case(study, by_name[name])
        return facts_of(constraints_of(case.grid, case.hints, study.labels))

    cases = {case.name: case.images for case in files}
    return Work(cases=cases, inputs=inputs, facts=facts, name="predict hinted images")
