from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# Without the packages for the page, this file must still be importable.
if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext


@pytest.fixture
def styles(tmp_path: Path, style_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the user's styles, with one in it."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    folder = tmp_path / "data" / "fststyle" / "styles"
    folder.mkdir(parents=True)
    shutil.copy(style_path, folder / "small.onnx")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from page_help import CHROMIUM
    from playwright.sync_api import sync_playwright

    arguments = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append("--no-sandbox")  # which Chromium's own needs not to be root
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield found
        found.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    from web_help import PATIENCE

    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(1000 * PATIENCE)
    yield context
    context.close()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    from page_help import small_photo

    return small_photo(tmp_path / "holiday.png")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The exported page on a plain host of files, in a folder of it."""
    from fststyle.web.page_files import export_page

    folder = tmp_path_factory.mktemp("site")
    export_page(folder / "art")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    host = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=host.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{host.server_port}/art/"
    host.shutdown()
    thread.join()
    host.server_close()
