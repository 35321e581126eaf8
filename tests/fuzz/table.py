"""What is changed in which files, what that does to their meaning, and which commands see it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import SimpleITK
from tests.fuzz import changes as do

Meaning = Literal["same", "changed", "unknowable"]
"""Same: results stay. Changed: that is refused or told, unless results stay all the same.
Unknowable: nobody can tell, so anything but a crash."""

IMAGES = "study/images*/*.[nm]*"
NIFTI = "study/images*/*.nii.gz"
SECOND = "study/images*/*_0001.nii.gz"
DRAWN = "study/hints/s*/*.nii.gz"
TABLES = "study/hints/*.csv"
PLACES = "study/hints/[pdb]*.csv"  # points, diameters, boxes
SPEC = "study/dataset.json"
MASKS = "run/masks*/*.nii.gz"


@dataclass(frozen=True)
class Row:
    """One way to change one of some files."""

    what: str
    files: str
    """Pattern below the world; one of the files is chosen."""

    change: do.Change
    meaning: Meaning
    commands: tuple[str, ...]
    refusing: tuple[str, ...] = ()
    """Commands that may refuse although the meaning is the same."""


Line = tuple[str, str, do.Change, str] | tuple[str, str, do.Change, str, str]
"""What, files, change, commands, and which of these may refuse."""

_I16, _F64 = SimpleITK.sitkInt16, SimpleITK.sitkFloat64
_HELD = "resume, go on, export, train, report"
_STUDY = "check, label, predict, report, resume, go on, export"
_HINTS = "check, label, resume, go on"
_RUNS = "resume, go on"
_READ = "check, label, predict"

SAME: tuple[Line, ...] = (
    ("image packed otherwise", NIFTI, do.packed, _STUDY, _HELD),
    ("image of 16 bits", IMAGES, do.rewritten(do.typed(_I16)), _STUDY, _HELD),
    ("image of 64 bits", IMAGES, do.rewritten(do.typed(_F64)), _STUDY, _HELD),
    ("image to .mha", SECOND, do.converted(".mha", packed=True), _STUDY, _HELD),
    ("image to .nrrd", SECOND, do.converted(".nrrd", packed=False), _STUDY, _HELD),
    ("image to .mhd", SECOND, do.converted(".mhd", packed=True), _STUDY, _HELD),
    ("image to .nii", SECOND, do.converted(".nii", packed=False), _STUDY, _HELD),
    ("image mirrored", "study/imagesTs/t0_*", do.rewritten(do.mirrored), "check, predict"),
    ("drawing packed otherwise", DRAWN, do.packed, _HINTS, _RUNS),
    ("drawing of floats", DRAWN, do.rewritten(do.typed(_F64)), _HINTS, _RUNS),
    ("drawing almost of whole numbers", DRAWN, do.voxels(do.almost), _HINTS, _RUNS),
    ("truth of floats", "study/labelsTs/*", do.rewritten(do.typed(_F64)), "measure, check"),
    ("truth packed otherwise", "study/labelsTs/*", do.packed, "measure, check"),
    ("rows shuffled", TABLES, do.table(do.shuffled), _HINTS, _RUNS),
    ("columns shuffled", TABLES, do.table(do.columns), _HINTS, _RUNS),
    ("lines of Windows", TABLES, do.table(do.same, lineterminator="\r\n"), _HINTS, _RUNS),
    ("byte order mark", TABLES, do.table(do.same, encoding="utf-8-sig"), _HINTS, _RUNS),
    ("all cells quoted", TABLES, do.table(do.same, quoting="all"), _HINTS, _RUNS),
    ("semicolons", TABLES, do.table(do.same, delimiter=";"), _HINTS, _RUNS),
    ("tabs", TABLES, do.table(do.same, delimiter="\t"), _HINTS, _HINTS),
    ("points in LPS", "study/hints/points.csv", do.table(do.lps), _HINTS, _RUNS),
    ("subjects shuffled", "study/cases.csv", do.table(do.shuffled), _STUDY, _HELD),
    ("keys turned round", SPEC, do.parsed(do.backwards), _STUDY, _HELD),
    ("JSON indented", SPEC, do.parsed(do.same_values, indent=7), _STUDY, _HELD),
    ("a key nobody knows", SPEC, do.parsed(do.put(reference="us")), _STUDY, _HELD),
    ("plan indented", "run/model/plan.json", do.parsed(do.same_values, indent=3), "predict",
     "predict"),
    ("source packed otherwise", "msd/*s*/*.nii.gz", do.packed, "import msd"),
    ("source of 16 bits", "msd/images*/*", do.rewritten(do.typed(_I16)), "import msd"),
    ("slice renamed", "dicom/*/*", do.renamed, "import dicom"),
    ("slice a folder deeper", "dicom/*/*", do.deeper, "import dicom"),
    ("slice in implicit VR", "dicom/*/*", do.in_slice(do.implicit), "import dicom"),
    ("slice with another number", "dicom/*/*", do.in_slice(do.tag("InstanceNumber", 7)),
     "import dicom"),
    ("a file that is no slice", "dicom/one/0.dcm", do.beside, "import dicom"),
)  # fmt: skip

CHANGED: tuple[Line, ...] = (
    ("image moved", IMAGES, do.rewritten(do.moved), "resume, go on, export, report"),
    ("image of a neighbour", NIFTI, do.by_a_neighbour, "resume, go on, export, report"),
    ("image with a hole", IMAGES, do.voxels(do.hole), "check, resume, go on, export"),
    ("image with a flipped bit", NIFTI, do.flipped, _STUDY),
    ("image cut", "study/images*/*", do.cut, _STUDY),
    ("image gone", "study/images*/*", do.removed, _STUDY),
    ("image without codes", "study/imagesT*/[ct]0_0000*", do.header(do.no_codes), _READ),
    ("image with two places", NIFTI, do.header(do.other_qform), "check, predict"),
    ("drawing moved", DRAWN, do.rewritten(do.moved), _HINTS),
    ("drawing stretched", DRAWN, do.rewritten(do.stretched), _HINTS),
    ("drawing cropped", DRAWN, do.rewritten(do.cropped), _HINTS),
    ("drawing with a strange id", DRAWN, do.voxels(do.strange_id), _HINTS),
    ("drawing of 0 and 255", DRAWN, do.voxels(do.stretched_ids), _HINTS),
    ("drawing with a flipped bit", DRAWN, do.flipped, _HINTS),
    ("drawing of another case", DRAWN, do.renamed_to("t0.nii.gz"), _HINTS),
    ("drawing of no case", DRAWN, do.renamed_to("zz.nii.gz"), _HINTS),
    ("truth moved", "study/labelsTs/*", do.rewritten(do.moved), "measure, check"),
    ("truth cropped", "study/labelsTs/*", do.rewritten(do.cropped), "measure, check"),
    ("truth with a strange id", "study/labelsTs/*", do.voxels(do.strange_id), "measure, check"),
    ("truth of 0 and 255", "study/labelsTs/*", do.voxels(do.stretched_ids), "measure, check"),
    ("truth with a flipped bit", "study/labelsTs/*", do.flipped, "measure, check"),
    ("place far away", PLACES, do.table(do.cell("x|x_min", "9999")), _HINTS),
    ("place nowhere", PLACES, do.table(do.cell("y|y_min", "nan")), _HINTS),
    ("place with a comma", PLACES, do.table(do.cell("z|z_min", "1,5,2")), _HINTS),
    ("label nobody knows", TABLES, do.table(do.cell("label", "spleen")), _HINTS),
    ("case nobody knows", TABLES, do.table(do.cell("case", "zz")), _HINTS),
    ("hint of a test case", TABLES, do.table(do.cell("case", "t0")), _HINTS),
    ("tag against points", "study/hints/tags.csv", do.table(do.row("c0,ball,absent")), _HINTS),
    ("tags that contradict", "study/hints/tags.csv", do.table(do.row("c0,rim,absent")), _HINTS),
    ("diameter of nothing", "study/hints/d*.csv", do.table(do.cell("diameter_mm", "-4")), _HINTS),
    ("table gone", TABLES, do.removed, _RUNS),
    ("a case of two subjects", "study/cases.csv", do.table(do.row("c0,other")), "check, label"),
    ("ids swapped", SPEC, do.parsed(do.swapped_ids),
     "resume, go on, export, report, predict, measure"),
    ("channels swapped", SPEC, do.parsed(do.swapped_channels), "resume, go on, export, predict"),
    ("ids of text", SPEC, do.parsed(do.put(labels={"background": "0", "ball": "3"})), _STUDY),
    ("one id twice", SPEC, do.parsed(do.put(labels={"background": 0, "ball": 3, "rim": 3})),
     "check, label, export, resume"),
    ("a key twice", SPEC, do.twice, "check, label, predict, export"),
    ("no channels", SPEC, do.parsed(do.put(channel_names={})), "check, label, predict, export"),
    ("weights that are NaN", "run/model/weights*", do.one_weight, "predict, resume, report"),
    ("weights of another day", "run/model/weights*", do.other_weights, "predict, resume"),
    ("weights with a flipped bit", "run/model/weights*", do.flipped, "predict, resume"),
    ("weights cut", "run/model/weights*", do.cut, "predict, resume"),
    ("plan of wide voxels", "run/model/plan.json", do.parsed(do.wide_spacing), "predict, resume"),
    ("plan of no patch", "run/model/plan.json", do.parsed(do.put(patch=[0, 8, 8])),
     "predict, resume"),
    ("plan of a large patch", "run/model/plan.json", do.parsed(do.put(patch=[8, 8, 10**5])),
     "predict, resume"),
    ("plan of other labels", "run/model/plan.json", do.parsed(do.swapped_plan), "predict, resume"),
    ("mask gone", MASKS, do.removed, "resume, export, report, measure"),
    ("mask of a neighbour", MASKS, do.by_a_neighbour, "resume, export"),
    ("mask moved", MASKS, do.rewritten(do.moved), "resume, export, measure"),
    ("mask cropped", MASKS, do.rewritten(do.cropped), "resume, export, measure, report"),
    ("mask with a strange id", MASKS, do.voxels(do.strange_id), "resume, export, measure"),
    ("mask with a flipped bit", MASKS, do.flipped, "resume, export, measure, report"),
    ("mask that nobody made", "run/masksTr/c0.nii.gz", do.copied_to("c9.nii.gz"), "export"),
    ("soft label gone", "run/labels/c*", do.removed, "resume, report, train"),
    ("soft label with a flipped bit", "run/labels/c*", do.flipped, "resume, report, train"),
    ("soft label begun with a flipped bit", "part/labels/c*", do.flipped, "go on"),
    ("soft label begun gone", "part/labels/c*", do.removed, "go on"),
    ("weights begun with a flipped bit", "part/model/weights*", do.flipped, "go on"),
    ("plan begun of wide voxels", "part/model/plan.json", do.parsed(do.wide_spacing), "go on"),
    ("scores damaged", "run/scores.json", do.cut, "report, resume"),
    ("record damaged", "run/made.json", do.cut, "report, resume, export"),
    ("slice gone", "dicom/one/[1356].dcm", do.removed, "import dicom"),
    ("slice cut", "dicom/*/*", do.cut, "import dicom"),
    ("slice of another patient", "dicom/*/*", do.in_slice(do.tag("PatientID", "x")),
     "import dicom"),
    ("slice of other pixels", "dicom/*/*", do.in_slice(do.tag("PixelSpacing", [9, 9])),
     "import dicom"),
    ("slice of another rescale", "dicom/*/*", do.in_slice(do.tag("RescaleSlope", 9)),
     "import dicom"),
    ("slice at another place", "dicom/*/*",
     do.in_slice(do.tag("ImagePositionPatient", [0, 0, 77])), "import dicom"),
    ("slice of fewer rows", "dicom/*/*", do.in_slice(do.tag("Rows", 4)), "import dicom"),
)  # fmt: skip

UNKNOWABLE: tuple[Line, ...] = (
    # files are linked unread; `check` reads them
    ("source with a flipped bit", "msd/*s*/*.nii.gz", do.flipped, "import msd"),
    ("source cut", "msd/*s*/*.nii.gz", do.cut, "import msd"),
    ("source mask moved", "msd/labels*/*", do.rewritten(do.moved), "import msd"),
    ("source mask with a strange id", "msd/labels*/*", do.voxels(do.strange_id), "import msd"),
    ("image moved", IMAGES, do.rewritten(do.moved), _READ),
    ("image stretched", IMAGES, do.rewritten(do.stretched), _READ),
    ("image cropped", IMAGES, do.rewritten(do.cropped), _READ),
    ("image of a neighbour", NIFTI, do.by_a_neighbour, _READ),
    ("image with a hole", IMAGES, do.voxels(do.hole), "label, predict"),
    ("bit of an open image", "study/images*/*.[nmr][hra]*", do.flipped, _STUDY),
    ("ids swapped", SPEC, do.parsed(do.swapped_ids), "check, label"),
    ("history damaged", "run/model/history.csv", do.cut, "report"),
    ("slice with a flipped bit", "dicom/*/*", do.flipped, "import dicom"),
    ("slice twice", "dicom/*/0.dcm", do.copied_to("copy.dcm"), "import dicom"),
    ("made of labels damaged", "run/labels/made.json", do.cut, "report, resume, train"),
)


def rows() -> Iterator[Row]:
    """Yield every row of the tables."""
    for meaning, lines in (("same", SAME), ("changed", CHANGED), ("unknowable", UNKNOWABLE)):
        for what, files, change, commands, *refusing in lines:
            may = tuple(refusing[0].split(", ")) if refusing else ()
            yield Row(what, files, change, meaning, tuple(commands.split(", ")), may)  # type: ignore[arg-type]
