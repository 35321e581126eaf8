"""Names of cases and labels that read alike, however their accents are stored."""

import unicodedata


def plain(name: str) -> str:
    """Return a name in the one form in which names are compared.

    macOS parts letters from their accents in the names of files; people's tables rarely do.

    Returns:
        The name in Unicode's form C (NFC).
    """
    return unicodedata.normalize("NFC", name)
