"""Ways to change one file so that its meaning stays, changes, or can be told by nobody."""

import csv
import gzip
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK
from pydicom import dcmread
from pydicom.uid import ImplicitVRLittleEndian

Chance = np.random.Generator
Change = Callable[[Path, Chance], object]
"""Changes a file; what it returns is told of the round."""

itk: Any = SimpleITK
nifti: Any = nib


def rewritten(change: Callable[[Any], Any]) -> Change:
    """Return a change of an image through ITK, whatever its format."""

    def apply(path: Path, _: Chance) -> None:
        image = itk.ReadImage(str(path))
        for key in image.GetMetaDataKeys():  # which other formats have no place for
            image.EraseMetaData(key)
        changed = change(image)
        itk.WriteImage(image if changed is None else changed, str(path))

    return apply


def moved(image: Any) -> None:
    step = np.array(image.GetSpacing()) * 3
    image.SetOrigin((np.array(image.GetOrigin()) + step).tolist())


def stretched(image: Any) -> None:
    i, j, k = image.GetSpacing()
    image.SetSpacing((i, j, 2 * k))


def mirrored(image: Any) -> Any:
    """Store an axis the other way round: every voxel stays where it was."""
    return itk.Flip(image, [True, False, False])


def cropped(image: Any) -> Any:
    return image[1:, :, :]


def typed(kind: Any) -> Callable[[Any], Any]:
    return lambda image: itk.Cast(image, kind)


def voxels(change: Callable[[Any, Chance], Any]) -> Change:
    """Return a change of voxels, whatever their format."""

    def apply(path: Path, chance: Chance) -> None:
        image = itk.ReadImage(str(path))
        made = itk.GetImageFromArray(change(itk.GetArrayFromImage(image), chance))
        made.CopyInformation(image)
        itk.WriteImage(made, str(path))

    return apply


def strange_id(voxels: Any, chance: Chance) -> Any:
    voxels[tuple(chance.integers(voxels.shape))] = 77
    return voxels


def hole(voxels: Any, chance: Chance) -> Any:
    voxels = voxels.astype(np.float32)
    voxels[tuple(chance.integers(voxels.shape))] = np.nan
    return voxels


def almost(voxels: Any, _: Chance) -> Any:
    return voxels.astype(np.float32) * np.float32(1 + 2e-7)


def stretched_ids(voxels: Any, _: Chance) -> Any:
    return ((voxels > 0) * 255).astype(np.uint8)


def converted(suffix: str, *, packed: bool) -> Change:
    """Write an image in another format, and remove the first."""

    def apply(path: Path, _: Chance) -> str:
        stem = path.name.partition(".")[0]
        image = itk.ReadImage(str(path))
        for key in image.GetMetaDataKeys():
            image.EraseMetaData(key)
        for old in path.parent.glob(f"{stem}.*"):
            old.unlink()
        itk.WriteImage(image, str(path.with_name(f"{stem}{suffix}")), useCompression=packed)
        return suffix

    return apply


def header(change: Callable[[Any], object]) -> Change:
    """Return a change of the header of a .nii.gz file."""

    def apply(path: Path, _: Chance) -> None:
        image = nifti.load(path)
        voxels = np.asarray(image.dataobj)
        header = image.header.copy()
        change(header)
        made = nifti.Nifti1Image(voxels, None, header)
        made.header.structarr[...] = header.structarr
        nifti.save(made, path)

    return apply


def no_codes(header: Any) -> None:
    header["sform_code"], header["qform_code"] = 0, 0


def other_qform(header: Any) -> None:
    header["qoffset_x"] += 30
    header["qform_code"] = 1


def flipped(path: Path, chance: Chance) -> str:
    """Change one bit in the last nine tenths of a file."""
    content = bytearray(path.read_bytes())
    place = int(chance.integers(len(content) // 10, len(content)))
    content[place] ^= 1 << int(chance.integers(8))
    path.write_bytes(bytes(content))
    return f"byte {place}"


def cut(path: Path, chance: Chance) -> str:
    """Keep the first part of a file."""
    content = path.read_bytes()
    left = int(chance.integers(len(content)))
    path.write_bytes(content[:left])
    return f"{left} of {len(content)} bytes"


def packed(path: Path, chance: Chance) -> None:
    """Compress a .nii.gz file otherwise."""
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), int(chance.integers(1, 9))))


def removed(path: Path, _: Chance) -> None:
    path.unlink()


def by_a_neighbour(path: Path, _: Chance) -> str:
    """Put another file of the folder in the place of a file."""
    suffix = path.name.partition(".")[2]
    others = [one for one in sorted(path.parent.glob(f"*.{suffix}")) if one != path]
    if others:
        shutil.copyfile(others[0], path)
    return others[0].name if others else "nothing"


def table(change: Callable[[list[list[str]], Chance], list[list[str]]], **how: str) -> Change:
    """Return a change of the rows of a table, its header first."""
    encoding = how.pop("encoding", "utf-8")

    def apply(path: Path, chance: Chance) -> None:
        rows = list(csv.reader(path.read_text("utf-8").splitlines()))
        text = io.StringIO(newline="")
        writer = csv.writer(
            text,
            delimiter=how.get("delimiter", ","),
            lineterminator=how.get("lineterminator", "\n"),
            quoting=csv.QUOTE_ALL if how.get("quoting") == "all" else csv.QUOTE_MINIMAL,
        )
        writer.writerows(change(rows, chance))
        path.write_bytes(text.getvalue().encode(encoding))

    return apply


def same(rows: list[list[str]], _: Chance) -> list[list[str]]:
    return rows


def shuffled(rows: list[list[str]], chance: Chance) -> list[list[str]]:
    return [rows[0], *(rows[1 + n] for n in chance.permutation(len(rows) - 1))]


def columns(rows: list[list[str]], chance: Chance) -> list[list[str]]:
    order = chance.permutation(len(rows[0]))
    return [[row[n] for n in order] for row in rows]


def lps(rows: list[list[str]], _: Chance) -> list[list[str]]:
    flips = [n for n, name in enumerate(rows[0]) if name in ("x", "y")]
    return [
        [*rows[0], "frame"],
        *(
            [*(str(-float(c)) if n in flips else c for n, c in enumerate(row)), "LPS"]
            for row in rows[1:]
        ),
    ]


def cell(column: str, value: str) -> Callable[[list[list[str]], Chance], list[list[str]]]:
    """Return a change of one cell of a column, the first one there is of some names."""

    def change(rows: list[list[str]], chance: Chance) -> list[list[str]]:
        names = [name for name in column.split("|") if name in rows[0]]
        place = rows[0].index(names[0])
        rows[int(chance.integers(1, len(rows)))][place] = value
        return rows

    return change


def parsed(change: Callable[[Any], Any], **how: Any) -> Change:
    def apply(path: Path, _: Chance) -> None:
        values = json.loads(path.read_text("utf-8"))
        changed = change(values)
        path.write_text(json.dumps(values if changed is None else changed, **how), "utf-8")

    return apply


def backwards(values: Any) -> Any:
    return dict(reversed(values.items()))


def swapped_ids(values: Any) -> None:
    ids = values["labels"]
    ids["ball"], ids["rim"] = ids["rim"], ids["ball"]


def swapped_channels(values: Any) -> None:
    values["channel_names"] = dict(
        zip("01", reversed(values["channel_names"].values()), strict=True)
    )


def put(**changes: Any) -> Callable[[Any], None]:
    return lambda values: values.update(changes)


def twice(path: Path, _: Chance) -> None:
    path.write_text(path.read_text("utf-8").rstrip().removesuffix("}") + ', "labels": {"x": 0}}')


def one_weight(path: Path, _: Chance) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(path)
    weights[min(weights)].view(-1)[0] = float("nan")
    save_file(weights, path)


def other_weights(path: Path, _: Chance) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(path)
    save_file({name: tensor + 0.01 for name, tensor in weights.items()}, path)


def wide_spacing(values: Any) -> None:
    values["spacing_mm"] = [10 * step for step in values["spacing_mm"]]


def in_slice(change: Callable[[Any], object]) -> Change:
    """Return a change of one DICOM file."""

    def apply(path: Path, _: Chance) -> None:
        data = dcmread(path)
        how = change(data)
        data.save_as(path, implicit_vr=True, little_endian=True) if how else data.save_as(path)

    return apply


def implicit(data: Any) -> bool:
    data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    return True


def tag(name: str, value: Any) -> Callable[[Any], None]:
    return lambda data: setattr(data, name, value)


def renamed(path: Path, chance: Chance) -> None:
    path.rename(path.with_name(f"IM{int(chance.integers(10**6))}"))


def deeper(path: Path, _: Chance) -> None:
    (path.parent / "more").mkdir()
    path.rename(path.parent / "more" / path.name)


def beside(path: Path, _: Chance) -> None:
    (path.parent / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0 no image")


def copied_to(name: str) -> Change:
    return lambda path, _: shutil.copyfile(path, path.with_name(name))


def renamed_to(name: str) -> Change:
    return lambda path, _: path.rename(path.with_name(name))


def row(text: str) -> Callable[[list[list[str]], Chance], list[list[str]]]:
    """Return a change that adds a row of a table, its other cells empty."""

    def change(rows: list[list[str]], _: Chance) -> list[list[str]]:
        cells = text.split(",")
        return [*rows, [*cells, *[""] * (len(rows[0]) - len(cells))]]

    return change


def same_values(_: Any) -> None:
    """Change nothing."""


def swapped_plan(values: Any) -> None:
    names = values["labels"]["names"]
    names[1:] = names[:0:-1]
