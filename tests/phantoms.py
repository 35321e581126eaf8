"""Tiny invented studies, built where a test wants them."""

import json
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float64, UInt8

from voxhint.core import UNDRAWN, Grid, LabelSet, Volume
from voxhint.core.hints import Box, Diameter, Hint, Points, Soft, Strokes, Tag
from voxhint.files.images import write_ids, write_image
from voxhint.files.study.hint_writer import write_hints

HintKind = Literal["tags", "points", "boxes", "diameters", "scribbles", "slices", "soft", "labels"]

LABELS = LabelSet(("background", "ball"), (0, 3))
"""The labels of every study here; the id is not the class number, so mixing them up shows."""

RADIUS_MM = 5.0


def slanted_grid(shape: tuple[int, int, int] = (14, 16, 10)) -> Grid:
    """Return a grid turned by 20 degrees, flipped along i, with three unlike spacings."""
    angle = np.radians(20)
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    affine = np.eye(4)
    affine[:3, :3] = turn * np.array([-1.0, 1.25, 2.0])
    affine[:3, 3] = [31.5, -57.25, 12]
    # as a file would hold it
    return Grid(shape, affine.astype(np.float32).astype(np.float64))


def centre_mm(grid: Grid) -> Float64[np.ndarray, "3"]:
    """Return the middle of a grid."""
    return np.asarray(grid.to_world((np.array([grid.shape], dtype=np.float64) - 1) / 2)[0])


def ball(grid: Grid, radius_mm: float = RADIUS_MM) -> UInt8[np.ndarray, "i j k"]:
    """Return class numbers: 1 within a radius of the middle."""
    index = np.indices(grid.shape).reshape(3, -1).T.astype(np.float64)
    apart = np.linalg.norm(grid.to_world(index) - centre_mm(grid), axis=1)
    return np.asarray(apart <= radius_mm, dtype=np.uint8).reshape(grid.shape)


def scan(grid: Grid, seed: int) -> Volume:
    """Return a noisy image of the ball."""
    noise = np.random.default_rng(seed).normal(0, 10, grid.shape)
    return Volume((100.0 * ball(grid) + noise).astype(np.float32), grid, "HU")


def hints_of(grid: Grid) -> dict[HintKind, Hint]:
    """Return a true hint of the ball of every kind."""
    middle, classes = centre_mm(grid), ball(grid)
    scribble = np.full(grid.shape, UNDRAWN, dtype=np.uint8)
    scribble[6:8, 8, 5], scribble[0:3, 1, 5] = 1, 0
    drawn = np.full(grid.shape, UNDRAWN, dtype=np.uint8)
    drawn[:, :, 5] = classes[:, :, 5]
    return {
        "tags": Tag("ball", "present"),
        "points": Points("ball", np.stack([middle, middle + 1]), np.array([1.0, 0.5])),
        "boxes": Box("ball", middle - RADIUS_MM, middle + RADIUS_MM),
        "diameters": Diameter("ball", middle, 2 * RADIUS_MM),
        "scribbles": Strokes(scribble, grid, complete=False),
        "slices": Strokes(drawn, grid, complete=True),
        "soft": Soft("ball", classes.astype(np.float32) * np.float32(0.75), grid),
        "labels": Strokes(classes, grid, complete=True),
    }


def make_study(
    folder: Path,
    *,
    hints: tuple[HintKind, ...] = ("points",),
    cases: int = 2,
    tests: int = 1,
    channels: tuple[str, ...] = ("CT",),
    dense: bool = False,
) -> Path:
    """Write a study of balls, CASE c0, c1, ... for training and t0, ... for testing.

    Args:
        folder: Made if missing.
        hints: What every training case gets.
        cases: Training cases.
        tests: Test cases, with truths in `labelsTs`.
        channels: All on one grid.
        dense: Whether to write `denseTr` too.

    Returns:
        The folder.
    """
    grid = slanted_grid()
    truth = LABELS.to_ids(ball(grid))
    folder.mkdir(parents=True, exist_ok=True)
    spec = {
        "channel_names": {str(number): name for number, name in enumerate(channels)},
        "labels": dict(zip(LABELS.names, LABELS.ids, strict=True)),
        "numTraining": cases,
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(spec), encoding="utf-8")
    training, testing = [f"c{n}" for n in range(cases)], [f"t{n}" for n in range(tests)]
    for seed, case in enumerate([*training, *testing]):
        images = folder / ("imagesTr" if case in training else "imagesTs")
        for number in range(len(channels)):
            write_image(images / f"{case}_{number:04d}.nii.gz", scan(grid, 10 * seed + number))
        if case in testing:
            write_ids(folder / "labelsTs" / f"{case}.nii.gz", truth, grid)
        elif dense:
            write_ids(folder / "denseTr" / f"{case}.nii.gz", truth, grid)
        if case in training and "labels" in hints:
            write_ids(folder / "labelsTr" / f"{case}.nii.gz", truth, grid)
    given = tuple(hints_of(grid)[kind] for kind in hints if kind != "labels")
    write_hints(folder / "hints", dict.fromkeys(training, given), LABELS)
    return folder
