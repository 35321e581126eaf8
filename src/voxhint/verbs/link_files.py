"""Links to images of another study, which take no room; copies where links fail."""

import os
import shutil
from pathlib import Path


def link_all(source: Path, target: Path) -> None:
    """Link every image of a folder that the target does not hold yet; copy where links fail."""
    target.mkdir(exist_ok=True)
    for path in sorted(source.iterdir()):
        place = target / path.name
        if not path.name.startswith(".") and not os.path.lexists(place):
            link(path, place)


def link(path: Path, place: Path) -> None:
    """Link an image, a file or a folder of DICOM; copy it where links fail.

    Raises:
        FileExistsError: Something lies at the place already.
    """
    try:
        place.symlink_to(path.resolve(), target_is_directory=path.is_dir())
    except FileExistsError:  # a copy would write through the link that is there
        raise
    except OSError:
        copy = shutil.copytree if path.is_dir() else shutil.copyfile
        copy(path, place)
