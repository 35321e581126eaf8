"""Whatever lies in a file, a reader returns what it promises, or refuses in one line."""

import dataclasses
import json
import shutil
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from hypothesis import example, given
from hypothesis import strategies as st
from tests.phantoms import LABELS, make_study, scan, slanted_grid

from voxhint.config import Recipe, read_recipe
from voxhint.core import Box, Diameter, Hint, Points, Tag
from voxhint.core.errors import VoxhintError
from voxhint.files import read_ids, read_probability, read_volume, survey
from voxhint.files.csv_tables import read_table
from voxhint.files.dataset_json import read_description
from voxhint.files.formats.markups import read_markups
from voxhint.files.hint_tables import TABLES, columns_of, read_hint_table
from voxhint.files.study.hint_writer import write_hints
from voxhint.models.folder import read_plan
from voxhint.review.run_files import read_history, read_object, read_scores
from voxhint.runs import read_made

T = TypeVar("T")

GRID = slanted_grid()
_new_image: Any = nib.Nifti1Image  # untyped

BYTES = st.binary(max_size=200)
NUMBERS = st.one_of(
    st.floats(),
    st.integers(-(10**30), 10**30),
    st.sampled_from([0, 1, 2, 255, -1, 0.5, 1e308]),
)
CELLS = st.one_of(
    NUMBERS.map(str),
    st.sampled_from(["c0", "c1", "ball", "background", "present", "absent", "LPS", "", '"', "1,5"]),
    st.text(max_size=5),
)
_WORDS = """
channel_names labels optional_channels background ball ignore 0 1 fit design c0 CT markups type
controlPoints position ROI Fiducial center size orientation coordinateSystem LPS label name verb
inputs config patch names ids intensity cases
"""
WORDS = st.sampled_from(_WORDS.split())
TEXTS = st.one_of(WORDS, st.text(max_size=4))
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=5)),
    max_leaves=20,
)


def one_line(text: str) -> None:
    assert text
    assert len(text.splitlines()) == 1
    text.encode()  # can be printed
    assert len(text) < 1200


def printed(text: str) -> None:
    one_line(text)
    assert text.isprintable()


def read_or_refuse(read: Callable[[Path], T], path: Path) -> T | None:
    """Return what a reader makes of a file, or None if it refuses as it should."""
    try:
        return read(path)
    except VoxhintError as error:
        one_line(str(error))
        return None


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_study(tmp_path_factory.mktemp("any") / "study", cases=1, tests=0)


def dumped(value: object) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


DEEP = b"[" * 9_999


@given(content=st.one_of(BYTES, JSON.map(dumped)))
@example(content=DEEP)
@example(content=b'{"a":' * 9_999)
@pytest.mark.parametrize("read", [read_object, read_scores, read_history, read_plan])
def test_records_of_a_run_are_read_or_refused(
    tmp_path: Path, read: Callable[[Path], object], content: bytes
) -> None:
    (tmp_path / "record").write_bytes(content)
    read_or_refuse(read, tmp_path / "record")


@given(content=st.one_of(BYTES, JSON.map(dumped)))
@example(content=DEEP)
def test_made_json_is_an_object_or_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "made.json").write_bytes(content)
    made = read_or_refuse(read_made, tmp_path)
    assert made is None or isinstance(made, dict)


@given(
    channels=st.one_of(JSON, st.just({"0": "CT"})),
    labels=st.one_of(
        JSON,
        st.dictionaries(TEXTS, st.integers(-1, 300)).map(lambda ids: {"background": 0, **ids}),
    ),
    optional=st.one_of(JSON, st.just([])),
    some=st.one_of(JSON, st.just([]), st.lists(WORDS, max_size=2)),
)
def test_a_description_names_each_class_and_channel_once(
    tmp_path: Path, channels: object, labels: object, optional: object, some: object
) -> None:
    spec = {"channel_names": channels, "labels": labels}
    spec |= {"optional_channels": optional, "optional_labels": some}
    (tmp_path / "dataset.json").write_bytes(dumped(spec))
    told, problems = read_description(tmp_path / "dataset.json")
    assert (told is None) == bool(problems)
    for problem in problems:
        printed(str(problem))
    if told is not None:
        ids = told.labels.ids
        assert len(set(told.channels)) == len(told.channels) > 0
        assert set(told.optional) <= set(told.channels)
        assert set(told.labels.optional) <= set(told.labels.foreground)
        assert told.labels.names[0] == "background"
        assert ids[0] == 0
        assert list(ids) == sorted(set(ids))
        assert max(ids) < 255


@given(rows=st.lists(st.lists(CELLS, max_size=4), max_size=4), end=st.sampled_from("\n\r"))
def test_every_row_of_a_table_has_every_column(
    tmp_path: Path, rows: list[list[str]], end: str
) -> None:
    text = end.join(["case,subject", *(",".join(row) for row in rows)])
    (tmp_path / "t.csv").write_bytes(text.encode("utf-8", "surrogatepass"))
    table = read_or_refuse(
        lambda path: read_table(path, "t.csv", needed=("case", "subject"), known=()),
        tmp_path / "t.csv",
    )
    for row in table.rows if table else ():
        assert set(row.cells) == {"case", "subject"}


def require_sound(hint: Hint) -> None:
    match hint:
        case Points():
            assert np.isfinite(hint.positions_mm).all()
            assert ((hint.confidence > 0) & (hint.confidence <= 1)).all()
        case Box():
            assert (hint.low_mm < hint.high_mm).all()
        case Diameter():
            assert hint.diameter_mm > 0
            assert np.isfinite(hint.centre_mm).all()
        case Tag():
            assert hint.z_range_mm is None or hint.z_range_mm[0] <= hint.z_range_mm[1]
        case _:
            pytest.fail("no mark")
    LABELS.number(hint.label)


@given(data=st.data())
@pytest.mark.parametrize("name", TABLES)
def test_marks_that_are_read_are_sound(tmp_path: Path, name: str, data: st.DataObject) -> None:
    columns = [*columns_of(name), *data.draw(st.sets(st.sampled_from(["frame", "confidence"])))]
    cells = st.tuples(st.just("c0"), st.just("ball"), *[CELLS] * (len(columns) - 2))
    rows = data.draw(st.lists(cells, max_size=4))
    text = "\n".join([",".join(columns), *(",".join(row) for row in rows)])
    (tmp_path / name).write_bytes(text.encode("utf-8", "surrogatepass"))
    reading = read_hint_table(tmp_path / name, LABELS)
    for problem in reading.problems:
        printed(str(problem))
    for item in reading.hints:
        require_sound(item.hint)


@given(
    markup=st.fixed_dictionaries(
        {"type": st.sampled_from(["Fiducial", "ROI"]), "name": st.just("ball")},
        optional={
            "coordinateSystem": st.one_of(JSON, st.just("LPS")),
            "center": st.one_of(JSON, st.lists(NUMBERS, min_size=3, max_size=3)),
            "size": st.one_of(JSON, st.lists(NUMBERS, min_size=3, max_size=3)),
            "orientation": st.one_of(JSON, st.lists(NUMBERS, min_size=9, max_size=9)),
            "controlPoints": st.one_of(
                JSON,
                st.lists(
                    st.fixed_dictionaries(
                        {"position": st.one_of(JSON, st.lists(NUMBERS, min_size=3, max_size=3))}
                    )
                ),
            ),
        },
    )
)
def test_markups_that_are_read_are_sound(tmp_path: Path, markup: dict[str, object]) -> None:
    path = tmp_path / "c0.mrk.json"
    path.write_bytes(dumped({"markups": [markup]}))
    reading = read_markups(path, ["c0"], LABELS)
    for problem in reading.problems:
        printed(str(problem))
    for item in reading.hints:
        require_sound(item.hint)


FILES = ("dataset.json", "splits.json", "cases.csv", "hints/tags.csv", "hints/points.csv")
MORE = ("hints/markups/c0.mrk.json", "imagesTr/c0_0000.nii.gz", "hints/soft/c0__ball.nii.gz")


@given(content=st.one_of(BYTES, JSON.map(dumped), st.lists(CELLS).map(",".join).map(str.encode)))
@example(content=DEEP)
@pytest.mark.parametrize("name", [*FILES, *MORE])
def test_a_study_with_any_file_in_it_is_looked_over(
    study: Path, tmp_path: Path, name: str, content: bytes
) -> None:
    root = tmp_path / "study"
    if not root.exists():  # each example writes the same file
        shutil.copytree(study, root)
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(content)
    for problem in survey(root, deep=True).problems:
        printed(str(problem))


@given(content=st.one_of(BYTES, st.lists(CELLS).map(",".join).map(str.encode)))
def test_annotations_of_luna16_are_read_or_told_of(tmp_path: Path, content: bytes) -> None:
    head = b"seriesuid,coordX,coordY,coordZ,diameter_mm\n"
    (tmp_path / "annotations.csv").write_bytes(head + content)
    for problem in survey(tmp_path).problems:
        printed(str(problem))


def require_sound_image(path: Path) -> None:
    volume = read_or_refuse(read_volume, path)
    if volume is not None:
        assert volume.voxels.shape == volume.grid.shape
        assert np.isfinite(volume.voxels).all()
        assert np.isfinite(volume.grid.affine).all()
    stored = read_or_refuse(read_ids, path)
    assert stored is None or stored[0].shape == stored[1].shape
    chances = read_or_refuse(read_probability, path)
    assert chances is None or (chances[0] >= 0).all() & (chances[0] <= 1).all()


@given(changes=st.dictionaries(st.integers(0, 351), st.integers(0, 255), min_size=1, max_size=6))
def test_any_header_of_a_nifti_file_is_read_or_refused(
    tmp_path: Path, changes: dict[int, int]
) -> None:
    path = tmp_path / "a.nii"
    nib.save(_new_image(scan(GRID, 0).voxels, GRID.affine), path)
    content = bytearray(path.read_bytes())
    for place, value in changes.items():
        content[place] = value
    path.write_bytes(content)
    require_sound_image(path)


VALUES = st.one_of(
    st.lists(NUMBERS, max_size=12).map(lambda values: " ".join(map(str, values))),
    st.sampled_from(["", "LIST", "LOCAL", "True", "MET_DOUBLE", "double", "gzip", "(1,0,0)"]),
    st.sampled_from(["9" * 3000, "-1", "100"]),
    st.text(alphabet=string.printable, max_size=12),
)


@given(line=st.integers(0, 30), value=VALUES)
@pytest.mark.parametrize("suffix", [".mha", ".mhd", ".nrrd"])
def test_any_header_of_an_itk_file_is_read_or_refused(
    tmp_path: Path, suffix: str, line: int, value: str
) -> None:
    path = tmp_path / f"a{suffix}"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(scan(GRID, 0).voxels), str(path))
    sign = b": " if suffix == ".nrrd" else b" = "
    lines = path.read_bytes().split(b"\n")
    headed = [number for number, text in enumerate(lines[:40]) if sign in text]
    chosen = headed[line % len(headed)]
    lines[chosen] = lines[chosen].partition(sign)[0] + sign + value.encode()
    path.write_bytes(b"\n".join(lines))
    require_sound_image(path)


KNOBS = st.sampled_from(["steps", "width", "method", "scale_mm", "flips", "a b", "\n", ""])


@given(
    tables=st.dictionaries(
        st.one_of(st.sampled_from(["train", "label", "predict", "measure"]), TEXTS),
        st.dictionaries(KNOBS, st.one_of(NUMBERS, st.booleans(), TEXTS, st.lists(NUMBERS))),
        max_size=3,
    )
)
@example(tables={"train": {"a\nb": 1}})
def test_a_recipe_is_within_its_ranges_or_refused(
    tmp_path: Path, tables: dict[str, dict[str, object]]
) -> None:
    lines = [
        line
        for table, knobs in tables.items()
        for line in (
            f"[{json.dumps(table)}]",
            *(f"{json.dumps(knob)} = {json.dumps(value)}" for knob, value in knobs.items()),
        )
    ]
    path = tmp_path / "recipe.toml"
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    recipe = read_or_refuse(read_recipe, path)
    if recipe is not None:
        assert isinstance(recipe, Recipe)
        assert dataclasses.replace(recipe) == recipe


@given(content=BYTES)
@example(content=b"a = " + DEEP)
def test_any_bytes_are_a_recipe_or_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "recipe.toml").write_bytes(content)
    read_or_refuse(read_recipe, tmp_path / "recipe.toml")


MILLIMETRES = st.floats(-9e4, 9e4)
PLACES = st.tuples(MILLIMETRES, MILLIMETRES, MILLIMETRES).map(np.array)
MARKS: st.SearchStrategy[Hint] = st.one_of(
    st.builds(
        Tag,
        st.just("ball"),
        st.sampled_from(["present", "absent", "unknown"]),
        st.one_of(st.none(), st.tuples(MILLIMETRES, MILLIMETRES).map(lambda z: (min(z), max(z)))),
    ),
    st.builds(
        Points,
        st.sampled_from(["ball", "background"]),
        PLACES.map(lambda place: place[None]),
        st.floats(0.001, 1).map(lambda sure: np.array([sure])),
    ),
    st.builds(
        lambda low, size: Box("ball", low, low + size),
        PLACES,
        st.tuples(*[st.floats(0.01, 1e3)] * 3).map(np.array),
    ),
    st.builds(Diameter, st.just("ball"), PLACES, st.floats(0.01, 1e3)),
)


def told(hint: Hint) -> tuple[str, ...]:
    """Return a mark as text, to the ten-thousandth of a millimetre."""
    kind = [type(hint).__name__]
    numbers: list[float] = []
    match hint:
        case Points():
            kind += [hint.label, f"{hint.confidence[0]:.6g}"]
            numbers = hint.positions_mm[0].tolist()
        case Box():
            numbers = [*hint.low_mm, *hint.high_mm]
        case Diameter():
            numbers = [*hint.centre_mm, hint.diameter_mm]
        case Tag():
            kind += [hint.label, hint.state]
            numbers = [*(hint.z_range_mm or ())]
        case _:
            pytest.fail("no mark")
    return *kind, *(f"{number:.4f}" for number in numbers)


@given(
    marks=st.lists(
        MARKS, min_size=1, max_size=6, unique_by=told
    ),  # a row written twice counts once
    chance=st.randoms(use_true_random=False),
)
def test_marks_come_back_whatever_the_order_and_the_line_endings(
    tmp_path: Path, marks: list[Hint], chance: Any
) -> None:
    folder = tmp_path / "hints"
    shutil.rmtree(folder, ignore_errors=True)
    write_hints(folder, {"c0": tuple(marks)}, LABELS)
    back: list[Hint] = []
    for path in folder.iterdir():
        header, *rows = path.read_text("utf-8").splitlines()
        chance.shuffle(rows)
        path.write_bytes("\r\n".join([header, *rows]).encode("utf-8-sig"))
        reading = read_hint_table(path, LABELS)
        assert not reading.problems
        back += [item.hint for item in reading.hints]
    assert sorted(map(told, back)) == sorted(map(told, marks))
