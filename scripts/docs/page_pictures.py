"""Draw the README's screenshots of the page, docs/page.jpg and docs/page_phone.jpg.

    python scripts/docs/page_pictures.py [--chromium /usr/bin/chromium]

The script runs `fststyle serve` and opens the page in Chromium with Playwright, which is in the
extra `test`.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from fststyle.images.bundled import builtin_held_out
from fststyle.images.save import save_photo

DOCS = Path(__file__).parents[2] / "docs"
DESKTOP = {"width": 1360, "height": 800}
PHONE = {"width": 390, "height": 844}
GAP = 40


def open_photo(browser: Browser, address: str, photo: Path, style: str, **options: Any) -> Page:
    """Open the page, and open a photo on it in a style."""
    page = browser.new_context(**options).new_page()
    page.goto(address)
    page.wait_for_selector("body[data-ready]", state="attached")
    page.set_input_files("#file", photo)
    page.locator(f".card:has(input[value={style}])").click()
    page.wait_for_selector("#status:text-matches(', in [0-9]')")
    page.wait_for_function("() => document.querySelectorAll('.thumb.waiting').length === 0")
    page.locator("#divider").fill("42")
    page.evaluate("() => { document.activeElement.blur(); scrollTo(0, 0); }")
    page.wait_for_timeout(500)
    return page


def pixels(screenshot: bytes) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Read a screenshot as ``(H, W, 3)`` in [0, 1]."""
    image = Image.open(io.BytesIO(screenshot)).convert("RGB")
    return np.asarray(image).astype(np.float32) / np.float32(255)


def main() -> None:
    """Draw all screenshots."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chromium", default=shutil.which("chromium"))
    arguments = parser.parse_args()
    command = [sys.executable, "-m", "fststyle", "serve", "--port", "0", "--no-browser"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        address = server.stdout.readline().split()[-1]
        palace, _, _ = sorted(builtin_held_out(), key=lambda path: path.stem != "china")
        flags = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=arguments.chromium, args=flags)
            page = open_photo(browser, address, palace, "great_wave", viewport=DESKTOP)
            save_photo(pixels(page.screenshot()), DOCS / "page.jpg", quality=86)
            phones = []
            for scheme, style in (("light", "the_scream"), ("dark", "thanos_poster")):
                page = open_photo(
                    browser, address, palace, style, viewport=PHONE, color_scheme=scheme
                )
                phones.append(pixels(page.screenshot()))
            gap = np.ones((PHONE["height"], GAP, 3), np.float32)
            both = np.concatenate((phones[0], gap, phones[1]), axis=1)
            save_photo(both, DOCS / "page_phone.jpg", quality=86)
            browser.close()
    finally:
        server.terminate()
        server.wait()
    for path in sorted(DOCS.glob("page*.jpg")):
        print(f"{path}  {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
