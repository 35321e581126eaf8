"""A data set laid out as in the Decathlon (MSD), or as nnU-Net v1 made of it: what is what."""

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxhint.core.errors import BadFileError
from voxhint.core.labels import BACKGROUND
from voxhint.files.dataset_json import NAME, read_object
from voxhint.files.images import image_stem, image_suffix
from voxhint.files.study.layout import CHANNEL, images_in, some
from voxhint.files.unicode_names import plain

_ENDING = ".nii.gz"
_DESIGN = ("Val", "Va")  # WORD's word and that of AMOS
_LEARNT = ("Tr", *_DESIGN)
_IMAGES = {f"images{part}": "imagesTr" for part in _LEARNT} | {"imagesTs": "imagesTs"}
_MASKS = {f"labels{part}": "denseTr" for part in _LEARNT} | {"labelsTs": "labelsTs"}


@dataclass(frozen=True, slots=True)
class _MsdFolder:
    """The files of a data set, by the names they get in a study."""

    described: Mapping[str, Any]
    """What dataset.json of the study will hold."""

    fit: frozenset[str]
    design: frozenset[str]
    """The training cases that the data set sets apart to validate on."""

    test: frozenset[str]

    files: Mapping[str, Path]
    """Images and masks by their places in the study, as in `imagesTr/CASE_0000.nii.gz`."""

    strokes: Mapping[str, Path]
    """The maps of scribbles by case."""


@dataclass(frozen=True, slots=True)
class _Names:
    """How the files of a data set are called after its cases."""

    parted: bool
    """Whether images are called CASE_CCCC, as in nnU-Net; else the name is the case's."""

    listed: Mapping[str, str]
    """Names of images by the place of their masks, as in `labelsTr/NAME`, from dataset.json."""

    def case(self, stem: str) -> str:
        """Return the case of an image."""
        match = CHANNEL.fullmatch(stem) if self.parted else None
        return match[1] if match else stem

    def case_of_mask(self, below: str, stem: str, cases: Set[str]) -> str:
        """Return the case of a mask or a map of strokes in the folder `below`."""
        choices = (self.listed.get(f"{below}/{stem}", stem), stem)
        named = [name for choice in choices for name in (choice, self.case(choice))]
        return next((name for name in named if name in cases), stem)


def read_msd(folder: Path, *, scribbles: str) -> _MsdFolder:
    """Find out which file of a data set is what.

    Args:
        folder: Holds dataset.json, imagesTr, labelsTr and so on.
        scribbles: The folder in it with a label map of strokes for each case.

    Returns:
        Its files, by the names they get in a study.

    Raises:
        BadFileError: The data set is laid out otherwise, or masks belong to no image.
    """
    spec = read_object(folder / NAME)
    described = _described(spec)
    found = {below: _stems(folder / below) for below in (*_IMAGES, *_MASKS, scribbles)}
    if not found["imagesTr"]:
        msg = f"{folder}: has no imagesTr with images; name the folder that holds dataset.json"
        raise BadFileError(msg)
    names = _names(found, dict(_listed(spec)), len(described["channel_names"]))
    cases = {below: frozenset(map(names.case, found[below])) for below in _IMAGES}
    files: dict[str, Path] = {}
    for below, target in _IMAGES.items():
        for stem, path in found[below].items():
            channel = "" if names.parted else "_0000"
            _put(files, f"{target}/{stem}{channel}{image_suffix(path.name)}", path)
    test = cases["imagesTs"]
    design = frozenset[str]().union(*(cases[f"images{part}"] for part in _DESIGN))
    learnt = cases["imagesTr"] | design
    for below, target in _MASKS.items():
        own = {"labelsTs": test}.get(target, learnt)
        for case, path in _of_cases(below, found[below], names, own).items():
            _put(files, f"{target}/{case}{image_suffix(path.name)}", path)
    strokes = _of_cases(scribbles, found[scribbles], names, learnt)
    return _MsdFolder(described, cases["imagesTr"], design, test, files, strokes)


def _stems(folder: Path) -> dict[str, Path]:
    return {plain(stem): path for stem, path in images_in(folder).items()}


def _put(files: dict[str, Path], place: str, path: Path) -> None:
    """Take note of a file's place.

    Raises:
        BadFileError: It is another file's already.
    """
    if place in files:
        both = " and ".join(f"{one.parent.name}/{one.name}" for one in (files[place], path))
        msg = f"{both}: would both become {place}; rename or remove one of them"
        raise BadFileError(msg)
    files[place] = path


def _of_cases(
    below: str, found: Mapping[str, Path], names: _Names, cases: Set[str]
) -> dict[str, Path]:
    """Return the masks of a folder by case; those of no image keep their names.

    Raises:
        BadFileError: Two are of one case, or none belongs to an image.
    """
    masks: dict[str, Path] = {}
    for stem, path in found.items():
        _put(masks, names.case_of_mask(below, stem, cases), path)
    if masks and cases and not cases & set(masks):
        msg = (
            f"{below}: none of its {len(masks)} masks ({some(masks)}) is called like an image "
            f"({some(cases)}); rename them, or pair images and labels in {NAME}, 'training'"
        )
        raise BadFileError(msg)
    return masks


def _listed(spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the place of each mask that dataset.json lists, without suffix, and its image."""
    for key in ("training", "validation", "test"):
        rows = spec.get(key)
        for row in rows if isinstance(rows, list) else []:
            image, label = (
                (row.get("image"), row.get("label")) if isinstance(row, Mapping) else (row, None)
            )
            if isinstance(image, str):
                image = Path(image)
                mask = Path(label) if isinstance(label, str) else image
                below = mask.parent.name if mask is not image else ""
                yield f"{below}/{image_stem(mask)}", image_stem(image)


def _names(
    found: Mapping[str, Mapping[str, Path]], listed: Mapping[str, str], channels: int
) -> _Names:
    """Return how files are called.

    A name such as amos_0001 may be a case, or channel 1 of the case amos: masks and lists tell.

    Raises:
        BadFileError: Several channels would lie in one file.
    """
    images = set[str]().union(*(found[below] for below in _IMAGES))
    known = set(listed.values()).union(*(found[below] for below in _MASKS))
    known |= {place.rpartition("/")[2] for place in listed}
    parted = _are_parted(images, known, channels)
    if channels > 1 and not parted:
        msg = f"{NAME}: names {channels} modalities in one file; give each a file CASE_CCCC"
        raise BadFileError(msg)
    return _Names(parted, listed)


def _are_parted(images: Set[str], known: Set[str], channels: int) -> bool:
    """Return whether images are called CASE_CCCC."""
    matches = [CHANNEL.fullmatch(stem) for stem in images]
    parts = {match[1] for match in matches if match} - images
    if known & parts:
        return True
    numbered = all(match and int(match[2]) < channels for match in matches)
    return numbered and (channels > 1 or not known & images)


def _described(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return our dataset.json for theirs, which maps numbers to names.

    Raises:
        BadFileError: It does not, or a label has two numbers.
    """
    channels, labels = spec.get("modality"), spec.get("labels")
    if not isinstance(channels, Mapping) or not isinstance(labels, Mapping) or not channels:
        msg = f"{NAME}: has no modality and labels as in the Decathlon; is it a study already?"
        raise BadFileError(msg)
    if len(channels) == 1:
        channels = {"0": next(iter(channels.values()))}
    return {
        "channel_names": {str(number): str(name) for number, name in channels.items()},
        "labels": _labels(labels),
        "file_ending": _ENDING,
    }


def _labels(labels: Mapping[str, Any]) -> dict[str, int]:
    """Return the id of each label.

    Raises:
        BadFileError: They map no numbers to names, or a label has two numbers.
    """
    if all(type(value) is int for value in labels.values()):  # as nnU-Net v2 has them
        labels = {str(number): name for name, number in labels.items()}
    ids: dict[str, int] = {}
    for number, said in labels.items():
        name = said if isinstance(said, str) else ""
        if not name or not number.strip().isdecimal():
            msg = f'{NAME}: labels hold "{number}": {said!r}; write "1": "name of label 1"'
            raise BadFileError(msg)
        name = BACKGROUND if int(number) == 0 else name
        if name in ids:
            msg = f"{NAME}: label '{name}' has ids {ids[name]} and {number}; give each a name"
            raise BadFileError(msg)
        ids[name] = int(number)
    return {BACKGROUND: 0, **ids}
