"""The strength on the page: its slider, the brush, and the dial in the browser."""

from __future__ import annotations

import base64
import os
import shlex
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dialled import make_dialled_network, save_dialled_style
from numpy.typing import NDArray
from page_help import (
    STYLED,
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
from web_help import PATIENCE, Server, running_server

from fststyle.cli import main as cli
from fststyle.styles.network import TransformerNet
from fststyle.stylize.arrays import read_mask
from fststyle.web.page_files import page_folder

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def dialled_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dialled") / "dialled.onnx"
    return save_dialled_style(make_dialled_network(), path, strength=2.0)


@pytest.fixture(scope="module")
def server(
    style_path: Path, dialled_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("page")
    with running_server(folder, style_path, "--threads", "1") as server:
        styles = folder / "data" / "fststyle" / "styles"
        (styles / "dialled.onnx").write_bytes(dialled_path.read_bytes())
        grainy = make_dialled_network()
        network = TransformerNet(replace(grainy.config, grain=8.0))
        network.load_state_dict(grainy.state_dict())
        save_dialled_style(network.eval(), styles / "grainy.onnx")
        yield server
    assert "Traceback" not in server.log


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return small_photo(tmp_path / "my holiday.png", 0, 123, 182)


@pytest.fixture
def page(context: BrowserContext, server: Server, photo: Path) -> Iterator[Page]:
    """The page with the photo in the style with a dial."""
    page, said = open_page(context, server.url)
    show(page, photo, "dialled")
    yield page
    assert said == []


def show(page: Page, photo: Path, style: str) -> None:
    page.set_input_files("#file", photo)
    page.wait_for_selector(STYLED)
    choose(page, style)
    page.wait_for_selector(f"#status:text-matches('{style_title(style)}, in ')")


def style_title(style: str) -> str:
    return {"small": "A small one"}.get(style, "style_0")


def paint(page: Page, *points: tuple[float, float]) -> None:
    """Paint a stroke with the mouse. Points are shares of the photo's width and height."""
    box = page.locator("#painter").bounding_box()
    assert box is not None
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=4)
    page.mouse.up()


def saved_map(page: Page) -> Image.Image:
    with page.expect_download() as waiting:
        page.click("#save-map")
    assert waiting.value.suggested_filename == "my holiday_map.png"
    image = Image.open(Path(waiting.value.path()))
    image.load()
    return image


def strengths_of(image: Image.Image, strength: float) -> NDArray[np.float32]:
    levels = np.asarray(image.convert("RGB"))
    assert np.ptp(levels, axis=2).max() == 0
    return levels[..., 0].astype(np.float32) * np.float32(strength / 255)


def test_range_depends_on_the_style(
    page: Page, photo: Path, dialled_path: Path, tmp_path: Path
) -> None:
    value = page.locator("#strength-value")
    expect(value).to_have_text("2")  # recommended by the file
    expect(page.locator("#strength-marks")).to_be_visible()
    assert download(page)[1] == by_command_line(tmp_path, photo, dialled_path, "--strength", "2")
    for position, strength in {"0": "0", "10": "0.13", "20": "0.25", "40": "0.5"}.items():
        page.locator("#strength").fill(position)
        expect(value).to_have_text(strength)
    for position, strength in {"60": "1", "80": "2", "100": "4"}.items():
        page.locator("#strength").fill(position)
        expect(value).to_have_text(strength)
    assert page.get_attribute("#strength", "aria-valuetext") == "4"
    assert download(page)[1] == by_command_line(tmp_path, photo, dialled_path, "--strength", "4")
    choose(page, "small")
    expect(value).to_have_text("100 %")
    expect(page.locator("#strength-marks")).to_be_hidden()
    choose(page, "dialled")
    expect(value).to_have_text("4")
    page.select_option("#blend", "small")  # which has no dial
    expect(value).to_have_text("100 %")
    expect(page.locator("#status")).to_contain_text("style_0 and A small one")
    expect(page.locator("#alert")).to_be_hidden()


def test_paint_with_the_mouse(page: Page, photo: Path, dialled_path: Path, tmp_path: Path) -> None:
    """The left of the photo is strong, and the right is the photo itself."""
    page.locator("#strength").fill("0")
    page.click("#paint")
    expect(page.locator("#divider")).to_be_hidden()
    page.locator("#brush-size").fill("40")
    expect(page.locator("#brush-strength-value")).to_have_text("4")
    paint(page, (0.1, 0.02), (0.1, 0.98))
    expect(page.locator("#brush-status")).to_have_text("Painted with strength 4.")
    image = saved_map(page)
    expect(page.locator("#status")).to_have_text(
        "Saved as my holiday_map.png. Use it with the strength 4."
    )
    assert image.size == (182, 123)
    strengths = strengths_of(image, 4)
    assert (strengths[:, :38] == 4).all()
    assert (strengths[:, 60:] == 0).all()
    page.wait_for_selector(STYLED)
    name, content = download(page)
    original, result = pixels(photo.read_bytes()), pixels(content)
    assert np.array_equal(result[:, 60:], original[:, 60:])
    assert np.abs(result[:, :38] - original[:, :38]).mean() > 10
    image.save(tmp_path / "map.png")
    options = ["--strength", "4", "--strength-map", str(tmp_path / "map.png")]
    assert content == by_command_line(tmp_path, photo, dialled_path, *options)
    # The command on the page makes the same file.
    page.click("#command-line summary")
    command = page.locator("#command").text_content() or ""
    assert command == (
        'fststyle stylize "my holiday.png" --style dialled --strength 4 '
        f'--strength-map "my holiday_map.png" -o "{name}"'
    )
    run_command(command.replace("dialled ", f"{dialled_path} "), tmp_path, image)
    assert (tmp_path / name).read_bytes() == content
    # Another photo has a map of its own.
    page.set_input_files("#file", small_photo(tmp_path / "other.png", 1))
    page.wait_for_selector("#facts:text-matches('other.png')")
    expect(page.locator("#command")).to_contain_text("--strength 0 -o")


def run_command(command: str, folder: Path, image: Image.Image) -> None:
    image.save(folder / "my holiday_map.png")
    here = Path.cwd()
    os.chdir(folder)
    try:
        with pytest.raises(SystemExit) as stop:
            cli.main([*shlex.split(command)[1:], "--threads", "1"])
    finally:
        os.chdir(here)
    assert stop.value.code == 0


def test_base_strength_and_eraser(page: Page) -> None:
    page.locator("#strength").fill("60")
    page.click("#paint")
    page.locator("#brush-size").fill("30")
    page.locator("#brush-strength").fill("80")
    paint(page, (0.2, 0.5), (0.8, 0.5))
    strengths = strengths_of(saved_map(page), 2)
    assert strengths[0, 0] == pytest.approx(1, abs=0.005)
    assert strengths[61, 20:160] == pytest.approx(2)
    page.locator("#erase").locator("xpath=..").click()
    paint(page, (0.5, 0.5))
    expect(page.locator("#brush-status")).to_have_text("Erased.")
    strengths = strengths_of(saved_map(page), 2)
    assert strengths[61, 91] == pytest.approx(1, abs=0.005)
    assert strengths[61, 40] == pytest.approx(2)
    # What is not painted follows the slider.
    page.locator("#strength").fill("40")
    assert strengths_of(saved_map(page), 2)[61, 91] == pytest.approx(0.5, abs=0.005)
    # Without a dial, strengths end at 1.
    choose(page, "small")
    strengths = strengths_of(saved_map(page), 1)
    assert (strengths[61, 91], strengths[61, 40]) == (pytest.approx(0.5, abs=0.005), 1)


def test_paint_with_the_keyboard(page: Page) -> None:
    page.locator("#strength").fill("0")
    page.focus("#paint")
    page.keyboard.press("Enter")
    expect(page.locator("#paint")).to_have_attribute("aria-expanded", "true")
    page.focus("#painter")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#brush-status")).to_have_text("The brush is 46 % across and 50 % down.")
    page.keyboard.press("Space")
    expect(page.locator("#brush-status")).to_have_text("Painted with strength 4.")
    page.keyboard.down("Space")
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    page.keyboard.up("Space")
    line = strengths_of(saved_map(page), 4)
    assert line[61, 80:128].min() == 4
    assert line[61, 150:].max() == 0
    page.keyboard.press("Control+z")
    dab = strengths_of(saved_map(page), 4)
    assert dab[61, 80] == 4
    assert dab[61, 110:].max() == 0
    page.keyboard.press("Control+Shift+z")
    assert np.array_equal(strengths_of(saved_map(page), 4), line)
    expect(page.locator("#redo")).to_have_attribute("aria-disabled", "true")
    page.click("#clear-map")
    page.click("#save-map")
    expect(page.locator("#alert-text")).to_have_text("The map is empty. Paint on the photo first.")
    page.click("#undo")
    assert np.array_equal(strengths_of(saved_map(page), 4), line)
    expect(page.locator("#map")).to_be_visible()
    page.locator("#show-map").uncheck()
    expect(page.locator("#map")).to_be_hidden()


def test_paint_with_a_finger(browser: Browser, server: Server, photo: Path) -> None:
    viewport: Any = {"width": 390, "height": 844}
    context = browser.new_context(viewport=viewport, has_touch=True)
    context.set_default_timeout(1000 * PATIENCE)
    page, _ = open_page(context, server.url)
    show(page, photo, "dialled")
    page.locator("#strength").fill("0")
    page.locator("#paint").tap()
    box = page.locator("#painter").bounding_box()
    assert box is not None
    page.touchscreen.tap(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    strengths = strengths_of(saved_map(page), 4)
    assert strengths[61, 45] == 4
    assert strengths[:, 91:].max() == 0
    context.close()


def test_open_a_map(page: Page, tmp_path: Path) -> None:
    """A map of another size, with transparency, is stretched like those of the command line."""
    levels = np.zeros((20, 30, 2), np.uint8)
    levels[..., 0] = 255
    levels[:, :15, 1] = 255
    path = tmp_path / "grey.png"
    Image.fromarray(levels).save(path)
    page.locator("#strength").fill("80")
    page.click("#paint")
    page.set_input_files("#map-file", path)
    expect(page.locator("#brush-status")).to_have_text("The map is grey.png.")
    strengths = strengths_of(saved_map(page), 2)
    assert (strengths[:, :85] == 2).all()
    assert (strengths[:, 98:] == 0).all()
    expected = 2 * read_mask(Image.fromarray(levels).resize((182, 123)))
    assert np.abs(strengths - expected).mean() < 0.02
    (tmp_path / "notes.png").write_text("only text")
    page.set_input_files("#map-file", tmp_path / "notes.png")
    expect(page.locator("#alert-text")).to_have_text(
        "notes.png is not an image that this browser can open."
    )
    assert np.array_equal(strengths_of(saved_map(page), 2), strengths)


@needs_runner
@pytest.mark.parametrize("style", ["dialled", "grainy"])
def test_browser_follows_the_dial(
    page: Page, server: Server, photo: Path, tmp_path: Path, style: str
) -> None:
    path = server.folder / "data" / "fststyle" / "styles" / f"{style}.onnx"
    choose(page, style)
    page.check("#local")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    for position, strength in {"0": 0, "10": 0.13, "20": 0.25, "70": 1.41, "100": 4}.items():
        page.locator("#strength").fill(position)
        _, content = download(page)
        exact = exactly({path: 1}, photo, strength=strength)
        assert np.abs(pixels(content) - exact).max() <= (2 if strength else 0)
    page.locator("#stroke").fill("3")
    page.check("#colors")
    page.click("#paint")
    page.locator("#brush-strength").fill("15")
    paint(page, (0.1, 0.2), (0.8, 0.6))
    page.locator("#brush-strength").fill("45")
    paint(page, (0.2, 0.8), (0.7, 0.9))
    image = saved_map(page)
    _, content = download(page)
    options = {"strength": 4, "strength_map": image, "scale": 1.68, "keep_colors": True}
    assert np.abs(pixels(content) - exactly({path: 1}, photo, **options)).max() <= 2
    # Strokes so large that the result is painted a second time.
    page.locator("#stroke").fill("4")
    _, content = download(page)
    options["scale"] = 2
    assert np.abs(pixels(content) - exactly({path: 1}, photo, **options)).max() <= 2
    page.locator("#stroke").fill("3")
    options["scale"] = 1.68
    # Together with a style without a dial.
    page.select_option("#blend", "great_wave")
    image = saved_map(page)
    _, content = download(page)
    options |= {"strength": 1, "strength_map": image}
    exact = exactly({path: 0.5, "great_wave": 0.5}, photo, **options)
    assert np.abs(pixels(content) - exact).max() <= 2
    # Where the strength is 0, the photo is unchanged, although the result is enlarged.
    page.locator("#stroke").fill("4")
    page.locator("#brush-strength").fill("0")
    paint(page, (0.1, 0.2), (0.8, 0.6))
    image = saved_map(page)
    _, content = download(page)
    options |= {"scale": 2, "strength_map": image}
    exact = exactly({path: 0.5, "great_wave": 0.5}, photo, **options)
    assert (np.asarray(image) == 0).any()
    assert np.abs(pixels(content) - exact).max() <= 2
    assert "POST" not in sent


@needs_runner
def test_runner_names_bad_settings(context: BrowserContext, server: Server, photo: Path) -> None:
    page = context.new_page()
    page.route("**/empty.html", lambda route: route.fulfill(body="", content_type="text/html"))
    page.goto(f"{server.url}empty.html")
    weak, codes = page.evaluate(
        """async (encoded) => {
            const { open } = await import(new URL("runner.js", location.href).href);
            const image = new ImageData(40, 30);
            image.data.fill(200);
            const runner = await open("styles/dialled.onnx");
            const weak = await runner.stylize(image, { strength: 0 });
            const tries = [
                { strength: 2, style: "styles/small.onnx" },
                { strength: 4.5 }, { strength: NaN }, { strength: "much" },
                { map: new Float32Array(7) },
            ];
            const codes = [];
            for (const options of tries) {
                const failed = await runner.stylize(image, options).catch((error) => error);
                codes.push(failed.code ?? failed.message);
            }
            return [[...weak.data], codes];
        }""",
        base64.b64encode(photo.read_bytes()).decode(),
    )
    assert set(weak) == {200}
    assert codes == [
        "no_dial",
        "strength must be a number from 0 to 4, not 4.5",
        "strength must be a number from 0 to 4, not NaN",
        "strength must be a number from 0 to 4, not much",
        "map must have 1200 values, not 7",
    ]


@needs_runner
def test_map_of_another_size(
    context: BrowserContext, server: Server, photo: Path, dialled_path: Path
) -> None:
    """The runner stretches maps, and multiplies their brightness and opacity."""
    levels = np.random.default_rng(0).integers(0, 256, (9, 14, 4), dtype=np.uint8)
    page = context.new_page()
    page.route("**/empty.html", lambda route: route.fulfill(body="", content_type="text/html"))
    page.goto(f"{server.url}empty.html")
    result = page.evaluate(
        """async ([encoded, levels]) => {
            const { open } = await import(new URL("runner.js", location.href).href);
            const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
            const bitmap = await createImageBitmap(new Blob([bytes]));
            const drawing = new OffscreenCanvas(182, 123).getContext("2d");
            drawing.drawImage(bitmap, 0, 0);
            const map = new ImageData(Uint8ClampedArray.from(levels), 14, 9);
            const runner = await open("styles/dialled.onnx");
            const image = drawing.getImageData(0, 0, 182, 123);
            return [...(await runner.stylize(image, { strength: 4, map })).data];
        }""",
        [base64.b64encode(photo.read_bytes()).decode(), levels.ravel().tolist()],
    )
    actual = np.reshape(result, (123, 182, 4))[..., :3]
    exact = exactly({dialled_path: 1}, photo, strength=4, strength_map=levels)
    assert np.abs(actual - exact).max() <= 2


@needs_runner
def test_large_results_are_not_painted_again(
    context: BrowserContext, server: Server, tmp_path: Path, dialled_path: Path
) -> None:
    photo = small_photo(tmp_path / "large.png", 0, 336, 496)
    script = (page_folder() / "runner.js").read_text()
    small = script.replace("MAX_NETWORK_PIXELS = 4_500_000", "MAX_NETWORK_PIXELS = 100_000")
    assert small != script
    # With the headers of the server, which workers need.
    context.route("**/runner.js", lambda route: route.fulfill(response=route.fetch(), body=small))
    page, _ = open_page(context, server.url)
    page.locator("#stroke").fill("4")
    page.check("#local")
    show(page, photo, "dialled")
    name, content = download(page)
    expect(page.locator("#status")).to_have_text(
        f"Saved as {name}. It is enlarged: only the server paints large photos at full size."
    )
    exact = exactly({dialled_path: 1}, photo, strength=2, scale=2, repaint=False)
    # The command line rounds the shrunk photo, to which random networks are sensitive.
    assert np.abs(pixels(content) - exact).mean() < 1.5


@needs_runner
def test_camera_follows_the_dial(context: BrowserContext, server: Server, photo: Path) -> None:
    page, said = open_page(context, server.url)
    page.click(".tabs a[href='#live']")
    expect(page.locator("#live-map")).to_be_hidden()
    page.click(".tabs a[href='#photo']")
    show(page, photo, "dialled")
    page.click("#paint")
    page.locator("#brush-strength").fill("0")
    page.locator("#brush-size").fill("60")
    paint(page, (0.1, 0.02), (0.1, 0.98))
    page.click(".tabs a[href='#live']")
    page.select_option("#live-size", "192")
    page.select_option("#live-style", "dialled")
    expect(page.locator("#live-strength-value")).to_have_text("2")
    page.locator("#live-strength").fill("0")
    page.click("#camera")
    expect(page.locator("#fps")).to_contain_text("images per second", timeout=1000 * PATIENCE)
    plain = frame_of(page)
    page.locator("#live-strength").fill("100")

    def changes() -> tuple[float, float]:
        """The changes of the left and of the right of the video."""
        change = np.abs(frame_of(page) - plain)
        return float(change[:, :30].mean()), float(change[:, 100:].mean())

    wait_until(page, lambda: min(changes()) > 5)
    page.check("#live-map")
    wait_until(page, lambda: changes()[0] < 2 and changes()[1] > 10)
    page.click("#snap")
    page.wait_for_selector(STYLED)
    expect(page.locator("#strength-value")).to_have_text("4")
    assert said == []


def wait_until(page: Page, condition: Callable[[], bool]) -> None:
    for _ in range(300):
        if condition():
            return
        page.wait_for_timeout(200)
    raise AssertionError("it does not become true")


def frame_of(page: Page) -> NDArray[np.int16]:
    """The frame that the camera shows."""
    address = page.evaluate("document.getElementById('live-canvas').toDataURL()")
    return pixels(base64.b64decode(address.partition(",")[2]))
