"""Windows of a study with tags, for the benchmarks that ask where a label is seen."""

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from voxhint.core import Case, Tag
from voxhint.core.study import CaseFiles, Study
from voxhint.files import read_ids


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """A case, whom it belongs to, and the label's true mask."""

    case: Case
    subject: str
    truth: np.ndarray

    @property
    def image(self) -> np.ndarray:
        """Return the voxels of the first channel."""
        return next(iter(self.case.images.values())).voxels

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Return millimetres between voxels."""
        i, j, k = (float(s) for s in self.case.grid.spacing_mm)
        return i, j, k

    @property
    def rng(self) -> np.random.Generator:
        """Return noise of its own, the same at every look."""
        return np.random.default_rng([0, *self.case.name.encode()])


def parser_of(doc: str | None, windows: int) -> argparse.ArgumentParser:
    """Return a parser of the words that the benchmarks on design windows share."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--windows", type=int, default=windows)
    parser.add_argument("--flow", type=Path, help="trained on the fit cases, to be copied to OUT")
    parser.add_argument("--seed", type=int, default=0, help="of the classifiers; another OUT each")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    return parser


def tell(what: str, done: int, total: int, note: str) -> None:
    """Write progress to standard error, so that the table stays alone."""
    if done % 50 == 0:
        print(f"{what}: {done} of {total} {note}", file=sys.stderr, flush=True)


def fit_study(study: Path, out: Path, *, shuffled: bool = False) -> Path:
    """Return a folder with the study of the `fit` cases: their tags, and links to images."""
    names = set(json.loads((study / "splits.json").read_text("utf-8"))["fit"])
    (out / "hints").mkdir(parents=True, exist_ok=True)
    (out / "imagesTr").mkdir(exist_ok=True)
    for path in (study / "imagesTr").iterdir():
        link = out / "imagesTr" / path.name
        if path.name.rpartition("_")[0] in names and not link.is_symlink():
            link.symlink_to(path.resolve())
    described = json.loads((study / "dataset.json").read_text("utf-8"))
    described["numTraining"] = len(names)
    (out / "dataset.json").write_text(json.dumps(described), "utf-8")
    for table in ("cases.csv", "hints/tags.csv"):
        with (study / table).open(encoding="utf-8", newline="") as stream:
            head, *rows = csv.reader(stream)
        kept = [row for row in rows if row[0] in names]
        if shuffled and table == "hints/tags.csv":
            states = np.random.default_rng(0).permutation([row[1:] for row in kept])
            kept = [[row[0], *state] for row, state in zip(kept, states.tolist(), strict=True)]
        with (out / table).open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([head, *kept])
    return out


def some(files: Sequence[CaseFiles], limit: int) -> Sequence[CaseFiles]:
    """Return every case, or `limit` evenly chosen of too many."""
    chosen = np.unique(np.linspace(0, len(files) - 1, min(limit, len(files))).round().astype(int))
    return [files[n] for n in chosen]


def tagged(study: Study, files: Sequence[CaseFiles], state: str) -> list[CaseFiles]:
    """Return the cases whose tag says so."""
    return [
        f
        for f in files
        if any(isinstance(h, Tag) and h.state == state for h in study.hints.get(f.name, ()))
    ]


def window(study: Study, files: CaseFiles) -> Window:
    """Return a case with its true mask, empty where none is stored."""
    case = study.load(files, hints=False)
    path = files.truth or files.dense
    number = study.labels.ids[1]
    truth = read_ids(path)[0] == number if path else np.zeros(case.grid.shape, bool)
    return Window(case, files.subject, truth)


def design_windows(study: Study, limit: int) -> list[Window]:
    """Return at most so many design windows with the label, and as many without."""
    design = [files for files in study.training if files.name in study.design]
    parts = (some(tagged(study, design, state), limit) for state in ("present", "absent"))
    return [window(study, files) for part in parts for files in part]


def healthy_windows(study: Study, limit: int) -> list[Window]:
    """Return at most so many training windows tagged absent."""
    return [window(study, f) for f in some(tagged(study, study.training, "absent"), limit)]
