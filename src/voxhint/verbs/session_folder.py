"""The folder of a session: a study of its own, whose images are linked and whose hints are new."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from voxhint.core import UNDRAWN, Grid, Hint, LabelSet, Soft, Turn
from voxhint.core.errors import OutputError
from voxhint.core.labels import file_name
from voxhint.core.study import CaseFiles, Study
from voxhint.files.atomic import write_json, write_text
from voxhint.files.csv_tables import table_text
from voxhint.files.dataset_json import NAME, read_object
from voxhint.files.hint_tables import TABLES
from voxhint.files.images import image_suffix, read_ids, write_ids, write_probability
from voxhint.files.study.hint_writer import write_hints
from voxhint.runs import study_inputs
from voxhint.runs.manifest import STARTED
from voxhint.serve.contract import Layer, Row
from voxhint.serve.undo_redo import Drawn
from voxhint.verbs.link_files import link, link_all

_REVIEW = "review.csv"
_MASKS = "masks"
"""Accepted masks of test cases; those of training cases are in `labelsTr`."""

_COPIED = ("cases.csv", "splits.json")
_LINKED = ("imagesTs", "labelsTs", "denseTr")
_HINTS = ("dataset.json", "hints", "labelsTr")
_OURS = ".masks"
"""Names of the masks in `labelsTr` that a person accepted here."""


class SessionFolder:
    """Writes what is made in a session.

    Args:
        folder: Of the session.
        study: What it is about.
        places: Of each case that was opened: its own grid, and the turn to the page's.
    """

    def __init__(self, folder: Path, study: Study, places: Mapping[str, tuple[Grid, Turn]]) -> None:
        self._folder = folder
        self._study = study
        self._labels = study.labels
        self._places = places
        self._training = {files.name for files in study.training}
        self._written: frozenset[str] = frozenset(TABLES)
        self._told: dict[str, str] = {}

    def keep_marks(self, marks: Mapping[str, tuple[Hint, ...]]) -> None:
        """Write the tables of all marks; one that lost its last row goes."""
        hints = self._folder / "hints"
        made = _tables_of(marks)
        write_hints(hints, marks, self._labels)
        for name in self._written - made:
            (hints / name).unlink(missing_ok=True)
        self._written = made

    def keep_drawn(self, case: str, layer: Layer, drawn: Drawn) -> None:
        """Write a drawing on the image's own grid; an empty one has no file."""
        path = self._folder / "hints" / layer / f"{case}.nii.gz"
        if (drawn == UNDRAWN).all():
            self._unlink(path.parent, case)
            return
        self._unlink(path.parent, case, but=path)
        self._write(path, case, drawn)

    def keep_soft(self, case: str, hints: Sequence[Soft]) -> None:
        """Write soft hints on the image's own grid; links to the study's soft masks stay."""
        folder, (grid, turn) = self._folder / "hints" / "soft", self._places[case]
        named = {folder / f"{case}__{file_name(hint.label)}.nii.gz": hint for hint in hints}
        for label in self._labels.foreground:
            path = folder / f"{case}__{file_name(label)}.nii.gz"
            if path not in named and not path.is_symlink():
                path.unlink(missing_ok=True)
        for path, hint in named.items():
            write_probability(path, turn.undo(hint.probability), grid)

    def keep_mask(self, case: str, classes: UInt8[np.ndarray, "i j k"] | None) -> None:
        """Write the mask that a person accepted, or take it away and put back the study's own."""
        below = "labelsTr" if case in self._training else _MASKS
        path = self._folder / below / f"{case}.nii.gz"
        self._unlink(path.parent, case, but=path if classes is not None else None)
        if classes is not None:
            self._write(path, case, classes)
            return
        for file in self._study.stroke_files.get(case, ()):
            if file.kind == "labels":
                link(file.path, path.parent / file.path.name)

    def kept_mask(self, case: str) -> UInt8[np.ndarray, "i j k"] | None:
        """Return the mask that a person accepted, on the page's grid; None without any."""
        below = "labelsTr" if case in self._training else _MASKS
        path = self._folder / below / f"{case}.nii.gz"
        if not path.is_file() or path.is_symlink():
            return None
        grid, turn = self._places[case]
        ids, place = read_ids(path)
        return turn.apply(self._labels.to_classes(ids)) if place.same(grid) else None

    def keep_review(self, rows: Sequence[Row]) -> None:
        """Write the table of verdicts, if it changed."""
        cells = [
            {
                "case": row.name,
                "state": row.state,
                "seconds": f"{row.seconds:g}",
                "note": " ".join(row.note.split()),
            }
            for row in rows
        ]
        self._text(self._folder / _REVIEW, table_text(cells, ("case", "state", "seconds", "note")))

    def keep_cost(self, seconds: Mapping[str, Mapping[str, float]]) -> None:
        """Write what hints cost, by case and by kind."""
        total = sum(sum(kinds.values()) for kinds in seconds.values())
        bill = {"seconds": round(total, 1), "cases": seconds}
        self._text(self._folder / "hints" / "cost.json", json.dumps(bill, indent=1) + "\n")

    def _text(self, path: Path, text: str) -> None:
        if self._told.get(path.name) != text:
            write_text(path, text)
            self._told[path.name] = text

    def _write(self, path: Path, case: str, classes: UInt8[np.ndarray, "i j k"]) -> None:
        grid, turn = self._places[case]
        write_ids(path, self._labels.to_ids(turn.undo(classes)), grid)

    def _unlink(self, folder: Path, case: str, but: Path | None = None) -> None:
        """Remove what a folder of the session has of a case: a link, or a file of ours."""
        if folder.is_dir():
            for path in folder.iterdir():
                suffix = image_suffix(path.name)
                if suffix and path.name.removesuffix(suffix) == case and path != but:
                    path.unlink()
        if but is not None and but.is_symlink():  # written through, it would change the study
            but.unlink()


def _tables_of(marks: Mapping[str, tuple[Hint, ...]]) -> frozenset[str]:
    kinds = {type(hint).__name__ for hints in marks.values() for hint in hints}
    names = {"Tag": "tags.csv", "Points": "points.csv", "Box": "boxes.csv"}
    return frozenset(names.get(kind, "diameters.csv") for kind in kinds)


def begin(study: Study, folder: Path, *, spec: Mapping[str, object] | None = None) -> None:
    """Make the folder of a session, or find it made from the same study.

    Args:
        study: What it is about; only read.
        folder: Locked.
        spec: What `dataset.json` is to say, if the study has none.

    Raises:
        OutputError: It holds something else, or the hints of the study have changed since.
    """
    inputs = study_inputs(study.root, _HINTS)
    told = {"verb": "serve", "inputs": inputs, "study": str(study.root.resolve())}
    if (folder / STARTED).exists():
        found = read_object(folder / STARTED)
        if found.get("verb") != "serve":
            msg = f"{folder}: holds a {found.get('verb')}, no session; choose another folder"
            raise OutputError(msg)
        if found.get("inputs") != inputs:
            msg = f"{folder}: the study's hints or labels changed since; choose another --out"
            raise OutputError(msg)
        return
    for name in _COPIED:
        if (study.root / name).is_file():
            shutil.copyfile(study.root / name, folder / name)
    described = dict(spec or read_object(study.root / NAME))
    write_json(folder / NAME, {**described, "undrawn": UNDRAWN})
    _link_images(study.training, study.channels, folder / "imagesTr")
    for name in _LINKED:
        if (study.root / name).is_dir():
            link_all(study.root / name, folder / name)
    _link_drawn(study, folder)
    write_json(folder / STARTED, told)


def _link_images(cases: Sequence[CaseFiles], channels: Sequence[str], folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for files in cases:
        for channel, path in files.images.items():
            suffix = "" if path.is_dir() else image_suffix(path.name) or ""
            targets = {path: folder / f"{files.name}_{channels.index(channel):04d}{suffix}"}
            if suffix == ".mhd":  # which names the file of its voxels
                targets = {p: folder / p.name for p in path.parent.glob(f"{path.stem}.*")} | targets
            for source, target in targets.items():
                if not os.path.lexists(target):
                    link(source, target)


def _link_drawn(study: Study, folder: Path) -> None:
    """Link the drawn hints of a study; those whose "not drawn" is not 255 are written anew."""
    for files in study.stroke_files.values():
        for file in files:
            below = "labelsTr" if file.kind == "labels" else f"hints/{file.kind}"
            (folder / below).mkdir(parents=True, exist_ok=True)
            place = folder / below / file.path.name
            if os.path.lexists(place):
                continue
            if file.kind == "soft" or study.undrawn in (None, UNDRAWN):
                link(file.path, place)
            else:
                _write_anew(study, file.case, folder / below / f"{file.case}.nii.gz", file.path)


def _write_anew(study: Study, case: str, place: Path, path: Path) -> None:
    from voxhint.files.images import read_grid
    from voxhint.files.study.drawn_hints import read_drawn

    images = next(files.images for files in study.training if files.name == case)
    file = next(file for file in study.stroke_files[case] if file.path == path)
    drawn = read_drawn(file, study.labels, [read_grid(image) for image in images.values()])
    write_ids(place, _ids(study.labels, drawn.classes), drawn.grid)


def _ids(labels: LabelSet, classes: UInt8[np.ndarray, "i j k"]) -> UInt8[np.ndarray, "i j k"]:
    return labels.to_ids(classes)
