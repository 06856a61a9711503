"""The page as a person uses it, in Debian's Chromium."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from page_help import (
    STYLED,
    axe_script,
    by_command_line,
    choose,
    download,
    exactly,
    needs_chromium,
    needs_runner,
    open_page,
    pixels,
    small_photo,
)
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect
from training_help import SMALL
from web_help import PATIENCE, Server, running_server

from fststyle.images.bundled import sample_photo
from fststyle.images.load import load_image
from fststyle.images.resize import fit_long_side
from fststyle.images.save import save_photo
from fststyle.openvino_core import openvino_core
from fststyle.perceptual.vgg import VGGWeights
from fststyle.styles.find import zoo_folder
from fststyle.web.page_files import page_folder

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def server(style_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("page")
    with running_server(folder, style_path, "--threads", "1", "--max-megabytes", "1") as server:
        yield server
    assert "Traceback" not in server.log
    assert server.left_behind() == []


@pytest.fixture
def page(context: BrowserContext, server: Server) -> Iterator[Page]:
    """The page, which must not say anything on the browser's console."""
    page, said = open_page(context, server.url)
    yield page
    # The browser itself tells of answers that are errors; the page shows those.
    assert [line for line in said if "Failed to load resource" not in line] == []


def drop(page: Page, *paths: Path, kind: str = "image/png") -> None:
    """Drop files on the page."""
    transfer = page.evaluate_handle(
        """([files, type]) => {
            const transfer = new DataTransfer();
            for (const [name, encoded] of files) {
                const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
                transfer.items.add(new File([bytes], name, { type, lastModified: 0 }));
            }
            return transfer;
        }""",
        [[[path.name, base64.b64encode(path.read_bytes()).decode()] for path in paths], kind],
    )
    for event in ("dragenter", "dragover", "drop"):
        page.dispatch_event("#drop" if page.is_visible("#drop") else "#frame", event, {
            "dataTransfer": transfer
        })  # fmt: skip


# With the server


def test_a_photo_is_dropped_styled_and_saved(
    page: Page, photo: Path, style_path: Path, tmp_path: Path
) -> None:
    drop(page, photo)
    page.wait_for_selector(STYLED)
    expect(page.locator(".thumb.waiting")).to_have_count(0)
    expect(page.locator("#facts")).to_have_text("holiday.png, 90×60")
    choose(page, "small")
    expect(page.locator("#status")).to_contain_text("A small one, in ")
    name, content = download(page)
    assert name == "holiday_small.png"
    assert content == by_command_line(tmp_path, photo, style_path)

    page.locator("#strength").fill("40")
    page.locator("#stroke").fill("4")
    page.check("#colors")
    page.select_option("#blend", "great_wave")
    page.locator("#share").fill("25")
    expect(page.locator("#strength-value")).to_have_text("40 %")
    expect(page.locator("#stroke-value")).to_have_text("2 ×")
    expect(page.locator("#status")).to_contain_text("A small one and The Great Wave")
    name, content = download(page)
    assert name == "holiday_small+great_wave.png"
    both = f"{style_path}:0.75,great_wave:0.25"
    options = ["--strength", "0.4", "--scale", "2", "--keep-colors"]
    assert content == by_command_line(tmp_path, photo, both, *options)

    page.select_option("#format", "jpeg")
    name, content = download(page)
    assert name.endswith(".jpg")
    assert content.startswith(b"\xff\xd8")


def test_thumbnails_are_marked_until_they_are_drawn(page: Page) -> None:
    page.click("#sample")  # while the sample's own thumbnails are being drawn
    page.wait_for_selector(STYLED)
    expect(page.locator(".thumb.waiting")).to_have_count(0, timeout=1000 * PATIENCE)
    assert page.locator(".thumb img:not([hidden])").count() == page.locator(".thumb").count()


def test_the_divider_by_mouse_and_keyboard(page: Page, photo: Path) -> None:
    page.set_input_files("#file", photo)
    page.wait_for_selector(STYLED)
    before = page.locator("#before")
    box = page.locator("#frame").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    assert 15 < float(page.input_value("#divider")) < 35
    page.focus("#divider")
    page.keyboard.press("Home")
    expect(before).to_have_css("clip-path", "inset(0px 100% 0px 0px)")
    page.keyboard.press("End")
    expect(before).to_have_css("clip-path", "inset(0px 0% 0px 0px)")


def test_by_keyboard_alone(page: Page, photo: Path) -> None:
    # From now on, since Playwright takes its time to stand in for the system's dialog.
    page.on("filechooser", lambda chooser: chooser.set_files(photo))
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    while not page.locator("#choose").evaluate("button => button === document.activeElement"):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector(STYLED)
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("() => document.activeElement.name === 'style'"):
            break
    chosen = page.evaluate("() => document.activeElement.value")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("() => document.querySelector('.card :checked').value") != chosen
    page.keyboard.press("Tab")
    expect(page.locator("#strength")).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#strength-value")).to_have_text("95 %")


@pytest.mark.parametrize(
    ("content", "kind", "sentence"),
    [
        (b"only text", "image/png", "Cannot read the photo as an image"),
        (b"only text", "text/plain", "Cannot read the photo as an image"),
        (b"", "image/png", "is empty"),
        (b"\0" * (2**20 + 1), "image/png", "the limit is 1 MB"),
    ],
)
def test_what_is_no_photo(
    page: Page, tmp_path: Path, photo: Path, content: bytes, kind: str, sentence: str
) -> None:
    path = tmp_path / "thing.png"
    path.write_bytes(content)
    drop(page, path, kind=kind)
    expect(page.locator("#alert")).to_be_visible()
    expect(page.locator("#alert-text")).to_contain_text(sentence)
    expect(page.locator("#drop")).to_be_visible()
    drop(page, photo)  # and on with another
    page.wait_for_selector(STYLED)
    expect(page.locator("#alert")).to_be_hidden()


def test_a_format_that_only_the_server_knows(page: Page, tmp_path: Path, style_path: Path) -> None:
    path = small_photo(tmp_path / "scan.tif")
    drop(page, path, kind="image/tiff")
    page.wait_for_selector(STYLED)
    choose(page, "small")
    expect(page.locator("#status")).to_contain_text("A small one, in ")
    page.select_option("#format", "png")
    _, content = download(page)
    renamed = tmp_path / "scan.png"
    shutil.copy(path, renamed)  # the extension decides what is written
    assert content == by_command_line(tmp_path, renamed, style_path)


def test_a_photo_is_pasted(page: Page, photo: Path) -> None:
    page.evaluate(
        """(bytes) => {
            const clipboardData = new DataTransfer();
            const file = new File([new Uint8Array(bytes)], "image.png", { type: "image/png" });
            clipboardData.items.add(file);
            document.dispatchEvent(new ClipboardEvent("paste", { clipboardData }));
        }""",
        list(photo.read_bytes()),
    )
    page.wait_for_selector(STYLED)


def zipped(page: Page) -> dict[str, bytes]:
    with page.expect_download() as waiting:
        page.click("#save-all")
    assert waiting.value.suggested_filename == "fststyle_small.zip"
    with zipfile.ZipFile(waiting.value.path()) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def test_several_photos_are_saved_as_a_zip(
    page: Page, tmp_path: Path, style_path: Path, photo: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    scan = small_photo(tmp_path / "scan.tif", 1)
    photos = [photo, small_photo(tmp_path / "Straße.jpg", 2), scan, small_photo(other / "scan.tif")]
    notes = tmp_path / "notes.txt"
    notes.write_text("only text")
    page.set_input_files("#file", [*photos[:3], notes])
    expect(page.locator("#tray-count")).to_have_text("3 photos")
    expect(page.locator("#alert-text")).to_contain_text("Cannot open notes.txt. Cannot read the")
    drop(page, photos[3])
    expect(page.locator("#tray-count")).to_have_text("4 photos")
    expect(page.locator("#facts")).to_contain_text("scan.tif, ")
    choose(page, "small")
    results = zipped(page)
    expect(page.locator("#status")).to_have_text("Saved 4 of 4 photos as fststyle_small.zip.")
    expect(page.locator("#tray-list [data-state=done]")).to_have_count(4)
    expect(page.locator("#tray-list progress:visible")).to_have_count(0)
    names = ["holiday_small.png", "Straße_small.jpg", "scan_small.jpg", "scan_small_2.jpg"]
    assert list(results) == names
    for path, content in zip(photos, results.values(), strict=True):
        renamed = tmp_path / f"as{'.jpg' if path.suffix == '.tif' else path.suffix}"
        shutil.copy(path, renamed)
        assert content == by_command_line(tmp_path, renamed, style_path)


def test_one_photo_of_several_fails(page: Page, tmp_path: Path) -> None:
    photos = [small_photo(tmp_path / f"{n}.png", n) for n in range(3)]
    page.set_input_files("#file", photos)
    expect(page.locator("#tray-count")).to_have_text("3 photos")
    choose(page, "small")
    expect(page.locator("#status")).to_contain_text("A small one, in ")
    asked = 0

    def answer(route: Any) -> None:
        nonlocal asked
        asked += 1
        if asked == 2:
            route.fulfill(status=422, json={"error": "It is odd.", "code": "x"})
        else:
            route.continue_()

    expect(page.locator(".thumb.waiting")).to_have_count(0)
    page.route("**/api/stylize**", answer)
    assert list(zipped(page)) == ["0_small.png", "2_small.png"]
    expect(page.locator("#status")).to_have_text("Saved 2 of 3 photos as fststyle_small.zip.")
    expect(page.locator("#alert-text")).to_have_text("1.png: It is odd.")
    expect(page.locator("#tray-list [data-state=failed]")).to_have_text(re.compile("1.png"))
    page.unroute("**/api/stylize**")
    # Saving can be stopped.
    page.route("**/api/stylize**", lambda route: None)
    page.click("#save-all")
    expect(page.locator("#save-all")).to_have_text("Cancel")
    page.click("#save-all")
    expect(page.locator("#status")).to_have_text("Nothing was saved.")
    expect(page.locator("#save-all")).to_have_text("Save all as a zip")


def test_the_list_of_photos_by_keyboard(page: Page, tmp_path: Path) -> None:
    photos = [small_photo(tmp_path / f"{n}.png", n) for n in range(3)]
    drop(page, photos[0], photos[1], photos[0], photos[2])
    expect(page.locator("#tray-count")).to_have_text("3 photos")
    expect(page.locator("#alert-text")).to_have_text("Passed over: 0.png (twice).")
    expect(page.locator("#tray-list [aria-current]")).to_have_text(re.compile("0.png"))
    page.locator(".tray-open").nth(1).press("Enter")
    expect(page.locator("#facts")).to_contain_text("1.png, ")
    page.locator(".tray-open").nth(1).press("Delete")
    expect(page.locator("#facts")).to_contain_text("2.png, ")
    expect(page.locator("#tray-list :focus")).to_have_text(re.compile("2.png"))
    drop(page, photos[0])  # it is there already
    expect(page.locator("#facts")).to_contain_text("0.png, ")
    expect(page.locator("#tray-count")).to_have_text("2 photos")
    page.get_by_role("button", name="Remove 0.png").click()
    expect(page.locator("#tray")).to_be_hidden()
    drop(page, photos[1])
    page.click("#clear")
    expect(page.locator("#drop")).to_be_visible()
    expect(page.locator("#compare")).to_be_hidden()
    page.set_input_files("#file", photos[0])
    page.wait_for_selector(STYLED)


def test_a_folder_is_dropped(page: Page, tmp_path: Path) -> None:
    photo = small_photo(tmp_path / "a.png")
    page.evaluate(
        """(encoded) => {
            const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
            const file = (name, type = "image/png") => ({
                isFile: true, name,
                file: (resolve) => resolve(new File([bytes], name, { type, lastModified: 1 })),
            });
            const folder = (name, ...entries) => ({
                isDirectory: true, name,
                createReader: () => {
                    // Browsers return the entries in several parts.
                    const left = [...entries];
                    return { readEntries: (resolve) => resolve(left.splice(0, 2)) };
                },
            });
            DataTransferItem.prototype.webkitGetAsEntry = () => folder(
                "album", file("10.png"), file("9.png"), folder("sub", file("b.png")),
                folder("@eaDir", file("c.png")), folder("__MACOSX"), file(".DS_Store", ""),
                file("film.mp4", "video/mp4"), file("text.txt", "text/plain"), folder("empty"),
            );
        }""",
        base64.b64encode(photo.read_bytes()).decode(),
    )
    drop(page, photo)
    expect(page.locator("#tray-count")).to_have_text("3 photos")
    names = page.locator(".tray-name").all_inner_texts()
    assert sorted(names) == ["10.png", "9.png", "b.png"]
    expect(page.locator("#alert-text")).to_have_text(
        "Passed over: @eaDir, __MACOSX, .DS_Store, film.mp4 and 1 more."
    )
    page.evaluate(
        "DataTransferItem.prototype.webkitGetAsEntry = () => ({ isDirectory: true, name: 'x', "
        "createReader: () => ({ readEntries: (resolve) => resolve([]) }) })"
    )
    drop(page, photo)
    expect(page.locator("#alert-text")).to_have_text("This folder contains no photos.")


def test_two_tabs_at_once(
    context: BrowserContext, server: Server, tmp_path: Path, style_path: Path
) -> None:
    photos = [small_photo(tmp_path / f"{n}.png", n, 50 + n, 70) for n in range(2)]
    pages = [open_page(context, server.url)[0] for _ in photos]
    for page, photo in zip(pages, photos, strict=True):
        page.set_input_files("#file", photo)
    for page, photo in zip(pages, photos, strict=True):
        choose(page, "small")
        page.wait_for_selector("#status:text-matches('A small one, in ')")
        assert download(page)[1] == by_command_line(tmp_path, photo, style_path)


def test_the_server_goes_away(page: Page, photo: Path) -> None:
    page.set_input_files("#file", photo)
    page.wait_for_selector(STYLED)
    page.route("**/api/**", lambda route: route.abort())
    page.check("#colors")
    expect(page.locator("#alert-text")).to_contain_text("The server cannot be reached")
    page.unroute("**/api/**")
    page.uncheck("#colors")
    page.wait_for_selector(STYLED)
    expect(page.locator("#alert")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_looks(
    browser: Browser, server: Server, photo: Path, scheme: Any, width: int, tmp_path: Path
) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 844}, color_scheme=scheme, bypass_csp=True
    )
    context.set_default_timeout(1000 * PATIENCE)
    page, _ = open_page(context, server.url)
    script = axe_script()
    for part in ("photo", "live", "train"):
        page.click(f".tabs a[href='#{part}']")
        if part == "photo":
            page.set_input_files("#file", [photo, small_photo(tmp_path / "other.jpg")])
            page.wait_for_selector(STYLED)
            expect(page.locator("#tray-count")).to_have_text("2 photos")
            page.click("#paint")
            page.evaluate("() => document.querySelectorAll('details').forEach((d) => (d.open = 1))")
        # Nothing is wider than the screen.
        widths = "() => [document.documentElement.scrollWidth, document.body.clientWidth]"
        scroll, client = page.evaluate(widths)
        assert scroll <= width
        assert client <= width
        if script is not None:
            page.add_script_tag(content=script)
            found = page.evaluate("() => axe.run()")["violations"]
            serious = [(v["id"], [n["html"] for n in v["nodes"]]) for v in found]
            assert serious == []
    context.close()
    if script is None:
        pytest.skip("without axe-core (python scripts/vendor_ort.py --axe) only half of it")


# In the browser itself


def assert_alike(here: bytes, by_server: bytes, exact: NDArray[np.int16]) -> None:
    assert np.abs(pixels(here) - exact).max() <= 2
    difference = np.abs(pixels(here) - pixels(by_server))
    assert difference.mean() <= 1
    # With bfloat16 a server differs more than that at single pixels.
    capabilities = openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    assert difference.max() <= 2 or "BF16" in capabilities


@needs_runner
def test_in_the_browser_it_is_the_same_within_2_of_255(
    page: Page, tmp_path: Path, server: Server
) -> None:
    photo, cat = tmp_path / "photo.png", sample_photo()
    assert cat is not None
    save_photo(fit_long_side(load_image(cat), 240), photo)
    page.set_input_files("#file", photo)
    page.wait_for_selector(STYLED)
    choose(page, "thanos_poster")
    expect(page.locator("#status")).to_contain_text("Titan Before the Sun, in ")
    _, by_server = download(page)
    page.check("#local")
    page.wait_for_selector(STYLED)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    _, here = download(page)
    assert "POST" not in sent  # nothing is uploaded
    assert_alike(here, by_server, exactly({"thanos_poster": 1}, photo))

    # All settings together; the strokes' size has it resize and enlarge.
    page.locator("#strength").fill("70")
    page.locator("#stroke").fill("2")
    page.check("#colors")
    page.select_option("#blend", "great_wave")
    page.wait_for_selector(STYLED)
    _, here = download(page)
    page.uncheck("#local")
    _, by_server = download(page)
    both = {"thanos_poster": 0.5, "great_wave": 0.5}
    exact = exactly(both, photo, strength=0.7, keep_colors=True, scale=1.41)
    assert_alike(here, by_server, exact)


@needs_runner
@pytest.mark.parametrize("limit", ["no context", "blank", "no file"])
def test_a_canvas_that_is_too_small_for_the_photo(
    context: BrowserContext, server: Server, tmp_path: Path, limit: str
) -> None:
    context.add_init_script(
        f"const limit = {json.dumps(limit)};"
        """
        const Native = OffscreenCanvas;
        window.OffscreenCanvas = class extends Native {
            get isLarge() { return this.width * this.height > 250_000; }
            getContext(...options) {
                const drawing = super.getContext(...options);
                if (!this.isLarge) return drawing;
                if (limit === "no context") return null;
                if (limit === "blank") drawing.putImageData = drawing.drawImage = () => {};
                return drawing;
            }
            convertToBlob(options) {
                const failed = this.isLarge && limit === "no file";
                return failed
                    ? Promise.reject(new DOMException("too large", "EncodingError"))
                    : super.convertToBlob(options);
            }
        };"""
    )
    # The limits of the page are made as small as the photo, which would take long otherwise.
    script = (page_folder() / "dom.js").read_text()
    small = script.replace("AREAS = [Infinity, 16_700_000,", "AREAS = [Infinity, 200_000,")
    small = small.replace("STRIP_PIXELS = 1_000_000", "STRIP_PIXELS = 100_000")
    assert small.count("00_000,") == script.count("00_000,")
    context.route(
        "**/dom.js", lambda route: route.fulfill(body=small, content_type="text/javascript")
    )
    page, _ = open_page(context, server.url)
    page.check("#local")
    photo = small_photo(tmp_path / "large.png", 3, 600, 800)
    page.set_input_files("#file", photo)
    page.wait_for_selector(STYLED)
    name, content = download(page)
    expect(page.locator("#status")).to_have_text(
        f"Saved as {name}. It has only 516×387 pixels, "
        "because this browser cannot save larger images."
    )
    image = Image.open(io.BytesIO(content))
    assert image.size == (516, 387)
    style = page.locator(".card :checked").get_attribute("value")
    assert style is not None
    exact = Image.fromarray(exactly({style: 1}, photo).astype(np.uint8)).resize(image.size)
    assert np.abs(pixels(content) - np.asarray(exact).astype(np.int16)).mean() < 12


@needs_runner
def test_what_is_to_stay_here_stays_here(page: Page, tmp_path: Path) -> None:
    photo = small_photo(tmp_path / "scan.tif")
    page.check("#local")
    page.reload()
    expect(page.locator("#local")).to_be_checked()
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    page.set_input_files("#file", photo)
    expect(page.locator("#alert-text")).to_contain_text("scan.tif cannot be opened by this browser")
    assert "POST" not in sent
    page.uncheck("#local")
    page.set_input_files("#file", photo)
    page.wait_for_selector(STYLED)


@needs_runner
def test_the_export_needs_no_server(context: BrowserContext, site: str, photo: Path) -> None:
    page, said = open_page(context, site)
    expect(page.locator("#train-tab")).to_be_hidden()
    page.goto(f"{site}#train")
    expect(page.locator("#train")).to_be_hidden()
    expect(page.locator("#photo")).to_be_visible()
    expect(page.locator("#local")).to_be_checked()
    expect(page.locator("#local")).to_be_disabled()
    page.set_input_files("#file", photo)
    page.wait_for_selector(STYLED)
    name, content = download(page)
    style = min(path.stem for path in zoo_folder().glob("*.onnx"))  # the first one is chosen
    assert name == f"holiday_{style}.png"
    assert np.abs(pixels(content) - exactly({style: 1}, photo)).max() <= 2
    assert said == []


@needs_runner
def test_colours_under_transparent_pixels_do_not_show(context: BrowserContext, site: str) -> None:
    """Any colour may be stored there. Visible pixels and the transparency are always the same."""
    page = context.new_page()
    page.route("**/empty.html", lambda route: route.fulfill(body="", content_type="text/html"))
    page.goto(f"{site}empty.html")
    results = page.evaluate(
        """async () => {
            const { open } = await import(new URL("runner.js", location.href).href);
            const runner = await open("styles/great_wave.onnx");
            const results = [];
            for (const hidden of [0, 128, 255]) {
                const image = new ImageData(67, 48);
                for (let i = 0; i < 67 * 48; i += 1) {
                    const isVisible = i % 67 > 40;
                    const pixel = isVisible ? [200, i % 251, 60, 255] : [hidden, hidden, 0, 0];
                    image.data.set(pixel, 4 * i);
                }
                const { data } = await runner.stylize(image);
                results.push([...data].filter((_, i) => Math.floor(i / 4) % 67 > 40));
            }
            return results;
        }"""
    )
    assert results[0] == results[1] == results[2]


@needs_runner
def test_the_runner_works_in_a_page_that_has_nothing_else(
    context: BrowserContext, site: str, photo: Path
) -> None:
    page = context.new_page()
    page.route("**/empty.html", lambda route: route.fulfill(body="", content_type="text/html"))
    page.goto(f"{site}empty.html")
    full, half, code = page.evaluate(
        """async (encoded) => {
            const { open } = await import(new URL("runner.js", location.href).href);
            const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
            const bitmap = await createImageBitmap(new Blob([bytes]));
            const { width, height } = bitmap;
            const drawing = new OffscreenCanvas(width, height).getContext("2d");
            drawing.drawImage(bitmap, 0, 0);
            const image = drawing.getImageData(0, 0, width, height);
            const runner = await open("styles/great_wave.onnx");
            const full = await runner.stylize(image);
            const map = new Float32Array(width * height).map((_, i) => Number(i % width < 10));
            const half = await runner.stylize(image, { map, seed: 7 });
            const code = await open("styles/unknown.onnx").catch((error) => error.code);
            return [[...full.data], [...half.data], code];
        }""",
        base64.b64encode(photo.read_bytes()).decode(),
    )
    original = pixels(photo.read_bytes())
    results = [np.reshape(each, (*original.shape[:2], 4))[..., :3] for each in (full, half)]
    assert np.abs(results[0] - exactly({"great_wave": 1}, photo)).max() <= 2
    assert np.array_equal(results[1][:, :10], results[0][:, :10])
    assert np.array_equal(results[1][:, 10:], original[:, 10:])
    assert code == "no_style"


@needs_runner
def test_the_camera_is_styled_live_and_gives_a_photo(page: Page) -> None:
    page.click(".tabs a[href='#live']")
    page.select_option("#live-size", "192")
    page.click("#camera")
    rate = page.locator("#fps")
    expect(rate).to_contain_text("images per second", timeout=1000 * PATIENCE)
    assert page.evaluate("() => document.getElementById('live-canvas').width") == 192
    page.select_option("#live-style", "the_scream")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    page.click("#snap")
    page.wait_for_selector(STYLED)
    # It is in the style in which it was seen, and stays here too.
    expect(page.locator("input[value=the_scream]")).to_be_checked()
    expect(page.locator("#local")).to_be_checked()
    assert "POST" not in sent
    expect(page.locator("#facts")).to_contain_text("camera.png, ")
    page.click(".tabs a[href='#live']")
    expect(page.locator("#live-placeholder")).to_be_visible()  # it was switched off


def test_without_the_runner_the_page_says_so(
    context: BrowserContext, server: Server, photo: Path
) -> None:
    def config(route: Any) -> None:
        given = route.fetch().json()
        route.fulfill(json={**given, "local": False})

    page = context.new_page()
    page.route("**/config.json", config)
    page.goto(server.url)
    page.wait_for_selector("body[data-ready]", state="attached")
    expect(page.locator("#local")).to_be_disabled()
    expect(page.locator("#local-note")).to_contain_text("onnxruntime-web is not installed")
    page.set_input_files("#file", photo)
    page.wait_for_selector(STYLED)


# Jobs, whose states are made up here; tests/test_jobs.py runs real ones


def job(kind: str, **changes: Any) -> dict[str, Any]:
    state = {"id": "abc", "kind": kind, "name": "mine", "status": "running", "share": 0.25}
    state |= {"step": 50, "seconds_left": 90.0, "seconds": 30.0, "error": "", "version": 1}
    return {**state, "picture": "step_000050", **changes}


def test_a_training_survives_a_reload(
    context: BrowserContext, server: Server, photo: Path, tmp_path: Path
) -> None:
    state = job("train")
    asked: list[str] = []

    def answer(route: Any) -> None:
        request = route.request
        asked.append(f"{request.method} {request.url.partition('/api/')[2]}")
        if request.url.endswith("/events"):
            route.fulfill(
                body=f"retry: 100\ndata: {json.dumps(state)}\n\n", content_type="text/event-stream"
            )
        elif "/picture" in request.url:
            route.fulfill(body=photo.read_bytes(), content_type="image/png")
        elif request.method == "GET":
            route.fulfill(json={"jobs": [state]})
        else:
            state.update(status="done", share=1.0, seconds_left=None)
            route.fulfill(json=state)

    context.route("**/api/jobs**", answer)
    context.route("**/api/jobs/**", answer)
    page, _ = open_page(context, f"{server.url}#train")
    for _ in range(2):
        expect(page.locator(".job-text")).to_have_text(
            "Training of mine: 25 %, step 50, 2 min left"
        )
        expect(page.locator("#sheet")).to_be_visible()
        expect(page.locator("#train-start")).to_be_disabled()
        page.reload()
    page.click(".job-keep")
    expect(page.locator(".job-text")).to_contain_text("Training of mine finished")
    assert "DELETE jobs/abc?keep=true" in asked
    page.click(".job-use")
    expect(page.locator("#photo")).to_be_visible()


def test_one_job_runs_for_all_tabs(context: BrowserContext, server: Server, photo: Path) -> None:
    jobs: list[dict[str, Any]] = []
    context.route("**/api/jobs", lambda route: route.fulfill(json={"jobs": jobs}))
    context.route("**/api/jobs/*/picture**", lambda route: route.fulfill(path=photo))
    context.route("**/api/jobs/*/events", lambda route: route.abort())
    page, _ = open_page(context, server.url)
    page.set_input_files("#file", photo)
    page.click("#classic summary")
    expect(page.locator("#optimize")).to_be_enabled()
    # Another tab begins a training, and this one is looked at again.
    jobs.append(job("train", share=None, seconds=3.0))
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator("#optimize")).to_be_disabled()
    expect(page.locator("#optimize-busy")).to_have_text(
        "Training of mine is running; only one job can run at a time."
    )
    page.click(".tabs a[href='#train']")
    expect(page.locator(".job-text")).to_have_text(
        re.compile(r"Training of mine: preparing for [5-9] s …")
    )


@pytest.mark.engines
def test_a_style_is_trained_and_used(
    browser: Browser, style_path: Path, photo: Path, tmp_path: Path, original_weights: VGGWeights
) -> None:
    settings = [f"--training={setting}" for setting in SMALL if setting != "install=false"]
    settings += ["--training=init=none", "--training=steps=3", "--threads=1"]
    with running_server(tmp_path / "server", style_path, *settings) as server:
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        page, said = open_page(context, f"{server.url}#train")
        page.set_input_files("#picture", small_photo(tmp_path / "My picture.png", 4, 96, 96))
        page.click("#train-start")
        expect(page.locator(".job-text")).to_contain_text("preparing for")
        page.reload()
        done = re.compile("Training of my_picture finished after .* s")
        expect(page.locator(".job-text")).to_have_text(done, timeout=1000 * PATIENCE)
        expect(page.locator("#sheet")).to_be_visible()
        page.click(".job-use")
        page.set_input_files("#file", photo)
        page.wait_for_selector(STYLED)
        expect(page.locator("input[value=my_picture]")).to_be_checked()
        name, content = download(page)
        trained = server.folder / "data" / "fststyle" / "styles" / "my_picture.onnx"
        assert content == by_command_line(tmp_path, photo, trained)
        assert (name, said) == ("holiday_my_picture.png", [])
        context.close()


def test_a_photo_is_repainted(page: Page, photo: Path, tmp_path: Path) -> None:
    result = small_photo(tmp_path / "result.png", seed=9)
    state = job("optimize", name="ink_wash", picture="result_00010")

    def answer(route: Any) -> None:
        if route.request.url.endswith("/events"):
            # The result is there before the process has ended.
            written = {**state, "share": 1.0, "picture": "result"}
            states = (state, written, {**written, "status": "done"})
            told = "".join(f"data: {json.dumps(each)}\n\n" for each in states)
            route.fulfill(body=told, content_type="text/event-stream")
        elif "/picture" in route.request.url:
            route.fulfill(body=result.read_bytes(), content_type="image/png")
        else:
            route.fulfill(status=202, json=state)

    page.route("**/api/optimize**", answer)
    page.route("**/api/jobs/**", answer)
    page.set_input_files("#file", photo)
    page.wait_for_selector(STYLED)
    page.click("#classic summary")
    page.click("#optimize")
    expect(page.locator(".job-text")).to_contain_text("Repainting of Misty Ranges finished")
    with page.expect_download() as waiting:
        page.click("#optimize-job a")
    assert waiting.value.suggested_filename == "holiday_ink_wash_repainted.png"
    assert Path(waiting.value.path()).read_bytes() == result.read_bytes()
    expect(page.locator("#optimize")).to_be_enabled()


def test_a_finished_repainting_is_found_again(
    context: BrowserContext, server: Server, photo: Path
) -> None:
    done = job("optimize", name="ink_wash", status="done", share=1.0, picture="result")
    context.route("**/api/jobs", lambda route: route.fulfill(json={"jobs": [done]}))
    context.route("**/api/jobs/*/picture**", lambda route: route.fulfill(path=photo))
    page, _ = open_page(context, server.url)
    with page.expect_download() as waiting:
        page.click("#optimize-job a")
    assert Path(waiting.value.path()).read_bytes() == photo.read_bytes()


def test_a_training_is_asked_for(page: Page, photo: Path) -> None:
    asked: list[str] = []

    def answer(route: Any) -> None:
        asked.append(route.request.url)
        route.fulfill(status=409, json={"error": "A job is running already.", "code": "x"})

    page.route("**/api/train**", answer)
    page.click(".tabs a[href='#train']")
    page.set_input_files("#picture", photo)
    expect(page.locator("#train-name")).to_have_value("holiday")
    page.locator("#minutes").fill("3")
    page.click("#train-start")
    expect(page.locator("#alert-text")).to_have_text("A job is running already.")
    assert asked[0].endswith("/api/train?name=holiday&minutes=3")


def test_the_sample_is_a_photo() -> None:
    path = sample_photo()
    assert path is not None
    assert load_image(path).shape == (300, 451, 3)


def test_the_script_that_fetches_the_runner_refuses_others(tmp_path: Path) -> None:
    package = tmp_path / "onnxruntime-web.tgz"
    package.write_bytes(b"something else")
    script = Path(__file__).parents[2] / "scripts" / "vendor_ort.py"
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    environment["PYTHONPATH"] = str(script.parents[1])
    done = subprocess.run(
        [sys.executable, str(script), str(package)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1
    assert "its SHA-512 differs" in done.stderr
