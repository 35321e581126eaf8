"""`voxhint register`: a study whose channels lie on one another."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from voxhint.core.errors import BadStudyError, about
from voxhint.core.progress import Tell, silent
from voxhint.core.study import CaseFiles, Study
from voxhint.files.atomic import write_json, write_text
from voxhint.files.csv_tables import table_text
from voxhint.files.dataset_json import NAME, read_object
from voxhint.files.grid_match import place_of
from voxhint.files.images import read_grid, read_volume, write_image
from voxhint.files.masks import mask_grid
from voxhint.files.registration import offset, registered
from voxhint.files.validate.study import survey
from voxhint.runs import MADE, atomic_folder, require_apart, study_inputs
from voxhint.verbs.link_files import link, link_all

_COPIED = ("dataset.json", "cases.csv", "splits.json")
_MASKS = ("labelsTr", "labelsTs", "denseTr")


@dataclass(frozen=True, slots=True)
class _Move:
    """How far a channel lay from the first, before and after."""

    case: str
    channel: str
    before_mm: float
    after_mm: float


def register(
    study: Path,
    out: Path,
    *,
    how: str,
    overwrite: bool = False,
    undrawn: int | None = None,
    tell: Tell = silent,
) -> tuple[_Move, ...]:
    """Write a study in which every channel of a case lies on the grid and the body of the first.

    Args:
        study: The study folder; its hints and masks must lie on first channels.
        out: The new study.
        how: `rigid` or `deformable`.
        overwrite: Whether an earlier result of ours may be replaced.
        undrawn: The value that means "not drawn" in drawn maps, if not dataset.json says it.
        tell: Hears of progress.

    Returns:
        What was moved, as `registration.csv` has it.

    Raises:
        BadStudyError: The images cannot be read, or a mask lies on a channel that would move.
    """
    require_apart(study, out)
    opened = _opened(study, undrawn)
    cases = (*opened.training, *opened.test)
    for files in cases:
        with about(f"case {files.name}"):
            _require_masks_on_first(opened, files)
    with atomic_folder(out, verb="register", overwrite=overwrite) as folder:
        _carry_over(study, folder)
        if undrawn is not None:  # the hints go along as they are
            write_json(folder / NAME, {**read_object(study / NAME), "undrawn": undrawn})
        moves: list[_Move] = []
        for number, files in enumerate(cases):
            tell("register", number, len(cases), files.name)
            target = folder / ("imagesTr" if number < len(opened.training) else "imagesTs")
            with about(f"case {files.name}"):
                moves += _case(opened, files, target, how)
        write_text(folder / "registration.csv", _table(moves))
        made: Mapping[str, object] = {
            "verb": "register",
            "settings": {"study": study.resolve().name, "how": how},
            "versions": {name: version(name) for name in ("voxhint", "SimpleITK")},
            "inputs": study_inputs(study, ("dataset.json", "imagesTr", "imagesTs")),
        }
        write_json(folder / MADE, made)
    return tuple(moves)


def _opened(study: Path, undrawn: int | None) -> Study:
    """Return a study whose images can be read.

    Raises:
        BadStudyError: One cannot.
    """
    seen = survey(study, undrawn=undrawn)
    errors = [str(problem) for problem in seen.errors if problem.case or seen.study is None]
    if errors or seen.study is None:
        raise BadStudyError("\n".join(errors))
    return seen.study


def _table(moves: Sequence[_Move]) -> str:
    rows = [
        {
            "case": move.case,
            "channel": move.channel,
            "before_mm": f"{move.before_mm:.2f}",
            "after_mm": f"{move.after_mm:.2f}",
        }
        for move in moves
    ]
    return table_text(rows, ("case", "channel", "before_mm", "after_mm"))


def _case(study: Study, files: CaseFiles, target: Path, how: str) -> list[_Move]:
    """Return how far the channels of a case moved, having written them."""
    target.mkdir(exist_ok=True)
    (first, path), *others = files.images.items()
    fixed = read_volume(path, channel=first)
    link(path, target / path.name)
    moves = []
    for channel, other in others:
        moving = read_volume(other, channel=channel)
        moved = registered(fixed, moving, how)
        write_image(target / f"{files.name}_{study.channels.index(channel):04d}.nii.gz", moved)
        before, after = (offset(fixed, each).residual_mm for each in (moving, moved))
        moves.append(_Move(files.name, channel, before, after))
    return moves


def _require_masks_on_first(study: Study, files: CaseFiles) -> None:
    """Refuse masks drawn on a channel that is to be moved: they would not move with it.

    Raises:
        BadStudyError: There is one.
    """
    first = read_grid(next(iter(files.images.values())))
    drawn = [file.path for file in study.stroke_files.get(files.name, ())]
    for path in (*drawn, *(mask for mask in (files.dense, files.truth) if mask)):
        if place_of(mask_grid(path, study.labels, [first]), [first]).grid is None:
            msg = f"{path.name}: lies on a channel that would move; resample it onto the first"
            raise BadStudyError(msg)


def _carry_over(study: Path, folder: Path) -> None:
    """Copy hints and small files, and link masks."""
    for name in _COPIED:
        if (study / name).is_file():
            shutil.copyfile(study / name, folder / name)
    if (study / "hints").is_dir():
        shutil.copytree(study / "hints", folder / "hints")
    for name in _MASKS:
        if (study / name).is_dir():
            link_all(study / name, folder / name)
