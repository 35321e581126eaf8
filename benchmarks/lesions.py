"""Masks of lesions in CT by size, density and surroundings, with intervals over subjects.

usage: lesions.py STUDY MASKS [MASKS ...]

STUDY holds imagesTs, labelsTs and perhaps cases.csv; each MASKS is a folder of CASE.nii.gz. Dice
is over the cases whose truth holds the lesion; volumes of false positives are those of cases whose
truth is empty, and of what touches no lesion in the others. The table goes to standard output.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from voxhint.files import open_study, read_ids
from voxhint.files.images import read_volume
from voxhint.measure.estimate import estimate
from voxhint.measure.overlap import volume_ml

DENSE_HU = -300.0  # between ground glass and soft tissue
RIM_MM = 2.0  # tissue around a lesion that counts as what it touches
TOUCHES = 0.25  # share of dense tissue in that rim from which it touches a wall or a vessel


@dataclass(frozen=True, slots=True)
class Truth:
    """A case with what sets its lesion apart from others."""

    name: str
    subject: str
    mask: np.ndarray
    voxel_mm3: float
    diameter_mm: float
    """Of a ball of the same volume."""

    mean_hu: float
    rim: float
    """Share of dense tissue among what lies just outside the lesion."""


GROUPS: dict[str, Callable[[Truth], bool]] = {
    "all": lambda _: True,
    "under 6 mm": lambda t: t.diameter_mm < 6,
    "6 to 10 mm": lambda t: 6 <= t.diameter_mm < 10,
    "over 10 mm": lambda t: t.diameter_mm >= 10,
    "mean under -300 HU": lambda t: t.mean_hu < DENSE_HU,
    "touches wall or vessel": lambda t: t.rim >= TOUCHES,
    "touches neither": lambda t: t.rim < TOUCHES,
}


def truths(study: Path) -> list[Truth]:
    """Return the test cases of a study."""
    opened, _ = open_study(study)
    found = []
    for files in opened.test:
        image = read_volume(next(iter(files.images.values())))
        mask = read_ids(files.truth)[0] == opened.labels.ids[1]
        away = ndimage.distance_transform_edt(~mask, sampling=image.grid.spacing_mm)
        rim = image.voxels[(away > 0) & (away <= RIM_MM)]
        found.append(
            Truth(
                name=files.name,
                subject=files.subject,
                mask=mask,
                voxel_mm3=image.grid.voxel_mm3,
                diameter_mm=float((6 * mask.sum() * image.grid.voxel_mm3 / np.pi) ** (1 / 3)),
                mean_hu=float(image.voxels[mask].mean()) if mask.any() else np.nan,
                rim=float((rim > DENSE_HU).mean()) if mask.any() else np.nan,
            )
        )
    return found


def told(values: Sequence[float], subjects: Sequence[str], digits: int) -> str:
    """Return a mean with its interval."""
    found = estimate(np.array(values)[:, None], subjects, rng=np.random.default_rng(0))
    if found.low is None:
        return f"{found.mean:.{digits}f}"
    return f"{found.mean:.{digits}f} ({found.low:.{digits}f} to {found.high:.{digits}f})"


def astray_ml(mask: np.ndarray, truth: Truth) -> float:
    """Return the volume of the parts of a mask that touch no lesion."""
    parts, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    right = np.unique(parts[truth.mask & mask])
    return volume_ml(mask & ~np.isin(parts, right), voxel_mm3=truth.voxel_mm3)


def rows(masks: Path, cases: Sequence[Truth]) -> list[tuple[str, int, str]]:
    """Return what, of how many, and how much, for one folder of masks."""
    shown = [t for t in cases if t.mask.any()]
    absent = [t for t in cases if not t.mask.any()]
    read = {t.name: read_ids(masks / f"{t.name}.nii.gz")[0] > 0 for t in cases}
    lines = []
    for group, belongs in GROUPS.items():
        some = [t for t in shown if belongs(t)]
        if some:
            overlap = [
                2 * np.count_nonzero(read[t.name] & t.mask) / (read[t.name].sum() + t.mask.sum())
                for t in some
            ]
            lines.append((f"Dice, {group}", len(some), told(overlap, [t.subject for t in some], 3)))
    if shown:
        missed = [float(not (read[t.name] & t.mask).any()) for t in shown]
        lines.append(("missed", len(shown), told(missed, [t.subject for t in shown], 2)))
        astray = [astray_ml(read[t.name], t) for t in shown]
        lines.append(("mL astray", len(shown), told(astray, [t.subject for t in shown], 3)))
    if absent:
        false = [volume_ml(read[t.name], voxel_mm3=t.voxel_mm3) for t in absent]
        lines.append(("mL where absent", len(absent), told(false, [t.subject for t in absent], 3)))
    return lines


def main() -> None:
    """Make the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", type=Path)
    parser.add_argument("masks", type=Path, nargs="+")
    args = parser.parse_args()
    cases = truths(args.study)
    columns = [rows(masks, cases) for masks in args.masks]
    print("| | cases | " + " | ".join(map(str, args.masks)) + " |")
    print("|---|---|" + "---|" * len(columns))
    for line in zip(*columns, strict=True):
        what, count, _ = line[0]
        print(f"| {what} | {count} | " + " | ".join(value for _, _, value in line) + " |")


if __name__ == "__main__":
    main()
