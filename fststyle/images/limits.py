"""Limits for image sizes. Images above the limit are usually mistakes or decompression bombs."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

import numpy as np
from PIL import Image, ImageFile, PngImagePlugin

from fststyle.errors import SettingError

MAX_PIXELS: Final = 400_000_000
"""Maximum number of pixels in an image, unless the environment variable sets another limit."""

MAX_TEXT: Final = 32 * 2**20
"""Maximum size in bytes of a text or a colour profile in a PNG file, when decompressed."""

VARIABLE: Final = "FSTSTYLE_MAX_MEGAPIXELS"
"""Environment variable that sets the limit, in megapixels."""


def pixel_limit(default: int | None = None) -> int:
    """Return the maximum number of pixels that an image may have.

    Args:
        default: Limit to use if the environment variable is not set. By default, `MAX_PIXELS`.

    Raises:
        SettingError: The environment variable is not a whole number of at least 1.
    """
    text = os.environ.get(VARIABLE, "")
    if not text:
        return MAX_PIXELS if default is None else default
    if not (text.isascii() and text.isdigit() and int(text[:12]) >= 1 and len(text) <= 12):
        raise SettingError(f"{VARIABLE} must be a whole number of megapixels, not {text!r:.40}.")
    return int(text) * 10**6


@contextmanager
def pillow_limits(max_block: int = 0) -> Iterator[None]:
    """Replace Pillow's limits, and ignore warnings about damaged metadata, in a ``with`` block.

    Pillow stores its limits in module variables, which all threads share. The first thread that
    enters a block saves the original limits, and the last thread that leaves one restores them.

    Args:
        max_block: Size in bytes of the largest buffer that an encoder may need.

    Raises:
        SettingError: The environment variable is not a whole number of at least 1.
    """
    global _before, _inside
    limit = pixel_limit()
    with _lock:
        if _inside == 0:
            _before = ExitStack()
            _before.enter_context(warnings.catch_warnings(action="ignore"))
            _before.callback(setattr, Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
            _before.callback(setattr, ImageFile, "MAXBLOCK", ImageFile.MAXBLOCK)
            text = PngImagePlugin.MAX_TEXT_CHUNK
            _before.callback(setattr, PngImagePlugin, "MAX_TEXT_CHUNK", text)
        _inside += 1
        Image.MAX_IMAGE_PIXELS = limit
        PngImagePlugin.MAX_TEXT_CHUNK = MAX_TEXT
        ImageFile.MAXBLOCK = max(ImageFile.MAXBLOCK, max_block)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _before.close()


_lock = threading.Lock()
_inside = 0
_before = ExitStack()


def memory_is_short(size: int) -> bool:
    """Return ``True`` if ``size`` bytes cannot be allocated.

    Decoders and encoders report a failed allocation with the same errors as a damaged image.
    """
    try:
        np.empty(size, np.uint8)
    except MemoryError:
        return True
    return False
