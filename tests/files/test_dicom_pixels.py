"""A slice's values are those its headers promise, however they are stored."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataelem import DataElement
from pydicom.encaps import encapsulate
from pydicom.uid import (
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)
from tests.files.series import Series

from voxhint.core.errors import BadFileError
from voxhint.files import survey
from voxhint.files.dicom.read_series import open_series, read_series

LOSSLESS = [
    "JPEGLosslessProcess14_1",
    "JPEGLosslessProcess14",
    "JPEGLSLossless",
    "JPEG2000Lossless",
]


def test_each_slice_is_rescaled_by_its_own_slope(tmp_path: Path) -> None:
    tags: dict[int, dict[str, Any]] = {2: {"RescaleSlope": 3, "RescaleIntercept": 7}}
    series = Series(tags=tags)
    voxels, _ = read_series(series.write(tmp_path / "s"))
    assert np.array_equal(voxels[:, :, 2], 3 * series.stored(2).T + 7)
    (warning,) = open_series(tmp_path / "s").warnings
    assert "(2 and -1024 in 5, 3 and 7 in 1)" in warning
    pet = replace(series, common={"Modality": "PT"}).write(tmp_path / "pet")
    assert open_series(pet).warnings == ()
    assert np.array_equal(read_series(pet)[0], voxels)


@pytest.mark.parametrize("tag", ["RescaleSlope", "RescaleIntercept"])
@pytest.mark.parametrize("modality", ["CT", "PT", "MR"])
def test_a_slice_without_rescale_among_others_is_refused(
    tmp_path: Path, tag: str, modality: str
) -> None:
    series = Series(tags={3: {tag: None}}, common={"Modality": modality})
    with pytest.raises(BadFileError, match=r"1 of 6 slices have no RescaleSlope.*\(1\.dcm\)"):
        read_series(series.write(tmp_path / "s"))


def test_ct_that_no_slice_rescales_is_told_of(tmp_path: Path) -> None:
    bare = {"RescaleSlope": None, "RescaleIntercept": None}
    (warning,) = open_series(Series(common=bare).write(tmp_path / "ct")).warnings
    assert "CT without RescaleSlope" in warning
    assert (
        open_series(Series(common={**bare, "Modality": "MR"}).write(tmp_path / "m")).warnings == ()
    )


@pytest.mark.parametrize("tag", ["BitsStored", "BitsAllocated", "PixelRepresentation"])
def test_a_tag_that_pixels_need_is_named(tmp_path: Path, tag: str) -> None:
    folder = Series(tags={2: {tag: None}}).write(tmp_path / "s")
    with pytest.raises(BadFileError, match=rf"3\.dcm: lacks {tag}, and cannot be read; export"):
        read_series(folder)


def test_a_slice_that_holds_one_value_alone_is_told_of(tmp_path: Path) -> None:
    Series(tags={2: {"PixelData": bytes(40)}}).write(tmp_path / "imagesTr" / "a_0000")
    (tmp_path / "dataset.json").write_text(
        '{"channel_names": {"0": "CT"}, "labels": {"background": 0, "lesion": 1}}'
    )
    told = [problem.finding for problem in survey(tmp_path, deep=True).problems]
    assert "1 of 6 slices hold one value alone (slice 3: -1024)" in told


def test_text_burnt_into_pixels_is_told_of(tmp_path: Path) -> None:
    series = Series(tags={4: {"BurnedInAnnotation": "YES"}})
    (warning,) = open_series(series.write(tmp_path / "s")).warnings
    assert "BurnedInAnnotation YES" in warning


@pytest.mark.parametrize("order", [range(6), (3, 0, 5, 1, 4, 2)])
def test_one_file_of_frames_is_the_same_image(tmp_path: Path, order: tuple[int, ...]) -> None:
    tags = {2: {"RescaleSlope": 3, "RescaleIntercept": 7}}
    series = Series(aside=0.1, heights=(0, 2.5, 5, 10, 12.5, 15), tags=tags)
    (tmp_path / "frames").mkdir()
    series.enhanced(order).save_as(tmp_path / "frames" / "1", enforce_file_format=True)
    slices, frames = read_series(series.write(tmp_path / "s")), read_series(tmp_path / "frames")
    assert np.array_equal(slices[0], frames[0])
    assert slices[1].same(frames[1], tol_mm=0.0)
    assert open_series(tmp_path / "s").warnings == open_series(tmp_path / "frames").warnings


def test_frames_that_are_not_all_told_of_are_refused(tmp_path: Path) -> None:
    data = Series().enhanced()
    del data.PerFrameFunctionalGroupsSequence[-1]
    data.save_as(tmp_path / "1", enforce_file_format=True)
    with pytest.raises(BadFileError, match="headers of 5 frames where it holds 6"):
        read_series(tmp_path)


def test_frames_are_decompressed_too(tmp_path: Path) -> None:
    data = Series().enhanced()
    data.compress(RLELossless)
    data.save_as(tmp_path / "1", enforce_file_format=True)
    frames = read_series(tmp_path)[0]
    assert np.array_equal(frames, read_series(Series().write(tmp_path / "s"))[0])


def test_run_length_coding_loses_nothing(tmp_path: Path) -> None:
    plain = read_series(Series().write(tmp_path / "plain"))[0]
    packed = read_series(Series().write(tmp_path / "packed", syntax=RLELossless))[0]
    assert np.array_equal(plain, packed)


TRANSCODE = """
import sys, gdcm
for path in sys.argv[2:]:
    reader, change = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax()
    reader.SetFileName(path)
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, sys.argv[1])))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(path)
    assert writer.Write()
"""
"""Runs in a process of its own: unlike its decoders, GDCM's encoders may end the process."""


@pytest.mark.parametrize("coding", LOSSLESS)
@pytest.mark.parametrize("signed", [True, False])
def test_lossless_coding_loses_nothing(tmp_path: Path, coding: str, signed: bool) -> None:
    values = (np.arange(37 * 53) * 7 % 4001 - 300 * signed).astype(np.int16)
    common = {"PixelRepresentation": int(signed), "Rows": 37, "Columns": 53}
    series = Series(heights=(0, 1, 2), common={**common, "PixelData": values.tobytes()})
    folder = series.write(tmp_path / "s")
    plain = read_series(folder)[0]
    command = [sys.executable, "-c", TRANSCODE, coding, *map(str, folder.iterdir())]
    subprocess.run(command, check=True, capture_output=True)
    for path in folder.iterdir():
        assert pydicom.dcmread(path).file_meta.TransferSyntaxUID.is_compressed
    assert np.array_equal(plain[:, :, 0], 2.0 * values.reshape(37, 53).T - 1024)
    assert np.array_equal(read_series(folder)[0], plain)


@pytest.mark.parametrize("coding", ["jp2klossless", "jpeg_ls_lossless", "RLE", "bigendian"])
def test_other_peoples_files_are_decoded(tmp_path: Path, coding: str) -> None:
    """A slice of an MR scanner that comes with pydicom, three times at different heights."""
    read = {}
    for name in ("MR_small", f"MR_small_{coding}"):
        (tmp_path / name).mkdir()
        for number in range(3):
            data = pydicom.dcmread(str(get_testdata_file(f"{name}.dcm")))
            data.ImagePositionPatient[2] += 5 * number
            data.save_as(tmp_path / name / str(number))
        read[name] = read_series(tmp_path / name)
    plain, packed = read.values()
    assert plain[0].std() > 0
    assert np.array_equal(plain[0], packed[0])
    assert plain[1].same(packed[1])


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
def test_the_byte_order_and_deflation_change_nothing(
    tmp_path: Path, syntax: pydicom.uid.UID
) -> None:
    series = Series()
    plain = read_series(series.write(tmp_path / "plain"))[0]
    (tmp_path / "s").mkdir()
    for number in range(6):
        data = series.slice(number)
        data.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            data.PixelData = series.stored(number).byteswap().tobytes()
        pydicom.dcmwrite(tmp_path / "s" / str(number), data, enforce_file_format=True)
    assert np.array_equal(read_series(tmp_path / "s")[0], plain)


def test_a_file_without_preamble_is_read(tmp_path: Path) -> None:
    series = Series()
    plain = read_series(series.write(tmp_path / "plain"))[0]
    (tmp_path / "s").mkdir()
    for number in range(6):
        data = series.slice(number)
        path = tmp_path / "s" / str(number)
        del data.file_meta, data.preamble
        pydicom.dcmwrite(path, data, implicit_vr=True, little_endian=True)
        assert path.read_bytes()[:2] == b"\x08\x00"
    assert np.array_equal(read_series(tmp_path / "s")[0], plain)


def test_an_unknown_compression_is_named(tmp_path: Path) -> None:
    series = Series()
    folder = series.write(tmp_path / "s")
    data = series.slice(0)
    data.file_meta.TransferSyntaxUID = MPEG2MPML
    data.PixelData = encapsulate([b"\0" * 40])
    data["PixelData"].is_undefined_length = True
    data.save_as(folder / "0.dcm", enforce_file_format=True)
    with pytest.raises(BadFileError, match="is compressed as MPEG2 Main Profile"):
        read_series(folder)


@pytest.mark.parametrize(("signed", "lowest"), [(True, -2048), (False, 0)])
def test_twelve_bits_are_read_with_their_sign(tmp_path: Path, signed: bool, lowest: int) -> None:
    values = np.full((5, 4), lowest, np.int16)
    values[0, 0] = 2047
    garbage = np.uint16(0xF000) if not signed else np.uint16(0)  # overlays of old scanners
    pixels = (values.view(np.uint16) | garbage) if not signed else values.view(np.uint16) & 0x0FFF
    common = {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": int(signed)}
    series = Series(common={**common, "PixelData": pixels.astype(np.uint16).tobytes()})
    voxels, _ = read_series(series.write(tmp_path / "s"))
    assert np.array_equal(voxels[:, :, 0], 2.0 * values.T - 1024)


UNSIGNED = DataElement("PixelPaddingValue", "US", 63536)

# modality, sign, the padding in the header, what is stored, and what is read
PADDING: dict[str, tuple[str, int, Any, int, float]] = {
    "far below air": ("CT", 1, -2000, -2000, -1024.0),
    "air itself": ("CT", 1, 0, 0, -1024.0),
    "above all, as unsigned numbers wrap": ("CT", 0, 63536, -2000, -1024.0),
    "signed otherwise than the pixels": (
        "CT",
        1,
        DataElement("PixelPaddingValue", "US", 63536),
        -2000,
        -1024.0,
    ),
    "zero in MR": ("MR", 0, 0, 0, 0.0),
    "far below all in MR": ("MR", 1, -32768, -32768, 0.0),
}


@pytest.mark.parametrize("kind", PADDING)
def test_padding_is_air_and_nothing_measured_changes(tmp_path: Path, kind: str) -> None:
    modality, signed, padding, stored, air = PADDING[kind]
    intercept = -1024 if modality == "CT" else 0
    pixels = np.arange(100, 120, dtype=np.int16).reshape(5, 4)
    pixels[0] = stored
    common = {
        "Modality": modality,
        "PixelRepresentation": signed,
        "RescaleSlope": 1,
        "RescaleIntercept": intercept,
        "PixelPaddingValue": padding,
        "PixelData": pixels.tobytes(),
    }
    series = Series(common=common)
    voxels, _ = read_series(series.write(tmp_path / "s"))
    assert (voxels[:, 0] == air).all()
    assert np.array_equal(voxels[:, 1:, 0], pixels.T[:, 1:] + intercept)
