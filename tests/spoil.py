"""Ways to break a study of `make_study`, one at a time."""

import gzip
import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK
from tests.phantoms import LABELS, ball, centre_mm, scan, slanted_grid

from voxhint.core import Grid, Volume
from voxhint.files import write_ids, write_image, write_probability

GRID = slanted_grid()
OTHER = slanted_grid((14, 16, 9))
IDS = LABELS.to_ids(ball(GRID))
_new_image: Any = nib.Nifti1Image  # untyped
_itk: Any = SimpleITK
MIDDLE = ",".join(f"{value:.3f}" for value in centre_mm(GRID))

Spoil = Callable[[Path], object]


def spec(**changes: Any) -> Spoil:
    """Change keys of dataset.json; None removes one."""

    def spoil(root: Path) -> None:
        content = json.loads((root / "dataset.json").read_text())
        content |= changes
        content = {key: value for key, value in content.items() if value is not None}
        (root / "dataset.json").write_text(json.dumps(content))

    return spoil


def text(name: str, content: str) -> Spoil:
    def spoil(root: Path) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content, encoding="utf-8")

    return spoil


def tags(*rows: str) -> Spoil:
    return text("hints/tags.csv", "\n".join(["case,label,state,z_min,z_max", *rows]))


def ids(name: str, grid: Grid = GRID, value: int | None = None) -> Spoil:
    content = np.full(grid.shape, value, np.uint8) if value is not None else IDS
    return lambda root: write_ids(root / name, content[: grid.shape[0], :, : grid.shape[2]], grid)


def image(name: str, grid: Grid = GRID) -> Spoil:
    return lambda root: write_image(root / name, scan(grid, 1))


def remove(name: str) -> Spoil:
    def spoil(root: Path) -> None:
        path = root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return spoil


def moved(mm: float) -> Grid:
    affine = GRID.affine.copy()
    affine[0, 3] += mm
    return Grid(GRID.shape, affine)


def soft(name: str, value: float = 0.5) -> Spoil:
    values = np.full(GRID.shape, value, np.float32)
    if value <= 1:
        return lambda root: write_probability(root / name, values, GRID)
    return lambda root: write_image(root / name, Volume(values, GRID))


def labels(**ids_by_name: Any) -> Spoil:
    return spec(labels=ids_by_name)


def link(name: str, target: str) -> Spoil:
    """Put a link in the place of a file or folder, if there is one."""

    def spoil(root: Path) -> None:
        if (root / name).exists():
            remove(name)(root)
        (root / name).symlink_to(root / target)

    return spoil


def pipe(name: str) -> Spoil:
    """Put a pipe in the place of a file: who reads it waits for ever."""

    def spoil(root: Path) -> None:
        (root / name).unlink(missing_ok=True)
        os.mkfifo(root / name)

    return spoil


def both(*spoils: Spoil) -> Spoil:
    def spoil(root: Path) -> None:
        for one in spoils:
            one(root)

    return spoil


def data(name: str, content: bytes) -> Spoil:
    def spoil(root: Path) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)

    return spoil


def cut(name: str, left: float = 0.5) -> Spoil:
    """Keep only the first part of a file."""

    def spoil(root: Path) -> None:
        content = (root / name).read_bytes()
        (root / name).write_bytes(content[: int(left * len(content))])

    return spoil


def header(name: str, offset: int, form: str, *values: float | bytes) -> Spoil:
    """Overwrite part of the header of a .nii.gz file."""

    def spoil(root: Path) -> None:
        content = bytearray(gzip.decompress((root / name).read_bytes()))
        struct.pack_into(f"<{form}", content, offset, *values)
        (root / name).write_bytes(gzip.compress(bytes(content)))

    return spoil


def nifti(name: str, voxels: np.ndarray[Any, Any], grid: Grid = GRID) -> Spoil:
    """Write voxels of whatever shape and type."""

    def spoil(root: Path) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        nib.save(_new_image(voxels, grid.affine), root / name)

    return spoil


def converted(name: str, suffix: str) -> Spoil:
    """Write an image again in another format, uncompressed, and remove the first."""

    def spoil(root: Path) -> None:
        path = root / name
        image = _itk.ReadImage(str(path))
        for key in image.GetMetaDataKeys():  # which MetaImage has no place for
            image.EraseMetaData(key)
        _itk.WriteImage(image, str(path).replace(".nii.gz", suffix), useCompression=False)
        path.unlink()

    return spoil


def swapped(name: str, old: bytes, new: bytes) -> Spoil:
    """Replace bytes of a file."""

    def spoil(root: Path) -> None:
        content = (root / name).read_bytes()
        assert old in content
        (root / name).write_bytes(content.replace(old, new))

    return spoil


def renamed(old: str, new: str) -> Spoil:
    """Give a case another name, in its image and in its points."""

    def spoil(root: Path) -> None:
        image = root / "imagesTr" / f"{old}_0000.nii.gz"
        image.rename(image.with_name(f"{new}_0000.nii.gz"))
        points = root / "hints" / "points.csv"
        points.write_text(points.read_text("utf-8").replace(f"{old},", f"{new},"), "utf-8")

    return spoil
