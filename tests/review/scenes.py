"""Small cases made up for tests of pictures and reports."""

import numpy as np
from jaxtyping import Float64

from voxhint.core import (
    Box,
    Diameter,
    Grid,
    Hint,
    LabelSet,
    Mask,
    Points,
    Soft,
    SoftLabel,
    Strokes,
    Tag,
    Volume,
)
from voxhint.review.choose_slices import Scene

NAMES = LabelSet(("background", "liver", "_odd $name$"), (0, 1, 4))
SHAPE = (20, 24, 12)


def turned_affine() -> Float64[np.ndarray, "4 4"]:
    """Return axes that run to the left, down and backwards, oblique, with thick slices."""
    angle = 0.3
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.array([[-1.0, 0, 0], [0, 0, -3.0], [0, -2.0, 0]])
    affine[:3, 3] = (5, -7, 11)
    return affine


def mask_of(grid: Grid) -> Mask:
    ids = np.zeros(grid.shape, np.uint8)
    ids[5:12, 6:14, 4:8] = 1
    ids[13:16, 6:14, 4:8] = 4
    return Mask(ids, grid, NAMES)


def every_hint(grid: Grid) -> tuple[Hint, ...]:
    inside = grid.to_world(np.array([[7.0, 8, 5], [8, 9, 9]]))
    drawn = np.full(grid.shape, 255, np.uint8)
    drawn[6:10, 8, 5] = 2
    drawn[2:4, 2, 5] = 0
    layer = np.full(grid.shape, 255, np.uint8)
    layer[:, :, 6] = (mask_of(grid).ids[:, :, 6] > 0).astype(np.uint8)
    corners = grid.to_world(np.array([[5.0, 6, 4], [11, 13, 7]]))
    soft = (mask_of(grid).ids == 1).astype(np.float32)
    return (
        Tag("liver", "present"),
        Tag("_odd $name$", "absent", (1.0, 5.0)),
        Points("liver", inside, np.ones(2)),
        Points("background", grid.to_world(np.array([[1.0, 1, 1]])), np.ones(1)),
        Box("liver", corners.min(0), corners.max(0)),
        Diameter("liver", inside[0], 9.0),
        Strokes(drawn, grid, complete=False),
        Strokes(layer, grid, complete=True),
        Soft("liver", soft, grid),
    )


def scene(affine: Float64[np.ndarray, "4 4"] | None = None) -> Scene:
    grid = Grid(SHAPE, turned_affine() if affine is None else affine)
    rng = np.random.default_rng(0)
    mask = mask_of(grid)
    probs = np.stack([mask.ids == value for value in NAMES.ids]).astype(np.float32)
    return Scene(
        image=Volume(rng.normal(100, 20, SHAPE).astype(np.float32), grid),
        names=NAMES,
        hints=every_hint(grid),
        soft=SoftLabel(probs, np.full_like(probs, 0.8), grid),
        mask=mask,
        truth=mask,
    )
