"""`voxhint import dicomweb`: a study in a hospital's archive becomes a study of ours."""

import tempfile
from pathlib import Path

from voxhint.core.progress import Tell, silent
from voxhint.files.dicom.web import fetch_study
from voxhint.verbs.import_dicom import ImportRequest, import_dicom
from voxhint.verbs.written import Written


def import_dicomweb(
    url: str,
    out: Path,
    *,
    study: str,
    request: ImportRequest | None = None,
    overwrite: bool = False,
    tell: Tell = silent,
) -> Written:
    """Fetch a DICOM study, and import it as `import_dicom` does.

    Args:
        url: Of the archive, as https://host/dicom-web.
        out: The study to make.
        study: The study instance UID.
        request: What to make of it.
        overwrite: Whether an earlier import may be replaced.
        tell: Hears how far it is.

    Returns:
        What was written, and all that was odd.
    """
    with tempfile.TemporaryDirectory(prefix="voxhint-") as name:
        fetch_study(url, study, Path(name), lambda done: tell("fetching", done, done, ""))
        return import_dicom(Path(name), out, request=request, overwrite=overwrite, tell=tell)
