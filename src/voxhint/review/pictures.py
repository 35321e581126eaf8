"""One case as pictures: image, hints, soft label, mask, truth and doubt, slice by slice."""

from collections.abc import Callable
from io import BytesIO

import numpy as np
from jaxtyping import Float32, Float64, Shaped
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, ListedColormap, to_rgb
from matplotlib.figure import Figure

from voxhint.core.colours import colour_of
from voxhint.core.grid import Grid
from voxhint.core.volume import Mask, SoftLabel, Volume
from voxhint.review.choose_slices import Scene, choose_planes
from voxhint.review.hint_markers import draw_hints, draw_outline, fill
from voxhint.review.report_data import Panel, Slices
from voxhint.review.slice_view import Plane

_Painter = Callable[[Axes, Plane], None]

_WIDTH = 264  # pixels of a panel
_DOTS_PER_INCH = 100
_QUALITY = 70  # of WebP, of 100
_FLATTEST = 0.12  # a picture flatter than this shows nothing
_TALLEST = 1.8
_LUNG_HU = (-1000.0, 300.0)
_SOFT_TISSUE_HU = (-160.0, 240.0)
_AIRY_HU = -400.0
_GONE = LinearSegmentedColormap.from_list("gone", ["#58b4ff", "#000000", "#ff7a45"])
_DOUBT = ListedColormap([(1.0, 0.25, 0.85, 0.65 * step / 99) for step in range(100)])
_FULL = 0.5  # of the grey range: a difference of this size has the strongest colour
_RULERS_MM = (100, 50, 20, 10, 5, 2, 1)
_SMOOTH = "bicubic"


def draw_case(scene: Scene, *, most: int = 7) -> tuple[Slices, ...]:
    """Draw a case as axial slices and a coronal one.

    Args:
        scene: What to show.
        most: How many axial slices at most.

    Returns:
        Each view; one in which the image is nearly a line is left out.
    """
    chosen = [choose_planes(scene, "axial", most=most), choose_planes(scene, "coronal", most=1)]
    thick = [view for view in chosen if _height(view[0][0]) >= _FLATTEST] or chosen[:1]
    return tuple(_draw_view(scene, planes, best) for planes, best in thick)


def _draw_view(scene: Scene, planes: tuple[Plane, ...], best: int) -> Slices:
    first = planes[0]
    height = round(_WIDTH * min(max(_height(first), _FLATTEST), _TALLEST))
    left, right, _, _ = first.extent_mm
    ruler = next((mm for mm in _RULERS_MM if mm <= (right - left) / 4), _RULERS_MM[-1])
    return Slices(
        view=first.view,
        places=tuple(plane.place for plane in planes),
        best=best,
        letters=first.letters,
        shape=(_WIDTH, height),
        ruler_mm=ruler,
        ruler_share=min(ruler / max(right - left, 1e-6), 1.0),
        panels=tuple(
            Panel(title, _draw_strip(scene.image, planes, paint, height))
            for title, paint in _panels(scene)
        ),
    )


def _draw_strip(image: Volume, planes: tuple[Plane, ...], paint: _Painter, height: int) -> bytes:
    """Return one panel of all slices, one below the other."""
    size = (_WIDTH / _DOTS_PER_INCH, len(planes) * height / _DOTS_PER_INCH)
    figure = Figure(figsize=size, dpi=_DOTS_PER_INCH, facecolor="black")
    for row, plane in enumerate(planes):
        bottom = 1 - (row + 1) / len(planes)
        axes = figure.add_axes((0, bottom, 1, 1 / len(planes)))
        _draw_slice(axes, plane, image, paint)
    return _as_webp(figure)


def _as_webp(figure: Figure) -> bytes:
    """Return a figure as a small picture; the same figure gives the same bytes."""
    target = BytesIO()
    figure.savefig(target, format="webp", pil_kwargs={"quality": _QUALITY, "method": 4})
    return target.getvalue()


def _grey_range(volume: Volume, shown: Float32[np.ndarray, "up across"]) -> tuple[float, float]:
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


def _panels(scene: Scene) -> list[tuple[str, _Painter]]:
    """Return what is shown of a scene: titles, and what is painted over the image."""
    panels: list[tuple[str, _Painter]] = [("image", _draw_nothing)]
    hints, soft, mask, truth, unsure = (
        scene.hints,
        scene.soft,
        scene.mask,
        scene.truth,
        scene.unsure,
    )
    if scene.without is not None:
        without = scene.without
        panels += [
            ("without the label",
             lambda axes, plane: _draw_without(axes, plane, scene.image, without)),
            ("difference", lambda axes, plane: _draw_difference(axes, plane, scene.image, without)),
        ]  # fmt: skip
    if hints:
        panels.append(("hints", lambda axes, plane: draw_hints(axes, plane, hints, scene.names)))
    if soft is not None:
        panels.append(("soft label", lambda axes, plane: _draw_soft(axes, plane, soft)))
    if mask is not None:
        title = "mask" if truth is None else "mask, truth dashed"
        panels.append((title, lambda axes, plane: _draw_mask(axes, plane, mask, truth)))
    if truth is not None:
        panels.append(("truth", lambda axes, plane: _draw_mask(axes, plane, truth, None)))
    if unsure is not None:
        panels.append(("uncertainty", lambda axes, plane: _draw_doubt(axes, plane, *unsure)))
    return panels


def _draw_slice(axes: Axes, plane: Plane, image: Volume, paint: _Painter) -> None:
    shown = plane.sample(image.voxels, image.grid, outside=float(image.voxels.min()))
    low, high = _grey_range(image, shown)
    axes.imshow(
        shown, cmap="gray", vmin=low, vmax=high, extent=plane.extent_mm, origin="lower",
        interpolation=_SMOOTH,
    )  # fmt: skip
    paint(axes, plane)
    left, right, bottom, top = plane.extent_mm
    axes.set_xlim(right, left)  # radiological: the patient's right is at the left
    axes.set_ylim(bottom, top)
    axes.set_aspect("equal", adjustable="box")
    axes.set_facecolor("black")
    axes.set_axis_off()


def _draw_nothing(_axes: Axes, _plane: Plane) -> None:
    """Leave the image bare."""


def _draw_without(axes: Axes, plane: Plane, image: Volume, without: Volume) -> None:
    """Lay one image over another, in the greys of the first."""
    low, high = _grey_range(image, plane.sample(image.voxels, image.grid, outside=0))
    shown = plane.sample(without.voxels, without.grid, outside=float(without.voxels.min()))
    axes.imshow(
        shown, cmap="gray", vmin=low, vmax=high, extent=plane.extent_mm, origin="lower",
        interpolation=_SMOOTH,
    )  # fmt: skip


def _draw_difference(axes: Axes, plane: Plane, image: Volume, without: Volume) -> None:
    """Paint what went away orange, and what came blue."""
    there = plane.sample(image.voxels, image.grid, outside=0)
    low, high = _grey_range(image, there)
    gone = there - plane.sample(without.voxels, without.grid, outside=0)
    full = _FULL * (high - low)
    axes.imshow(
        gone, cmap=_GONE, vmin=-full, vmax=full, extent=plane.extent_mm, origin="lower",
        interpolation=_SMOOTH,
    )  # fmt: skip


def _draw_soft(axes: Axes, plane: Plane, soft: SoftLabel) -> None:
    """Lay the likeliest label over the image: dark is background, clear is unknown."""
    probs = np.stack([plane.sample(one, soft.grid, outside=0) for one in soft.probs])
    trust = np.stack([plane.sample(one, soft.grid, outside=0) for one in soft.trust])
    axes.imshow(
        _heat(probs, trust), extent=plane.extent_mm, origin="lower", interpolation="bilinear"
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
    for number, value in enumerate(mask.names.ids[1:], start=1):
        fill(axes, plane, ids == value, colour=colour_of(number))
        draw_outline(axes, plane, ids == value, colour=colour_of(number))
    if truth is not None:
        drawn = plane.sample(truth.ids, truth.grid, outside=0)
        for value in truth.names.ids[1:]:
            draw_outline(axes, plane, drawn == value, colour="white", style="dashed")


def _draw_doubt(axes: Axes, plane: Plane, unsure: Float32[np.ndarray, "i j k"], grid: Grid) -> None:
    """Lay doubt over the image: the brighter, the less sure the network is."""
    shown = plane.sample(unsure, grid, outside=0)
    axes.imshow(
        shown, cmap=_DOUBT, vmin=0, vmax=1, extent=plane.extent_mm, origin="lower",
        interpolation="bilinear",
    )  # fmt: skip
