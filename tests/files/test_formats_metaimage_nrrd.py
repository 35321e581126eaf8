"""MetaImage and NRRD: every way to write voxels is read, and damage is never."""

import bz2
import gzip
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK

from voxhint.core.errors import BadFileError
from voxhint.files import read_volume
from voxhint.files.images import image_warnings, read_grid

ITK: Any = SimpleITK
VALUES = np.arange(48, dtype=np.int16).reshape(4, 4, 3) - 7  # k, j, i
RAW, BIG = VALUES.tobytes(), VALUES.astype(">i2").tobytes()
WORDS = " ".join(map(str, VALUES.ravel())).encode()
HALF = [VALUES[number].tobytes() for number in range(4)]
LIES = {
    "space": "left-posterior-superior",
    "space directions": "(1,0,0) (0,1,0) (0,0,2)",
    "space origin": "(1,2,3)",
}


def nrrd(folder: Path, data: bytes, **fields: str) -> Path:
    """Write a NRRD file; a field named with underscores has spaces."""
    known = {"type": "short", "dimension": "3", "sizes": "3 4 4", "endian": "little"}
    known |= {"encoding": "raw", "space dimension": "", **LIES}
    known |= {name.replace("_", " "): value for name, value in fields.items()}
    known = {name: value for name, value in known.items() if value}
    lines = "".join(f"{name}: {value}\n" for name, value in known.items())
    path = folder / "a.nrrd"
    path.write_bytes(b"NRRD0004\n" + lines.encode() + b"\n" + data)
    return path


def meta(folder: Path, data: bytes, file: str = "LOCAL", **fields: str) -> Path:
    known = {"ObjectType": "Image", "NDims": "3", "DimSize": "3 4 4", "ElementType": "MET_SHORT"}
    known |= {"BinaryData": "True", "ElementSpacing": "1 1 2", "Offset": "1 2 3", **fields}
    lines = "".join(f"{name} = {value}\n" for name, value in known.items())
    path = folder / "a.mha"
    path.write_bytes(f"{lines}ElementDataFile = {file}\n".encode() + data)
    return path


def require_read(path: Path) -> None:
    volume = read_volume(path)
    assert np.array_equal(volume.voxels, VALUES.transpose(2, 1, 0))
    assert np.array_equal(volume.grid.affine, np.diag([-1.0, -1, 2, 1]) + _origin())
    assert image_warnings(path) == ()


def _origin() -> np.ndarray[Any, Any]:
    moved = np.zeros((4, 4))
    moved[:3, 3] = [-1, -2, 3]
    return moved


NRRD = {
    "raw": (RAW, {}),
    "big": (BIG, {"endian": "big"}),
    **{name: (WORDS, {"encoding": name}) for name in ("txt", "text", "ascii", "ASCII")},
    **{name: (RAW.hex().encode(), {"encoding": name}) for name in ("hex", "HEX")},
    **{name: (gzip.compress(RAW), {"encoding": name}) for name in ("gz", "gzip", "GZIP")},
    **{name: (bz2.compress(RAW), {"encoding": name}) for name in ("bz2", "bzip2")},
    "big gzip": (gzip.compress(BIG), {"encoding": "gzip", "endian": "big"}),
    "gzip of two members": (gzip.compress(RAW[:9]) + gzip.compress(RAW[9:]), {"encoding": "gz"}),
    "bytes inside gzip": (gzip.compress(b"abc" + RAW), {"encoding": "gz", "byteskip": "3"}),
    "from the end": (b"anything" + RAW, {"byte_skip": "-1"}),
    "RAS": (RAW, {"space": "RAS", "space_origin": "(-1,-2,3)",
                  "space_directions": "(-1,0,0) (0,-1,0) (0,0,2)"}),
    "millimetres": (RAW, {"space_units": '"mm" "mm" "mm"'}),
}  # fmt: skip


@pytest.mark.parametrize("kind", NRRD)
def test_every_encoding_of_nrrd_is_read(tmp_path: Path, kind: str) -> None:
    data, fields = NRRD[kind]
    require_read(nrrd(tmp_path, data, **fields))


@pytest.mark.parametrize("field", ["data_file", "datafile", "Data_File", "DATAFILE"])
@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2"])
def test_voxels_of_nrrd_may_lie_beside_it(tmp_path: Path, field: str, encoding: str) -> None:
    packed = {"raw": RAW, "gzip": gzip.compress(RAW), "bzip2": bz2.compress(RAW)}[encoding]
    (tmp_path / "a.bin").write_bytes(b"a line\n" + packed)
    skip = {field: "a.bin", "line_skip": "1", "encoding": encoding}
    require_read(nrrd(tmp_path, b"", **skip))


def slices(folder: Path, count: int = 4) -> list[str]:
    for number, content in enumerate(HALF[:count]):
        (folder / f"s{number:02d}.raw").write_bytes(content)
    return [f"s{number:02d}.raw" for number in range(count)]


def test_voxels_may_lie_in_a_file_a_slice(tmp_path: Path) -> None:
    names = "\n".join(slices(tmp_path))
    require_read(nrrd(tmp_path, b"", data_file="s%02d.raw 0 3 1"))
    listed = nrrd(tmp_path, b"", data_file=f"LIST\n{names}")
    listed.write_bytes(listed.read_bytes().rstrip() + b"\n")  # an empty line would be a name
    require_read(listed)
    require_read(meta(tmp_path, b"", "s%02d.raw 0 3 1"))
    require_read(meta(tmp_path, f"{names}\n".encode(), "LIST"))
    require_read(meta(tmp_path, f"{names}\n".encode(), "LIST 2D"))
    (tmp_path / "all.raw").write_bytes(RAW)
    require_read(meta(tmp_path, b"all.raw\n", "LIST 3"))


META = {
    "raw": (RAW, {}),
    "big": (BIG, {"BinaryDataByteOrderMSB": "True"}),
    "big by its other name": (BIG, {"ElementByteOrderMSB": "True"}),
    "text": (WORDS, {"BinaryData": "False"}),
    "packed": (zlib.compress(RAW), {"CompressedData": "True"}),
    "packed big": (zlib.compress(BIG), {"CompressedData": "1", "ElementByteOrderMSB": "True"}),
    "packed, its size told": (
        zlib.compress(RAW),
        {"CompressedData": "true", "CompressedDataSize": str(len(zlib.compress(RAW)))},
    ),
    "from the end": (b"anything" + RAW, {"HeaderSize": "-1"}),
    "in millimetres": (RAW, {"DistanceUnits": "mm"}),
}


@pytest.mark.parametrize("kind", META)
def test_every_way_of_metaimage_is_read(tmp_path: Path, kind: str) -> None:
    data, fields = META[kind]
    require_read(meta(tmp_path, data, **fields))


@pytest.mark.parametrize("suffix", [".mha", ".mhd", ".nrrd"])
@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
def test_voxels_are_those_that_itk_reads(tmp_path: Path, suffix: str, kind: str) -> None:
    values = np.random.default_rng(0).integers(0, 100, (4, 3, 5)).astype(kind)
    for packed in (False, True):
        path = tmp_path / f"{packed}{suffix}"
        ITK.WriteImage(ITK.GetImageFromArray(values), str(path), useCompression=packed)
        expected = ITK.GetArrayFromImage(ITK.ReadImage(str(path)))
        assert np.array_equal(read_volume(path).voxels, expected.transpose(2, 1, 0))


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :]


@pytest.mark.parametrize("pack", [zlib.compress, gzip.compress, bz2.compress])
def test_no_flipped_byte_of_packed_voxels_gives_other_voxels(tmp_path: Path, pack: Any) -> None:
    data = pack(RAW)
    for place in range(len(data)):
        spoilt = flipped(data, place)
        if pack is zlib.compress:
            path = meta(tmp_path, spoilt, CompressedData="True")
        else:
            path = nrrd(tmp_path, spoilt, encoding="gz" if pack is gzip.compress else "bz2")
        try:
            voxels = read_volume(path).voxels
        except BadFileError:
            continue
        assert np.array_equal(voxels, VALUES.transpose(2, 1, 0))  # a byte that says nothing


PACKED = {"CompressedData": "True"}
SHORT = {"CompressedData": "True", "CompressedDataSize": "20"}
BAD_META = {
    "cut": (meta, RAW[:-5], {}, "cut short"),
    "too much": (meta, RAW + RAW, {}, "more voxels than its header"),
    "packed and cut": (meta, zlib.compress(RAW)[:-9], PACKED, "middle of the stream"),
    "packed too little": (meta, zlib.compress(RAW[:-2]), PACKED, "ends 2 bytes before"),
    "packed too much": (meta, zlib.compress(RAW * 2), PACKED, "more voxels than its header"),
    "size too short": (meta, zlib.compress(RAW), SHORT, "middle of the stream"),
    "size too long": (meta, zlib.compress(RAW), SHORT | {"CompressedDataSize": "999"}, "before"),
    "inside the header": (meta, RAW, {"HeaderSize": "5"}, "begin inside it, at byte 5"),
    "microns": (meta, RAW, {"DistanceUnits": "um"}, "counts in um"),
    "backwards": (meta, RAW, {"ElementSpacing": "1 1 -2"}, "1 x 1 x -2 mm"),
    "type too small": (meta, RAW, {"ElementType": "MET_CHAR"}, "more voxels than its header"),
    "nrrd type too small": (nrrd, RAW, {"type": "uchar"}, "more voxels than its header"),
    "nrrd sizes too small": (nrrd, RAW, {"sizes": "3 4 3"}, "more voxels than its header"),
    "few words": (nrrd, WORDS[:-3], {"encoding": "text"}, "47 numbers of voxels"),
    "many words": (nrrd, WORDS + b" 1", {"encoding": "text"}, "49 numbers of voxels"),
    "hex too long": (nrrd, RAW.hex().encode() + b"ff", {"encoding": "hex"}, "97 bytes of voxels"),
    "gzip too much": (nrrd, gzip.compress(RAW * 2), {"encoding": "gz"}, "more voxels than"),
    "bzip2 cut": (nrrd, bz2.compress(RAW)[:-5], {"encoding": "bz2"}, "middle of the stream"),
    "unknown encoding": (nrrd, RAW, {"encoding": "zrl"}, "zrl"),
    "centimetres": (nrrd, RAW, {"space_units": '"cm" "cm" "cm"'}, "counts in cm"),
    "micrometres": (
        nrrd,
        RAW,
        {"space": "", "space_directions": "", "space_origin": "", "units": '"um" "um" "um"'},
        "counts in um",
    ),
}


@pytest.mark.parametrize("kind", BAD_META)
def test_what_does_not_hold_its_promise_is_refused(tmp_path: Path, kind: str) -> None:
    write, data, fields, said = BAD_META[kind]
    path = write(tmp_path, data, **fields)
    with pytest.raises(BadFileError) as caught:
        read_volume(path)
    assert said in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("told", ["LIST", "s%02d.raw 0 2 1"])
def test_fewer_files_than_slices_are_refused(tmp_path: Path, told: str) -> None:
    names = "\n".join(slices(tmp_path, 3)).encode() if told == "LIST" else b""
    for path in (meta(tmp_path, names, told),):
        with pytest.raises(BadFileError, match="names 3 files of voxels where its size asks for 4"):
            read_grid(path)
    (tmp_path / "s02.raw").write_bytes(b"short")
    slices_told = "\n".join([*slices(tmp_path, 2), "s02.raw", "s02.raw"]).encode()
    with pytest.raises(BadFileError, match="cut short"):
        read_grid(meta(tmp_path, slices_told, "LIST"))


NO_SPACE = {"space": "", "space_directions": "", "space_origin": ""}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"space": "scanner-xyz"}, "scanner-xyz"),
        ({"space": "3D-right-handed"}, "none of a patient"),
        ({"space": "", "space_dimension": "3"}, "says no space"),
        (NO_SPACE | {"spacings": "1 1 2"}, "no directions"),
        (NO_SPACE, "steps of 1 mm"),
    ],
)
def test_a_place_half_told_is_warned_of(tmp_path: Path, fields: Any, said: str) -> None:
    path = nrrd(tmp_path, RAW, **fields)
    assert read_grid(path).shape == (3, 4, 4)
    (warning,) = image_warnings(path)
    assert said in warning
    assert "; " in warning
