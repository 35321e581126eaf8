"""What predicting will need: time and disk by some tiles of the largest case, memory by size."""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from voxhint.config import Machine, PredictConfig
from voxhint.core.errors import BadFileError
from voxhint.core.words import counted, told_seconds
from voxhint.files.images import read_channels, read_grid
from voxhint.models.image_description import cases_for
from voxhint.verbs.predict import asked, maker_of, require_room_to_predict, write_prediction


def forecast_prediction(
    model: Path, images: Path, config: PredictConfig, machine: Machine
) -> Iterator[str]:
    """Yield what a prediction would take, by some tiles of the largest case; nothing is kept."""
    with asked(model, images, machine) as (opened, folder):
        cases = cases_for(folder, opened.plan)[0]
        require_room_to_predict(opened, cases, config, machine)
        maker = maker_of(opened, config, machine)
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
            write_prediction(Path(place), first, opened.plan.labels, made)
            written = sum(path.stat().st_size for path in Path(place).iterdir())
    seconds += new * each
    yield (
        f"{counted(len(cases), 'case')} to predict; the largest, {first}, has "
        f"{counted(tiles, 'tile')}; the network is asked about {new}, of {each:.2f} s each, "
        f"and takes {told_seconds(seconds)}"
    )
    total = sum(sizes.values())
    share = total / max(1, sizes[first]) / min(machine.workers, len(cases))
    peak = memory.taken(prepared.bands) / 2**30
    disk = written / math.prod(made.grid.shape) * total / 1e6
    yield (
        f"in all about {told_seconds(seconds * share)}; about {peak:.1f} GiB a process, and "
        f"{disk:.1f} MB on disk if all is like the middle"
    )


def _voxels(images: Mapping[str, Path]) -> int:
    """Return how many voxels an image has, 0 if that cannot be read."""
    with suppress(BadFileError):
        return math.prod(read_grid(next(iter(images.values()))).shape)
    return 0
