"""DICOMweb: a study fetched from an archive, and objects stored in one."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pydicom

from voxhint.core.errors import BadFileError, BadRecipeError, NotAvailableError
from voxhint.files.dicom.headers import quiet

_TIMEOUT_S = 60
_MISSING = 404
_REFUSED = (401, 403)


def _client(url: str) -> Any:  # noqa: ANN401
    """Return what speaks to an archive; who may enter is told by ~/.netrc.

    Raises:
        BadRecipeError: It is no address.
        NotAvailableError: The extra is not installed.
    """
    try:
        from dicomweb_client.api import DICOMwebClient
    except ImportError:
        msg = 'DICOMweb needs an extra: pip install "voxhint[dicomweb]"'
        raise NotAvailableError(msg) from None
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        msg = f"'{parts.hostname or url}' is no address; give one like https://host/dicom-web"
        raise BadRecipeError(msg)
    if parts.username or parts.password:
        msg = "the address holds a name or a password; put them into ~/.netrc"
        raise BadRecipeError(msg)
    client = DICOMwebClient(url, timeout=_TIMEOUT_S)
    client.set_http_retry_params(retry=False)
    return client


@contextmanager
def _asking(url: str, what: str) -> Iterator[None]:
    """Tell in one line why an archive does not answer; its own words may name a patient.

    Raises:
        BadFileError: It does not have what is asked for.
        NotAvailableError: It is not there, or refuses.
    """
    from requests import RequestException

    host = urlsplit(url).hostname
    try:
        yield
    except RequestException as error:
        answer = getattr(error.response, "status_code", None)
        if answer == _MISSING:
            msg = f"{host}: has no {what} at that address; check the address and the UID"
            raise BadFileError(msg) from None
        why = f"answers {answer}" if answer else f"does not answer ({type(error).__name__})"
        do = (
            "put name and password into ~/.netrc"
            if answer in _REFUSED
            else "check the address, and whether it runs"
        )
        msg = f"{host}: {why}; {do}"
        raise NotAvailableError(msg) from None


def require_archive(url: str) -> None:
    """Refuse an address that is none, or a missing extra, before anything is made."""
    _ = _client(url)


def fetch_study(
    url: str, study: str, folder: Path, hear: Callable[[int], None] = lambda _done: None
) -> int:
    """Fetch every object of a study (WADO-RS), one after the other.

    Args:
        url: Of the archive, as https://host/dicom-web.
        study: Its study instance UID.
        folder: Where they go, under numbers.
        hear: Is told how many are here.

    Returns:
        How many there are.

    Raises:
        BadFileError: The archive holds none.
    """
    client, count = _client(url), 0
    with _asking(url, "such study"), quiet():
        for data in client.iter_study(study):
            count += 1
            data.save_as(folder / f"{count:06d}.dcm", enforce_file_format=True)
            hear(count)
    if not count:
        msg = f"{urlsplit(url).hostname}: has no object of such a study; check the UID"
        raise BadFileError(msg)
    return count


def store_objects(url: str, paths: Sequence[Path]) -> None:
    """Store objects in an archive (STOW-RS).

    Raises:
        NotAvailableError: It does not take them all.
    """
    client = _client(url)
    with _asking(url, "store"), quiet():
        for number, path in enumerate(paths):
            answer = client.store_instances([pydicom.dcmread(path)])
            if answer.get("FailedSOPSequence"):
                msg = (
                    f"{urlsplit(url).hostname}: does not take {path.name}, after {number} of "
                    f"{len(paths)} objects; ask who runs it"
                )
                raise NotAvailableError(msg)
