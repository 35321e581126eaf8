"""LUNA16 in small, laid out as it is given out, with LIDC-IDRI's XML beside it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from jaxtyping import Bool, Float64
from tests.files.readings import around, nodule, write_reading

from voxhint.core import Grid
from voxhint.simulate.lung_phantom import Patient, lung_case

SITK: Any = SimpleITK
HEAD = "seriesuid,coordX,coordY,coordZ,diameter_mm"
SHAPE, SPACING = (54, 46, 24), (2.0, 2.0, 2.5)
LUNG = (18, 26, 20)  # voxels of one
CORNERS = ((6, 10, 2), (30, 10, 2))  # of the lungs
ORIGIN = (-54.0, -40.0, -300.0)  # LPS


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """A scan, and what is true of it."""

    uid: str
    hu: np.ndarray
    truth: Bool[np.ndarray, "i j k"]
    """One nodule, or none."""


def uid(number: int) -> str:
    """Return a name as long as real ones."""
    return f"1.3.6.1.4.1.14519.5.2.1.6279.6001.{10**29 + number}"


def make_scan(number: int, *, present: bool) -> Made:
    """Draw a chest: air, a body, two lungs, and in the first vessels and a nodule."""
    hu = np.full(SHAPE, -1000.0, np.float32)
    hu[3:-3, 6:-6] = 40
    truth = np.zeros(SHAPE, bool)
    case = lung_case(
        np.random.default_rng(number),
        name="lung",
        present=present,
        shape=LUNG,
        spacing_mm=SPACING,
        patient=Patient(-870.0, 40.0, 15.0, 0.5, 0.4, 1.0, (12.0, 14.0), "solid"),
    )
    assert case.truth is not None
    left, right = (
        tuple(slice(low, low + size) for low, size in zip(corner, LUNG, strict=True))
        for corner in CORNERS
    )
    hu[left] = np.minimum(case.images["CT"].voxels, 100)
    hu[right] = np.random.default_rng([number, 1]).normal(-870, 15, LUNG)
    truth[left] = case.truth.ids > 0
    return Made(uid(number), hu, truth)


def write_scan(folder: Path, scan: Made, *, flipped: bool = False) -> Grid:
    """Write a .mhd and its .raw; if flipped, rows and columns run the other way."""
    image = SITK.GetImageFromArray(scan.hu.astype(np.int16).transpose(2, 1, 0))
    image.SetSpacing(SPACING)
    image.SetOrigin(ORIGIN)
    sign = -1.0 if flipped else 1.0
    image.SetDirection((sign, 0, 0, 0, sign, 0, 0, 0, 1))
    folder.mkdir(parents=True, exist_ok=True)
    SITK.WriteImage(image, str(folder / f"{scan.uid}.mhd"))
    steps = np.diag([-sign, -sign, 1.0]) * np.array(SPACING)
    affine = np.eye(4)
    affine[:3, :3] = steps
    affine[:3, 3] = np.array(ORIGIN) * (-1, -1, 1)
    return Grid(SHAPE, affine)


def ball_of(scan: Made, grid: Grid) -> tuple[Float64[np.ndarray, "3"], float]:
    """Return centre (LPS) and diameter of a nodule."""
    centre = grid.to_world(np.argwhere(scan.truth).astype(np.float64)).mean(axis=0)
    diameter = float(np.cbrt(scan.truth.sum() * grid.voxel_mm3 * 6 / np.pi))
    return np.asarray(centre * (-1, -1, 1)), diameter


def outlines(scan: Made, grid: Grid) -> str:
    """Return the nodule of a scan as one reader outlines it, slice by slice."""
    if not scan.truth.any():
        return ""
    return nodule(
        *[
            (float(grid.affine[2, 3] + k * SPACING[2]), True, around(scan.truth[..., k]))
            for k in np.flatnonzero(scan.truth.any(axis=(0, 1))).tolist()
        ]
    )


def make_luna16(root: Path, *, subsets: int = 2, scans: int = 3) -> tuple[Path, list[Made]]:
    """Write subsets of scans, two of three with a nodule; every second scan lies flipped.

    Returns:
        The folder; LUNA16 lies in `luna`, LIDC-IDRI's XML in `xml`. And the scans.
    """
    rows, made = [HEAD], []
    for number in range(subsets * scans):
        scan = make_scan(number, present=number % 3 != 2)
        made.append(scan)
        folder = root / "luna" / f"subset{number // scans}"
        grid = write_scan(folder, scan, flipped=number % 2 == 1)
        if scan.truth.any():
            centre, diameter = ball_of(scan, grid)
            rows.append(f"{scan.uid},{','.join(f'{c:.6f}' for c in centre)},{diameter:.6f}")
        sessions = [outlines(scan, grid)] * 3 + [""]
        write_reading(root / "xml" / "157" / f"{number:03d}.xml", scan.uid, sessions)
    (root / "luna" / "annotations.csv").write_text("\n".join(rows) + "\n")
    (root / "luna" / "candidates.csv").write_text("seriesuid,coordX,coordY,coordZ,class\n")
    return root, made
