"""One of everything that voxhint reads, its commands, and what they make of it."""

import hashlib
import json
import os
import re
import resource
import shutil
import signal
import sys
import traceback
import zlib
from collections.abc import Iterable, Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from jaxtyping import UInt8
from tests.files.series import Series
from tests.phantoms import ball, centre_mm, slanted_grid
from tests.spoil import converted

from voxhint.cli import main
from voxhint.core import LabelSet, Volume
from voxhint.core.hints import Box, Diameter, Hint, Points, Strokes, Tag
from voxhint.files.images import write_ids, write_image
from voxhint.files.study.hint_writer import write_hints
from voxhint.verbs import check, export, import_dicom, import_msd, measure, run

LOADED = check, export, import_dicom, import_msd, measure, run
"""Verbs, loaded once so that every process has them."""

ROOM = 6 << 30  # bytes a command may add to what this process has
PATIENCE = 120  # seconds a command may take
GRID = slanted_grid()
TWO = LabelSet(("background", "ball", "rim"), (0, 3, 5))
CHANNELS = ("CT", "T2")
_SMALL = """
[label]
method = "geodesic"
cross_case = false
[train]
steps = 2
width = 4
patch_voxels = 2000
[predict]
overlap = 0.25
[measure]
"""
_QUICK = ("--device", "cpu", "--threads", "1")


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    """Of the process; less than 0 is the signal that ended it."""

    said: tuple[str, ...]
    """Lines of both streams."""

    made: str
    """Hash of what it made, as far as it means something."""

    warnings: frozenset[str] = frozenset()


def _image(seed: int) -> Volume:
    """Return an image of whole numbers, which every format holds exactly."""
    noise = np.random.default_rng(seed).integers(-20, 20, GRID.shape)
    return Volume((100 * _classes() + noise).astype(np.float32), GRID)


def _classes() -> UInt8[np.ndarray, "i j k"]:
    return np.asarray(
        ball(GRID, 7.5) * 2 - ball(GRID, 4.5), np.uint8
    )  # a rim of 2 around a ball of 1


def _hints() -> dict[str, tuple[Hint, ...]]:
    middle, classes = centre_mm(GRID), _classes()
    scribble = np.full(GRID.shape, 255, np.uint8)
    scribble[6:8, 8, 5], scribble[0:3, 1, 5] = 1, 0
    drawn = np.full(GRID.shape, 255, np.uint8)
    drawn[:, :, 5] = classes[:, :, 5]
    rim = np.argwhere(classes == 2)[::40].astype(float)
    return {
        "c0": (
            Points("ball", np.stack([middle, middle + 1]), np.array([1.0, 1.0])),
            Points("rim", GRID.to_world(rim), np.ones(len(rim))),
            Points("background", GRID.to_world(np.zeros((1, 3))), np.ones(1)),
            Tag("rim", "present"),
        ),
        "c1": (
            Strokes(scribble, GRID, complete=False),
            Box("ball", middle - 4.5, middle + 4.5),
            Tag("rim", "unknown"),
        ),
        "c2": (Strokes(drawn, GRID, complete=True), Diameter("ball", middle, 9.0)),
    }


def write_study(folder: Path) -> None:
    """Write a study of two channels and two labels, with hints of every kind in every format."""
    folder.mkdir(parents=True)
    spec = {
        "channel_names": {str(number): name for number, name in enumerate(CHANNELS)},
        "labels": dict(zip(TWO.names, TWO.ids, strict=True)),
        "numTraining": 3,
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(spec))
    for seed, case in enumerate(("c0", "c1", "c2", "t0", "t1")):
        below = "imagesTr" if case[0] == "c" else "imagesTs"
        for number in range(len(CHANNELS)):
            write_image(folder / below / f"{case}_{number:04d}.nii.gz", _image(10 * seed + number))
        if case[0] == "t":
            write_ids(folder / "labelsTs" / f"{case}.nii.gz", TWO.to_ids(_classes()), GRID)
    for name, suffix in (("Tr/c1", ".mha"), ("Tr/c2", ".nrrd"), ("Ts/t1", ".mhd")):
        converted(f"images{name}_0000.nii.gz", suffix)(folder)
    subjects = ["case,subject", *(f"{case},p{case}" for case in ("c0", "c1", "c2", "t0", "t1"))]
    (folder / "cases.csv").write_text("\n".join(subjects) + "\n")
    write_hints(folder / "hints", _hints(), TWO)


def _write_msd(folder: Path) -> None:
    for below, case in (("Tr", "a"), ("Tr", "b"), ("Ts", "d")):
        write_image(folder / f"images{below}" / f"{case}.nii.gz", _image(ord(case)))
        if below == "Tr":
            write_ids(folder / "labelsTr" / f"{case}.nii.gz", _classes(), GRID)
    spec = {
        "name": "two",
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "ball", "2": "rim"},
        "training": [{"image": f"./imagesTr/{case}.nii.gz"} for case in "ab"],
    }
    (folder / "dataset.json").write_text(json.dumps(spec))


def _write_dicom(folder: Path) -> None:
    Series(uid="1.2.3").write(folder / "one")
    Series(uid="1.2.4", heights=(0, 3, 6, 9, 12), common={"PatientID": "other"}).write(
        folder / "two"
    )


def commands(root: Path) -> dict[str, tuple[list[str], Path]]:
    """Return every command by what it is called here, and where it writes."""
    study, run, out = root / "study", root / "run", root / "out"
    recipe = ("--config", str(root / "recipe.toml"), *_QUICK)
    words: dict[str, tuple[list[str | Path], Path]] = {
        "check": (["check", study], out),
        "label": (["label", study, "--out", out, *recipe], out),
        "train": (["train", study, "--labels", run / "labels", "--out", out, *recipe], out),
        "predict": (
            ["predict", run, study / "imagesTs", "--out", out, "--probabilities", *_QUICK], out
        ),
        "measure": (["measure", run / "masks", study / "labelsTs", "--out", out / "s.json"], out),
        "report": (["report", run], run / "report.html"),
        "export": (["export", run, "--to", "nnunet", "--out", out], out),
        "resume": (["run", study, "--out", run, "--hinted-masks", *recipe], run),
        "go on": (["run", study, "--out", root / "part", "--hinted-masks", *recipe], root / "part"),
        "import msd": (["import", "msd", root / "msd", "--out", out], out),
        "import dicom": (["import", "dicom", root / "dicom", "--out", out, "--label", "a"], out),
    }  # fmt: skip
    return {name: ([str(word) for word in line], place) for name, (line, place) in words.items()}


def build(root: Path) -> None:
    """Write a study, a finished run of it, one that was stopped, and data to import."""
    write_study(root / "study")
    _write_msd(root / "msd")
    _write_dicom(root / "dicom")
    (root / "recipe.toml").write_text(_SMALL)
    words, _ = commands(root)["resume"]
    with (root / "said.txt").open("w") as said, redirect_stdout(said), redirect_stderr(said):
        code = ended(words)  # here, so that every process begins with all modules loaded
    assert code == 0, (root / "said.txt").read_text("utf-8")
    shutil.copytree(root / "run", root / "part")
    stop(root / "part")


def stop(run: Path) -> None:
    """Make a finished run one that was stopped before it predicted."""
    for below in ("masks", "masksTr"):
        shutil.rmtree(run / below)
    for name in ("made.json", "scores.json", "report.html"):
        (run / name).unlink()
    words = ("verb", "config", "seed", "inputs")
    made = json.loads((run.parent / "run" / "made.json").read_text())
    (run / ".job.json").write_text(json.dumps({word: made[word] for word in words}))


def play(root: Path, name: str) -> Outcome:
    """Run a command in a process of its own, under limits, and look at what it made."""
    words, place = commands(root)[name]
    streams = root / "said.txt", root / "told.txt"
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        _child(words, streams)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    said, told = (path.read_text("utf-8", "replace").splitlines() for path in streams)
    made = digest(place) if code == 0 and name != "check" else "".join(said[-1:])
    return Outcome(code, (*said, *told), made, frozenset(_warnings(said, told, place)))


def _child(words: list[str], streams: tuple[Path, Path]) -> None:
    """Run a command with its streams in files; never returns."""
    for number, path in enumerate(streams, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.stdout, sys.stderr = (os.fdopen(number, "w") for number in (1, 2))  # whatever they were
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, used + ROOM))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(PATIENCE)
    code = ended(words)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # which a reader who has seen enough makes it
            stream.flush()
    os._exit(code)


def ended(words: list[str]) -> int:
    """Run a command; return its exit code."""
    try:
        main(words)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 98
    except BaseException:  # noqa: BLE001 - whatever it is, it is what we look for
        traceback.print_exc()
        return 99


def _warnings(said: Iterable[str], told: Iterable[str], place: Path) -> Iterator[str]:
    """Yield what a person was told that may matter."""
    yield from (line for line in said if line.startswith("warning: "))
    for line in told:
        if not line.startswith("train"):  # its notes are numbers
            yield re.sub(r": \d+ of \d+(, \d+ \w+ left)?|, peak .*", "", line)
    for path in place.rglob("made.json") if place.is_dir() else ():
        with suppress(ValueError):  # damaged, and not asked for
            made = json.loads(path.read_text("utf-8"))
            yield from map(str, (*made.get("warnings", ()), *made.get("skipped", ())))
    if place.suffix == ".html" and place.is_file():
        yield from re.findall(r"<li>(.*?)</li>", place.read_text("utf-8"), re.DOTALL)


_WORDLESS = ("made.json", "report.html", "history.csv", ".job.json", ".journal")


def digest(place: Path) -> str:
    """Return a hash of what files mean: voxels in the world, and the text of others."""
    found = hashlib.sha256()
    if place.suffix == ".html":
        return hashlib.sha256(
            re.sub(r"<li>.*?</li>", "", place.read_text("utf-8")).encode()
        ).hexdigest()
    for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
        inside = path.relative_to(place).as_posix()
        if not path.is_file() or path.name in _WORDLESS or "tensorboard" in inside:
            continue
        if inside.startswith(("changed", ".")):
            continue
        found.update(inside.encode())
        found.update(_meaning(path))
    return found.hexdigest()


def _meaning(path: Path) -> bytes:
    if not path.name.endswith((".nii", ".nii.gz")):
        return path.read_bytes()
    try:
        image = nib.as_closest_canonical(nib.load(path))  # type: ignore[no-untyped-call]
        voxels = np.round(np.asarray(image.dataobj, np.float32), 3)  # headers round otherwise
    except (nib.filebasedimages.ImageFileError, OSError, EOFError, ValueError, zlib.error):
        return path.read_bytes()  # a link to what was damaged
    place = np.round(image.affine, 3) + 0.0
    return bytes(voxels.tobytes()) + bytes(place.tobytes()) + bytes(voxels.shape)
