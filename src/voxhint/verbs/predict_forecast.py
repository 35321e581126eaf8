"""What predicting will need: time and disk by some tiles of the largest case, memory by size."""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from voxhint.config import Machine, PredictConfig
from voxhint.core.errors import BadFileError
from voxhint.core.words import counted, told_seconds
from voxhint.files.images import read_channels, read_grid
from voxhint.models.folder import Model
from voxhint.models.image_description import cases_for
from voxhint.verbs.predict import asked, maker_of, require_room_to_predict, write_prediction


@dataclass(frozen=True, slots=True)
class RehearsedPrediction:
    """What predicting would take."""

    lines: tuple[str, ...]
    seconds: float


def forecast_prediction(
    model: Path, images: Path, config: PredictConfig, machine: Machine
) -> Iterator[str]:
    """Yield what a prediction would take, by some tiles of the largest case; nothing is kept."""
    with asked(model, images, machine) as (opened, folder):
        cases = cases_for(folder, opened.plan)[0]
        yield from rehearse_prediction(opened, cases, config, machine).lines


def rehearse_prediction(
    model: Model,
    cases: Mapping[str, Mapping[str, Path]],
    config: PredictConfig,
    machine: Machine,
) -> RehearsedPrediction:
    """Return what a prediction would take, by some tiles of the largest case; nothing is kept.

    Args:
        model: Opened, or a network that is not trained yet: it takes as long.
        cases: Paths of the images by case and channel, of one case at least.
        config: What to write.
        machine: Memory, workers and seed.
    """
    require_room_to_predict(model, cases, config, machine)
    maker = maker_of(model, config, machine)
    sizes = {case: _voxels(images) for case, images in cases.items()}
    first = max(sizes, key=lambda case: sizes[case])
    began = time.monotonic()
    volumes = read_channels(cases[first])
    prepared = maker.prepare(volumes)
    seconds = time.monotonic() - began
    new = maker.asked(prepared)
    tiles, (each, made) = maker.tiles(prepared), maker.amid(volumes)
    memory = maker.memory({name: volume.grid for name, volume in volumes.items()})
    with TemporaryDirectory() as place:
        write_prediction(Path(place), first, model.plan.labels, made)
        written = sum(path.stat().st_size for path in Path(place).iterdir())
    seconds += new * each
    total = sum(sizes.values())
    whole = seconds * total / max(1, sizes[first]) / min(machine.workers, len(cases))
    peak = memory.taken(prepared.bands) / 2**30
    disk = written / math.prod(made.grid.shape) * total / 1e6
    lines = (
        f"predicting: {counted(len(cases), 'case')}; the largest, {first}, has "
        f"{counted(tiles, 'tile')}; the network is asked about {new}, of {each:.2f} s each, "
        f"and takes {told_seconds(seconds)}",
        f"predicting: in all about {told_seconds(whole)}; about {peak:.1f} GiB a process, and "
        f"{disk:.1f} MB on disk if all is like the middle",
    )
    return RehearsedPrediction(lines, whole)


def _voxels(images: Mapping[str, Path]) -> int:
    """Return how many voxels an image has, 0 if that cannot be read."""
    with suppress(BadFileError):
        return math.prod(read_grid(next(iter(images.values()))).shape)
    return 0
