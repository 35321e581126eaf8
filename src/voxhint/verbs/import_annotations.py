"""What objects beside a DICOM series drew becomes masks, hints or boxes of the study."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from scipy import ndimage

from voxhint.core.errors import BadFileError
from voxhint.core.grid import Grid
from voxhint.core.hints import Box, Diameter, Hint, Soft, Strokes
from voxhint.core.labels import UNDRAWN, LabelSet
from voxhint.core.progress import Tell
from voxhint.files.datasets.pascal_voc import FlatBox, read_flat_boxes, solid_boxes
from voxhint.files.dicom.read_seg_rtstruct import Structure, on_grid, open_object
from voxhint.files.dicom.read_sr_diameters import diameters, read_measurements
from voxhint.files.dicom.stack import Stack
from voxhint.files.images import write_ids
from voxhint.files.study.hint_writer import write_hints
from voxhint.files.validate.hints import outer_corners_mm
from voxhint.verbs.label_names import LabelNames
from voxhint.verbs.overlapping_structures import classes_of

Wanted = Literal["truth", "hints", "boxes"]
"""Dense masks (`denseTr`), partial masks that say nothing of the rest, or boxes."""

_HALF = 0.5


@dataclass(frozen=True, slots=True)
class _Taken:
    """An object that speaks of cases, and what of it is taken."""

    path: Path
    name: str
    """What messages call it."""

    cases: frozenset[int]
    labels: tuple[tuple[Structure, str], ...]


@dataclass(frozen=True, slots=True)
class _Collection:
    """Which objects speak of the cases of an import."""

    labels: tuple[str, ...]
    wanted: Wanted | None
    taken: tuple[_Taken, ...]
    marks: tuple[tuple[int, Hint], ...]
    """Boxes and diameters, by the number of their case."""

    lines: tuple[str, ...]
    """What was left aside, and why."""


def collect(
    paths: Sequence[Path],
    stacks: Sequence[Stack],
    names: Mapping[str, tuple[str, ...]],
    wanted: Wanted | None,
    tell: Tell,
) -> _Collection:
    """Find out which objects speak of the cases of an import, and what of them is wanted.

    Args:
        paths: Of files that may be such objects.
        stacks: Those of the cases.
        names: Of each label; if there is none, what is drawn names the labels.
        wanted: What is to become of it; if None, the objects are only counted.
        tell: Hears how far it is.

    Returns:
        What is taken, and what was left aside.
    """
    book = _Book(LabelNames.of(names))
    instances = {
        plane.instance: (case, number)
        for case, stack in enumerate(stacks)
        for number, plane in enumerate(stack.planes)
    }
    for number, path in enumerate(paths, 1):
        tell("reading objects", number, len(paths), "")
        try:
            if path.suffix.lower() == ".xml":
                _add_flat(book, path, instances, wanted)
            else:
                _add_object(book, path, f"object {number}", stacks, wanted)
        except BadFileError as error:
            book.lines.append(str(error))
    for case, flat in book.flat.items():
        book.marks += [(case, box) for box in solid_boxes(flat, stacks[case])]
    for (what, why), count in sorted((+book.left).items()):
        book.lines.append(f"{count} {what} beside the slices are left out; {why}")
    labels = tuple(names) or tuple(dict.fromkeys(book.names.wanted.values()))
    lines = (*book.lines, *book.names.told())
    return _Collection(labels, wanted, tuple(book.taken), tuple(book.marks), lines)


_ASK = "take what they drew with --as truth, hints or boxes"
_NO_TRUTH = "they are no masks: take them with --as hints or boxes"
_FLAT = "XML files of boxes"
_REPORT = "reports"


@dataclass(slots=True)
class _Book:
    """What was found so far."""

    names: LabelNames
    lines: list[str] = field(default_factory=list)
    taken: list[_Taken] = field(default_factory=list)
    marks: list[tuple[int, Hint]] = field(default_factory=list)
    flat: dict[int, dict[str, dict[int, list[FlatBox]]]] = field(default_factory=dict)
    """Boxes on slices by case, label and slice."""

    left: Counter[tuple[str, str]] = field(default_factory=Counter)
    """What is left out and why."""


def _add_flat(
    book: _Book, path: Path, instances: Mapping[str, tuple[int, int]], wanted: Wanted | None
) -> None:
    """Add the boxes of an XML file, which is called like the slice that they lie on."""
    boxes = read_flat_boxes(path, "an XML file")
    if boxes is None:
        book.left["other XML files", "leave them so"] += 1
    elif wanted is None or wanted == "truth":
        book.left[_FLAT, _NO_TRUTH if wanted else _ASK] += 1
    elif path.stem not in instances:
        book.left[_FLAT, "they are called like no slice that is imported"] += 1
    else:
        case, number = instances[path.stem]
        for box in boxes:
            if (label := book.names.label(Structure(0, (box.name,), naming=False))) is not None:
                of_label = book.flat.setdefault(case, {}).setdefault(label, {})
                of_label.setdefault(number, []).append(box)


def _add_object(
    book: _Book, path: Path, name: str, stacks: Sequence[Stack], wanted: Wanted | None
) -> None:
    """Add what a segmentation, a structure set or a report says."""
    made = open_object(path, name)
    if wanted is None:
        book.left[_REPORT if made is None else made.kind, _ASK] += 1
    elif made is None:
        _add_diameters(book, path, name, stacks, wanted)
    elif cases := frozenset(made.stacks(stacks)):
        labels = [(drawn, book.names.label(drawn)) for drawn in made.structures]
        mine = tuple((drawn, label) for drawn, label in labels if label is not None)
        book.taken.append(_Taken(path, f"{name} ({made.kind})", cases, mine))
    else:
        book.lines.append(f"{name} ({made.kind}) is set aside: it speaks of no imported series")


def _add_diameters(
    book: _Book, path: Path, name: str, stacks: Sequence[Stack], wanted: Wanted
) -> None:
    """Add the diameters of a report."""
    found, bare = read_measurements(path, name)
    if bare or not found:
        book.left["groups of measurements", "they hold no diameter with a place"] += bare
        book.left[_REPORT, "they hold no diameters"] += not found
    if found and wanted == "truth":
        book.left[_REPORT, _NO_TRUTH] += 1
        return
    for told in diameters(found, stacks):
        if isinstance(told, str):
            book.lines.append(f"{name} (SR), {told}")
        elif (label := book.names.label(told[0].finding)) is not None:
            book.marks.append((told[1], Diameter(label, told[2], told[0].diameter_mm)))


def write_drawn(
    folder: Path, found: _Collection, labels: LabelSet, cases: Mapping[str, Stack]
) -> tuple[str, ...]:
    """Write masks, hints or boxes into a study.

    Args:
        folder: The study.
        found: Which objects are taken.
        labels: The study's.
        cases: Names and stacks, in the order of their numbers.

    Returns:
        What was odd.

    Raises:
        BadFileError: Nothing was drawn that could be taken.
    """
    lines: list[str] = []
    hints: dict[str, tuple[Hint, ...]] = {}
    flaws: dict[tuple[str, str], str] = {}
    done: set[tuple[str, str]] = set()
    for number, (case, stack) in enumerate(cases.items()):
        layers: _Layers = {}
        told: dict[str, None] = {}
        for name, label, notes in _draw(found, number, stack, layers, flaws):
            done.add((name, label))
            told |= dict.fromkeys(notes)
        drawn, odd = _written(folder, case, layers, found.wanted, labels, stack.grid)
        lines += [f"{case}: {line}" for line in (*told, *odd)]
        hints[case] = (*(mark for which, mark in found.marks if which == number), *drawn)
    lines += [
        f"{name}, '{label}', is set aside: {why}"
        for (name, label), why in flaws.items()
        if (name, label) not in done
    ]
    if not (done or found.marks):
        none = "nothing that can be taken lies on what is imported; leave --as out"
        raise BadFileError("\n".join([*found.lines, *lines, none]))
    write_hints(folder / "hints", hints, labels)
    return tuple(lines)


def _draw(
    found: _Collection,
    number: int,
    stack: Stack,
    layers: "_Layers",
    flaws: dict[tuple[str, str], str],
) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Add what objects draw on a case to its layers; yield object, label and what is odd."""
    for taken in found.taken:
        if number in taken.cases:
            for label, notes in _draw_object(taken, stack, layers, flaws):
                yield taken.name, label, notes


def _draw_object(
    taken: _Taken, stack: Stack, layers: "_Layers", flaws: dict[tuple[str, str], str]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    made = open_object(taken.path, taken.name)
    for structure, label in taken.labels if made is not None else ():
        try:
            drawn, notes = made.draw(structure, stack) if made is not None else (None, ())
        except BadFileError as error:
            flaws.setdefault((taken.name, label), str(error))
            continue
        if drawn is not None:
            moved, uneven = on_grid(drawn, stack)
            known = layers.get(label)
            layers[label] = moved if known is None else np.maximum(known, moved)
            yield label, (*(f"{taken.name}, '{label}': {note}" for note in notes), *uneven)


def _written(
    folder: Path,
    case: str,
    layers: "_Layers",
    wanted: Wanted | None,
    labels: LabelSet,
    grid: Grid,
) -> tuple[tuple[Hint, ...], list[str]]:
    """Write the mask of a case, if that is wanted.

    Returns:
        Else its hints; and what is odd.
    """
    if not layers:
        return (), []
    if wanted == "hints":
        return _partial(layers, labels, grid)
    odd = _halve(layers)
    if wanted == "boxes":
        return tuple(boxes_around(layers.items(), grid)), odd
    classes, clashes = classes_of(layers.items(), labels, grid.shape)
    if clashes:
        return (), [*odd, f"{clashes}, so no mask is made; name labels that do not overlap"]
    write_ids(folder / "denseTr" / f"{case}.nii.gz", labels.to_ids(classes), grid, labels)
    if lacking := [f"'{label}'" for label in labels.foreground if label not in layers]:
        odd.append(f"nothing draws {', '.join(lacking)}, so its mask says they are absent")
    return (), odd


_Layers = dict[str, Bool[np.ndarray, "i j k"] | Float32[np.ndarray, "i j k"]]


def _halve(layers: _Layers) -> list[str]:
    """Return what is odd, after half and more was taken where fractions are stored."""
    fractions = [label for label, layer in layers.items() if layer.dtype != bool]
    layers |= {label: layers[label] >= _HALF for label in fractions}
    told = f"{', '.join(fractions)}: stored in fractions; half and more is taken"
    return [told] if fractions else []


def _partial(layers: _Layers, labels: LabelSet, grid: Grid) -> tuple[tuple[Hint, ...], list[str]]:
    """Return partial masks, where nothing is drawn nothing is known; and what is odd."""
    drawn = {label: layer for label, layer in layers.items() if layer.dtype == bool}
    classes, clashes = classes_of(drawn.items(), labels, grid.shape)
    hints: list[Hint] = [
        Soft(label, layer.astype(np.float32), grid)
        for label, layer in layers.items()
        if label not in drawn
    ]
    if classes.any():
        hints.append(partial_mask(classes, grid))
    return tuple(hints), [f"{clashes}, which are left undrawn"] if clashes else []


def partial_mask(classes: UInt8[np.ndarray, "i j k"], grid: Grid) -> Strokes:
    """Return a mask that says nothing of where it has no class."""
    undrawn = np.where(classes == 0, UNDRAWN, classes).astype(np.uint8)
    return Strokes(undrawn, grid, complete=False)


def boxes_around(
    layers: Iterable[tuple[str, Bool[np.ndarray, "i j k"]]], grid: Grid
) -> Iterator[Box]:
    """Yield a box around each connected piece, from the outer faces of its voxels."""
    for label, layer in layers:
        pieces, _ = ndimage.label(layer, np.ones((3, 3, 3)))
        for i, j, k in ndimage.find_objects(pieces):
            places = outer_corners_mm(grid.cropped((i, j, k)))
            yield Box(label, places.min(axis=0), places.max(axis=0))
