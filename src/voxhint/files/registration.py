"""Do the channels of a case show the body in one place? Measured and mended through SimpleITK."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float64

from voxhint.core.errors import BadRecipeError
from voxhint.core.volume import Volume
from voxhint.files.formats.metaimage_nrrd import image_of, itk

_How = Literal["rigid", "deformable"]
_COARSE_MM = 3.0  # voxels are at least about this large where movements are sought
_LEVELS = (4, 2, 1)  # times coarser still, one after the other
_SMALLEST = 8  # voxels an axis keeps
_BINS = 32
_SAMPLES = 50_000  # voxels that are compared, evenly spread
_STEPS = 100
_BENDS = 15
_KNOTS_MM = 40.0  # between the control points of a deformation


@dataclass(frozen=True, slots=True)
class _Offset:
    """How far a channel lies from another, as far as a rigid registration can tell."""

    residual_mm: float
    """Median way of a voxel of the body to the place the registration would give it."""

    gain: float
    """Nats that the registered channels tell more of each other; near 0 the way is in doubt."""


def offset(fixed: Volume, moving: Volume) -> _Offset:
    """Measure by how much a channel would have to move to lie on another.

    Args:
        fixed: Stays.
        moving: Another channel of the same body, on any grid.

    Returns:
        The way and the gain, from a rigid registration that maximises mutual information.
    """
    still = _coarse(_to_itk(fixed))
    found, gain = _rigid(still, _coarse(_to_itk(moving)))
    return _Offset(_way_mm(still, found), gain)


def registered(fixed: Volume, moving: Volume, how: str) -> Volume:
    """Return a channel moved onto another, on the other's grid.

    Args:
        fixed: Stays.
        moving: Another channel of the same body, on any grid.
        how: `rigid`: turned and shifted; `deformable`: also bent, by B-splines.

    Returns:
        The channel; beyond what was scanned it holds its least value.

    Raises:
        BadRecipeError: There is no such way.
    """
    if how not in get_args(_How):
        msg = f"registration '{how}' is unknown; use {' or '.join(get_args(_How))}"
        raise BadRecipeError(msg)
    still, image = _to_itk(fixed), _to_itk(moving)
    coarse = _coarse(still), _coarse(image)
    found, _ = _rigid(*coarse)
    if how == "deformable":
        found = itk().CompositeTransform([found, _bent(*coarse, found)])
    least = float(moving.voxels.min())
    moved = itk().Resample(image, still, found, itk().sitkLinear, least, itk().sitkFloat32)
    voxels = np.ascontiguousarray(itk().GetArrayFromImage(moved).transpose(2, 1, 0))
    return Volume(voxels, fixed.grid, moving.unit)


def _to_itk(volume: Volume) -> Any:  # noqa: ANN401
    return image_of(volume.voxels, volume.grid)


def _coarse(image: Any) -> Any:  # noqa: ANN401
    """Return an image of voxels large enough to be fast, and small enough to be many."""
    factors = [
        max(1, min(int(_COARSE_MM / step), count // _SMALLEST))
        for step, count in zip(image.GetSpacing(), image.GetSize(), strict=True)
    ]
    return itk().BinShrink(image, factors)


def _method(still: Any) -> Any:  # noqa: ANN401
    method = itk().ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(numberOfHistogramBins=_BINS)
    method.SetMetricSamplingStrategy(method.REGULAR)
    # which moves its places by chance, and not as the clock has it
    share = min(1.0, _SAMPLES / still.GetNumberOfPixels())
    method.SetMetricSamplingPercentage(share, seed=1)
    method.SetInterpolator(itk().sitkLinear)
    method.SetNumberOfThreads(1)  # sums in one order: the same images give the same numbers
    return method


def _centred(still: Any) -> Any:  # noqa: ANN401
    """Return the transform that moves nothing, turning around the middle."""
    middle = [(count - 1) / 2 for count in still.GetSize()]
    transform = itk().Euler3DTransform()
    transform.SetCenter(still.TransformContinuousIndexToPhysicalPoint(middle))
    return transform


def _rigid(still: Any, image: Any) -> tuple[Any, float]:  # noqa: ANN401
    """Return the best transform found and what it gains; the one that moves nothing if it loses."""
    method = _method(still)
    levels = [level for level in _LEVELS if min(still.GetSize()) >= _SMALLEST * level] or [1]
    method.SetShrinkFactorsPerLevel(levels)
    method.SetSmoothingSigmasPerLevel([level / 2 for level in levels])
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=2.0, minStep=0.01, numberOfIterations=_STEPS
    )
    method.SetOptimizerScalesFromPhysicalShift()
    start = _centred(still)
    method.SetInitialTransform(start, inPlace=False)
    found = method.Execute(still, image)
    gain = _information(still, image, found) - _information(still, image, start)
    return (found, gain) if gain > 0 else (start, 0.0)


def _information(still: Any, image: Any, transform: Any) -> float:  # noqa: ANN401
    """Return the mutual information of two images, in nats."""
    method = _method(still)
    method.SetInitialTransform(transform, inPlace=False)
    return -float(method.MetricEvaluate(still, image))


def _bent(still: Any, image: Any, rigid: Any) -> Any:  # noqa: ANN401
    """Return a deformation that comes before a rigid transform."""
    method = _method(still)
    meshes = [
        max(1, round(count * step / _KNOTS_MM))
        for count, step in zip(still.GetSize(), still.GetSpacing(), strict=True)
    ]
    method.SetMovingInitialTransform(rigid)
    method.SetInitialTransform(itk().BSplineTransformInitializer(still, meshes), inPlace=False)
    method.SetOptimizerAsLBFGSB(numberOfIterations=_BENDS)
    return method.Execute(still, image)


def _way_mm(still: Any, transform: Any) -> float:  # noqa: ANN401
    """Return the median way of the voxels of the body, told from air by Otsu's threshold."""
    values = itk().GetArrayFromImage(still).transpose(2, 1, 0)
    body = itk().GetArrayFromImage(itk().OtsuThreshold(still, 0, 1)).transpose(2, 1, 0) > 0
    index = np.argwhere(body if body.any() else np.ones_like(values, bool))
    places = np.array(
        [still.TransformContinuousIndexToPhysicalPoint(at) for at in index[::17].tolist()]
    )
    return float(np.median(np.linalg.norm(_moved(transform, places) - places, axis=1)))


def _moved(
    transform: Any,  # noqa: ANN401
    places: Float64[np.ndarray, "n 3"],
) -> Float64[np.ndarray, "n 3"]:
    return np.array([transform.TransformPoint(place) for place in places.tolist()])
