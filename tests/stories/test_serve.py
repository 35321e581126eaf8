"""The page in a real browser: open, click, undo, kill, strangers, two windows, three sizes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from tests.files.series import Series

from voxhint.core import Grid, Volume
from voxhint.files.images import read_ids, write_ids, write_image
from voxhint.serve.app import is_built

CHROMIUM = next((p for p in map(shutil.which, ("chromium", "chromium-browser")) if p), None)
expect.set_options(timeout=90_000)

FLAGS = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox"]
CASE = "<img src=x onerror=document.title=1>"
PATIENCE = 90_000

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here"),
    pytest.mark.skipif(not is_built(), reason="the page is not built: scripts/page"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder, grid = tmp_path / "study", Grid((48, 44, 40), np.diag([1.0, 1.0, 1.2, 1.0]))
    away = [
        (n - (m - 1) / 2) * s
        for n, m, s in zip(np.indices(grid.shape), grid.shape, (1, 1, 1.2), strict=True)
    ]
    ball = np.sqrt(sum(a**2 for a in away)) < 10
    for number, name in enumerate((CASE, "second")):
        noise = np.random.default_rng(number).normal(0, 8, grid.shape)
        image = Volume((100 * ball + noise).astype(np.float32), grid, "HU")
        write_image(folder / "imagesTr" / f"{name}_0000.nii.gz", image)
        write_ids(folder / "denseTr" / f"{name}.nii.gz", ball.astype(np.uint8), grid)
    spec = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "ball": 1},
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(spec))
    return folder


Start = Callable[..., tuple[str, "subprocess.Popen[str]"]]


@pytest.fixture
def start(study: Path, tmp_path: Path) -> Iterator[Start]:
    servers: list[subprocess.Popen[str]] = []

    def begin(images: Path = study, *more: str) -> tuple[str, subprocess.Popen[str]]:
        words = ["serve", str(images), "--out", str(tmp_path / "session"), "--no-browser", *more]
        code = f"from voxhint.cli import main; main({words!r})"
        server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        servers.append(server)
        assert server.stdout is not None
        return server.stdout.readline().strip(), server

    yield begin
    for server in servers:
        server.kill()
        server.wait()
        assert server.stdout is not None
        server.stdout.close()


def opened(browser: Browser, link: str, size: tuple[int, int] = (1280, 800)) -> Page:
    page = browser.new_page(viewport={"width": size[0], "height": size[1]})
    page.set_default_timeout(PATIENCE)
    page.goto(link)
    page.wait_for_selector("#list li[aria-current=true]")
    page.wait_for_selector("#busy[hidden]", state="attached")
    return page


def shoot(page: Page, name: str) -> None:
    if shots := os.environ.get("VOXHINT_SHOTS"):
        page.screenshot(path=Path(shots) / f"{name}.png")


def answered(page: Page, count: int) -> None:
    page.wait_for_selector(f'body[data-answers="{count}"]', timeout=PATIENCE)


def middle(page: Page) -> tuple[float, float]:
    """Return the middle of the view where one axial slice is shown."""
    page.get_by_role("button", name="Axial").click()
    box = page.locator("#view").bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_a_day_at_the_page(  # noqa: PLR0915 - a story is told in order
    browser: Browser, start: Start, tmp_path: Path
) -> None:
    session = tmp_path / "session"
    link, server = start()
    page = opened(browser, link)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    expect(page.locator("#case-name")).to_have_text(CASE)
    assert page.title() == "study · voxhint"
    page.mouse.click(*middle(page))
    answered(page, 1)
    expect(page.locator("#hint-count")).to_have_text("1")
    (row,) = (session / "hints" / "points.csv").read_text().splitlines()[1:]
    x, y, z = (float(v) for v in row.split(",")[-3:])
    assert np.linalg.norm([x - 23.5, y - 21.5, z - 23.4]) < 3
    page.keyboard.press("w")
    at = middle(page)
    page.mouse.move(at[0] + 120, at[1] + 120)
    page.keyboard.press("0")
    page.mouse.down()
    page.mouse.move(at[0] + 140, at[1] + 130, steps=4)
    page.mouse.up()
    answered(page, 2)
    page.keyboard.press("Control+z")
    answered(page, 3)
    page.keyboard.press("Control+y")
    answered(page, 4)
    os.kill(server.pid, signal.SIGKILL)
    server.wait()
    link, _ = start()
    page.close()
    page = opened(browser, link)
    expect(page.locator("#hint-count")).to_have_text("2")
    page.keyboard.press("Space")
    expect(page.locator("#case-name")).to_have_text("second")
    ids, _ = read_ids(session / "labelsTr" / f"{CASE}.nii.gz")
    truth, _ = read_ids(tmp_path / "study" / "denseTr" / f"{CASE}.nii.gz")
    assert 2 * (ids * truth).sum() / (ids.sum() + truth.sum()) > 0.5  # one click tells no size
    drawn, _ = read_ids(session / "hints" / "scribbles" / f"{CASE}.nii.gz")
    assert (drawn == 0).sum() > 5
    assert "accepted" in (session / "review.csv").read_text()
    assert not errors
    page.close()


def drag(page: Page, *places: tuple[float, float]) -> None:
    """Move the pressed pointer along places, in pixels from the middle of the view."""
    x, y = middle(page)
    page.mouse.move(x + places[0][0], y + places[0][1])
    page.mouse.down()
    for across, down in places[1:]:
        page.mouse.move(x + across, y + down, steps=3)
    page.mouse.up()


SQUARE = ((-90, -90), (90, -90), (90, 90), (-90, 90))


def test_every_tool_makes_its_hint(browser: Browser, start: Start, tmp_path: Path) -> None:
    hints = tmp_path / "session" / "hints"
    page = opened(browser, start()[0])
    page.locator("body").press("1")
    for count, (key, places, kind) in enumerate(
        [("b", SQUARE[::2], "box"), ("d", ((-150, 0), (150, 0)), "diameter")], 1
    ):
        page.keyboard.press(key)
        drag(page, *places)
        answered(page, count)
        expect(page.locator("#hints")).to_contain_text(f"ball: {kind}")
    for count, state in enumerate(("present", "absent", "unknown"), 3):
        page.locator("#tags select").select_option(state)
        answered(page, count)
        expect(page.locator("#hints")).to_contain_text(f"ball: {state}")
        assert f",ball,{state}" in (hints / "tags.csv").read_text()
    page.locator("body").press("w")
    drag(page, (-40, 0), (40, 0))
    answered(page, 6)
    page.keyboard.press("e")
    drag(page, (0, -60), (0, 60))
    answered(page, 7)
    page.locator("body").press("0")
    page.keyboard.press("p")
    page.keyboard.down("Alt")
    page.mouse.click(*middle(page))
    page.keyboard.up("Alt")
    expect(page.locator("#labels li[aria-selected=true]")).to_contain_text("ball")
    page.keyboard.press("l")
    answered(page, 8)
    expect(page.locator("#hint-count")).to_have_text("6")
    shoot(page, "tools")
    page.close()


def test_slices_are_filled_in_between_and_batches_accepted(
    browser: Browser, start: Start, tmp_path: Path
) -> None:
    session = tmp_path / "session"
    page = opened(browser, start()[0])
    page.locator("body").press("f")
    drag(page, *SQUARE)
    answered(page, 1)
    for _ in range(6):
        page.keyboard.press("PageUp")
    for key in ("ArrowLeft", "ArrowUp", "ArrowRight"):  # an outline from the keyboard
        page.keyboard.press("Enter")
        for _ in range(5):
            page.keyboard.press(key)
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    answered(page, 2)
    page.keyboard.press("g")
    answered(page, 3)
    shoot(page, "between")
    page.keyboard.press("g")
    expect(page.locator("#status")).to_contain_text("follows them already")
    for _ in range(100):
        if (session / "hints" / "soft" / f"{CASE}__ball.nii.gz").exists():
            break
        time.sleep(0.1)
    else:
        pytest.fail("the session has no soft hints")
    page.locator("#above").fill("0.05")
    page.locator("#accept-all").click()
    expect(page.locator("#list")).to_contain_text("accepted")
    ids, _ = read_ids(session / "labelsTr" / f"{CASE}.nii.gz")
    assert ids.any()
    page.close()


def test_a_folder_of_dicom_is_opened_clicked_and_masked(
    browser: Browser, start: Start, tmp_path: Path
) -> None:
    shape = (40, 44)
    series = Series(heights=tuple(2.0 * n for n in range(24)), common={"SeriesDescription": "CT"})
    (tmp_path / "dicom").mkdir()
    i, j = np.indices(shape)
    for number in range(24):
        away = np.hypot(np.hypot(i - 20, j - 22), 2 * (number - 12))
        header = series.slice(number)
        header.Rows, header.Columns = shape
        header.PixelSpacing = [1, 1]
        header.PixelData = (1000 + 100 * (away < 9)).astype(np.int16).tobytes()
        header.save_as(tmp_path / "dicom" / f"IM{number}", enforce_file_format=True)
    link, _ = start(tmp_path / "dicom", "--labels", "lesion", "--channel", "CT")
    page = opened(browser, link)
    page.mouse.click(*middle(page))
    answered(page, 1)
    page.keyboard.press("Space")
    expect(page.locator("#status")).to_contain_text("Every case is judged")
    (mask,) = (tmp_path / "session" / "labelsTr").iterdir()
    ids, _ = read_ids(mask)
    assert ids[22, 20, 12] == 1
    assert 100 < ids.sum() < 1600  # the ball has 1530 voxels
    page.close()


def test_a_round_brings_new_masks_and_dies_with_the_server(
    browser: Browser, start: Start, tmp_path: Path
) -> None:
    link, server = start()
    page = opened(browser, link)
    page.mouse.click(*middle(page))
    answered(page, 1)
    page.locator("#minutes").evaluate("each => each.selectedOptions[0].text = '0.1'")
    page.get_by_role("button", name="Round again").click()
    expect(page.locator("#round-state")).to_contain_text("of", timeout=PATIENCE)
    expect(page.get_by_role("button", name="Stop the round")).to_be_visible()
    page.wait_for_selector('body[data-renewed="1"]', timeout=5 * PATIENCE)
    expect(page.locator("#round-state")).to_contain_text("New masks")
    expect(page.locator("#list")).to_contain_text("sure")
    expect(page.locator("#layers")).to_contain_text("run")
    shoot(page, "round")
    page.get_by_role("button", name="Round again").click()
    expect(page.locator("#round-state")).to_contain_text("of", timeout=PATIENCE)
    threads = Path(f"/proc/{server.pid}/task").iterdir()  # any of them may have begun it
    children = [child for each in threads for child in (each / "children").read_text().split()]
    assert children
    server.kill()
    server.wait()
    for _ in range(300):
        if not any(Path(f"/proc/{child}").exists() for child in children):
            break
        time.sleep(0.1)
    else:
        pytest.fail("the round outlives the server")
    page.close()


def test_the_keyboard_alone_is_enough(browser: Browser, start: Start) -> None:
    page = opened(browser, start()[0])
    page.locator("body").press("p")
    page.keyboard.press("Enter")
    answered(page, 1)
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    page.keyboard.press("b")
    page.keyboard.press("Enter")
    for key in ("ArrowRight", "ArrowUp", "PageUp") * 8:
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    answered(page, 2)
    expect(page.locator("#hints")).to_contain_text("ball: box")
    page.keyboard.press("x")
    expect(page.locator("#case-name")).to_have_text("second")
    page.close()


def test_a_wrong_token_shows_nothing_but_why(browser: Browser, start: Start) -> None:
    link = start()[0]
    page = browser.new_page()
    page.goto(link.split("#")[0] + "#token=wrong")
    expect(page.locator("#busy")).to_contain_text("token", timeout=PATIENCE)
    assert page.locator("#list li").count() == 0
    page.close()


def test_two_windows_do_not_write_over_each_other(browser: Browser, start: Start) -> None:
    link = start()[0]
    one, two = opened(browser, link), opened(browser, link)
    for page in (one, two):
        page.locator("body").press("Enter")
    answered(one, 1)
    expect(two.locator("#status")).to_contain_text("another window", timeout=PATIENCE)
    expect(two.locator("#hint-count")).to_have_text("1")
    one.close()
    two.close()


def test_a_second_server_is_told_of_the_first(start: Start, study: Path, tmp_path: Path) -> None:
    start()
    words = ["serve", str(study), "--out", str(tmp_path / "session"), "--no-browser"]
    code = f"from voxhint.cli import main; main({words!r})"
    second = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert second.returncode == 1
    assert "another voxhint is at work" in second.stderr


@pytest.mark.parametrize("size", [(1600, 900), (1000, 700), (480, 800)])
def test_the_page_fits_windows_of_any_size(
    browser: Browser, start: Start, tmp_path: Path, size: tuple[int, int]
) -> None:
    page = opened(browser, start()[0], size)
    shoot(page, f"page-{size[0]}")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= size[0]
    box = page.locator("#view").bounding_box()
    assert box is not None
    assert min(box["width"], box["height"]) > 200
    for part in ("#cases", "#side", "#top"):
        expect(page.locator(part)).to_be_in_viewport()
    page.close()
