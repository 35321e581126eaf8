"""Make hints of a kind from dense masks: a new study, and what a person would have needed."""

import dataclasses
import shutil
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from voxhint.config.ranges import Natural, in_range
from voxhint.core import UNDRAWN, Hint, LabelSet, Mask, Soft, Strokes
from voxhint.core.errors import BadStudyError, about
from voxhint.core.study import VoxelFile
from voxhint.files.atomic import write_json
from voxhint.files.dataset_json import NAME, Description, read_description, read_object
from voxhint.files.grid_match import require_place
from voxhint.files.hashing import file_hash
from voxhint.files.images import read_grid
from voxhint.files.masks import read_mask
from voxhint.files.study.drawn_hints import read_drawn
from voxhint.files.study.hint_writer import write_hints
from voxhint.files.study.layout import find_cases, images_in
from voxhint.runs import MADE, atomic_folder, require_apart
from voxhint.simulate.cost import PRICES, seconds_dense, seconds_of
from voxhint.simulate.hints import HintRequest, parse_request, simulate_hints
from voxhint.verbs.link_files import link_all

_COPIED = ("dataset.json", "cases.csv", "splits.json")
_DRAWN = ("slices", "scribbles")
_LINKED = ("imagesTr", "imagesTs", "labelsTs", "denseTr")


@dataclass(frozen=True, slots=True)
class SimulateSummary:
    """What was simulated."""

    out: Path
    """The new study."""

    cases: int
    """Cases that got hints."""

    seconds: float
    """What a person would need for these hints."""

    dense_seconds: float
    """What a person would need to outline everything instead."""

    without_truth: tuple[str, ...] = ()
    """Training cases without a mask: they got no hints."""


@dataclass(frozen=True, slots=True)
class _CaseCost:
    """What the hints of one case would cost a person."""

    hint: str
    seconds: float
    dense_seconds: float


class HintWriter:
    """Writes simulated hints case by case, and adds up what they cost.

    Args:
        study: The new study's folder.
        labels: Its labels.
        seed: Makes each case's random numbers, whatever the other cases are.
    """

    def __init__(self, study: Path, labels: LabelSet, seed: int) -> None:
        self._folder = study / "hints"
        self._labels = labels
        self._seed = in_range(Natural, seed, "seed")
        self._marks: dict[str, tuple[Hint, ...]] = {}
        self._costs: dict[str, _CaseCost] = {}

    def rng(self, case: str) -> np.random.Generator:
        """Return the random numbers of a case: its own, however many cases there are."""
        return np.random.default_rng([self._seed, zlib.crc32(case.encode())])

    def add(self, case: str, truth: Mask, request: HintRequest) -> None:
        """Simulate the hints of a case; drawings are written at once, marks at the end."""
        hints = simulate_hints(truth, request, self.rng(case))
        drawn = tuple(hint for hint in hints if isinstance(hint, (Strokes, Soft)))
        write_hints(self._folder, {case: drawn}, self._labels)
        self._marks[case] = tuple(hint for hint in hints if not isinstance(hint, (Strokes, Soft)))
        self._costs[case] = _CaseCost(request.text, seconds_of(hints), seconds_dense(truth))

    def finish(self) -> tuple[float, float]:
        """Write the tables and the bill.

        Returns:
            Seconds for the hints, and for outlining everything instead.
        """
        write_hints(self._folder, self._marks, self._labels)
        seconds = round(sum(cost.seconds for cost in self._costs.values()), 1)
        dense = round(sum(cost.dense_seconds for cost in self._costs.values()), 1)
        bill = {
            "seconds": seconds,
            "dense_seconds": dense,
            "cases": {case: dataclasses.asdict(cost) for case, cost in self._costs.items()},
            "assumptions": {act: dataclasses.asdict(price) for act, price in PRICES.items()},
        }
        write_json(self._folder / "cost.json", bill)
        return seconds, dense


def simulate(
    study: Path,
    *,
    hint: str,
    out: Path,
    seed: int = 0,
    overwrite: bool = False,
    undrawn: int | None = None,
) -> SimulateSummary:
    """Replace the hints of a study by simulated ones.

    Args:
        study: Holds dense masks of training cases in `denseTr`, or else in `labelsTr`.
        hint: The kind, such as `points:20`.
        out: The new study: same images (linked), hints of this kind alone, and `hints/cost.json`.
        seed: Same seed, same hints.
        overwrite: Whether an earlier result at `out` may be replaced.
        undrawn: The value that means "not drawn" in `labelsTr`, if not dataset.json says it.

    Returns:
        What was made.

    Raises:
        BadStudyError: The study cannot be read, or no training case has a dense mask.
    """
    request = parse_request(hint)
    require_apart(study, out)
    spec = _description(study, undrawn)
    images, _ = find_cases(study / "imagesTr", spec)
    masks = {
        case: path
        for folder in ("labelsTr", "denseTr")  # the later one wins
        for case, path in images_in(study / folder, like=images).items()
        if case in images
    }
    if not masks:
        msg = f"{study.name}: no dense masks in denseTr or labelsTr; hints are made from those"
        raise BadStudyError(msg)
    with atomic_folder(out, verb="simulate", overwrite=overwrite) as folder:
        writer = HintWriter(folder, spec.labels, seed)
        _carry_over(study, folder, spec, request)
        for case, path in sorted(masks.items()):
            with about(f"case {case}"):
                writer.add(case, _truth(path, images[case], spec), request)
        seconds, dense_seconds = writer.finish()
        settings = {"study": study.resolve().name, "hint": request.text, "seed": seed}
        write_json(folder / MADE, made_by("simulate", settings, masks))
    lacking = tuple(sorted(set(images) - set(masks)))
    return SimulateSummary(out, len(masks), seconds, dense_seconds, lacking)


def made_by(
    verb: str, settings: Mapping[str, object], inputs: Mapping[str, Path]
) -> dict[str, object]:
    """Return what made a study, for `made.json`."""
    return {
        "verb": verb,
        "settings": dict(settings),
        "versions": {name: version(name) for name in ("voxhint", "numpy", "scipy")},
        "inputs": {name: file_hash(path) for name, path in sorted(inputs.items())},
    }


def _description(study: Path, undrawn: int | None) -> Description:
    spec, problems = read_description(study / NAME, undrawn=undrawn)
    if spec is None:
        msg = f"{study.name}: {'; '.join(map(str, problems))}"
        raise BadStudyError(msg)
    return spec


def _truth(path: Path, images: Mapping[str, Path], spec: Description) -> Mask:
    """Return a mask as `denseTr` or `labelsTr` has it, on the grid of the channel it was drawn on.

    Raises:
        BadFileError: It lies on no channel's grid.
    """
    grids = [read_grid(image) for image in images.values()]
    if path.parent.name == "labelsTr":
        file = VoxelFile(path.name, "labels", path, undrawn=spec.undrawn)
        drawn = read_drawn(file, spec.labels, grids)
        ids, stored = spec.labels.to_ids(drawn.classes), drawn.grid
    else:
        ids, stored = read_mask(path, spec.labels, grids, undrawn=spec.undrawn)
    return Mask(ids, require_place(path, stored, grids), spec.labels)


def _carry_over(study: Path, folder: Path, spec: Description, request: HintRequest) -> None:
    """Copy the small files of a study and link its images and masks, hints left behind."""
    for name in _COPIED:
        if (study / name).is_file():
            shutil.copyfile(study / name, folder / name)
    if spec.undrawn is not None or request.kind in _DRAWN:
        # our own drawings say 255 where nothing was drawn, and may leave no voxel out
        write_json(folder / NAME, {**read_object(study / NAME), "undrawn": UNDRAWN})
    for name in _LINKED:
        if (study / name).is_dir():
            link_all(study / name, folder / name)
    if (study / "labelsTr").is_dir() and spec.undrawn in (None, UNDRAWN):
        # as a hint it would give away what is to be simulated
        link_all(study / "labelsTr", folder / "denseTr")
