"""Shared by the tests of the page in Debian's Chromium."""

from __future__ import annotations

import io
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import BrowserContext, Page, expect

from fststyle.cli import main as cli
from fststyle.images.save import save_photo
from fststyle.openvino_core import openvino_core
from fststyle.runtime.on_openvino import openvino_forward
from fststyle.runtime.runner import Loaded, Runtime
from fststyle.styles.find import find_network
from fststyle.styles.style_file import read_style
from fststyle.stylize.stylizer import Stylizer
from fststyle.web.page_files import ort_files, ort_folder

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
STYLED = "#status:text-matches(', in [0-9.]+ (s|min)')"


expect.set_options(timeout=30_000)  # milliseconds; computers may be busy

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no Chromium here: apt-get install chromium"
)


needs_runner = pytest.mark.skipif(
    not ort_files(), reason="onnxruntime-web is not here: python scripts/vendor_ort.py"
)


def open_page(context: BrowserContext, address: str) -> tuple[Page, list[str]]:
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(address)
    page.wait_for_selector("body[data-ready]", state="attached")
    return page, said


def small_photo(path: Path, seed: int = 0, height: int = 60, width: int = 90) -> Path:
    random = np.random.default_rng(seed)
    tiny = Image.fromarray(random.integers(0, 256, (6, 9, 3), dtype=np.uint8))
    smooth = np.asarray(tiny.resize((width, height), Image.Resampling.BICUBIC))
    save_photo(smooth.astype(np.float32) / 255, path)
    return path


def choose(page: Page, style: str) -> None:
    page.locator(f".card:has(input[value={style}])").click()


def download(page: Page) -> tuple[str, bytes]:
    with page.expect_download() as waiting:
        page.click("#download")
    return waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes()


def pixels(content: bytes) -> NDArray[np.int16]:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(np.int16)


def by_command_line(folder: Path, photo: Path, style: Path | str, *options: str) -> bytes:
    target = folder / f"target{photo.suffix}"
    command = ["stylize", str(photo), "--style", str(style), "-o", str(target), "--threads", "1"]
    with pytest.raises(SystemExit) as stop:
        cli.main([*command, *options])
    assert stop.value.code == 0
    return target.read_bytes()


def axe_script() -> str | None:
    path = ort_folder().with_name("axe-core") / "axe.min.js"
    return path.read_text(encoding="utf-8") if path.is_file() else None


def exactly(styles: Mapping[Any, float], photo: Path, **control: Any) -> NDArray[np.int16]:
    """A photo in styles, given by names or paths, in float32: servers may use bfloat16."""
    parts = [(_exact_runtime(find_network(str(style)).path), w) for style, w in styles.items()]
    result = Stylizer.of(parts)(Image.fromarray(np.asarray(Image.open(photo))), **control)
    return np.asarray(result).astype(np.int16)


def _exact_runtime(path: Path) -> Runtime:
    style = read_style(path)
    core = openvino_core()

    def load(strength: float | None) -> Loaded:
        model = style.with_position() if strength is None else style.folded(strength).model
        precision = {"INFERENCE_PRECISION_HINT": "f32"}
        compiled = core.compile_model(core.read_model(model, b""), "CPU", precision)
        return Loaded(openvino_forward(compiled))

    if style.network.dial:
        return Runtime.with_dial(style.info, "cpu", load)
    return Runtime(style.info, "cpu", load(1.0).forward)
