"""Images and masks as TotalSegmentator, MONAI Label, BIDS or ITK-SNAP's users lay them out."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxhint.core.errors import BadFileError
from voxhint.files.csv_tables import read_table
from voxhint.files.dataset_json import read_object
from voxhint.files.images import image_stem
from voxhint.files.problems import reading
from voxhint.files.study.layout import images_in
from voxhint.files.unicode_names import plain

_HEAD = "ITK-SnAP Label Description File"
_ROW = re.compile(r'(\d+)\s+\d+\s+\d+\s+\d+\s+[\d.]+\s+\d+\s+\d+\s+"([^"]*)"')
_DATASTORE = "datastore_v2.json"
_FINAL = "final"
_SEGMENTATIONS = "segmentations"
_SCANS = {"ct": "CT", "mri": "MR"}
_SAME = ("sub", "ses", "acq", "run")
"""Entities of BIDS that tell which image a mask is of, where it says them."""

_KNOWN = ("color", "abbreviation", "mapping")


@dataclass(frozen=True, slots=True)
class NamedMask:
    """A mask and what its ids stand for; of a mask of one label every id above 0 does."""

    path: Path
    names: Mapping[int, str]
    one: str = ""


@dataclass(frozen=True, slots=True)
class MaskedImage:
    """An image and the masks of it."""

    case: str
    subject: str
    image: Path
    masks: tuple[NamedMask, ...]


@dataclass(frozen=True, slots=True)
class _MaskedImages:
    """What a folder holds."""

    layout: str
    channel: str
    images: tuple[MaskedImage, ...]
    lines: tuple[str, ...] = ()
    """What was left out."""


def read_masked_images(folder: Path, channel: str | None = None) -> _MaskedImages:
    """Find out how a folder is laid out, and which masks are of which image.

    Args:
        folder: Holds a MONAI Label datastore; a BIDS data set with derivatives; TotalSegmentator's
            folders of a scan and its segmentations; or `images` and `labels` with ITK-SNAP's label
            description beside them.
        channel: What the images are; of BIDS the suffix to take, such as T1w.

    Returns:
        The images.

    Raises:
        BadFileError: It is nothing of these.
    """
    if (folder / _DATASTORE).is_file():
        return _monai_label(folder, channel)
    if any(folder.glob("sub-*")):
        return _bids(folder, channel)
    if any(folder.glob(f"*/{_SEGMENTATIONS}")):
        return _totalsegmentator(folder)
    if (folder / "images").is_dir() and (folder / "labels").is_dir():
        return _pairs(folder, channel)
    msg = (
        f"{folder}: holds no {_DATASTORE}, no sub-* folders, no */{_SEGMENTATIONS}, and no images "
        "and labels; name the folder of a MONAI Label, BIDS, TotalSegmentator or ITK-SNAP data set"
    )
    raise BadFileError(msg)


def _totalsegmentator(folder: Path) -> _MaskedImages:
    """Return scans with a file for each label, as TotalSegmentator gives its data out.

    Raises:
        BadFileError: A folder holds no scan or two, or there are CT and MR.
    """
    images, channels = [], set()
    for place in sorted(path.parent for path in folder.glob(f"*/{_SEGMENTATIONS}")):
        scans = {stem: path for stem, path in images_in(place).items() if stem in _SCANS}
        if len(scans) != 1:
            msg = f"{place.name}: holds {len(scans)} of ct.nii.gz and mri.nii.gz; give one"
            raise BadFileError(msg)
        ((kind, image),) = scans.items()
        channels.add(_SCANS[kind])
        found = sorted(images_in(place / _SEGMENTATIONS).items())
        masks = tuple(NamedMask(path, {}, plain(stem)) for stem, path in found)
        images.append(MaskedImage(place.name, place.name, image, masks))
    if len(channels) > 1:
        msg = f"{folder.name}: holds CT and MR; make a study of each"
        raise BadFileError(msg)
    return _MaskedImages("TotalSegmentator", channels.pop(), tuple(images))


def _monai_label(folder: Path, channel: str | None) -> _MaskedImages:
    """Return what a MONAI Label datastore holds; masks that nobody has approved are left out.

    Raises:
        BadFileError: The datastore is no such file.

    Source:
        MONAI Label, monailabel/datastore/local.py: objects by image, labels by tag. Its viewer for
        3D Slicer saves names and ids as `label_info`.
    """
    spec = read_object(folder / _DATASTORE)
    objects = spec.get("objects")
    if not isinstance(objects, dict):
        msg = f"{_DATASTORE}: has no objects; is it of MONAI Label 0.3 or later?"
        raise BadFileError(msg)
    described = _description_of(folder)
    images, draft, nameless = [], 0, 0
    for name, item in sorted(objects.items()):
        image = folder / str(spec.get("images_dir", "")) / f"{name}{_get(item, 'image', 'ext')}"
        final = _get(item, "labels", _FINAL)
        masks: tuple[NamedMask, ...] = ()
        if isinstance(final, dict):
            place = folder / str(spec.get("labels_dir", "labels")) / _FINAL
            names = _info_names(_get(final, "info", "label_info")) or described
            nameless += not names
            mask = NamedMask(place / f"{name}{final.get('ext', '')}", names)
            masks = (mask,) if names else ()
        else:
            draft += bool(_get(item, "labels"))
        images.append(MaskedImage(plain(name), plain(name), image, masks))
    lines = []
    if draft:
        lines.append(f"{draft} masks that no person saved (of tags but '{_FINAL}') are left out")
    if nameless:
        lines.append(
            f"{nameless} masks are left out, as nothing names their ids; lay ITK-SNAP's label "
            f"description beside {_DATASTORE}"
        )
    return _MaskedImages("MONAI Label", channel or "image", tuple(images), tuple(lines))


def _get(item: Any, *keys: str) -> Any:  # noqa: ANN401
    for key in keys:
        item = item.get(key, {}) if isinstance(item, dict) else {}
    return item or ""


def _info_names(rows: Any) -> dict[int, str]:  # noqa: ANN401
    """Return the names that a viewer saved with a mask."""
    if not isinstance(rows, list):
        return {}
    told = [(_get(row, "idx"), _get(row, "name")) for row in rows]
    return {
        int(number): plain(str(name)) for number, name in told if str(number).isdecimal() and name
    }


def _description_of(folder: Path) -> dict[int, str]:
    """Return the names of ITK-SNAP's label description in a folder, if there is one.

    Raises:
        BadFileError: There are several.
    """
    found = [path for path in sorted(folder.iterdir()) if _is_label_description(path)]
    if len(found) > 1:
        told = ", ".join(path.name for path in found)
        msg = f"{folder.name}: holds {len(found)} label descriptions ({told}); keep one"
        raise BadFileError(msg)
    return _read_label_description(found[0]) if found else {}


def _pairs(folder: Path, channel: str | None) -> _MaskedImages:
    """Return images and masks of the same names, whose ids ITK-SNAP's label description names.

    Raises:
        BadFileError: There is none.
    """
    names = _description_of(folder)
    if not names:
        msg = f"{folder}: holds no label description of ITK-SNAP; save one there"
        raise BadFileError(msg)
    masks = images_in(folder / "labels")
    images = images_in(folder / "images")
    left = sorted(set(masks) - set(images))
    lines = [f"{len(left)} masks have no image of their name, such as {left[0]}"] if left else []
    found = tuple(
        MaskedImage(
            plain(stem),
            plain(stem),
            image,
            (NamedMask(masks[stem], names),) if stem in masks else (),
        )
        for stem, image in sorted(images.items())
    )
    return _MaskedImages("ITK-SNAP", channel or "image", found, tuple(lines))


def _entities(path: Path) -> dict[str, str]:
    """Return the entities in a name of BIDS, and its suffix."""
    *pairs, suffix = image_stem(path).split("_")
    told = {key: value for key, _, value in (pair.partition("-") for pair in pairs)}
    return {**told, "suffix": suffix}


def _bids(folder: Path, channel: str | None) -> _MaskedImages:
    """Return images of one suffix, and the masks of them in `derivatives`.

    Raises:
        BadFileError: There are several kinds of images, and none was chosen; or none of it.

    Source:
        BIDS specification 1.10, "Imaging derivatives": `_dseg`, `_mask`, and tables of labels.
    """
    channel, scans = _scans(folder, channel)
    masks = [
        path
        for path in sorted((folder / "derivatives").glob("**/sub-*.nii*"))
        if _entities(path)["suffix"] in ("dseg", "mask")
    ]
    images, used = [], set()
    for scan in scans:
        mine = [path for path in masks if _is_of(path, scan)]
        used |= set(mine)
        named = tuple(_bids_mask(path, folder) for path in mine)
        subject = f"sub-{_entities(scan).get('sub', '')}"
        images.append(MaskedImage(image_stem(scan), subject, scan, named))
    left = len(masks) - len(used)
    lines = (f"{left} masks are of no image of {channel} and are left out",) if left else ()
    return _MaskedImages("BIDS", channel, tuple(images), lines)


def _scans(folder: Path, suffix: str | None) -> tuple[str, list[Path]]:
    """Return the images of a suffix, or of the only one there is, and that suffix.

    Raises:
        BadFileError: There are several, and none was chosen; or none of it.
    """
    scans: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("sub-*/**/*.nii*")):
        if "anat" in path.parts:
            scans.setdefault(_entities(path)["suffix"], []).append(path)
    chosen = suffix or (next(iter(scans)) if len(scans) == 1 else "")
    if chosen not in scans:
        msg = (
            f"{folder.name}: holds images of {', '.join(sorted(scans)) or 'no kind in anat'}; "
            "choose one with --channel, such as --channel T1w"
        )
        raise BadFileError(msg)
    return chosen, scans[chosen]


def _is_of(mask: Path, scan: Path) -> bool:
    """Return whether a mask shares all entities of an image that it names."""
    of = _entities(scan)
    return all(value == of.get(key) for key, value in _entities(mask).items() if key in _SAME)


def _bids_mask(path: Path, root: Path) -> NamedMask:
    """Return a mask of one label, or one whose ids a table names.

    Raises:
        BadFileError: Nothing names them.
    """
    told = _entities(path)
    if told["suffix"] == "mask":
        name = told.get("label") or told.get("desc")
        if name is None:
            msg = f"{path.name}: says no label; call it sub-..._label-NAME_mask.nii.gz"
            raise BadFileError(msg)
        return NamedMask(path, {}, plain(name))
    table = next((one for one in _tables(path, root) if one.is_file()), None)
    if table is None:
        msg = f"{path.name}: no table names its ids; lay {image_stem(path)}.tsv beside it"
        raise BadFileError(msg)
    rows = read_table(table, table.name, needed=("index", "name"), known=_KNOWN).rows
    names = {round(row.number("index")): plain(row.cells["name"]) for row in rows}
    return NamedMask(path, {number: name for number, name in names.items() if number})


def _tables(path: Path, root: Path) -> Iterator[Path]:
    """Yield where the table of a mask may lie: beside it, or in a folder above (inheritance)."""
    yield path.with_name(f"{image_stem(path)}.tsv")
    for folder in path.parents:
        yield from sorted(folder.glob("*dseg.tsv")) if "sub-" not in folder.name else ()
        yield folder / "dseg.tsv"
        if folder == root:
            return


def _is_label_description(path: Path) -> bool:
    """Return whether a file begins as ITK-SNAP's label descriptions do."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return _HEAD.lower().encode() in file.read(256).lower()


def _read_label_description(path: Path) -> dict[int, str]:
    """Read the names of ids; id 0, the clear label, is left out.

    Args:
        path: A file of which `_is_label_description` is true.

    Returns:
        Names by id.

    Raises:
        BadFileError: A row is no label, or two have one id.

    Source:
        The head of such a file, which names its columns: IDX, R, G, B, A, VIS, MSH, LABEL.
    """
    names: dict[int, str] = {}
    with reading(path):
        for number, line in enumerate(path.read_text("utf-8-sig").splitlines(), 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            row = _ROW.fullmatch(line.strip())
            if row is None or int(row[1]) in names:
                told = "is no row of a label" if row is None else f"has id {row[1]} again"
                msg = f"{path.name}: line {number} {told}; save it from ITK-SNAP again"
                raise BadFileError(msg)
            names[int(row[1])] = plain(row[2].strip())
    names.pop(0, None)
    return names
