"""Seconds that a person waits for `voxhint serve`: the list, the first picture, the mask, a click.

`scripts/bench serve_latency` for a made CT of 512 x 512 x 300 and a list of 1,000 cases, or
`scripts/bench serve_latency IMAGE` for an image or a folder of DICOM. Wall-clock and processor
seconds of the server; drawing on the screen comes on top.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from starlette.testclient import TestClient

from voxhint.core import Grid, Volume
from voxhint.files.images import write_image
from voxhint.serve import make_app
from voxhint.verbs.serve import open_for_review, open_session
from voxhint.verbs.session_images import study_of_images

SPACING = (0.8, 0.8, 1.0)


@contextmanager
def told(what: str) -> Iterator[None]:
    wall, work = time.perf_counter(), time.process_time()
    yield
    seconds = time.perf_counter() - wall
    print(f"{what}: {seconds:.2f} s, {time.process_time() - work:.2f} s of a processor", flush=True)


def client_of(images: Path, out: Path) -> TestClient:
    out.mkdir()
    study = open_for_review(study_of_images(images, ["ball"], "CT", out))
    app = make_app(open_session(study, out), token="t", hosts=frozenset({"h"}))
    return TestClient(app, base_url="http://h", headers={"x-voxhint-token": "t"})


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


def open_and_click(client: TestClient, clicks: int) -> None:
    name = client.get("/api/session").json()["cases"][0]["name"]
    case = f"/api/cases/{name}"
    with told("open, and send the picture"):
        opened = client.get(case).json()
        client.get(f"{case}/images/0")
    with told("make the mask ready, and send it with the strokes"):
        for layer in ("mask", "scribbles", "slices"):
            client.get(f"{case}/layers/{layer}")
    shape, affine = np.array(opened["shape"]), np.array(opened["affine"])
    for number in range(clicks):
        index = shape // 2 + np.array([8 * number, 5 * (number % 3), 0])
        at = (affine @ [*index, 1])[:3].tolist()
        mark = {"kind": "point", "label": ("ball", "background")[number % 2], "at": at}
        with told(f"click {number + 1}"):
            client.post(f"{case}/edits", json={"revision": number, "add": [mark]})


def open_list(folder: Path, cases: int) -> None:
    images = folder / "many"
    first = images / "case_0000.nii.gz"
    write_image(first, body((8, 8, 8)))
    for number in range(1, cases):
        (images / f"case{number}_0000.nii.gz").symlink_to(first)
    with told(f"begin a session of {cases} cases"):
        client = client_of(images, folder / "many-session")
    with told("their list"):
        assert len(client.get("/api/session").json()["cases"]) == cases  # noqa: S101


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", nargs="?", type=Path)
    parser.add_argument("--clicks", type=int, default=6)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        image = words.image
        if image is None:
            image = folder / "scan.nii.gz"
            write_image(image, body((512, 512, 300)))
            open_list(folder, 1000)
        open_and_click(client_of(image, folder / "session"), words.clicks)


if __name__ == "__main__":
    main()
