"""The command about weights that others, or we, have trained."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from voxhint.core.errors import BadRecipeError
from voxhint.core.progress import Tell


@dataclass(frozen=True, kw_only=True)
class Models:
    """List the weights voxhint knows, their licences, and whether they are here."""

    folder: Path | None = None
    """Where public weights and models as files are looked for; ~/.voxhint/weights if not given."""

    fetch: str | None = None
    """Name of weights to fetch from the Hugging Face hub into that folder."""

    revision: str | None = None
    """Commit of their repository; that of the first time, or else the newest, if not given."""

    def run(self, _tell: Tell, /) -> Iterator[str]:
        """Yield lines about each, or the files that were fetched and their licence.

        Raises:
            BadRecipeError: A revision of nothing is asked for.
        """
        if self.revision is not None and self.fetch is None:
            msg = "--revision has an effect only with --fetch; say of which weights"
            raise BadRecipeError(msg)
        from voxhint.models.public_weights import HOME, KNOWN, fetch, listing

        folder = self.folder or HOME
        if self.fetch is None:
            yield from listing(folder)
            return
        for path in fetch(self.fetch, folder, revision=self.revision):
            yield str(path)
        yield f"licence: {KNOWN[self.fetch].licence}"
