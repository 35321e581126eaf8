"""One dataclass for each command: its words, its flags, and the verb it calls.

Verbs are imported when they are called, so that help, check, measure and report never load torch.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, Protocol

from voxhint.cli.import_export import Export, Import, Register
from voxhint.cli.models import Models
from voxhint.cli.options import Existing, ExistingOption
from voxhint.cli.results import Info, Measure, Next, Report
from voxhint.cli.serve import Serve
from voxhint.config import LabelConfig, Machine, MeasureConfig, PredictConfig, Recipe, TrainConfig
from voxhint.core.errors import BadStudyError, SkippedError
from voxhint.core.progress import Tell
from voxhint.core.words import counted
from voxhint.core.workers import cluster, warm_up


@dataclass(frozen=True, slots=True, kw_only=True)
class _TrainMachine(Machine):
    """Where and how training runs: all cases in one process."""

    unoffered: ClassVar[tuple[str, ...]] = ("workers",)


@dataclass(frozen=True, slots=True, kw_only=True)
class _DemoMachine(Machine):
    """Where and how the demo runs."""

    unoffered: ClassVar[tuple[str, ...]] = ("max_ram", "skip_bad", "undrawn", "workers")


@dataclass(frozen=True, slots=True, kw_only=True)
class _ImageMachine(Machine):
    """Where and how a command runs that reads no hints."""

    unoffered: ClassVar[tuple[str, ...]] = ("skip_bad", "undrawn")


_Lines = Iterator[str]

_LABEL = ("voxhint.verbs.label", "numba")
_PREDICT = ("voxhint.verbs.predict", "lightning_fabric", "monai.networks.nets.dynunet")
"""What workers of a verb load, late imports included."""


class Command(Protocol):
    """What `main` needs of a command."""

    def run(self, tell: Tell, /) -> _Lines:
        """Do the work and yield the lines for standard output."""


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Run the main job on embedded phantoms: no data needed, a few minutes on a CPU."""

    out: Path = Path("voxhint-demo")
    """Folder for the phantom studies and their runs."""

    machine: _DemoMachine = field(default_factory=_DemoMachine)

    def run(self, tell: Tell, /) -> _Lines:
        """Return the path of each report page."""
        from voxhint.verbs.demo import SHOWS, demo

        if self.machine.dry_run:
            for show in SHOWS:
                cases = f"{show.cases} phantoms to learn from, {show.test_cases} to predict"
                yield f"{show.name}: {cases}, {show.recipe.train.steps} steps"
            return
        for page in demo(self.out, machine=self.machine, tell=tell):
            yield str(page)


@dataclass(frozen=True, kw_only=True)
class Check:
    """List every problem of a study, one line each, with what to do."""

    study: Existing
    """The study folder."""

    strict: bool = False
    """Let warnings fail the check too."""

    supervision: Literal["weak", "dense"] = "weak"
    """Dense: hints may be missing, `denseTr` must be there."""

    registration_mm: float | None = None
    """Also tell which channels seem to lie further than this from the first."""

    undrawn: int | None = None
    """Value of drawn maps that means "not drawn"; else dataset.json says it, or it is 255."""

    workers: int = 1
    """Processes that look at cases at the same time."""

    cluster: str | None = None
    """Address of a Ray cluster whose machines look at cases instead."""

    def run(self, _tell: Tell, /) -> _Lines:
        """Yield problems, then what the study holds.

        Raises:
            BadStudyError: Without words: there are problems, and they were told.
        """
        from voxhint.files.problems import joined
        from voxhint.verbs.check import check

        dense = self.supervision == "dense"
        with cluster(self.cluster):
            problems, told = check(
                self.study,
                dense=dense,
                registration_mm=self.registration_mm,
                undrawn=self.undrawn,
                workers=self.workers,
            )
        found = joined(problems)
        for problem in found:
            yield f"{problem.severity}: {problem}"
        errors = sum(problem.severity == "error" for problem in found)
        yield f"{counted(errors, 'error')}, {counted(len(found) - errors, 'warning')}; {told}"
        if errors or (self.strict and problems):
            raise BadStudyError


@dataclass(frozen=True, kw_only=True)
class Simulate:
    """Make hints of a kind from dense masks, with the seconds a person would need."""

    study: Existing
    """A study with `denseTr` (or `labelsTr` without gaps)."""

    hint: str
    """points:N, boxes, diameters, slices:N, scribbles, tags or soft."""

    out: Path
    """The new study."""

    seed: int = 0
    """Seed of every random choice."""

    undrawn: int | None = None
    """Value of `labelsTr` that means "not drawn"; else dataset.json says it, or it is 255."""

    overwrite: bool = False
    """Replace an earlier result of voxhint in the output folder."""

    def run(self, _tell: Tell, /) -> _Lines:
        """Yield what was made."""
        from voxhint.verbs.simulate import simulate

        made = simulate(
            self.study,
            hint=self.hint,
            out=self.out,
            seed=self.seed,
            overwrite=self.overwrite,
            undrawn=self.undrawn,
        )
        yield (
            f"{made.out}: {self.hint} for {counted(made.cases, 'case')}; a person would need about "
            f"{made.seconds / 60:.0f} min, and {made.dense_seconds / 3600:.1f} h to outline all"
        )


@dataclass(frozen=True, kw_only=True)
class Label:
    """Turn hints into soft labels: a probability and a trust for each case and label."""

    study: Existing
    """The study folder."""

    out: Path
    """Folder for the soft labels."""

    cluster: str | None = None
    """Address of a Ray cluster whose machines work on cases instead."""

    label: LabelConfig = field(default_factory=LabelConfig)
    machine: Machine = field(default_factory=Machine)

    def run(self, tell: Tell, /) -> _Lines:
        """Return the output folder."""
        if self.machine.dry_run:
            from voxhint.verbs.dry_run import forecast_label

            yield from forecast_label(self.study, self.label, self.machine)
            return
        warm_up(self.machine.workers, *_LABEL)
        from voxhint.verbs.label import label

        machine = _of_cluster(self.machine, self.cluster)
        with cluster(self.cluster, threads=machine.threads):
            yield str(label(self.study, self.out, config=self.label, machine=machine, tell=tell))


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a model on soft labels; started again, it goes on where it stopped."""

    study: Existing
    """The study folder."""

    out: Path
    """The model folder."""

    labels: ExistingOption | None = None
    """What `voxhint label` wrote; not needed with --supervision dense."""

    train: TrainConfig = field(default_factory=TrainConfig)
    machine: _TrainMachine = field(default_factory=_TrainMachine)

    def run(self, tell: Tell, /) -> _Lines:
        """Return the model folder.

        Raises:
            BadStudyError: There is nothing to learn from.
        """
        if self.labels is None and self.train.supervision == "weak":
            msg = "no soft labels given; name them with --labels, or use --supervision dense"
            raise BadStudyError(msg)
        if self.machine.dry_run:
            from voxhint.verbs.dry_run import forecast_training

            yield from forecast_training(self.study, self.train, self.machine, labels=self.labels)
            return
        from voxhint.verbs.train import train_model

        yield str(
            train_model(
                self.study,
                self.out,
                labels=self.labels,
                config=self.train,
                machine=self.machine,
                tell=tell,
            )
        )


@dataclass(frozen=True, kw_only=True)
class Predict:
    """Write a mask for every image of a folder, on the image's own grid."""

    model: Existing
    """What `voxhint train` or `voxhint run` wrote, or a file of `export --to folder`."""

    images: Existing
    """A folder of CASE_CCCC images, like `imagesTs`; or one image, DICOM series, or zip of one."""

    out: Path | None = None
    """Folder for CASE.nii.gz; NAME-masks beside the images if not given."""

    to: Literal["dicom-seg", "rtstruct"] | None = None
    """Also write CASE.seg.dcm or CASE.rtstruct.dcm, the mask on its DICOM series."""

    cluster: str | None = None
    """Address of a Ray cluster whose machines work on images instead."""

    predict: PredictConfig = field(default_factory=PredictConfig)
    machine: _ImageMachine = field(default_factory=_ImageMachine)

    def run(self, tell: Tell, /) -> _Lines:
        """Return the output folder.

        Raises:
            SkippedError: Images were skipped; all else is done.
        """
        warm_up(self.machine.workers, *_PREDICT)
        from voxhint.files.images import image_stem
        from voxhint.verbs.predict import predict
        from voxhint.verbs.send_back import require_series, write_objects

        config, images = self.predict, self.images.absolute()
        if self.machine.dry_run:
            from voxhint.verbs.predict_forecast import forecast_prediction

            yield from forecast_prediction(self.model, self.images, config, self.machine)
            return
        out = self.out or images.with_name(f"{image_stem(images).removesuffix('.zip')}-masks")
        if self.to is not None:
            require_series(self.model, images, to=self.to)
        left: SkippedError | None = None
        try:
            machine = _of_cluster(self.machine, self.cluster)
            with cluster(self.cluster, threads=machine.threads, gpu=machine.device != "cpu"):
                predict(self.model, images, out, config=config, machine=machine, tell=tell)
        except SkippedError as error:
            left = error
        if self.to is not None:
            told = write_objects(self.model, images, out, to=self.to)
            yield from (f"warning: {line}" for line in told)
        if left is not None:
            raise left
        yield str(out)


@dataclass(frozen=True, kw_only=True)
class Run:
    """Go from a study folder to masks, numbers and a report: the main job."""

    study: Existing
    """The study folder."""

    out: Path
    """Folder for everything the run makes."""

    hinted_masks: bool = False
    """Also predict the hinted images, into masksTr; their hints are respected."""

    label: LabelConfig = field(default_factory=LabelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    predict: PredictConfig = field(default_factory=PredictConfig)
    measure: MeasureConfig = field(default_factory=MeasureConfig)
    machine: Machine = field(default_factory=Machine)

    def run(self, tell: Tell, /) -> _Lines:
        """Return the path of the report page."""
        parts = {part.name: getattr(self, part.name) for part in dataclasses.fields(Recipe)}
        recipe = Recipe(**parts)
        if self.machine.dry_run:
            from voxhint.verbs.dry_run import forecast

            yield from forecast(self.study, recipe, self.machine, hinted_masks=self.hinted_masks)
            return
        warm_up(self.machine.workers, *_LABEL, *_PREDICT)
        from voxhint.verbs.run import run

        yield str(
            run(
                self.study,
                self.out,
                recipe=recipe,
                machine=self.machine,
                hinted_masks=self.hinted_masks,
                tell=tell,
            )
        )


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """Say what this machine can do."""

    def run(self, _tell: Tell, /) -> _Lines:
        """Yield a line for each fact."""
        from voxhint.verbs.doctor import doctor

        for name, value in doctor():
            yield f"{name}: {value}"


def _of_cluster(machine: Machine, address: str | None) -> Machine:
    """Return the machine of one case on a cluster: one thread, if no number was asked for."""
    return (
        machine if address is None else dataclasses.replace(machine, threads=machine.threads or 1)
    )


COMMANDS: dict[str, type[Command]] = {
    "demo": Demo,
    "check": Check,
    "import": Import,
    "register": Register,
    "simulate": Simulate,
    "run": Run,
    "label": Label,
    "train": Train,
    "predict": Predict,
    "measure": Measure,
    "report": Report,
    "next": Next,
    "export": Export,
    "serve": Serve,
    "info": Info,
    "models": Models,
    "doctor": Doctor,
}
