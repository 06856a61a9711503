"""How large a picture may be before it is taken for a mistake or a decompression bomb."""

from __future__ import annotations

import os
from typing import Final

from fststyle.errors import SettingError

VARIABLE: Final = "FSTSTYLE_MAX_MEGAPIXELS"
"""The environment variable that raises, or lowers, the limit."""


def pixel_limit(default: int) -> int:
    """Return the most pixels that a picture may have.

    Args:
        default: Where the environment does not say.

    Returns:
        Pixels.

    Raises:
        SettingError: `VARIABLE` is not a whole number from 1.
    """
    text = os.environ.get(VARIABLE, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and int(text[:12]) >= 1 and len(text) <= 12):
        raise SettingError(f"{VARIABLE} must be a whole number of megapixels, not {text!r:.40}.")
    return int(text) * 10**6
