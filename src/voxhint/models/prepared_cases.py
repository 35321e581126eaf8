"""Prepared cases on disk: packed in chunks, so that patches are read and cases are not."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from voxhint.files.atomic import replacing
from voxhint.prepare.patches import Known, survey
from voxhint.training import Example

_CHUNK, _BLOCK = 64, 32  # voxels along each axis: what is written, and what is read, together

Image = Float32[np.ndarray, "channel i j k"]
Bounds = Iterator[Sequence[Float32[np.ndarray, "i j k"]]]
"""Belief and plausibility of one class after the other."""


@contextmanager
def _written() -> Iterator[None]:
    """Tell of a full disk as the system does: Blosc2 calls everything a RuntimeError.

    Raises:
        OSError: It did.
    """
    try:
        yield
    except RuntimeError as error:
        msg = f"Blosc2: {error}"
        raise OSError(msg) from error


def prepared_example(
    folder: Path, name: str, classes: int, make: Callable[[], tuple[Image, Bounds]]
) -> Example:
    """Return a case by way of two files that are written once; its voxels stay on disk.

    Args:
        folder: Where they lie.
        name: Of the case.
        classes: How many there are.
        make: Prepares the case; asked only if a file is missing.

    Raises:
        OutputError: A file cannot be written.
    """
    paths = [folder / f"{name}.{part}.b2nd" for part in ("image", "bounds")]
    if not all(path.exists() for path in paths):
        image, bounds = make()
        with replacing(paths[0]) as partial:
            stored = _made(partial, image.shape)
            for channel, values in enumerate(image):
                with _written():
                    stored[channel] = values.astype(np.float16)
            shape = image.shape[1:]
            del image, values  # of a whole scan no array is kept longer than it must be
        with replacing(paths[1]) as partial:
            stored = _made(partial, (2, classes, *shape))
            for number in range(classes):
                _keep(stored, number, *next(bounds))
            _note(stored, survey(stored))
    image_file, claims_file = (_opened(path) for path in paths)
    return Example(name, image_file, claims_file, _noted(claims_file))


@_written()
def _keep(
    stored: Any,  # noqa: ANN401
    number: int,
    belief: Float32[np.ndarray, "i j k"],
    plausible: Float32[np.ndarray, "i j k"],
) -> None:
    """Write the bounds of one class."""
    stored[0, number] = belief.astype(np.float16)
    stored[1, number] = plausible.astype(np.float16)


def _opened(path: Path) -> Any:  # noqa: ANN401
    import blosc2  # takes a second to load

    return blosc2.open(str(path), mode="r", dparams={"nthreads": 1})


@_written()
def _made(path: Path, shape: Sequence[int]) -> Any:  # noqa: ANN401
    """Return an empty array on disk of half floats; leading axes are packed apart."""
    import blosc2  # takes a second to load

    lead = (1,) * (len(shape) - 3)
    return blosc2.empty(
        tuple(shape),
        np.float16,
        urlpath=str(path),
        mode="w",
        chunks=(*lead, *(min(_CHUNK, n) for n in shape[-3:])),
        blocks=(*lead, *(min(_BLOCK, n) for n in shape[-3:])),
        cparams={"codec": blosc2.Codec.ZSTD, "clevel": 1, "nthreads": 1},
    )


@_written()
def _note(bounds: Any, known: Known) -> None:  # noqa: ANN401
    """Keep beside the bounds what is known of them."""
    notes = bounds.schunk.vlmeta
    notes["sizes"], notes["shown"] = list(known.sizes), list(known.shown)
    notes["middle"] = None if known.middle is None else list(known.middle)
    for number in range(len(known.sizes)):
        notes[f"places_{number}"] = known.places(number).tobytes()


def _noted(bounds: Any) -> Known:  # noqa: ANN401
    """Return what was kept; places of a class are read when they are asked for."""
    notes = bounds.schunk.vlmeta
    middle = notes["middle"]
    return Known(
        sizes=tuple(notes["sizes"]),
        shown=tuple(notes["shown"]),
        middle=None if middle is None else (middle[0], middle[1], middle[2]),
        places=lambda number: np.frombuffer(notes[f"places_{number}"], np.int64),
    )
