"""Write XML as LIDC-IDRI has it, of nodules of known shape."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from scipy.ndimage import binary_dilation

Points = Iterable[tuple[int, int]]
Roi = tuple[float, bool, Points]

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<LidcReadMessage xmlns="http://www.nih.gov">'
TAIL = "</LidcReadMessage>"


def ring(low: int, high: int, *, y: int | None = None) -> list[tuple[int, int]]:
    """Return the pixels around the square from low + 1 to high - 1, once round."""
    top = low if y is None else y
    size = high - low
    ahead = [(low + step, top) for step in range(size)]
    down = [(high, top + step) for step in range(size)]
    back = [(high - step, top + size) for step in range(size)]
    up = [(low, top + size - step) for step in range(size)]
    return ahead + down + back + up


def around(area: Bool[np.ndarray, "x y"]) -> list[tuple[int, int]]:
    """Return the first pixels outside of a round area, once round."""
    outside = np.argwhere(binary_dilation(area) & ~area)
    x, y = (outside - outside.mean(axis=0)).T
    return [(int(i), int(j)) for i, j in outside[np.argsort(np.arctan2(y, x))]]


def nodule(*rois: Roi) -> str:
    """Return one reader's nodule: outlines by height, and whether they include."""
    text = "<unblindedReadNodule><noduleID>7</noduleID>"
    for z_mm, included, points in rois:
        text += f"<roi><imageZposition>{z_mm}</imageZposition><imageSOP_UID>1.2</imageSOP_UID>"
        text += f"<inclusion>{'TRUE' if included else 'FALSE'}</inclusion>"
        for x, y in points:
            text += f"<edgeMap><xCoord>{x}</xCoord><yCoord>{y}</yCoord></edgeMap>"
        text += "</roi>"
    return text + "</unblindedReadNodule>"


def write_reading(path: Path, series: str, sessions: Sequence[str]) -> Path:
    """Write what each reader marked in a series."""
    header = f"<ResponseHeader><SeriesInstanceUid>{series}</SeriesInstanceUid></ResponseHeader>"
    body = "".join(f"<readingSession>{marked}</readingSession>" for marked in sessions)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEAD + header + body + TAIL, encoding="utf-8")
    return path
