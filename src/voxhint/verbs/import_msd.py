"""`voxhint import msd`: a data set laid out as in the Decathlon (MSD), to a study."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from voxhint.core import BACKGROUND, UNDRAWN
from voxhint.core.errors import BadFileError, BadRecipeError, about
from voxhint.files.atomic import write_json
from voxhint.files.description import NAME, read_object
from voxhint.files.images import read_ids, write_ids
from voxhint.files.layout import images_in
from voxhint.runs import MADE, atomic_folder, require_apart, study_inputs
from voxhint.verbs.simulate import link
from voxhint.verbs.tell import Tell, silent

_ENDING = ".nii.gz"
_IMAGES = {"imagesTr": "imagesTr", "imagesVal": "imagesTr", "imagesTs": "imagesTs"}
_MASKS = {"labelsTr": "denseTr", "labelsVal": "denseTr", "labelsTs": "labelsTs"}


@dataclass(frozen=True, slots=True, kw_only=True)
class MsdImport:
    """What was made."""

    out: Path
    training: int
    design: int
    test: int
    scribbled: int


def import_msd(
    folder: Path,
    out: Path,
    *,
    scribbles: str = "scribblesTr",
    undrawn: int | None = None,
    overwrite: bool = False,
    tell: Tell = silent,
) -> MsdImport:
    """Write a study of links to the images and masks, and of the scribbles.

    Masks of training images become `denseTr`, which a run does not look at. Images in `imagesVal`
    are training images too, and `splits.json` calls them design cases.

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
        BadFileError: The data set is laid out otherwise.
    """
    require_apart(folder, out)
    described = _described(folder)
    found = {part: images_in(folder / part) for part in (*_IMAGES, *_MASKS)}
    drawn = images_in(folder / scribbles)
    if not found["imagesTr"]:
        msg = f"{folder}: has no imagesTr with images; name the folder that holds dataset.json"
        raise BadFileError(msg)
    with atomic_folder(out, verb="import msd", overwrite=overwrite) as study:
        for part, target in _IMAGES.items():
            _link_all(found[part], study / target, "_0000")
        for part, target in _MASKS.items():
            _link_all(found[part], study / target, "")
        for number, (case, path) in enumerate(drawn.items()):
            tell("read scribbles", number, len(drawn), case)
            with about(f"case {case}"):
                ids, grid = read_ids(path)
                known = set(described["labels"].values())
                strokes = _strokes(path.name, ids, known, undrawn)
                write_ids(study / "hints" / "scribbles" / f"{case}{_ENDING}", strokes, grid)
        training = len(found["imagesTr"]) + len(found["imagesVal"])
        write_json(study / NAME, {**described, "numTraining": training})
        if found["imagesVal"]:
            parts = {"fit": sorted(found["imagesTr"]), "design": sorted(found["imagesVal"])}
            write_json(study / "splits.json", parts)
        made = {
            "verb": "import msd",
            "settings": {"folder": folder.resolve().name, "scribbles": scribbles},
            "versions": {"voxhint": version("voxhint")},
            "inputs": study_inputs(folder, (NAME, scribbles)),
        }
        write_json(study / MADE, made)
    return MsdImport(
        out=out,
        training=training,
        design=len(found["imagesVal"]),
        test=len(found["imagesTs"]),
        scribbled=len(drawn),
    )


def _described(folder: Path) -> dict[str, Any]:
    """Return our dataset.json for theirs, which maps numbers to names.

    Raises:
        BadFileError: It does not, or there are several channels.
    """
    spec = read_object(folder / NAME)
    channels, labels = spec.get("modality"), spec.get("labels")
    if not isinstance(channels, Mapping) or not isinstance(labels, Mapping):
        msg = f"{NAME}: has no modality and labels as in the Decathlon; is it a study already?"
        raise BadFileError(msg)
    if len(channels) != 1:
        msg = f"{NAME}: names {len(channels)} modalities in one file; give each a file CASE_CCCC"
        raise BadFileError(msg)
    names = {str(name): int(number) for number, name in labels.items()}
    zero = next((name for name, number in names.items() if number == 0), BACKGROUND)
    names.pop(zero, None)
    return {
        "channel_names": {"0": str(next(iter(channels.values())))},
        "labels": {BACKGROUND: 0, **names},
        "file_ending": _ENDING,
    }


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


def _link_all(images: Mapping[str, Path], target: Path, channel: str) -> None:
    for case, path in images.items():
        target.mkdir(parents=True, exist_ok=True)
        suffix = path.name.removeprefix(case)
        link(path, target / f"{case}{channel}{suffix}")
