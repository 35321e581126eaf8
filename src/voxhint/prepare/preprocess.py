"""One case made like all others: turned, resampled, normalised; hints carried along."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, Shaped

from voxhint.core import Grid, SoftLabel, Turn, Volume
from voxhint.core.compact import CompactSoftLabel
from voxhint.core.volume import narrowed
from voxhint.prepare.plan import Intensity, Plan
from voxhint.prepare.pseudo_modalities import view
from voxhint.prepare.resample import resample

_Bounds = tuple[Float32[np.ndarray, "..."], Float32[np.ndarray, "..."]]


def working_grid(grid: Grid, plan: Plan) -> Grid:
    """Return the grid on which a case is learnt: axes nearest to RAS, at the plan's spacing.

    Thick slices lie along the same axis in all cases: of oblique ones some run nearest to one axis
    of the world and some to another, and would else be resampled across their thickness.

    Grids that differ only by the order and direction of their axes give one working grid, so
    results do not depend on how a scanner stored the array.
    """
    turned = grid.turned(grid.turn_to_ras(plan.stacked))
    if np.allclose(turned.spacing_mm, plan.spacing_mm, rtol=0.02):
        return turned
    return turned.spaced(np.array(plan.spacing_mm))


def to_working(
    array: Float32[np.ndarray, "i j k"], source: Grid, target: Grid
) -> Float32[np.ndarray, "a b c"]:
    """Return an array on a working grid: turned exactly, then resampled if spacings differ."""
    turn = source.turn_along(target)
    return np.ascontiguousarray(resample(turn.view(array), source.turned(turn), target))


def from_working(
    array: Float32[np.ndarray, "a b c"], working: Grid, target: Grid
) -> Float32[np.ndarray, "i j k"]:
    """Return an array of a working grid on the grid it came from: the inverse of `to_working`."""
    turn = target.turn_along(working)
    return turn.undo(resample(array, working, target.turned(turn)))


def common_grid(images: Sequence[Volume]) -> tuple[Volume, ...]:
    """Return all channels on the grid of the first."""
    first = images[0].grid
    return tuple(
        image
        if image.grid.same(first)
        else Volume(resample(image.voxels, image.grid, first), first, image.unit)
        for image in images
    )


def prepare_image(
    images: Mapping[str, Volume], plan: Plan
) -> tuple[Float32[np.ndarray, "channel i j k"], Grid]:
    """Make the images of one case alike those of all others.

    Args:
        images: Channels by name, each on its own grid; optional ones may be missing.
        plan: What was measured on the training images.

    Returns:
        One array with a channel for each of the plan's (0 where it is missing), or for each view
        of the only one, and its grid.
    """
    first = next(iter(images.values()))
    grid = working_grid(first.grid, plan)
    if plan.views:
        raw = to_working(first.voxels, first.grid, grid)
        plain = normalised(raw, plan.channels[0], plan)
        i, j, k = grid.spacing_mm.tolist()
        return np.stack([view(name, raw, plain, (i, j, k)) for name in plan.views]), grid
    return Unscaled.of(images, plan, grid)[:, :, :, :], grid


@dataclass(frozen=True, slots=True, eq=False)
class Unscaled:
    """The image that `prepare_image` gives, scaled where it is read: a whole scan is not copied."""

    shape: tuple[int, int, int, int]
    """Channels, and voxels along each axis."""

    channels: Mapping[int, tuple[Shaped[np.ndarray, "i j k"], Intensity]]
    """By number those that are there, and how each is scaled."""

    @staticmethod
    def of(images: Mapping[str, Volume], plan: Plan, grid: Grid) -> "Unscaled":
        """Return images on a working grid; those of its spacing are not copied."""
        found = {}
        for number, channel in enumerate(plan.channels):
            if channel in images:
                image = images[channel]
                turn = image.grid.turn_along(grid)
                moved = resample(turn.view(image.voxels), image.grid.turned(turn), grid)
                found[number] = moved, scale_of(moved, channel, plan)
        return Unscaled((len(plan.channels), *grid.shape), found)

    def packed(self, turn: Turn) -> "Unscaled":
        """Return the image turned; whole numbers take half the memory, and stay what they are."""
        found = {n: (narrowed(turn.view(one)), scale) for n, (one, scale) in self.channels.items()}
        i, j, k = (self.shape[1 + axis] for axis in turn.axes)
        return Unscaled((self.shape[0], i, j, k), found)

    def __getitem__(self, part: tuple[slice, ...]) -> Float32[np.ndarray, "channel a b c"]:
        """Return all channels of a box of voxels."""
        box = (len(range(n)[along]) for n, along in zip(self.shape, part, strict=True))
        values = np.zeros(tuple(box), np.float32)
        for number, (voxels, scale) in self.channels.items():
            _normalise(voxels[part[1:]], scale, values[number])
        return values


def normalised(
    voxels: Float32[np.ndarray, "i j k"], channel: str, plan: Plan
) -> Float32[np.ndarray, "i j k"]:
    """Return one channel clipped, centred and scaled as the plan says, on any grid."""
    values = np.empty(voxels.shape, np.float32)
    _normalise(voxels, scale_of(voxels, channel, plan), values)
    return values


def _normalise(
    voxels: Shaped[np.ndarray, "i j k"], scale: Intensity, values: Float32[np.ndarray, "i j k"]
) -> None:
    """Fill an array with values clipped, centred and scaled, a plane at a time."""
    for plane, filled in zip(voxels, values, strict=True):
        clipped = np.clip(plane.astype(np.float32, copy=False), scale.low, scale.high)
        filled[:] = (clipped - scale.mean) / scale.std


def scale_of(voxels: Float32[np.ndarray, "i j k"], channel: str, plan: Plan) -> Intensity:
    """Return how one channel is clipped, centred and scaled: as planned, or by its own voxels."""
    fixed = plan.intensity.get(channel)
    if fixed is None:  # no unit: every image by its own statistics
        low, high = (float(value) for value in np.percentile(voxels, [0.5, 99.5]))
        clipped = np.clip(voxels, low, high)
        fixed = Intensity(low, high, float(clipped.mean()), float(clipped.std()))
    return replace(fixed, std=max(fixed.std, 1e-6))


def bounds_on(grid: Grid, soft: SoftLabel | CompactSoftLabel) -> Iterator[_Bounds]:
    """Return belief and plausibility of one class after the other on a working grid.

    Both mix linearly, unlike probability and trust: half of "surely A" and half of "unknown" is a
    belief in A of one half.

    Args:
        grid: The working grid of the case.
        soft: The soft label on the source grid.

    Returns:
        Belief = trust x probability, then plausibility = 1 - trust x (1 - probability).
    """

    def moved(bounds: _Bounds) -> _Bounds:
        belief, plausible = bounds
        return to_working(belief, soft.grid, grid), to_working(plausible, soft.grid, grid)

    return map(moved, soft.bounds())  # which keeps no class while the next is made
