"""Studies made of a part of another one's cases, by links."""

import csv
import json
import re
from collections.abc import Callable, Collection
from pathlib import Path

from voxhint.files import read_ids


def linked(source: Path, target: Path, keep: Callable[[str], bool] = lambda _: True) -> None:
    """Link the files of a folder whose names are to be kept."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir()):
        if keep(path.name) and not (target / path.name).exists():
            (target / path.name).symlink_to(path.resolve())


def case_of(name: str) -> str:
    """Return the case a file belongs to, be it an image or a mask."""
    return re.sub(r"(_\d{4})?\.nii\.gz$", "", name)


def design_study(study: Path, out: Path) -> Path:
    """Return a study without test cases, scored on those that splits.json sets aside for design."""
    splits = json.loads((study / "splits.json").read_text("utf-8"))
    return part(study, out, set(splits["fit"]), set(splits["design"]), ("imagesTr", "denseTr"))


def few_hinted(study: Path, out: Path, count: int) -> Path:
    """Return a study that keeps the hints of some cases alone, evenly chosen by name."""
    kept = _few(study, count)
    (out / "hints").mkdir(parents=True, exist_ok=True)
    for path in study.iterdir():
        if path.name == "labelsTr":
            linked(path, out / path.name, _of(kept))
        elif path.name != "hints" and not (out / path.name).exists():
            (out / path.name).symlink_to(path.resolve())
    for path in (study / "hints").iterdir():
        if path.is_dir():
            linked(path, out / "hints" / path.name, _of(kept))
        elif path.suffix == ".csv":
            _keep_rows(path, out / "hints" / path.name, kept)
    return out


def few_outlined(study: Path, out: Path, count: int) -> Path:
    """Return a study of the cases that `few_hinted` would choose alone, with their dense masks."""
    test = {case_of(path.name) for path in (study / "imagesTs").iterdir()}
    return part(study, out, _few(study, count), test, ("imagesTs", "labelsTs"))


def shown_study(study: Path, out: Path) -> Path:
    """Return a study of the cases in whose dense masks a label is drawn."""
    training, test = (
        {case_of(path.name) for path in (study / name).iterdir() if read_ids(path)[0].any()}
        for name in ("denseTr", "labelsTs")
    )
    return part(study, out, training, test, ("imagesTs", "labelsTs"))


def part(
    study: Path, out: Path, training: Collection[str], test: Collection[str], tests: tuple[str, str]
) -> Path:
    """Return a study of some cases, and of test cases that lie in two folders of another."""
    images, truths = tests
    parts = (("imagesTr", "imagesTr", training), ("denseTr", "denseTr", training))
    for source, target, cases in (*parts, (images, "imagesTs", test), (truths, "labelsTs", test)):
        linked(study / source, out / target, _of(cases))
    described = json.loads((study / "dataset.json").read_text("utf-8"))
    described["numTraining"] = len(training)
    (out / "dataset.json").write_text(json.dumps(described), "utf-8")
    if (study / "cases.csv").exists():
        _keep_rows(study / "cases.csv", out / "cases.csv", {*training, *test})
    return out


def _few(study: Path, count: int) -> set[str]:
    """Return some training cases, evenly chosen by name."""
    cases = sorted({case_of(path.name) for path in (study / "imagesTr").iterdir()})
    return set(cases[:: len(cases) // count][:count])


def _keep_rows(source: Path, target: Path, cases: Collection[str]) -> None:
    """Write the rows of a table that are of some cases."""
    with source.open(encoding="utf-8", newline="") as stream:
        head, *rows = csv.reader(stream)
    with target.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([head, *(row for row in rows if row[0] in cases)])


def _of(cases: Collection[str]) -> Callable[[str], bool]:
    """Return what tells whether a file belongs to one of some cases."""
    return lambda name: case_of(name) in cases
