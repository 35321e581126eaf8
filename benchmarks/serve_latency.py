"""What a person waits for at the page of `voxhint serve`: the list, the first picture, each click.

`scripts/bench serve_latency` makes a CT of 256 x 256 x 128, one of 512 x 512 x 300 and a list of
1,000 cases; `scripts/bench serve_latency IMAGE ...` opens images or folders of DICOM instead.
Seconds count from the request of the page, and from the pointer until the graphics are done, in
Chromium (software WebGL 2). Beside them stand seconds of processors, of the server and of all.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, sync_playwright

from voxhint.core import Grid, Volume
from voxhint.files.images import write_image

SPACING = (0.8, 0.8, 1.0)
FLAGS = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox"]
PATIENCE = 600_000
CLICK = """() => new Promise((done) => {
  const canvas = document.getElementById("view");
  const began = { at: 0 };
  const press = () => { began.at = performance.now(); };
  window.addEventListener("pointerup", press, { capture: true, once: true });
  const look = new MutationObserver(() => {
    look.disconnect();
    canvas.getContext("webgl2").readPixels(0, 0, 1, 1, 6408, 5121, new Uint8Array(4));
    done((performance.now() - began.at) / 1000);
  });
  look.observe(document.body, { attributes: true, attributeFilter: ["data-answers"] });
})"""


def work_of(process: int) -> float:
    """Return seconds that a process and all below it have worked."""
    found: dict[int, tuple[int, float]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        found[int(stat.parent.name)] = int(words[1]), (int(words[11]) + int(words[12])) / 100

    def below(parent: int) -> float:
        return found.get(parent, (0, 0.0))[1] + sum(
            below(n) for n in found if found[n][0] == parent
        )

    return below(process)


@contextmanager
def served(images: Path, folder: Path) -> Iterator[tuple[str, int]]:
    words = ["serve", str(images), "--labels", "ball", "--channel", "CT", "--no-browser"]
    words += ["--out", str(folder)]
    code = f"from voxhint.cli import main; main({words!r})"
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None  # noqa: S101
        yield server.stdout.readline().strip(), server.pid
    finally:
        server.terminate()
        server.wait()


def body(shape: tuple[int, int, int]) -> Volume:
    """Return a noisy body in air with a ball of 40 mm in its middle."""
    rng = np.random.default_rng(0)
    along = [
        ((np.arange(n) - n / 2) * s).astype(np.float32) for n, s in zip(shape, SPACING, strict=True)
    ]
    i, j, k = np.meshgrid(*along, indexing="ij", sparse=True)
    voxels = -900 + 950.0 * ((i / 170) ** 2 + (j / 130) ** 2 < 1)
    voxels = voxels + 60 * (i**2 + j**2 + k**2 < 40**2) + 12 * rng.standard_normal(shape)
    return Volume(np.rint(voxels).astype(np.float32), Grid(shape, np.diag([*SPACING, 1])), "HU")


def measure(page: Page, images: Path, folder: Path, clicks: int) -> None:
    """Print what an image costs from the link to the last click."""
    with served(images, folder) as (link, server):
        began, every, of_server = time.perf_counter(), work_of(os.getpid()), work_of(server)

        def told(what: str, since: float = began) -> None:
            nonlocal every, of_server
            seconds = time.perf_counter() - since
            now, server_now = work_of(os.getpid()), work_of(server)
            worked = f"{server_now - of_server:.1f} of {now - every:.1f} s of processors"
            print(f"  {what}: {seconds:.2f} s; {worked} by the server", flush=True)
            every, of_server = now, server_now

        page.goto(link)
        page.wait_for_selector("#list li")
        told(f"list of {page.locator('#list li').count()}")
        for what in ("picture", "ready", "whole"):
            page.wait_for_selector(f"body[data-{what}]")
            told(what)
        page.get_by_role("button", name="Axial").click()
        box = page.locator("#view").bounding_box()
        assert box is not None  # noqa: S101
        waits = []
        page.keyboard.press("p")
        for n in range(clicks):
            page.keyboard.press("01"[(n + 1) % 2])
            took = page.evaluate_handle(
                f"({CLICK})().then((took) => {{ window.took = took; }}) && 0"
            )
            took.dispose()
            page.mouse.click(
                box["x"] + box["width"] / 2 + (12 + 5 * n) * (n % 2) * (-1) ** (n // 2),
                box["y"] + box["height"] / 2 + 7 * (n % 3),
            )
            page.wait_for_function("() => window.took > 0")
            waits.append(
                page.evaluate("() => { const took = window.took; window.took = 0; return took; }")
            )
        told(f"{clicks} clicks, all together", began)
        worst = float(np.percentile(waits, 95))
        print(f"  click to mask: median {statistics.median(waits):.2f} s, 95 % {worst:.2f} s")


def many(folder: Path, cases: int) -> Path:
    first = folder / "case_0000.nii.gz"
    write_image(first, body((8, 8, 8)))
    for number in range(1, cases):
        (folder / f"case{number}_0000.nii.gz").symlink_to(first)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", nargs="*", type=Path)
    parser.add_argument("--clicks", type=int, default=20)
    words = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        folder, images = Path(place), list(words.images)
        if not images:
            for shape in ((256, 256, 128), (512, 512, 300)):
                images.append(folder / f"{'x'.join(map(str, shape))}.nii.gz")
                write_image(images[-1], body(shape))
            images.append(many(folder / "many", 1000))
        for number, image in enumerate(images):
            browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.set_default_timeout(PATIENCE)
            print(image.name, flush=True)
            measure(page, image, folder / f"session{number}", words.clicks)
            browser.close()


if __name__ == "__main__":
    main()
