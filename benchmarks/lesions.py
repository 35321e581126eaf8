"""Masks of lesions in CT by size, density and surroundings, with intervals over subjects.

usage: lesions.py STUDY MASKS [MASKS ...]

STUDY holds imagesTs, labelsTs and perhaps cases.csv; each MASKS is a folder of CASE.nii.gz. Dice
is over the cases whose truth holds the lesion, of the whole mask and of its regions that touch the
lesion; false positives are the masks of cases whose truth is empty, and the regions that touch no
lesion in the others, where lesions without a mark count too. The table goes to standard output.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from voxhint.files import read_ids, survey
from voxhint.files.images import read_volume
from voxhint.measure.confidence_intervals import estimate
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
    seen = survey(study)
    if seen.study is None or not seen.study.test:
        sys.exit(f"{study}: holds no images to predict; put them in imagesTs, masks in labelsTs")
    found = []
    for files in seen.study.test:
        image = read_volume(next(iter(files.images.values())))
        if files.truth is None:
            sys.exit(f"{study}: case {files.name} has no mask; put it into labelsTs")
        mask = read_ids(files.truth)[0] == seen.study.labels.ids[1]
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


def dice(mask: np.ndarray, truth: Truth) -> float:
    """Return the overlap of a mask with the lesion; 0 for an empty one."""
    return float(2 * np.count_nonzero(mask & truth.mask) / (mask.sum() + truth.mask.sum()))


def parted(mask: np.ndarray, truth: Truth) -> tuple[np.ndarray, int, np.ndarray]:
    """Return the regions that touch the lesion, how many do not, and these."""
    regions, count = ndimage.label(mask, np.ones((3, 3, 3)))
    right = np.unique(regions[truth.mask & mask])
    touching = mask & np.isin(regions, right)
    return touching, count - len(right), mask & ~touching


def rows(masks: Path, cases: Sequence[Truth]) -> list[tuple[str, int, str]]:
    """Return what, of how many, and how much, for one folder of masks."""
    shown = [t for t in cases if t.mask.any()]
    absent = [t for t in cases if not t.mask.any()]
    read = {t.name: read_ids(masks / f"{t.name}.nii.gz")[0] > 0 for t in cases}
    lines = []
    for group, belongs in GROUPS.items():
        some = [t for t in shown if belongs(t)]
        if some:
            overlap = [dice(read[t.name], t) for t in some]
            lines.append((f"Dice, {group}", len(some), told(overlap, [t.subject for t in some], 3)))
    if shown:
        subjects = [t.subject for t in shown]
        parts = [parted(read[t.name], t) for t in shown]
        measured = {
            "Dice, regions that touch": (
                [dice(p[0], t) for p, t in zip(parts, shown, strict=True)],
                3,
            ),
            "missed": ([float(not p[0].any()) for p in parts], 2),
            "regions astray": ([float(p[1]) for p in parts], 2),
            "mL astray": (
                [volume_ml(p[2], voxel_mm3=t.voxel_mm3) for p, t in zip(parts, shown, strict=True)],
                3,
            ),
        }
        for what, (values, digits) in measured.items():
            lines.append((what, len(shown), told(values, subjects, digits)))
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
