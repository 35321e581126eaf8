"""How each kind of hint is drawn on a picture, in colours that everyone can tell apart."""

from collections.abc import Sequence
from typing import assert_never

import numpy as np
from jaxtyping import Float64, Shaped
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Circle, Polygon

from voxhint.core.colours import colour_of
from voxhint.core.hints import Box, Diameter, Hint, Points, Soft, Strokes, Tag
from voxhint.core.labels import BACKGROUND, UNDRAWN, LabelSet
from voxhint.review.slice_view import Plane

_Flat = Float64[np.ndarray, "2"]
"""A place on a picture: across and up, in mm."""

_SHAPES = "os^Dv<>"
_NEAR_MM = 1.5
_STROKE_OPACITY = 0.85
_DRAWN_BACKGROUND_OPACITY = 0.3  # a drawn slice covers the whole layer


def draw_outline(
    axes: Axes,
    plane: Plane,
    inside: Shaped[np.ndarray, "up across"],
    *,
    colour: str,
    style: str = "solid",
) -> None:
    """Draw the line where values cross one half; nothing if they do not.

    Args:
        axes: Where to draw.
        plane: The plane the values lie on.
        inside: Values from 0 to 1, or a mask.
        colour: Of the line.
        style: Of the line, in matplotlib's words.
    """
    across, up, ringed = _ringed(plane, inside)
    if ringed.max() > 0.5:
        axes.contour(
            across, up, ringed, levels=[0.5], colors=[colour], linewidths=1.4, linestyles=[style]
        )


def fill(axes: Axes, plane: Plane, inside: Shaped[np.ndarray, "up across"], *, colour: str) -> None:
    """Fill what `draw_outline` surrounds, so that the image shows through."""
    across, up, ringed = _ringed(plane, inside)
    if ringed.max() > 0.5:
        axes.contourf(across, up, ringed, levels=[0.5, 2], colors=[colour], alpha=0.3)


def _ringed(
    plane: Plane, inside: Shaped[np.ndarray, "up across"]
) -> tuple[
    Float64[np.ndarray, " columns"],
    Float64[np.ndarray, " rows"],
    Float64[np.ndarray, "rows columns"],
]:
    """Return places and values with a rim of zeros, so that lines close at the edge of the view."""
    ringed = np.pad(inside.astype(np.float64), 1)
    left, right, low, high = plane.extent_mm
    half_across = (right - left) / inside.shape[1] / 2
    half_up = (high - low) / inside.shape[0] / 2
    return (
        np.linspace(left - half_across, right + half_across, ringed.shape[1]),
        np.linspace(low - half_up, high + half_up, ringed.shape[0]),
        ringed,
    )


def draw_hints(axes: Axes, plane: Plane, hints: Sequence[Hint], names: LabelSet) -> None:
    """Draw hints on a plane; those beside it are shown hollow and faint.

    Args:
        axes: Where to draw.
        plane: The plane shown.
        hints: Of one case; tags have no place and leave no mark.
        names: Tell the labels' colours.
    """
    for hint in hints:
        _draw_hint(axes, plane, hint, names)


def _draw_hint(axes: Axes, plane: Plane, hint: Hint, names: LabelSet) -> None:
    match hint:
        case Points():
            _draw_points(axes, plane, hint, names)
        case Box():
            _draw_box(axes, plane, hint, names)
        case Diameter():
            _draw_diameter(axes, plane, hint, names)
        case Strokes():
            _draw_strokes(axes, plane, hint)
        case Soft():
            inside = plane.sample(hint.probability, hint.grid, outside=0)
            colour = colour_of(names.number(hint.label))
            draw_outline(axes, plane, inside, colour=colour, style="dashed")
        case Tag():
            return
        case _:
            assert_never(hint)


def _draw_points(axes: Axes, plane: Plane, hint: Points, names: LabelSet) -> None:
    number = names.number(hint.label)
    shape = "X" if hint.label == BACKGROUND else _SHAPES[(number - 1) % len(_SHAPES)]
    placed = plane.locate(hint.positions_mm)
    near = np.abs(placed[:, 2]) <= max(_NEAR_MM, plane.thickness_mm / 2)
    colour = colour_of(number)
    axes.scatter(
        placed[near, 0], placed[near, 1], s=42, c=colour, marker=shape, edgecolors="black",
        zorder=4,
    )  # fmt: skip
    axes.scatter(
        placed[~near, 0], placed[~near, 1], s=20, facecolors="none", edgecolors=colour,
        marker=shape, alpha=0.7, linewidths=0.8, zorder=3,
    )  # fmt: skip


def _draw_box(axes: Axes, plane: Plane, hint: Box, names: LabelSet) -> None:
    """Draw where the plane cuts a box, or the box's shadow, dotted, if it does not."""
    ends = np.stack([hint.low_mm, hint.high_mm])
    which = np.array(list(np.ndindex(2, 2, 2)))
    placed = plane.locate(ends[which, np.arange(3)])
    cut = _cut(placed, which)
    shadow = len(cut) < 3
    corners = _around(placed[:, :2] if shadow else cut)
    axes.add_patch(
        Polygon(
            corners, closed=True, fill=False, edgecolor=colour_of(names.number(hint.label)),
            linewidth=1.0 if shadow else 2.0, linestyle="dotted" if shadow else "solid", zorder=4,
        )
    )  # fmt: skip


def _cut(
    placed: Float64[np.ndarray, "8 3"], which: Shaped[np.ndarray, "8 3"]
) -> Float64[np.ndarray, "n 2"]:
    """Return where the twelve edges of a box cross the plane."""
    crossed: list[_Flat] = []
    for one in range(8):
        for other in range(one):
            if np.abs(which[one] - which[other]).sum() != 1:
                continue
            here, there = placed[one, 2], placed[other, 2]
            if here * there <= 0 and here != there:
                part = here / (here - there)
                crossed.append(placed[one, :2] + part * (placed[other, :2] - placed[one, :2]))
    return np.array(crossed, np.float64).reshape(-1, 2)


def _around(points: Float64[np.ndarray, "n 2"]) -> Float64[np.ndarray, "m 2"]:
    """Return the convex hull of points, in order.

    Source:
        Andrew 1979, "Another Efficient Algorithm for Convex Hulls in Two Dimensions".
    """
    ordered = [points[place] for place in np.lexsort(points.T[::-1])]
    hull: list[_Flat] = []
    for run in (ordered, ordered[::-1]):
        start = len(hull)
        for point in run:
            while len(hull) >= start + 2 and _turn(hull[-2], hull[-1], point) <= 0:
                hull.pop()
            hull.append(point)
        hull.pop()
    return np.array(hull, np.float64)


def _turn(a: _Flat, b: _Flat, c: _Flat) -> float:
    """Return twice the area of a triangle, negative if it runs clockwise."""
    return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))


def _draw_diameter(axes: Axes, plane: Plane, hint: Diameter, names: LabelSet) -> None:
    """Draw where the plane cuts the ball, or the whole ball's outline, dotted, if it does not."""
    across, up, off = plane.locate(hint.centre_mm[None])[0]
    radius = hint.diameter_mm / 2
    shadow = abs(off) >= radius
    axes.add_patch(
        Circle(
            (across, up), radius if shadow else float(np.sqrt(radius**2 - off**2)), fill=False,
            edgecolor=colour_of(names.number(hint.label)), linewidth=1.0 if shadow else 2.0,
            linestyle="dotted" if shadow else "solid", zorder=4,
        )
    )  # fmt: skip


def _draw_strokes(axes: Axes, plane: Plane, hint: Strokes) -> None:
    classes = plane.sample(hint.classes, hint.grid, outside=UNDRAWN)
    paint = np.zeros((*classes.shape, 4))
    for number in np.unique(classes[classes != UNDRAWN]):
        paint[classes == number, :3] = to_rgb(colour_of(int(number)))
        faint = number == 0 and hint.complete
        paint[classes == number, 3] = _DRAWN_BACKGROUND_OPACITY if faint else _STROKE_OPACITY
    axes.imshow(paint, extent=plane.extent_mm, origin="lower", interpolation="nearest", zorder=2)
