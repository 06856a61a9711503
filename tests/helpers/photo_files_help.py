"""Photo files whose hashes decide whether they are held out."""

from __future__ import annotations

import hashlib
import io
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor


def starts_with_zero(data: bytes) -> bool:
    return hashlib.sha256(data).hexdigest()[0] == "0"


def write(path: Path, make: Callable[[int], bytes], *, held_out: bool = False) -> Path:
    """Write the first of make(0), make(1), … that is (not) to be held out."""
    data = next(data for data in map(make, itertools.count()) if starts_with_zero(data) == held_out)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def encoded(image: Image.Image, file_format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format)
    return buffer.getvalue()


def plain(level: int, width: int = 24, height: int = 20) -> Callable[[int], bytes]:
    """Encodes a plain photo of this grey level; the blue channel varies the file's hash."""
    return lambda attempt: encoded(Image.new("RGB", (width, height), (level, level, attempt)))


def noisy(
    width: int, height: int, mode: str = "RGB", file_format: str = "PNG"
) -> Callable[[int], bytes]:
    def make(attempt: int) -> bytes:
        random = np.random.default_rng(attempt)
        pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        return encoded(Image.fromarray(pixels).convert(mode), file_format)

    return make


def level_of(photo: Tensor) -> int:
    """The grey level of a crop of a `plain` photo."""
    red = photo[0]
    assert red.max() - red.min() < 0.1  # its grain
    return round(255 * float(red.mean()))


LEVELS = (10, 40, 70, 100, 130)
