"""The table of broken studies: how each is broken, and what a person is told of it."""

import json
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from tests.phantoms import scan
from tests.spoil import (
    GRID,
    IDS,
    MIDDLE,
    OTHER,
    Spoil,
    both,
    converted,
    cut,
    data,
    header,
    ids,
    image,
    labels,
    link,
    moved,
    nifti,
    pipe,
    remove,
    renamed,
    soft,
    spec,
    swapped,
    tags,
    text,
)

IMAGE = "imagesTr/c0_0000.nii.gz"
_STRIPPED = IMAGE.removesuffix(".nii.gz")


@dataclass(frozen=True)
class Kind:
    """One way to break a study."""

    spoil: Spoil
    told: tuple[str, ...]
    """What the one line must hold: the place, what was found, what to do."""

    severity: Literal["error", "warning", "fine"] = "error"


def _voxels(change: Any) -> Spoil:
    """Change the voxels of an image."""
    voxels = scan(GRID, 0).voxels.copy()
    return nifti(IMAGE, change(voxels))


def _set(value: float) -> Spoil:
    def change(voxels: Any) -> Any:
        voxels[3, 4, 5] = value
        return voxels

    return _voxels(change)


def _table(name: str, columns: str, *rows: str) -> Spoil:
    return text(f"hints/{name}.csv", "\n".join([columns, *rows]))


def _points(*rows: str) -> Spoil:
    return _table("points", "case,label,x,y,z", *rows)


def _boxes(*rows: str) -> Spoil:
    return _table("boxes", "case,label,x_min,y_min,z_min,x_max,y_max,z_max", *rows)


def _diameters(*rows: str) -> Spoil:
    return _table("diameters", "case,label,x,y,z,diameter_mm", *rows)


def _markup(**changes: Any) -> Spoil:
    place = [float(value) for value in MIDDLE.split(",")]
    control = {"label": "ball-1", "position": place}
    markup = {"type": "Fiducial", "coordinateSystem": "RAS", "controlPoints": [control]}
    return text("hints/markups/c0.mrk.json", json.dumps({"markups": [{**markup, **changes}]}))


_IMAGES: dict[str, Kind] = {
    "truncated gzip": Kind(cut(IMAGE), (IMAGE, "copy it again")),
    "gzip cut by a byte": Kind(cut(IMAGE, 0.999), (IMAGE, "copy it again")),
    "no gzip": Kind(data(IMAGE, b"not at all gzip" * 40), (IMAGE, "cannot be read")),
    "empty file": Kind(data(IMAGE, b""), (IMAGE, "cannot be read")),
    "terabytes": Kind(header(IMAGE, 42, "3h", 32767, 32767, 32767), (IMAGE, "more than 4e9")),
    "gigabytes": Kind(header(IMAGE, 42, "3h", 1500, 1500, 1500), (IMAGE, "promises", "cut short")),
    "wrong magic": Kind(header(IMAGE, 344, "4s", b"abcd"), (IMAGE, "cannot be read")),
    "singular affine": Kind(header(IMAGE, 280, "4f", 0, 0, 0, 0), (IMAGE, "affine", "repair")),
    "affine NaN": Kind(header(IMAGE, 280, "f", np.nan), (IMAGE, "affine is not finite")),
    "affine far away": Kind(header(IMAGE, 292, "f", 1e30), (IMAGE, "1e+30 mm", "repair")),
    "dimension NaN": Kind(header(IMAGE, 40, "h", 77), (IMAGE, "cannot be read")),
    "negative axis": Kind(header(IMAGE, 42, "h", -3), (IMAGE,)),
    "zero axis": Kind(header(IMAGE, 44, "h", 0), (IMAGE, "is empty")),
    "unknown type": Kind(header(IMAGE, 70, "h", 999), (IMAGE, "cannot be read")),
    "metres": Kind(header(IMAGE, 123, "B", 1), (IMAGE, "meter", "millimetres")),
    "slope NaN": Kind(header(IMAGE, 112, "f", np.nan), (), "fine"),
    "slope infinite": Kind(header(IMAGE, 112, "f", np.inf), (), "fine"),
    "slope huge": Kind(header(IMAGE, 112, "f", 3e38), (IMAGE, "values up to", "rescale")),
    "all NaN": Kind(_voxels(lambda v: v * np.nan), (IMAGE, "no data (nan)", "nothing else")),
    "voxel NaN": Kind(_set(np.nan), (IMAGE, "1 of", "no data (nan)", "look"), "warning"),
    "voxel infinite": Kind(_set(np.inf), (IMAGE, "1 of", "no data (inf)", "look"), "warning"),
    "voxel of no data": Kind(_set(-3.4028235e38), (IMAGE, "no data (-3.40282e+38)"), "warning"),
    "two places": Kind(header(IMAGE, 268, "f", 50), (IMAGE, "contradict", "rewrite"), "warning"),
    "voxels in the header": Kind(
        header(IMAGE, 108, "f", 0), (IMAGE, "begin at byte 0", "vox_offset", "export")
    ),
    "fewer slices than there are": Kind(
        header(IMAGE, 46, "h", 4), (IMAGE, "holds more voxels than its header", "mend")
    ),
    "a smaller type than there is": Kind(
        header(IMAGE, 70, "2h", 4, 16), (IMAGE, "holds more voxels than its header", "mend")
    ),
    "constant": Kind(_voxels(np.ones_like), (IMAGE, "every voxel", "check"), "warning"),
    "2D": Kind(_voxels(lambda v: v[..., 0]), (IMAGE, "2 axes", "3D")),
    "time series": Kind(_voxels(lambda v: np.stack([v, v], -1)), (IMAGE, "4 axes", "3D")),
    "axes of one": Kind(_voxels(lambda v: v[..., None, None]), (), "fine"),
    "complex": Kind(_voxels(lambda v: v.astype(np.complex64)), (IMAGE, "complex", "plain")),
    "colour": Kind(
        _voxels(lambda v: np.zeros(v.shape, [("R", "u1"), ("G", "u1"), ("B", "u1")])),
        (IMAGE, "not one number each"),
    ),
    "mhd without data": Kind(
        both(converted(IMAGE, ".mhd"), remove(f"{_STRIPPED}.raw")),
        (f"{_STRIPPED}.mhd", "c0_0000.raw", "missing", "copy both"),
    ),
    "mhd with short data": Kind(
        both(converted(IMAGE, ".mhd"), cut(f"{_STRIPPED}.raw")),
        (f"{_STRIPPED}.mhd", "promises", "copy it again"),
    ),
    "mhd without a name of its data": Kind(
        both(
            converted(IMAGE, ".mhd"),
            swapped(f"{_STRIPPED}.mhd", b"ElementDataFile = c0_0000.raw", b"ElementDataFile = "),
        ),
        (f"{_STRIPPED}.mhd",),
    ),
    "mhd is fine": Kind(converted(IMAGE, ".mhd"), (), "fine"),
    "mha cut": Kind(both(converted(IMAGE, ".mha"), cut(f"{_STRIPPED}.mha")), ("copy it again",)),
    "nrrd magic": Kind(
        both(converted(IMAGE, ".nrrd"), swapped(f"{_STRIPPED}.nrrd", b"NRRD000", b"NRRDxyz")),
        (f"{_STRIPPED}.nrrd", "cannot be read"),
    ),
    "nrrd sizes": Kind(
        both(converted(IMAGE, ".nrrd"), swapped(f"{_STRIPPED}.nrrd", b"sizes: 14", b"sizes: x")),
        (f"{_STRIPPED}.nrrd", "cannot be read"),
    ),
    "nrrd cut": Kind(both(converted(IMAGE, ".nrrd"), cut(f"{_STRIPPED}.nrrd")), ("copy it again",)),
    "suffix": Kind(data("imagesTr/c9_0000.img", b"x"), ("c9_0000.img", "no reader", "convert")),
    "two files": Kind(converted("imagesTr/c1_0000.nii.gz", ".nrrd"), (), "fine"),
    "two files for a channel": Kind(image("imagesTr/c0_0000.nii"), (IMAGE, "besides", "keep one")),
    "missing channel": Kind(
        both(
            spec(channel_names={"0": "CT", "1": "MR"}),
            image("imagesTr/c1_0001.nii.gz"),
            image("imagesTs/t0_0001.nii.gz"),
        ),
        ("imagesTr", "has no MR", "add"),
    ),
    "channels apart": Kind(
        both(
            spec(channel_names={"0": "CT", "1": "MR"}, optional_channels=["MR"]),
            image("imagesTr/c0_0001.nii.gz", moved(500)),
        ),
        ("imagesTr", "case 'c0'", "do not overlap", "check both"),
    ),
    "file that is a folder": Kind(
        both(remove(IMAGE), text(f"{IMAGE}/notes.txt", "x")), (IMAGE, "DICOM")
    ),
    "folder of images is a file": Kind(
        both(remove("imagesTr"), data("imagesTr", b"x")), ("imagesTr",)
    ),
    "dangling link": Kind(link(IMAGE, "nowhere"), (IMAGE, "no such file", "link's target")),
    "link to itself": Kind(link(IMAGE, IMAGE), (IMAGE, "symbolic links")),
    "folder that links to itself": Kind(
        link("imagesTr/c9_0000", "imagesTr"), ("imagesTr/c9_0000", "DICOM")
    ),
    "a pipe": Kind(pipe(IMAGE), (IMAGE, "neither a file nor a folder", "remove it")),
    "hidden files": Kind(
        both(data("imagesTr/.DS_Store", b"x"), data("imagesTr/._c0_0000.nii.gz", b"x")), (), "fine"
    ),
    "spaces and signs": Kind(renamed("c0", "Zoë 1 (ß) 脳"), (), "fine"),
    "name too long": Kind(renamed("c0", "c" * 200), ("c" * 200, "longer than", "rename")),
    "name in no encoding": Kind(
        image("imagesTr/scan\udce9_0000.nii.gz"), ("imagesTr/scan", "rename it")
    ),
    "no image but notes": Kind(
        both(remove("imagesTr"), text("imagesTr/notes.txt", "x")), ("imagesTr", "holds no case")
    ),
    "no images": Kind(remove("imagesTr"), ("imagesTr", "holds no case", "put images")),
}

_TABLES: dict[str, Kind] = {
    "empty table": Kind(text("hints/tags.csv", ""), ("hints/tags.csv", "is empty", "header line")),
    "blank table": Kind(text("hints/tags.csv", "\n \n"), ("hints/tags.csv", "is empty")),
    "header alone": Kind(tags(), ("hints/tags.csv", "no rows", "add hints"), "warning"),
    "UTF-16": Kind(
        data("hints/tags.csv", "case,label,state\nc0,ball,present".encode("utf-16")),
        ("hints/tags.csv", "UTF-16", "save it as CSV UTF-8"),
    ),
    "latin-1": Kind(
        data("hints/tags.csv", b"case,label,state\nZo\xeb,ball,present"),
        ("hints/tags.csv", "row 2 is not UTF-8", "save it as CSV UTF-8"),
    ),
    "NUL": Kind(
        data("hints/tags.csv", b"case,label,state\nc0\0,ball,present"),
        ("hints/tags.csv", "binary", "save it as CSV UTF-8"),
    ),
    "byte order mark": Kind(
        data("hints/tags.csv", b"\xef\xbb\xbfcase,label,state\r\nc0,ball,present\r\n"), (), "fine"
    ),
    "semicolons": Kind(text("hints/tags.csv", "case;label;state\nc0;ball;present"), (), "fine"),
    "open quote": Kind(
        text("hints/tags.csv", 'case,label,state\n"c0,ball,present\n'),
        ("hints/tags.csv", "cannot be read"),
    ),
    "missing column": Kind(
        text("hints/tags.csv", "case,label\nc0,ball"), ("hints/tags.csv", "no column state")
    ),
    "column twice": Kind(
        text("hints/tags.csv", "case,label,label,state\nc0,ball,ball,present"),
        ("hints/tags.csv", "column label twice", "remove one"),
    ),
    "extra column": Kind(
        text("hints/tags.csv", "case,label,state,reader\nc0,ball,present,B"),
        ("hints/tags.csv", "column 'reader'", "rename or remove"),
        "warning",
    ),
    "short row": Kind(_points(f"c0,ball,{MIDDLE}", "c1,ball"), ("row 3", "2 cells", "fill in")),
    "outside": Kind(_points("c0,ball,500,0,0"), ("points.csv row 2", "outside", "millimetres")),
    "NaN": Kind(_points("c0,ball,nan,0,0"), ("points.csv row 2", "x is 'nan'", "plain number")),
    "infinite": Kind(_points("c0,ball,0,-inf,0"), ("points.csv row 2", "y is '-inf'")),
    "word": Kind(_points("c0,ball,0,0,left"), ("points.csv row 2", "z is 'left'")),
    "decimal comma": Kind(_points('c0,ball,"1,5",0,0'), ("row 2", "x is '1,5'", "decimal point")),
    "digits without end": Kind(_points(f"c0,ball,{'9' * 5000},0,0"), ("points.csv row 2", "x is")),
    "unknown label": Kind(_points(f"c0,cube,{MIDDLE}"), ("row 2", "'cube'", "background, ball")),
    "unknown case": Kind(
        tags("c7,ball,present,,"), ("row 2", "unknown case 'c7'", "use the names")
    ),
    "signs for a terminal": Kind(
        tags("\x1b[2Jc7,ball,present,,"), ("row 2", "unknown case '\\x1b[2Jc7'", "use the names")
    ),
    "test case": Kind(tags("t0,ball,present,,"), ("row 2", "test case 't0'", "remove it")),
    "frame": Kind(
        _table("points", "case,label,x,y,z,frame", f"c0,ball,{MIDDLE},LAS"),
        ("points.csv row 2", "frame is 'LAS'", "RAS or LPS"),
    ),
    "inverted box": Kind(
        _boxes("c0,ball,30,-50,20,25,-40,25"), ("boxes.csv row 2", "x_min", "swap")
    ),
    "flat box": Kind(_boxes("c0,ball,20,-50,20,25,-40,20"), ("boxes.csv row 2", "z_min", "mend")),
    "negative diameter": Kind(_diameters(f"c0,ball,{MIDDLE},-4"), ("row 2", "is -4", "above 0")),
    "zero diameter": Kind(_diameters(f"c0,ball,{MIDDLE},0"), ("row 2", "is 0", "above 0")),
    "diameter NaN": Kind(_diameters(f"c0,ball,{MIDDLE},nan"), ("row 2", "diameter_mm is 'nan'")),
    "too sure": Kind(
        _table("points", "case,label,x,y,z,confidence", f"c0,ball,{MIDDLE},1.5"),
        ("points.csv row 2", "confidence is 1.5", "up to 1"),
    ),
    "tags disagree": Kind(
        both(_points(f"c0,ball,{MIDDLE}"), tags("c1,ball,present,,", "c1,ball,absent,,")),
        ("tags.csv row 2", "tags.csv row 3 says absent", "keep the one"),
    ),
    "a point where nothing is": Kind(
        both(_points(f"c0,ball,{MIDDLE}"), tags("c0,ball,absent,,")),
        ("points.csv row 2", "tags.csv row 2 says absent", "keep the one"),
    ),
    "unknown state": Kind(
        tags("c0,ball,maybe,,"), ("row 2", "'maybe'", "present, absent, unknown")
    ),
    "upside down": Kind(tags("c0,ball,present,9,2"), ("row 2", "z_min 9", "swap")),
    "one height": Kind(tags("c0,ball,present,9,"), ("row 2", "only one of z_min and z_max")),
    "rows twice": Kind(
        _points(*[f"c{n},ball,{MIDDLE}" for n in (0, 1, 0)]), ("row 4", "repeats"), "warning"
    ),
    "table is a folder": Kind(text("hints/tags.csv/x", "x"), ("hints/tags.csv",)),
    "table is a pipe": Kind(pipe("hints/tags.csv"), ("hints/tags.csv", "neither a file")),
    "hints are a file": Kind(both(remove("hints"), data("hints", b"x")), ("hints",)),
    "no hint at all": Kind(remove("hints"), ("hints", "no hint at all", "add tags")),
}

_DRAWN: dict[str, Kind] = {
    "mask elsewhere": Kind(
        ids("labelsTr/c0.nii.gz", OTHER), ("labelsTr/c0", "another grid", "resample")
    ),
    "strange ids": Kind(
        ids("hints/scribbles/c0.nii.gz", value=7),
        ("scribbles/c0", "ids [7]", "dataset.json", "use"),
    ),
    "no whole ids": Kind(
        nifti("hints/scribbles/c0.nii.gz", IDS + np.float32(0.5)),
        ("scribbles/c0", "not whole label ids", "store ids"),
    ),
    "negative ids": Kind(
        nifti("hints/scribbles/c0.nii.gz", IDS.astype(np.int16) - 1), ("scribbles/c0", "from -1")
    ),
    "scribble in time": Kind(
        nifti("hints/scribbles/c0.nii.gz", np.stack([IDS, IDS], -1)), ("scribbles/c0", "4 axes")
    ),
    "nothing drawn": Kind(
        ids("hints/scribbles/c0.nii.gz", value=255), ("scribbles/c0", "nothing drawn"), "warning"
    ),
    "soft above 1": Kind(
        soft("hints/soft/c0__ball.nii.gz", 2.0), ("soft/c0__ball", "no probabilities", "0 to 1")
    ),
    "soft below 0": Kind(
        nifti("hints/soft/c0__ball.nii.gz", np.full(GRID.shape, -0.5, np.float32)),
        ("soft/c0__ball", "-0.5", "0 to 1"),
    ),
    "soft NaN": Kind(
        nifti("hints/soft/c0__ball.nii.gz", np.full(GRID.shape, np.nan, np.float32)),
        ("soft/c0__ball", "nan", "0 to 1"),
    ),
    "soft cube": Kind(soft("hints/soft/c0__cube.nii.gz"), ("'cube'", "no foreground", "use one")),
    "soft background": Kind(soft("hints/soft/c0__background.nii.gz"), ("'background'", "use one")),
    "markup without JSON": Kind(text("hints/markups/c0.mrk.json", "{"), ("c0.mrk.json", "read")),
    "markup of no case": Kind(
        text("hints/markups/x.mrk.json", "{}"), ("x.mrk.json", "no case", "CASE_LABEL")
    ),
    "markup in IJK": Kind(_markup(coordinateSystem="IJK"), ("c0.mrk.json", "IJK", "LPS or RAS")),
    "markup of a curve": Kind(_markup(type="Curve"), ("c0.mrk.json", "Curve", "draw"), "warning"),
    "markup far away": Kind(
        _markup(controlPoints=[{"label": "ball", "position": [1e300, 0, 0]}]), ("c0.mrk.json",)
    ),
    "markup that is fine": Kind(_markup(), (), "fine"),
}

_WHOLE: dict[str, Kind] = {
    "no dataset.json": Kind(remove("dataset.json"), ("dataset.json", "is missing", "describe")),
    "broken JSON": Kind(text("dataset.json", '{"labels": '), ("dataset.json", "not JSON", "mend")),
    "a list": Kind(text("dataset.json", "[]"), ("dataset.json", "holds a list", "object")),
    "an empty file": Kind(text("dataset.json", ""), ("dataset.json", "not JSON", "mend")),
    "an empty object": Kind(text("dataset.json", "{}"), ("dataset.json", "has no", "nnU-Net v2")),
    "a folder": Kind(both(remove("dataset.json"), text("dataset.json/x", "")), ("dataset.json",)),
    "no labels": Kind(labels(), ("dataset.json", "labels must look like")),
    "background not 0": Kind(labels(background=1, ball=3), ("'background'", "id 0", "mend")),
    "same id": Kind(labels(background=0, a=1, b=1), ("id 1 stands for two labels", "mend")),
    "id 255": Kind(labels(background=0, ball=255), ("id 255", "outside 0 to 254", "mend")),
    "regions": Kind(labels(background=0, ball=[1, 3]), ("regions", "not read", "mend")),
    "label a__b": Kind(labels(background=0, a__b=3), ("'a__b' holds '__'", "mend")),
    "label trust": Kind(labels(background=0, trust=3), ("'trust'", "name we use", "mend")),
    "truth of 0 and 255": Kind(
        nifti("labelsTs/t0.nii.gz", (IDS > 0) * np.uint8(255)),
        ("labelsTs/t0", "0, 3 are expected", "store the label's id"),
    ),
    "label too long": Kind(labels(background=0, ball=3, **{"b" * 150: 4}), ("longer than", "mend")),
    "no channels": Kind(spec(channel_names=None), ("no channel_names", "nnU-Net v2")),
    "a gap of channels": Kind(spec(channel_names={"0": "CT", "2": "MR"}), ("number them from 0",)),
    "broken splits": Kind(text("splits.json", "{"), ("splits.json", "not JSON", "mend")),
    "strange splits": Kind(
        text("splits.json", '{"fit": ["x"]}'), ("splits.json", "not in imagesTr (x)"), "warning"
    ),
    "a case in both splits": Kind(
        text("splits.json", '{"fit": ["c0"], "design": ["c0"]}'),
        ("splits.json", "(c0)", "keep each"),
    ),
    "broken cases": Kind(text("cases.csv", "case|subject\nc0|a"), ("cases.csv", "by commas")),
    "strange cases": Kind(
        text("cases.csv", "case,subject\nc0,a\nc1,b\nt0,c\nx,d"), ("without images (x)",), "warning"
    ),
    "two subjects": Kind(
        text("cases.csv", "case,subject\nc0,a\nc1,b\nt0,c\nc0,b"),
        ("cases.csv row 5", "two subjects", "keep one"),
    ),
    "a subject on both sides": Kind(
        text("cases.csv", "case,subject\nc0,a\nc1,b\nt0,a"),
        ("imagesTr and imagesTs (a)",),
        "warning",
    ),
    "a case on both sides": Kind(
        image("imagesTs/c0_0000.nii.gz"), ("'c0'", "imagesTr too", "keep")
    ),
    "truth elsewhere": Kind(
        ids("labelsTs/t0.nii.gz", OTHER), ("labelsTs/t0", "another grid", "resample")
    ),
    "truth of no image": Kind(
        ids("labelsTs/t9.nii.gz"), ("labelsTs", "imagesTs (t9)", "add"), "warning"
    ),
    "masks of no image": Kind(
        ids("denseTr/c9.nii.gz"), ("denseTr", "imagesTr (c9)", "add"), "warning"
    ),
}

KINDS = {
    f"{group}: {name}": kind
    for group, kinds in (
        ("images", _IMAGES),
        ("tables", _TABLES),
        ("drawn", _DRAWN),
        ("study", _WHOLE),
    )
    for name, kind in kinds.items()
}
