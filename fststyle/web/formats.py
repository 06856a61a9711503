"""Image formats for uploads and results."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

FORMATS: Final = {"jpeg": ".jpg", "png": ".png", "webp": ".webp"}
"""Output formats and their file extensions."""

IMAGE_KINDS: Final = {
    "jpeg": rb"\xff\xd8\xff",
    "png": rb"\x89PNG\r\n\x1a\n",
    "webp": rb"RIFF....WEBP",
    "gif": rb"GIF8[79]a",
    "tiff": rb"II[*+]\0|MM\0[*+]",
    "bmp": rb"BM",
    "jp2": rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51",
    "avif": rb"....ftypavi[fs]",
    "heic": rb"....ftyp(heic|heix|heim|heis|hevc|hevx|mif1|msf1)",
}
"""Accepted upload formats and patterns for their first bytes. Pillow could read more formats."""


def kind_of(path: Path) -> str | None:
    """Detect the format of a file by its first bytes. Returns ``None`` if it is unknown."""
    with path.open("rb") as file:
        head = file.read(16)
    return next((k for k, begin in IMAGE_KINDS.items() if re.match(begin, head, re.S)), None)
