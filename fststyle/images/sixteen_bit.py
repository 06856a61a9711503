"""Colour of 16 bits, which pillow reads as 8 and does not write."""

from __future__ import annotations

import struct
import sys
import zlib
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from fststyle.images import exif as ex

# Pillow's decoders copy one byte of each 16-bit value. Told that the order of bytes is the other
# one, they copy the other byte. (A PNG of grey and alpha fits into RGBA whole.)
_OTHER_BYTE: Final = {
    "RGB;16B": "RGB;16L", "RGB;16L": "RGB;16B", "RGBA;16B": "RGBA;16L", "RGBA;16L": "RGBA;16B",
    "RGB;16N": "RGB;16B" if sys.byteorder == "little" else "RGB;16L",
    "RGBA;16N": "RGBA;16B" if sys.byteorder == "little" else "RGBA;16L", "LA;16B": "RGBA",
}  # fmt: skip
_ROWS: Final = 256  # are filtered at once
_LEVEL: Final = 4  # of zlib: half the time of the usual 6, a few per cent larger


def deep_colour(image: Image.Image, file: BinaryIO) -> NDArray[np.uint16] | None:
    """Read a picture of 16-bit colour with all its precision.

    Args:
        image: As opened, not loaded yet; it is loaded.
        file: What it was opened from; it is read a second time.

    Returns:
        ``(H, W, 3)`` or with alpha ``(H, W, 4)``, as it is stored; None where the picture has 8
        bits, or is grey without alpha, or of a kind of which only 8 bits are read.
    """
    if not isinstance(image, ImageFile.ImageFile):
        return None
    names = {_raw_mode(tile.args) for tile in image.tile}
    if image.format not in ("PNG", "TIFF") or len(names) != 1 or not names <= set(_OTHER_BYTE):
        return None
    image.load()
    file.seek(0)
    with Image.open(file) as other:
        other.tile = [tile._replace(args=_with_other_byte(tile.args)) for tile in other.tile]
        other.load()
        low = np.asarray(other).astype(np.uint16)
    if names == {"LA;16B"}:
        return (low[..., 0::2] * 256 + low[..., 1::2])[..., [0, 0, 0, 1]]
    return np.asarray(image).astype(np.uint16) * 256 + low


def turned(samples: NDArray[np.uint16], orientation: int) -> NDArray[np.uint16]:
    """Make a stored picture upright by its EXIF orientation, from 1 to 8."""
    if orientation in (5, 6, 7, 8):
        samples = samples.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    return samples[:, ::-1] if orientation in (2, 3, 6, 7) else samples


def deep_png(shell: bytes, samples: NDArray[np.uint16]) -> bytes:
    """Put a picture of 16 bits into a PNG.

    Args:
        shell: A PNG of any small picture, with the metadata that is wanted.
        samples: ``(H, W, 3)`` or with alpha ``(H, W, 4)``.

    Returns:
        The file.
    """
    height, width, channels = samples.shape
    header = struct.pack(">IIBBBBB", width, height, 16, 6 if channels == 4 else 2, 0, 0, 0)
    chunks = []
    position = 8
    while position < len(shell):
        (size,) = struct.unpack_from(">I", shell, position)
        chunks.append((shell[position + 4 : position + 8], shell[position : position + size + 12]))
        position += size + 12
    parts = [shell[:8]]
    for name, chunk in chunks:
        if name == b"IHDR":
            parts.append(_chunk(name, header))
        elif name == b"IDAT":
            parts.append(_chunk(name, _filtered(samples)))
        else:
            parts.append(chunk)
    return b"".join(parts)


def tiff(samples: NDArray[np.uint8] | NDArray[np.uint16], exif: ex.Exif, icc: bytes) -> bytes:
    """Write a TIFF, of 8 or 16 bits; compressed by Deflate with a predictor (TIFF 6.0, 14).

    Args:
        samples: ``(H, W, 3)`` or with alpha ``(H, W, 4)``.
        exif: Tags to put beside those that say how the picture is stored.
        icc: The profile.

    Returns:
        The file.
    """
    height, width, channels = samples.shape
    bits = 8 * samples.dtype.itemsize
    rows = max(1, 2**20 // (width * channels * samples.dtype.itemsize))
    parts, offsets, sizes = [b""], [], []
    position = 8
    for top in range(0, height, rows):
        strip = samples[top : top + rows].copy()
        strip[:, 1:] -= samples[top : top + rows, :-1]  # wraps around, as it should
        data = zlib.compress(strip.astype(f"{exif.order}u{bits // 8}").tobytes(), _LEVEL)
        data += bytes(len(data) % 2)
        parts.append(data)
        offsets.append(position)
        sizes.append(len(data))
        position += len(data)
    numbers = {
        256: (ex.LONG, [width]), 257: (ex.LONG, [height]), 258: (ex.SHORT, [bits] * channels),
        259: (ex.SHORT, [8]), 262: (ex.SHORT, [2]), 273: (ex.LONG, offsets),
        277: (ex.SHORT, [channels]), 278: (ex.LONG, [rows]), 279: (ex.LONG, sizes),
        284: (ex.SHORT, [1]), 317: (ex.SHORT, [2]),
    }  # fmt: skip
    if channels == 4:
        numbers[338] = (ex.SHORT, [2])  # alpha by which the colours are not multiplied
    stored = {tag: exif.entry(kind, *values) for tag, (kind, values) in numbers.items()}
    stored[34675] = ex.Entry(ex.UNDEFINED, len(icc), icc)
    whole = ex.Exif(exif.order, exif.image | stored, exif.exif, exif.gps)
    parts[0] = ex.header(exif.order, position)
    return b"".join(parts) + ex.folders(whole, start=position)


def _raw_mode(args: object) -> object:
    return args[0] if isinstance(args, tuple) and args else args


def _with_other_byte(args: object) -> tuple[Any, ...] | str:
    other = _OTHER_BYTE[str(_raw_mode(args))]
    return (other, *args[1:]) if isinstance(args, tuple) else other


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _filtered(samples: NDArray[np.uint16]) -> bytes:
    """Filter every row by Paeth's predictor (PNG, 9.4) and compress them."""
    height, width, channels = samples.shape
    pixel = 2 * channels
    compressor = zlib.compressobj(_LEVEL)
    parts = []
    above = np.zeros((1, width * pixel), np.uint8)
    for top in range(0, height, _ROWS):
        rows = samples[top : top + _ROWS].astype(">u2").reshape(-1, width * channels).view(np.uint8)
        padded = np.zeros((len(rows) + 1, (width + 1) * pixel), np.int16)
        padded[:1, pixel:], padded[1:, pixel:] = above, rows
        left, up, corner = padded[1:, :-pixel], padded[:-1, pixel:], padded[:-1, :-pixel]
        by_left, by_up = abs(up - corner), abs(left - corner)
        by_corner = abs(left + up - 2 * corner)
        guess = np.where(by_up <= by_corner, up, corner)
        guess = np.where((by_left <= by_up) & (by_left <= by_corner), left, guess)
        filtered = np.full((len(rows), 1 + width * pixel), 4, np.uint8)
        filtered[:, 1:] = (padded[1:, pixel:] - guess).astype(np.uint8)
        parts.append(compressor.compress(filtered.tobytes()))
        above = rows[-1:]
    return b"".join(parts) + compressor.flush()
