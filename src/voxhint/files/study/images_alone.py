"""Images that lie in no study: a file, a DICOM series, a zip of one, files without a channel."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from voxhint.core.errors import BadFileError
from voxhint.files.dataset_json import bad_name
from voxhint.files.dicom.find_files import files_below, is_dicom
from voxhint.files.formats.metaimage_nrrd import data_names
from voxhint.files.images import image_stem, image_suffix
from voxhint.files.study.layout import listing
from voxhint.files.zip_archives import unpack

_SERIES = "case_001"
"""What a DICOM series is called: its folder may be called like its patient."""

_NUMBERED = re.compile(r".+_\d{4}")
_FIRST = "_0000"


@contextmanager
def as_cases(images: Path, *, channels: int) -> Iterator[Path]:
    """Give images as a folder of CASE_CCCC images, whatever they are.

    Args:
        images: Such a folder; or an image file, a folder of image files without channel numbers, a
            folder of one DICOM series, or a zip of one of these.
        channels: How many a case must have; more than one needs CASE_CCCC names.

    Yields:
        The folder: as it lies, or a temporary one of links.

    Raises:
        BadFileError: It is nothing of these, or a zip that is damaged, locked or too large.
    """
    if not images.exists():
        msg = f"{images}: is not there; name an image, a DICOM folder or a folder of images"
        raise BadFileError(msg)
    with tempfile.TemporaryDirectory(prefix="voxhint-") as name:
        place = Path(name)
        if images.is_file() and images.suffix.lower() == ".zip":
            unpack(images, place / "zip")
            given = _inner(place / "zip")
        else:
            given = images
        found = _loose(given)
        if not found:
            yield given
            return
        if channels > 1:
            msg = (
                f"{images.name}: holds one channel, and the model needs {channels}; give a folder "
                "of CASE_CCCC images, one for each channel"
            )
            raise BadFileError(msg)
        (place / "images").mkdir()
        for case, path in found:
            if why := bad_name(case):
                msg = f"{path.name}: the name of its case {why}; rename it"
                raise BadFileError(msg)
            _link(path, place / "images", case)
        yield place / "images"


def _loose(given: Path) -> list[tuple[str, Path]]:
    """Return images that have no channel number in their names, and what their cases are called.

    Nothing if some have one. Two files may be of one case: whoever reads the folder tells of it.
    """
    if given.is_file():
        return [(_case_of(given), given)]
    named = [path for path in listing(given) if path.is_dir() or image_suffix(path.name)]
    if any(map(_NUMBERED.fullmatch, map(image_stem, named))):
        return []
    if all(map(Path.is_dir, named)):
        return [(_SERIES, given)] if _holds_image(given) else []
    return [(image_stem(path), path) for path in named if _holds_image(path)]


def _case_of(file: Path) -> str:
    series = not image_suffix(file.name) and is_dicom(file)
    return _SERIES if series else image_stem(file).removesuffix(_FIRST)


def _holds_image(path: Path) -> bool:
    """Return whether it is a file, or a folder with DICOM in it."""
    return not path.is_dir() or any(map(is_dicom, files_below(path)[0]))


def _link(path: Path, folder: Path, case: str) -> None:
    """Lay an image into a folder under the name of its case, with files that hold its voxels."""
    suffix = "" if path.is_dir() else image_suffix(path.name)
    if path.is_file() and not suffix:  # DICOM of many frames
        folder = folder / f"{case}{_FIRST}"
        folder.mkdir()
        targets = {"frames.dcm": path}
    else:
        targets = {f"{case}{_FIRST}{suffix}": path}
    if path.is_file() and suffix in (".mhd", ".nrrd"):
        targets |= {name: path.with_name(name) for name in data_names(path)}
    for name, source in targets.items():
        try:
            (folder / name).symlink_to(source.resolve(), target_is_directory=source.is_dir())
        except OSError:  # where a user may make no links
            copy = shutil.copytree if source.is_dir() else shutil.copyfile
            copy(source, folder / name)


def _inner(folder: Path) -> Path:
    """Return what a zip holds: the one file or folder in it, or all of it."""
    inside = [path for path in folder.iterdir() if path.name != "__MACOSX"]
    return inside[0] if len(inside) == 1 else folder
