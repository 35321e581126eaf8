"""`voxhint import msd`: a data set laid out as in the Decathlon (MSD), to a study."""

from importlib.metadata import version
from pathlib import Path

import numpy as np

from voxhint.core import UNDRAWN
from voxhint.core.errors import BadFileError, BadRecipeError, about
from voxhint.core.progress import Tell, silent
from voxhint.core.words import counted
from voxhint.files.atomic import write_json
from voxhint.files.dataset_json import NAME
from voxhint.files.datasets.msd import read_msd
from voxhint.files.images import read_ids, write_ids
from voxhint.files.problems import lines_of
from voxhint.files.study.layout import read_layout
from voxhint.runs import MADE, atomic_folder, require_apart, study_inputs
from voxhint.verbs.link_files import link
from voxhint.verbs.written import Written

_ENDING = ".nii.gz"


def import_msd(
    folder: Path,
    out: Path,
    *,
    scribbles: str = "scribblesTr",
    undrawn: int | None = None,
    overwrite: bool = False,
    tell: Tell = silent,
) -> Written:
    """Write a study of links to the images and masks, and of the scribbles.

    Masks of training images become `denseTr`, which a run does not look at. Images in `imagesVal`
    or `imagesVa` are training images too, and `splits.json` calls them design cases. Images may be
    called after their case alone, or CASE_CCCC as in nnU-Net v1.

    Args:
        folder: Holds dataset.json, imagesTr, labelsTr and so on, one file a case.
        out: The new study.
        scribbles: The folder in it with a label map of strokes for each case.
        undrawn: Id of voxels that are not drawn on; if None, the only id that is no label.
        overwrite: Whether an earlier import may be replaced.
        tell: Hears of progress.

    Returns:
        What was made.

    Raises:
        BadFileError: The data set is laid out otherwise, or holds names that no study may have.
    """
    require_apart(folder, out)
    found = read_msd(folder, scribbles=scribbles)
    with atomic_folder(out, verb="import msd", overwrite=overwrite) as study:
        for place, path in found.files.items():
            (study / place).parent.mkdir(parents=True, exist_ok=True)
            link(path, study / place)
        training = len(found.fit | found.design)
        write_json(study / NAME, {**found.described, "numTraining": training})
        warnings = _told(study)
        known = set(found.described["labels"].values())
        for number, (case, path) in enumerate(found.strokes.items()):
            tell("read scribbles", number, len(found.strokes), case)
            with about(f"case {case}"):
                ids, grid = read_ids(path)
                strokes = _strokes(path.name, ids, known, undrawn)
                write_ids(study / "hints" / "scribbles" / f"{case}{_ENDING}", strokes, grid)
        if found.design:
            parts = {"fit": sorted(found.fit), "design": sorted(found.design)}
            write_json(study / "splits.json", parts)
        made = {
            "verb": "import msd",
            "settings": {"folder": folder.resolve().name, "scribbles": scribbles},
            "versions": {"voxhint": version("voxhint")},
            "inputs": study_inputs(folder, (NAME, scribbles)),
        }
        write_json(study / MADE, made)
    told = (
        f"{counted(training, 'training case')} ({len(found.design)} for design), "
        f"{counted(len(found.test), 'test case')}, scribbles for {len(found.strokes)}; "
        f"run voxhint check {out}"
    )
    return Written(out, told, warnings)


def _told(study: Path) -> tuple[str, ...]:
    """Return what is odd about the names in a new study.

    Raises:
        BadFileError: No study may have such names.
    """
    draft, problems = read_layout(study)
    problems += () if draft is None else draft.problems
    errors = lines_of(problems, "error")
    if errors:
        raise BadFileError("\n".join(errors))
    return tuple(str(problem) for problem in problems)


def _strokes(name: str, ids: np.ndarray, known: set[int], undrawn: int | None) -> np.ndarray:
    """Return ids with what is not drawn as we have it.

    Raises:
        BadFileError: A stroke is of no label.
        BadRecipeError: Which voxels are not drawn on has to be told.
    """
    strange = set(np.unique(ids).tolist()) - known - {undrawn}
    if undrawn is None:
        if len(strange) != 1:
            msg = f"{name}: which id means 'not drawn' is not plain; say it with --undrawn"
            raise BadRecipeError(msg)
        (undrawn,) = strange
    elif strange:
        msg = f"{name}: id {min(strange)} is no label of dataset.json; mend the file"
        raise BadFileError(msg)
    return np.where(ids == undrawn, UNDRAWN, ids).astype(np.uint8)
