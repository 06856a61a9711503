"""The files of the page, onnxruntime-web beside them, and the page without a server."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Final

from fststyle import __version__
from fststyle.errors import SettingError
from fststyle.files import cannot_write, user_cache_folder, write_atomically
from fststyle.images.bundled import sample_photo
from fststyle.web.guard import CONTENT_POLICY
from fststyle.web.photos import find_network, list_networks

ORT_VERSION: Final = "1.30.0"
"""Of onnxruntime-web, which ``scripts/vendor_ort.py`` fetches."""

ORT_FILES: Final = {
    "ort.wasm.min.mjs": "ort.js",
    "ort-wasm-simd-threaded.mjs": "ort-wasm.js",
    "ort-wasm-simd-threaded.wasm": "ort-wasm.wasm",
}
"""Its files that run on a processor, and how they are called here: any host knows ``.js``."""

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
    """Return the folder of the page's own files."""
    return Path(__file__).parent / "page"


def page_files() -> dict[str, Path]:
    """List what the page consists of, by the names that browsers ask for."""
    files = {path.name: path for path in page_folder().iterdir() if path.suffix in MEDIA_TYPES}
    sample = sample_photo()
    return files if sample is None else {**files, SAMPLE: sample}


def ort_folder() -> Path:
    """Return where ``scripts/vendor_ort.py`` puts onnxruntime-web; it need not be there."""
    return user_cache_folder() / f"onnxruntime-web-{ORT_VERSION}"


def ort_files() -> dict[str, Path]:
    """List the files of onnxruntime-web; none where one of them is missing."""
    files = {name: ort_folder() / name for name in ORT_FILES.values()}
    return files if all(path.is_file() for path in files.values()) else {}


def page_config(**facts: Any) -> dict[str, Any]:
    """Tell the page what it can do.

    Args:
        **facts: ``server``, ``jobs``, ``most_bytes``, ``most_pixels``: what a server adds.

    Returns:
        As JSON can hold it.
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
    """Write the page with all styles to a folder that any host of files can serve.

    There is no server then: the style files run on the visitor's own machine.

    Args:
        folder: Made where need be; it must be empty, or hold such a page.

    Returns:
        The number of styles.

    Raises:
        FststyleError: onnxruntime-web has not been fetched, there is no style, or the folder
            holds something else or cannot be written to.
    """
    runtime = ort_files()
    if not runtime:
        raise SettingError(
            "A page without a server needs onnxruntime-web, which is not here; fetch it with: "
            "python scripts/vendor_ort.py"
        )
    styles = list_networks()
    if not styles:
        raise SettingError("There is no trained style yet; train one: fststyle train style=NAME")
    if folder.exists() and not folder.is_dir():
        raise SettingError(f"{folder} is a file; name a folder.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "config.json").is_file():
        raise SettingError(f"{folder} holds something else; name an empty folder.")
    try:
        for name in ("ort", "styles"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for name, path in page_files().items():
            shutil.copyfile(path, folder / name)
        for name, path in runtime.items():
            shutil.copyfile(path, folder / "ort" / name)
        for style in styles:
            path = find_network(style["name"]).path
            shutil.copyfile(path, folder / "styles" / f"{style['name']}.onnx")
    except OSError as error:
        raise cannot_write(folder, error) from error
    # There are no headers to set; the page carries its policy itself.
    policy = CONTENT_POLICY.replace(_FRAME_ANCESTORS, "")
    html = (page_folder() / "index.html").read_text(encoding="utf-8")
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    write_atomically(
        folder / "index.html", html.replace("<head>", f"<head>\n    {meta}", 1).encode()
    )
    write_atomically(folder / "styles.json", json.dumps({"styles": styles}, indent=1).encode())
    write_atomically(folder / "config.json", json.dumps(page_config(), indent=1).encode())
    return len(styles)
