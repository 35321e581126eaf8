"""An invented window of a chest CT, with or without a nodule: for studies of tags."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8
from scipy.ndimage import gaussian_filter

from voxhint.core import Case, Grid, LabelSet, Mask, Volume
from voxhint.core.errors import BadRecipeError
from voxhint.simulate.abdomen_anatomy import Depths
from voxhint.simulate.lung_anatomy import Lung, Tube, Vector
from voxhint.simulate.nodule import Nodule, Texture, draw_nodule
from voxhint.simulate.partial_volume import ALL, Canvas

NODULE = LabelSet(names=("background", "nodule"), ids=(0, 1))
"""What is labelled; vessels, airways and walls are background."""

_LEAST_FIELD_MM = (24.0, 24.0, 6.0)  # holds the centre of every nodule
_AIR_HU, _AIRWAY_HU, _FISSURE_HU, _SPICULE_HU = -980.0, -200.0, -450.0, -50.0


@dataclass(frozen=True, slots=True)
class Patient:
    """What the windows of one patient share: how they look, and which nodules they show."""

    lung_hu: float
    blood_hu: float
    noise_hu: float
    sharp: float
    """0 is a soft reconstruction kernel, 1 one that enhances edges."""

    slice_mm: float
    """Blur along z beside the voxels' own size, one standard deviation."""

    streaks: float
    """How much further noise reaches along x than along y."""

    diameter_mm: tuple[float, float] = (4.0, 16.0)
    """The smallest and the largest nodule."""

    texture: Texture | None = None
    """Of every nodule; any if None."""

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Patient":
        """Return a patient of a mixed crowd, with nodules of all kinds."""
        blood = rng.normal(40, 8) if rng.random() < 0.5 else rng.uniform(70, 220)
        return cls(
            lung_hu=float(np.clip(rng.normal(-872, 28), -930, -800)),
            blood_hu=float(blood),
            noise_hu=float(np.clip(np.exp(rng.normal(np.log(24), 0.5)), 8, 75)),
            sharp=float(rng.uniform()),
            slice_mm=float(rng.uniform(0.2, 0.8)),
            streaks=float(rng.choice([1.0, 1.8])),
        )


def lung_case(
    rng: np.random.Generator,
    *,
    name: str,
    present: bool,
    shape: tuple[int, int, int] = (48, 48, 12),
    spacing_mm: tuple[float, float, float] = (0.7, 0.7, 1.25),
    patient: Patient | None = None,
) -> Case:
    """Draw a place in a lung and scan it.

    The anatomy is a function of place: one seed shows the same lung on any grid. With and without
    `present` it is the same lung too, and the same noise: the nodule is all that differs.

    Args:
        rng: Draws the place, the nodule and the noise.
        name: The case's name.
        present: Whether there is a nodule.
        shape: Voxels along i, j and k.
        spacing_mm: Distance of their centres; the field must be 24 x 24 x 6 mm or more, and beyond
            54 x 54 x 36 mm the lung has no vessels.
        patient: Whose lung it is; drawn if None.

    Returns:
        Channel `CT` (HU), and the truth in `NODULE`: voxels more than half filled by the nodule.

    Raises:
        BadRecipeError: The field is too small.
    """
    spacing = np.array(spacing_mm)
    if (np.array(shape) * spacing < _LEAST_FIELD_MM).any():
        field = " x ".join(f"{mm:g}" for mm in np.array(shape) * spacing)
        msg = f"field is {field} mm; a nodule needs 24 x 24 x 6 mm; use more or larger voxels"
        raise BadRecipeError(msg)
    around, lesion, scanner = rng.spawn(3)
    stranger = Patient.draw(around)
    patient = patient or stranger
    centre_mm = around.uniform(-60, 60, 3)
    lung = Lung(around, patient.blood_hu)
    canvas = Canvas(shape, spacing)
    _paint_lung(canvas, lung, patient)
    nodule = None
    if present:
        nodule = draw_nodule(lesion, lung, diameter_mm=patient.diameter_mm, texture=patient.texture)
        _paint_nodule(canvas, nodule)
    walled = _paint_wall(canvas, lung)
    filled = np.zeros(shape, np.uint8) if nodule is None else _filled(canvas, nodule, walled)
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = centre_mm - spacing * (np.array(shape) - 1) / 2
    grid = Grid(shape, affine)
    image = Volume(_scan(scanner, canvas.pooled(canvas.hu), patient, spacing), grid, "HU")
    return Case(name, {"CT": image}, truth=Mask(filled, grid, NODULE))


def _cover(depth: Depths, edge_mm: float) -> Depths:
    """Return how far a place is filled, from its depth: borders are soft."""
    return np.asarray(np.clip(0.5 + depth / edge_mm, 0, 1), np.float32)


def _paint_lung(canvas: Canvas, lung: Lung, patient: Patient) -> None:
    """Paint parenchyma, then fissure, scars, airways and vessels."""
    canvas.spread(patient.lung_hu + lung.parenchyma(canvas.centres()))
    edge = canvas.edge_mm
    if lung.fissure is not None:
        canvas.paint(ALL, _cover(lung.fissure.depth(canvas.places(ALL)), edge), _FISSURE_HU)
    for blob, hu in lung.specks:
        centre, reach = np.array(blob.centre), max(blob.radii)
        part = canvas.within(centre - reach, centre + reach)
        canvas.paint(part, _cover(blob.depth(canvas.places(part)), edge), hu)
    for airway in lung.airways:
        _paint_tube(canvas, airway.outer, _AIRWAY_HU)
    for airway in lung.airways:
        _paint_tube(canvas, airway.lumen, _AIR_HU)
    for vessel in lung.vessels:
        _paint_tube(canvas, vessel, patient.blood_hu)


def _paint_tube(canvas: Canvas, tube: Tube, hu: float) -> None:
    part = canvas.within(*tube.bounds())
    if not canvas.hu[part].size:
        return  # most of a tree grows beside the window
    canvas.paint(part, _cover(tube.depth(canvas.places(part)), canvas.edge_mm), hu)


def _paint_nodule(canvas: Canvas, nodule: Nodule) -> None:
    """Paint a nodule over the lung; vessels denser than it stay visible."""
    edge = canvas.edge_mm
    for spicule in nodule.spicules:
        part = canvas.within(*spicule.bounds())
        canvas.brighten(part, _cover(spicule.depth(canvas.places(part)), edge), _SPICULE_HU)
    part = canvas.within(*nodule.bounds())
    places = canvas.places(part)
    canvas.brighten(part, _cover(nodule.depth(places), nodule.edge_mm), nodule.hu)
    if nodule.core > 0:
        canvas.brighten(part, _cover(nodule.depth(places, nodule.core), edge), nodule.core_hu)


def _paint_wall(canvas: Canvas, lung: Lung) -> Float32[np.ndarray, "a b c"]:
    """Paint the wall over everything.

    Returns:
        How far it fills each place.
    """
    cover = np.zeros(canvas.hu.shape, np.float32)
    if lung.wall is None:
        return cover
    places = canvas.places(ALL)
    depth = lung.wall.depth(places)
    near = np.flatnonzero(depth > -canvas.edge_mm / 2)
    hu = lung.wall.hu(np.ascontiguousarray(places[:, near]), depth[near])
    filled, shown = cover.reshape(-1), canvas.hu.reshape(-1)
    filled[near] = _cover(depth[near], canvas.edge_mm)
    shown[near] += filled[near] * (hu - shown[near])
    return cover


def _filled(
    canvas: Canvas, nodule: Nodule, walled: Float32[np.ndarray, "a b c"]
) -> UInt8[np.ndarray, "i j k"]:
    """Return the voxels more than half filled by a nodule; what lies in the wall is wall."""
    part = canvas.within(*nodule.bounds())
    inside = np.zeros(canvas.hu.shape, np.float32)
    inside[part] = (nodule.depth(canvas.places(part)) > 0).reshape(inside[part].shape)
    return np.asarray(canvas.pooled(inside * (1 - walled)) > 0.5, np.uint8)


def _scan(
    rng: np.random.Generator,
    hu: Float32[np.ndarray, "i j k"],
    patient: Patient,
    spacing_mm: Vector,
) -> Float32[np.ndarray, "i j k"]:
    """Return the CT a scanner would make: blur, noise, the kernel's edges, whole numbers."""
    blur_mm = 0.75 - 0.3 * patient.sharp
    scene = _kernel(
        hu, (blur_mm, blur_mm, patient.slice_mm) / spacing_mm, patient.sharp, spacing_mm
    )
    white = rng.standard_normal(hu.shape, np.float32)
    reach_mm = np.array([blur_mm * patient.streaks, blur_mm, 0.3 * patient.slice_mm])
    noise = _kernel(white, reach_mm / spacing_mm, patient.sharp, spacing_mm)
    noise *= patient.noise_hu / noise.std()
    return np.asarray(np.clip(np.round(scene + noise), -1024, 3071), np.float32)


def _kernel(
    image: Float32[np.ndarray, "i j k"], blur: Vector, sharp: float, spacing_mm: Vector
) -> Float32[np.ndarray, "i j k"]:
    """Return the image blurred, and its edges enhanced within the slices."""
    blurred = gaussian_filter(image, blur)
    around = gaussian_filter(blurred, (0.9, 0.9, 0) / spacing_mm)
    return np.asarray(blurred + 1.1 * sharp * (blurred - around), np.float32)
