"""The files of the page and of onnxruntime-web, and the export of a page without a server."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Final

from fststyle import __version__
from fststyle.errors import SettingError
from fststyle.files import cannot_write, user_cache_folder, write_atomically
from fststyle.images.bundled import sample_photo
from fststyle.web.models import Styles
from fststyle.web.networks import browser_model, list_networks

CONTENT_POLICY: Final = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; "
    "style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content security policy: no inline scripts or styles, and nothing from other sites."""

ORT_VERSION: Final = "1.30.0"
"""Version of onnxruntime-web that ``scripts/vendor_ort.py`` downloads."""

ORT_FILES: Final = {
    "ort.wasm.min.mjs": "ort.js",
    "ort-wasm-simd-threaded.mjs": "ort-wasm.js",
    "ort-wasm-simd-threaded.wasm": "ort-wasm.wasm",
}
"""CPU files of onnxruntime-web and their local names. Any host serves ``.js`` files correctly."""

MEDIA_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".onnx": "application/octet-stream",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
}

SAMPLE: Final = "sample.png"

_FRAME_ANCESTORS: Final = "; frame-ancestors 'none'"


def page_folder() -> Path:
    """Return the folder with the page's own files."""
    return Path(__file__).parent / "page"


def page_files() -> dict[str, Path]:
    """List the page's files and the sample photo, by their names in URLs."""
    files = {path.name: path for path in page_folder().iterdir() if path.suffix in MEDIA_TYPES}
    sample = sample_photo()
    return files if sample is None else {**files, SAMPLE: sample}


def ort_folder() -> Path:
    """Return the folder where ``scripts/vendor_ort.py`` puts onnxruntime-web."""
    return user_cache_folder() / f"onnxruntime-web-{ORT_VERSION}"


def ort_files() -> dict[str, Path]:
    """List the onnxruntime-web files by name. If one is missing, return an empty dictionary."""
    files = {name: ort_folder() / name for name in ORT_FILES.values()}
    return files if all(path.is_file() for path in files.values()) else {}


def page_config(**facts: Any) -> dict[str, Any]:
    """Return the content of the page's ``config.json``.

    Args:
        **facts: Information about the server: ``server``, ``jobs``, ``most_bytes`` and
            ``most_pixels``.

    Returns:
        A dictionary that can be written as JSON.
    """
    return {
        "version": __version__,
        "server": False,
        "jobs": False,
        "local": bool(ort_files()),
        "sample": SAMPLE if sample_photo() is not None else None,
        "most_bytes": 64 * 2**20,
        "most_pixels": 64_000_000,
        **facts,
    }


def export_page(folder: Path) -> int:
    """Export the page with all styles to a folder that any static file host can serve.

    The exported page works without fststyle's server: styles run in the visitor's browser.

    Args:
        folder: Target folder. It is created if necessary. Otherwise it must be empty or contain
            an earlier export.

    Returns:
        The number of exported styles.

    Raises:
        FststyleError: onnxruntime-web has not been downloaded, there is no trained style, or the
            folder contains other files or cannot be written to.
    """
    runtime = ort_files()
    if not runtime:
        raise SettingError(
            "Exporting the page requires onnxruntime-web, which is not installed.",
            remedy="Run scripts/vendor_ort.py from a clone of fststyle.",
            code="missing_runtime",
        )
    styles = list_networks()
    if not styles:
        raise SettingError("No trained style was found that could be exported.", code="no_network")
    if folder.exists() and not folder.is_dir():
        raise SettingError(
            "{path} is not a folder.", path=folder, remedy="Choose a folder.", code="not_a_folder"
        )
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "config.json").is_file():
        raise SettingError(
            "{path} already contains files that fststyle did not create.",
            path=folder,
            remedy="Choose an empty folder.",
            code="not_empty",
        )
    try:
        for name in ("ort", "styles"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for name, path in page_files().items():
            shutil.copyfile(path, folder / name)
        for name, path in runtime.items():
            shutil.copyfile(path, folder / "ort" / name)
        for style in styles:
            path = folder / "styles" / f"{style.name}.onnx"
            path.write_bytes(browser_model(style.name))
    except OSError as error:
        raise cannot_write(folder, error) from error
    # A static host does not set security headers, so the page contains the policy itself.
    policy = CONTENT_POLICY.replace(_FRAME_ANCESTORS, "")
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    html = (page_folder() / "index.html").read_text(encoding="utf-8")
    generated = {
        "index.html": html.replace("<head>", f"<head>\n    {meta}", 1),
        "styles.json": Styles(styles=styles).model_dump_json(indent=1),
        "config.json": json.dumps(page_config(), indent=1),
    }
    for name, text in generated.items():
        write_atomically(folder / name, text.encode())
    return len(styles)
