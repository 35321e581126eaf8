"""The command that opens the browser."""

import threading
import webbrowser
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from voxhint.cli.options import Existing, Place
from voxhint.core.progress import Tell


@dataclass(frozen=True, kw_only=True)
class Serve:
    """Make hints and judge masks in the browser."""

    study: Existing
    """The study folder, or with --labels images alone: a file, a folder, or one of DICOM."""

    folder: Annotated[Path, Place("RUN")] | None = None
    """What `voxhint run` or `predict` wrote: its masks are shown, and hints correct them."""

    out: Path
    """Folder of the session: a study with the hints made here; made, or gone on with."""

    labels: str | None = None
    """Names of what is to be marked in images that are no study yet, such as liver,tumour."""

    channel: str = "image"
    """What those images are; CT shows windows for Hounsfield units."""

    host: str = "127.0.0.1"
    """Address to listen at; with any other, the whole network can reach the page."""

    port: int = 0
    """Port to listen at; 0 takes a free one."""

    no_browser: bool = False
    """Only print the link."""

    undrawn: int | None = None
    """Value of drawn maps that means "not drawn", instead of that of dataset.json, or 255."""

    def run(self, _tell: Tell, /) -> Iterator[str]:
        """Yield the link, then serve until interrupted."""
        from voxhint.verbs.serve import serve

        links: list[str] = []

        def announce(link: str) -> None:
            links.append(link)
            print(link, flush=True)
            if not self.no_browser:
                threading.Timer(0.5, webbrowser.open, (link,)).start()

        serve(
            self.study,
            self.out,
            run=self.folder,
            host=self.host,
            port=self.port,
            undrawn=self.undrawn,
            labels=[name.strip() for name in (self.labels or "").split(",") if name.strip()],
            channel=self.channel,
            announce=announce,
        )
        yield f"{self.out}: what was made is kept; the same command goes on with it"
