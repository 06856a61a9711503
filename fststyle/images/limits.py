"""How large a picture may be before it is taken for a mistake or a decompression bomb."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from PIL import Image, ImageFile

from fststyle.errors import SettingError

MAX_PIXELS: Final = 400_000_000
"""Pictures with more pixels are refused: they are mistakes, or decompression bombs."""

VARIABLE: Final = "FSTSTYLE_MAX_MEGAPIXELS"
"""The environment variable that raises, or lowers, the limit."""


def pixel_limit(default: int | None = None) -> int:
    """Return the most pixels that a picture may have.

    Args:
        default: The limit unless the environment sets another one; by default `MAX_PIXELS`.

    Returns:
        Pixels.

    Raises:
        SettingError: `VARIABLE` is not a whole number from 1.
    """
    text = os.environ.get(VARIABLE, "")
    if not text:
        return MAX_PIXELS if default is None else default
    if not (text.isascii() and text.isdigit() and int(text[:12]) >= 1 and len(text) <= 12):
        raise SettingError(f"{VARIABLE} must be a whole number of megapixels, not {text!r:.40}.")
    return int(text) * 10**6


@contextmanager
def pillow_limits(pixels: int | None = None, max_block: int = 0) -> Iterator[None]:
    """Put our limits in the place of pillow's, which are module variables, and mute warnings.

    The warnings are about damaged metadata that does not concern us. Threads work side by side:
    the first one in puts the limits there, the last one out puts pillow's back.

    Args:
        pixels: `pixel_limit`'s default.
        max_block: Bytes that an encoder may need at once.

    Raises:
        SettingError: As in `pixel_limit`.
    """
    global _before, _inside
    limit = pixel_limit(pixels)
    with _lock:
        if _inside == 0:
            _before = ExitStack()
            _before.enter_context(warnings.catch_warnings(action="ignore"))
            _before.callback(setattr, Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
            _before.callback(setattr, ImageFile, "MAXBLOCK", ImageFile.MAXBLOCK)
        _inside += 1
        Image.MAX_IMAGE_PIXELS = limit
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
