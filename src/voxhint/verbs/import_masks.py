"""`voxhint import masks`: images and named masks of other tools become a study."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from voxhint.core.errors import BadFileError
from voxhint.core.grid import Grid
from voxhint.core.hints import Hint
from voxhint.core.labels import LabelSet
from voxhint.core.progress import Tell, silent
from voxhint.core.words import counted
from voxhint.files.atomic import write_json, write_text
from voxhint.files.csv_tables import table_text
from voxhint.files.dataset_json import NAME, read_description
from voxhint.files.datasets.named_masks import MaskedImage, NamedMask, read_masked_images
from voxhint.files.dicom.read_seg_rtstruct import Structure
from voxhint.files.grid_match import require_place
from voxhint.files.images import image_suffix, read_grid, read_ids, write_ids
from voxhint.files.study.hint_writer import write_hints
from voxhint.runs import MADE, atomic_folder, require_apart
from voxhint.verbs.import_annotations import (
    Wanted,
    boxes_around,
    partial_mask,
)
from voxhint.verbs.import_dicom import describe_images
from voxhint.verbs.label_names import LabelNames, wanted_names
from voxhint.verbs.link_files import link
from voxhint.verbs.overlapping_structures import classes_of
from voxhint.verbs.simulate import made_by
from voxhint.verbs.written import Written

_Layers = Iterator[tuple[str, Bool[np.ndarray, "i j k"]]]


def import_masks(  # noqa: PLR0913 - a command and its flags
    folder: Path,
    out: Path,
    *,
    wanted: Wanted,
    labels: Sequence[str] = (),
    channel: str | None = None,
    overwrite: bool = False,
    tell: Tell = silent,
) -> Written:
    """Write a study of links to the images, and of masks, partial masks or boxes.

    Args:
        folder: As `read_masked_images` takes it.
        out: The new study.
        wanted: What becomes of the masks.
        labels: Those to take, as `wanted_names` reads them; all if there is none.
        channel: What the images are; of BIDS the suffix to take.
        overwrite: Whether an earlier import may be replaced.
        tell: Hears of progress.

    Returns:
        What was made, and what was left out.

    Raises:
        BadFileError: The folder is laid out otherwise, or no mask can be taken.
    """
    require_apart(folder, out)
    found = read_masked_images(folder, channel)
    names = LabelNames.of(given := wanted_names(labels))
    for mask in (mask for image in found.images for mask in image.masks):
        for name in (mask.one,) if mask.one else mask.names.values():
            _ = _label(names, name)
    told = tuple(given) or tuple(dict.fromkeys(names.wanted.values()))
    lines = [*found.lines, *names.told()]
    with atomic_folder(out, verb="import masks", overwrite=overwrite) as study:
        (study / "imagesTr").mkdir()
        describe_images(study, told, found.channel, len(found.images))
        book = _Book(study, names, wanted, _labels_of(study))
        for number, image in enumerate(found.images):
            tell("reading masks", number, len(found.images), image.case)
            book.add(image)
        if not book.hints:
            none = f"{folder}: holds no mask that can be taken"
            raise BadFileError("\n".join([*lines, *book.lines, none]))
        write_hints(study / "hints", book.hints, book.labels)
        rows = [{"case": image.case, "subject": image.subject} for image in found.images]
        write_text(study / "cases.csv", table_text(rows, ["case", "subject"]))
        settings: dict[str, object] = {"layout": found.layout, "as": wanted, "labels": told}
        write_json(study / MADE, made_by("import masks", settings, {}))
    cases = counted(len(found.images), "case")
    told_of = f"{cases} of {found.layout}, masks for {len(book.hints)}; run voxhint check {out}"
    return Written(out, told_of, (*lines, *book.lines))


def _labels_of(study: Path) -> LabelSet:
    """Return the labels of a study.

    Raises:
        BadFileError: It is not described.
    """
    described, problems = read_description(study / NAME)
    if described is None:
        raise BadFileError("\n".join(map(str, problems)))
    return described.labels


@dataclass(slots=True)
class _Book:
    """What was written so far."""

    study: Path
    names: LabelNames
    wanted: Wanted
    labels: LabelSet
    hints: dict[str, tuple[Hint, ...]] = field(default_factory=dict)
    """Of the cases whose masks are taken; none where masks are truth."""

    lines: list[str] = field(default_factory=list)

    def add(self, image: MaskedImage) -> None:
        """Link an image and take its masks, or note why they are left out."""
        suffix = image_suffix(image.image.name) or ""
        link(image.image, self.study / "imagesTr" / f"{image.case}_0000{suffix}")
        if not image.masks:
            return
        try:
            self.hints[image.case], odd = _taken(
                self.study, image, self.names, self.wanted, self.labels
            )
        except BadFileError as error:
            odd = f"{error} (masks of this case are left out)"
        self.lines += [f"{image.case}: {odd}"] if odd else []


def _label(names: LabelNames, name: str) -> str | None:
    return names.label(Structure(0, (name,), naming=False))


def _taken(
    study: Path, image: MaskedImage, names: LabelNames, wanted: Wanted, labels: LabelSet
) -> tuple[tuple[Hint, ...], str]:
    """Write the mask of a case, if that is wanted.

    Returns:
        Else its hints; and what is odd.

    Raises:
        BadFileError: Labels overlap where one mask is wanted.
    """
    grid = read_grid(image.image)
    layers = _layers(image.masks, grid, names)
    if wanted == "boxes":
        return tuple(boxes_around(layers, grid)), ""
    classes, clashes = classes_of(layers, labels, grid.shape)
    if wanted == "hints":
        drawn = (partial_mask(classes, grid),) if classes.any() else ()
        return drawn, f"{clashes}, which are left undrawn" if clashes else ""
    if clashes:
        msg = f"{clashes}; name labels that do not overlap with --label"
        raise BadFileError(msg)
    path = study / "denseTr" / f"{image.case}.nii.gz"
    write_ids(path, labels.to_ids(classes), grid, labels)
    return (), ""


def _layers(masks: Sequence[NamedMask], grid: Grid, names: LabelNames) -> _Layers:
    """Yield each label of some masks, one after the other.

    Raises:
        BadFileError: A mask lies elsewhere, holds an id without a name, or repeats a name.
    """
    done: dict[str, Path] = {}
    for mask in masks:
        ids, own = read_ids(mask.path)
        require_place(mask.path, own, [grid])
        for number in (1,) if mask.one else np.unique(ids[ids > 0]).tolist():
            name = mask.one or mask.names.get(number)
            if name is None:
                msg = f"{mask.path.name}: holds id {number}, which nothing names; name it"
                raise BadFileError(msg)
            if (label := _label(names, name)) is None:
                continue
            if done.setdefault(name, mask.path) != mask.path:
                both = f"{done[name].parent} and {mask.path.parent}"
                msg = f"{mask.path.name}: draws '{name}', as another mask does ({both}); keep one"
                raise BadFileError(msg)
            yield label, ids > 0 if mask.one else ids == number
