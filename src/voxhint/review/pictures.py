"""One case as a picture: image, hints, soft label, mask and truth side by side."""

from collections.abc import Callable, Sequence
from io import BytesIO

import numpy as np
from jaxtyping import Float32, Float64, Shaped
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from voxhint.core.colours import colour_of
from voxhint.core.labels import LabelSet
from voxhint.core.volume import Mask, SoftLabel, Volume
from voxhint.review.marks import PALE, draw_hints, draw_outline, write_on
from voxhint.review.plane import Plane, View
from voxhint.review.scene import Scene, choose_plane

Painter = Callable[[Axes, Plane], None]

_PANEL_INCHES = 2.4
_GAP_INCHES = 0.06
_HEAD_INCHES = 0.28
_FOOT_INCHES = 0.32
_DOTS_PER_INCH = 110
_FLAT = 0.35
_FLATTEST = 0.12  # a row of pictures flatter than this shows nothing
_TALLEST = 1.8
_DARK = "#15181c"
_LUNG_HU = (-1000.0, 300.0)
_SOFT_TISSUE_HU = (-160.0, 240.0)
_AIRY_HU = -400.0
_GONE = LinearSegmentedColormap.from_list("gone", ["#58b4ff", "#000000", "#ff7a45"])
_FULL = 0.5  # of the grey range: a difference of this size has the strongest colour
_RULERS_MM = (100, 50, 20, 10, 5, 2, 1)


def draw_case(scene: Scene, *, views: Sequence[View] = ("axial", "coronal")) -> bytes:
    """Draw a case, one row per view, one panel for each thing the scene holds.

    Args:
        scene: What to show.
        views: From where to look; a view in which the image is nearly a line is left out.

    Returns:
        A PNG.
    """
    panels = _panels(scene)
    planes = [choose_plane(scene, view) for view in views]
    planes = [plane for plane in planes if _height(plane) >= _FLATTEST] or planes[:1]
    tall = [min(max(_height(plane), _FLATTEST), _TALLEST) * _PANEL_INCHES for plane in planes]
    size = (
        len(panels) * (_PANEL_INCHES + _GAP_INCHES) + _GAP_INCHES,
        _HEAD_INCHES + sum(tall) + len(tall) * _GAP_INCHES + _FOOT_INCHES,
    )
    figure = Figure(figsize=size, dpi=_DOTS_PER_INCH, facecolor=_DARK)
    top = size[1] - _HEAD_INCHES
    for row, (plane, height) in enumerate(zip(planes, tall, strict=True)):
        top -= height
        for column, (title, paint) in enumerate(panels):
            left = _GAP_INCHES + column * (_PANEL_INCHES + _GAP_INCHES)
            frame = (left / size[0], top / size[1], _PANEL_INCHES / size[0], height / size[1])
            axes = figure.add_axes(frame)
            _draw_panel(axes, plane, scene.image, paint)
            if row == 0:
                axes.set_title(title, color=PALE, fontsize=10, pad=5)
            if (row, column) == (0, 0):
                _draw_ruler(axes, plane)
        top -= _GAP_INCHES
    _write_foot(figure, scene.names)
    return as_png(figure)


def as_png(figure: Figure) -> bytes:
    """Return a figure as a PNG; the same figure gives the same bytes."""
    target = BytesIO()
    figure.savefig(
        target, format="png", facecolor=figure.get_facecolor(), metadata={"Software": None}
    )
    return target.getvalue()


def grey_range(volume: Volume, shown: Float32[np.ndarray, "up across"]) -> tuple[float, float]:
    """Choose which values appear black and white.

    Args:
        volume: The whole image.
        shown: The part in view.

    Returns:
        A lung or soft-tissue window for Hounsfield units, by what is in view; otherwise the 0.5th
        and 99.5th percentile of the image.
    """
    if volume.unit == "HU":
        return _LUNG_HU if float(np.median(shown)) < _AIRY_HU else _SOFT_TISSUE_HU
    low, high = np.percentile(volume.voxels, (0.5, 99.5))
    return float(low), float(max(high, low + 1e-6))


def _height(plane: Plane) -> float:
    """Return the height of a plane's picture for a width of one."""
    left, right, low, high = plane.extent_mm
    return (high - low) / (right - left)


def _panels(scene: Scene) -> list[tuple[str, Painter]]:
    """Return what is shown of a scene: titles, and what is painted over the image."""
    panels: list[tuple[str, Painter]] = [("image", _draw_nothing)]
    hints, soft, mask, truth = scene.hints, scene.soft, scene.mask, scene.truth
    if scene.without is not None:
        without = scene.without
        panels += [
            ("without", lambda axes, plane: _draw_without(axes, plane, scene.image, without)),
            ("difference", lambda axes, plane: _draw_difference(axes, plane, scene.image, without)),
        ]
    if hints:
        panels.append(
            ("hints", lambda axes, plane: draw_hints(axes, plane, hints, scene.names)),
        )
    if soft is not None:
        panels.append(("soft label", lambda axes, plane: _draw_soft(axes, plane, soft)))
    if mask is not None:
        panels.append(
            ("mask" if truth is None else "mask (truth dashed)",
             lambda axes, plane: _draw_mask(axes, plane, mask, truth)),
        )  # fmt: skip
    if truth is not None:
        panels.append(("truth", lambda axes, plane: _draw_mask(axes, plane, truth, None)))
    return panels


def _draw_panel(axes: Axes, plane: Plane, image: Volume, paint: Painter) -> None:
    shown = plane.sample(image.voxels, image.grid, outside=float(image.voxels.min()))
    low, high = grey_range(image, shown)
    axes.imshow(
        shown, cmap="gray", vmin=low, vmax=high, extent=plane.extent_mm, origin="lower",
        interpolation="nearest",
    )  # fmt: skip
    paint(axes, plane)
    left, right, bottom, top = plane.extent_mm
    axes.set_xlim(right, left)  # radiological: the patient's right is at the left
    axes.set_ylim(bottom, top)
    axes.set_aspect("equal", adjustable="box")
    axes.set_facecolor("black")
    axes.set_axis_off()
    middle = 0.5 if _height(plane) > _FLAT else 0.9  # letters must not hide a flat picture
    places = ((0.02, 0.5), (0.98, 0.5), (middle, 0.98), (middle, 0.02))
    aligned = (("left", "center"), ("right", "center"), ("center", "top"), ("center", "bottom"))
    for letter, place, (across, up) in zip(plane.letters, places, aligned, strict=True):
        write_on(axes, place, letter, ha=across, va=up)


def _draw_nothing(_axes: Axes, _plane: Plane) -> None:
    """Leave the image bare."""


def _draw_without(axes: Axes, plane: Plane, image: Volume, without: Volume) -> None:
    """Lay one image over another, in the greys of the first."""
    low, high = grey_range(image, plane.sample(image.voxels, image.grid, outside=0))
    shown = plane.sample(without.voxels, without.grid, outside=float(without.voxels.min()))
    axes.imshow(
        shown, cmap="gray", vmin=low, vmax=high, extent=plane.extent_mm, origin="lower",
        interpolation="nearest",
    )  # fmt: skip


def _draw_difference(axes: Axes, plane: Plane, image: Volume, without: Volume) -> None:
    """Paint what went away orange, and what came blue."""
    there = plane.sample(image.voxels, image.grid, outside=0)
    low, high = grey_range(image, there)
    gone = there - plane.sample(without.voxels, without.grid, outside=0)
    full = _FULL * (high - low)
    axes.imshow(
        gone, cmap=_GONE, vmin=-full, vmax=full, extent=plane.extent_mm, origin="lower",
        interpolation="nearest",
    )  # fmt: skip


def _draw_soft(axes: Axes, plane: Plane, soft: SoftLabel) -> None:
    """Lay the likeliest label over the image: dark is background, clear is unknown."""
    probs = np.stack([plane.sample(one, soft.grid, outside=0) for one in soft.probs])
    trust = np.stack([plane.sample(one, soft.grid, outside=0) for one in soft.trust])
    axes.imshow(
        _heat(probs, trust), extent=plane.extent_mm, origin="lower", interpolation="nearest"
    )


def _heat(
    probs: Float32[np.ndarray, "class up across"], trust: Float32[np.ndarray, "class up across"]
) -> Float64[np.ndarray, "up across rgba"]:
    """Return colours from dark (background) to the label's own, as opaque as they are trusted."""
    belief = probs[1:] * trust[1:]
    likeliest = belief.argmax(axis=0)[None]
    probability = np.take_along_axis(probs[1:], likeliest, axis=0)[0]
    believed = np.take_along_axis(trust[1:], likeliest, axis=0)[0]
    opacity = np.where(belief.max(axis=0) > 0, believed, trust[1:].min(axis=0))
    colours = np.array([to_rgb(colour_of(number)) for number in range(1, len(probs))])
    heat = np.empty((*probability.shape, 4))
    heat[..., :3] = colours[likeliest[0]] * probability[..., None]
    heat[..., 3] = 0.7 * opacity
    return heat


def _draw_mask(axes: Axes, plane: Plane, mask: Mask, truth: Mask | None) -> None:
    ids: Shaped[np.ndarray, "up across"] = plane.sample(mask.ids, mask.grid, outside=0)
    paint = np.zeros((*ids.shape, 4))
    for number, value in enumerate(mask.names.ids[1:], start=1):
        paint[ids == value] = (*to_rgb(colour_of(number)), 0.3)
    axes.imshow(paint, extent=plane.extent_mm, origin="lower", interpolation="nearest")
    for number, value in enumerate(mask.names.ids[1:], start=1):
        draw_outline(axes, plane, ids == value, colour=colour_of(number))
    if truth is not None:
        drawn = plane.sample(truth.ids, truth.grid, outside=0)
        for value in truth.names.ids[1:]:
            draw_outline(axes, plane, drawn == value, colour="white", style="dashed")


def _draw_ruler(axes: Axes, plane: Plane) -> None:
    """Draw a bar of round length in the lower left corner; it holds for all panels."""
    left, right, bottom, top = plane.extent_mm
    length = next((mm for mm in _RULERS_MM if mm <= (right - left) / 4), _RULERS_MM[-1])
    start, height = right - 0.06 * (right - left), bottom + 0.05 * (top - bottom)
    rim = [withStroke(linewidth=4, foreground="black")]
    axes.plot([start, start - length], [height] * 2, color=PALE, linewidth=2, path_effects=rim)
    write_on(axes, (0.06, 0.07), f"{length} mm", fontsize=8, va="bottom")


def _write_foot(figure: Figure, names: LabelSet) -> None:
    """Name the labels by colour."""
    patches = [
        Patch(color=colour_of(number), label=f" {name}")  # matplotlib drops a leading underscore
        for number, name in enumerate(names.names)
    ]
    legend = figure.legend(
        handles=patches[1:], loc="lower left", ncols=len(patches), frameon=False, fontsize=9,
        labelcolor=PALE, bbox_to_anchor=(0, 0), borderaxespad=0.2, handlelength=1,
        handletextpad=0.4,
    )  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)
