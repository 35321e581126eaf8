"""Outlines of several readers become the voxels that half of them call nodule."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.files.readings import HEAD, TAIL, around, nodule, ring, write_reading

from voxhint.core import Grid
from voxhint.core.errors import BadFileError
from voxhint.files.datasets.lidc import Reading, _read_reading, consensus, find_readings

UID = "1.3.6.1"
BOX = nodule((10.0, True, ring(4, 10)))


def grid(*, flips: tuple[int, int, int] = (1, 1, 1)) -> Grid:
    """Return a grid of 32 x 40 pixels and 8 slices of 2 mm, from z = 6 mm up or down to it."""
    affine = np.diag([0.5 * flips[0], 0.5 * flips[1], 2.0 * flips[2], 1.0])
    affine[:3, 3] = (-5, 7, 6 if flips[2] > 0 else 20)
    return Grid((32, 40, 8), affine)


def read(tmp_path: Path, *sessions: str) -> Reading:
    told = _read_reading(write_reading(tmp_path / "a.xml", UID, sessions))
    assert told is not None
    return told


def test_the_outline_itself_lies_outside(tmp_path: Path) -> None:
    mask = consensus(read(tmp_path, BOX, BOX, BOX, ""), grid())
    wanted = np.zeros(mask.shape, bool)
    wanted[5:10, 5:10, 2] = True
    np.testing.assert_array_equal(mask, wanted)


def test_a_ball_comes_back_from_the_first_pixels_outside(tmp_path: Path) -> None:
    away = np.indices((32, 40, 8)) - np.array([14.3, 20.6, 4.2])[:, None, None, None]
    ball = np.hypot(np.hypot(away[0], away[1]) / 9, away[2] / 3) < 1
    rois = [(6 + 2.0 * k, True, around(ball[..., k])) for k in range(8) if ball[..., k].any()]
    assert len(rois) == 6
    mask = consensus(read(tmp_path, *[nodule(*rois)] * 4), grid())
    np.testing.assert_array_equal(mask, ball)


def test_columns_are_i_and_rows_are_j_as_stored_whichever_way_they_run(tmp_path: Path) -> None:
    oblong = nodule((10.0, True, [(4, 20), (12, 20), (12, 24), (4, 24)]))
    told = read(tmp_path, oblong, oblong, oblong, oblong)
    for flips in ((1, 1, 1), (-1, -1, 1), (1, -1, 1)):
        (i, j, k) = np.nonzero(consensus(told, grid(flips=flips)))
        assert (i.min(), i.max(), j.min(), j.max(), *set(k.tolist())) == (5, 11, 21, 23, 2)


def test_slices_are_found_by_their_height_even_from_head_to_feet(tmp_path: Path) -> None:
    told = read(tmp_path, *[nodule((9.3, True, ring(4, 10)), (18.0, True, ring(4, 10)))] * 4)
    assert set(np.nonzero(consensus(told, grid()))[2]) == {2, 6}
    assert set(np.nonzero(consensus(told, grid(flips=(1, 1, -1))))[2]) == {5, 1}


def test_a_hole_is_left_out_with_its_outline(tmp_path: Path) -> None:
    holed = nodule((10.0, True, ring(4, 16)), (10.0, False, ring(8, 12)), (12.0, True, ring(4, 16)))
    mask = consensus(read(tmp_path, *[holed] * 4), grid())
    assert not mask[8:13, 8:13, 2].any()
    assert mask[..., 2].sum() == 11**2 - 5**2
    assert mask[..., 3].sum() == 11**2


def test_a_voxel_needs_the_votes_of_half_of_the_readers(tmp_path: Path) -> None:
    nested = [nodule((10.0, True, ring(10 - grow, 16 + grow))) for grow in range(4)]
    mask = consensus(read(tmp_path, *nested), grid())
    assert mask.sum() == (5 + 2 * 2) ** 2  # the second largest: two readers hold it
    assert mask.sum() == consensus(read(tmp_path, *reversed(nested)), grid()).sum()
    three = consensus(read(tmp_path, *nested[:3], ""), grid())
    assert three.sum() == (5 + 2 * 1) ** 2


def test_a_nodule_of_too_few_readers_is_left_out(tmp_path: Path) -> None:
    elsewhere = nodule((10.0, True, ring(20, 26)))
    told = read(tmp_path, BOX + elsewhere, BOX + elsewhere, BOX, "")
    assert not consensus(told, grid())[20:].any()
    assert consensus(told, grid(), least_readers=2)[20:].any()


def test_one_reader_who_outlines_twice_has_one_vote(tmp_path: Path) -> None:
    assert not consensus(read(tmp_path, BOX + BOX, BOX, "", ""), grid()).any()


def test_nodules_beside_each_other_are_two(tmp_path: Path) -> None:
    left, right = nodule((10.0, True, ring(4, 10))), nodule((10.0, True, ring(9, 15)))
    told = read(tmp_path, left + right, left, left, "")
    mask = consensus(told, grid())
    assert mask[5:10, 5:10, 2].all()
    assert mask.sum() == 25


def test_points_alone_enclose_nothing(tmp_path: Path) -> None:
    small = nodule((10.0, True, [(7, 7)])) + nodule((10.0, True, [(9, 9), (10, 9)])) + nodule()
    assert not consensus(read(tmp_path, *[small] * 4), grid()).any()
    assert not consensus(read(tmp_path, "", "", "", ""), grid()).any()


def test_gaps_in_an_outline_are_closed(tmp_path: Path) -> None:
    corners = nodule((10.0, True, [(4, 4), (10, 4), (10, 10), (4, 10)]))
    assert consensus(read(tmp_path, *[corners] * 3), grid()).sum() == 25


@pytest.mark.parametrize(
    ("roi", "said"),
    [
        ((10.0, True, ring(27, 33)), "column 33"),
        ((10.0, True, [(-1, 3), (4, 3), (4, 9)]), "column -1"),
        ((3.0, True, ring(4, 10)), "z = 3 mm"),
        ((30.0, True, ring(4, 10)), "z = 30 mm"),
    ],
)
def test_an_outline_of_another_series_is_refused(
    tmp_path: Path, roi: tuple[float, bool, list[tuple[int, int]]], said: str
) -> None:
    with pytest.raises(BadFileError, match=said):
        consensus(read(tmp_path, nodule(roi)), grid())


def test_slices_that_are_not_axial_are_refused(tmp_path: Path) -> None:
    leaning = grid().affine.copy()
    leaning[2, 0] = 0.2
    with pytest.raises(BadFileError, match="not axial"):
        consensus(read(tmp_path, BOX), Grid((32, 40, 8), leaning))


ENTITY = '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]>'
SERIES = f"<ResponseHeader><SeriesInstanceUid>{UID}</SeriesInstanceUid></ResponseHeader>"


def marked(part: str) -> str:
    return (
        f"{HEAD}{SERIES}<readingSession><unblindedReadNodule><roi>{part}</roi>"
        f"</unblindedReadNodule></readingSession>{TAIL}"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{HEAD}<ResponseHeader>", "is not XML"),
        ("", "is not XML"),
        (f'<?xml version="1.0"?>{ENTITY}<LidcReadMessage>&e;</LidcReadMessage>', "document type"),
        (f"{HEAD}{TAIL}", "no ResponseHeader"),
        (f"{HEAD}<ResponseHeader/>{TAIL}", "no SeriesInstanceUid"),
        (marked("<inclusion>TRUE</inclusion>"), "no imageZposition"),
        (marked("<imageZposition>1</imageZposition>"), "no inclusion"),
        (marked("<imageZposition>1</imageZposition><inclusion>MAY</inclusion>"), "is 'MAY'"),
        (marked("<imageZposition>up</imageZposition><inclusion>TRUE</inclusion>"), "is 'up'"),
        (marked("<imageZposition>nan</imageZposition><inclusion>TRUE</inclusion>"), "is 'nan'"),
        (
            marked(
                "<imageZposition>1</imageZposition><inclusion>TRUE</inclusion>"
                "<edgeMap><xCoord>3</xCoord></edgeMap>"
            ),
            "no yCoord",
        ),
    ],
)
def test_a_broken_file_is_told_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "a.xml"
    path.write_text(text)
    with pytest.raises(BadFileError, match=said) as caught:
        _read_reading(path)
    assert str(caught.value).startswith("a.xml: ")
    assert "\n" not in str(caught.value)
    assert str(caught.value).count("a.xml") == 1


def test_namespaces_do_not_matter_and_other_files_are_passed_over(tmp_path: Path) -> None:
    path = write_reading(tmp_path / "a.xml", UID, [BOX] * 3)
    path.write_text(path.read_text().replace(' xmlns="http://www.nih.gov"', ""))
    told = _read_reading(path)
    assert told is not None
    assert (told.series, told.readers, len(told.marks)) == (UID, 3, 3)
    path.write_text('<IdriReadMessage xmlns="http://www.nih.gov"/>')
    assert _read_reading(path) is None


def test_readings_are_found_by_their_series(tmp_path: Path) -> None:
    write_reading(tmp_path / "157" / "158.xml", "1.1", [BOX])
    write_reading(tmp_path / "185" / "068.XML", "1.2", [BOX])
    write_reading(tmp_path / "185" / "069.xml", "1.3", [BOX])
    write_reading(tmp_path / "185" / "070.xml", "1.3", [BOX])
    (tmp_path / "185" / "071.xml").write_text("<")
    found, problems = find_readings(tmp_path, {"1.2", "1.3", "1.4"})
    assert list(found) == ["1.2"]
    assert [problem.where for problem in problems] == ["185/070.xml", "185/071.xml"]
    assert "neither is taken" in str(problems[0])
    with pytest.raises(BadFileError, match="no XML"):
        find_readings(tmp_path / "157" / "none", {"1.1"})


@given(changes=st.dictionaries(st.integers(0, 4000), st.integers(0, 255), min_size=1, max_size=6))
def test_a_file_with_any_bytes_changed_is_read_or_refused_in_one_line(
    tmp_path: Path, changes: dict[int, int]
) -> None:
    content = bytearray(write_reading(tmp_path / "a.xml", UID, [BOX] * 4).read_bytes())
    for place, value in changes.items():
        content[place % len(content)] = value
    (tmp_path / "a.xml").write_bytes(content)
    require_read_or_refused(tmp_path / "a.xml")


NUMBERS = st.one_of(
    st.floats(), st.integers(-(10**30), 10**30), st.text("0123456789.e-", max_size=5)
)


@given(z=NUMBERS, x=NUMBERS, y=NUMBERS)
@example(z=6.0, x=1e300, y=5)
def test_any_number_is_read_or_refused_in_one_line(
    tmp_path: Path, z: object, x: object, y: object
) -> None:
    path = tmp_path / "a.xml"
    edges = "<edgeMap><xCoord>3</xCoord><yCoord>3</yCoord></edgeMap>"
    edges += f"<edgeMap><xCoord>{x}</xCoord><yCoord>{y}</yCoord></edgeMap>"
    place = f"<imageZposition>{z}</imageZposition><inclusion>TRUE</inclusion>"
    path.write_text(marked(place + edges), encoding="utf-8")
    require_read_or_refused(path)


def require_read_or_refused(path: Path) -> None:
    said = ""
    try:
        told = _read_reading(path)
        assert told is None or consensus(told, grid()).shape == grid().shape
    except BadFileError as error:
        said = str(error)
    assert "\n" not in said
