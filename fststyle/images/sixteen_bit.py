"""Images with more than 8 bits per channel.

Pillow reduces 16-bit colour to 8 bits when reading, and cannot write it. `read_sixteen_bit` reads
16-bit images at full precision, `sixteen_bit_png` writes them as PNG, and `fststyle.images.tiff`
writes them as TIFF.
"""

from __future__ import annotations

import struct
import sys
import zlib
from io import BytesIO
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from fststyle.images import exif as ex

# Pillow's decoders copy one byte of each 16-bit value. If the raw mode names the opposite byte
# order, they copy the other byte. The two 16-bit channels of a PNG with grey and alpha fit into the
# four 8-bit channels of RGBA.
_OTHER_BYTE: Final = {
    "RGB;16B": "RGB;16L", "RGB;16L": "RGB;16B", "RGBA;16B": "RGBA;16L", "RGBA;16L": "RGBA;16B",
    "RGB;16N": "RGB;16B" if sys.byteorder == "little" else "RGB;16L",
    "RGBA;16N": "RGBA;16B" if sys.byteorder == "little" else "RGBA;16L", "LA;16B": "RGBA",
}  # fmt: skip
# TIFF tags that say how pixels are stored, and those of them that list the parts of the file.
_LAYOUT: Final = (256, 257, 259, 266, 273, 278, 279, 317, 322, 323, 324, 325)
_PARTS: Final = {273, 279, 324, 325}
_ROWS: Final = 256  # number of rows to filter together
COMPRESSION: Final = 4  # zlib level: half the time of level 6 (default), a few per cent larger


def read_sixteen_bit(
    image: Image.Image, file: BinaryIO | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None] | None:
    """Read an image with more than 8 bits per channel at full precision.

    Args:
        image: Opened image. This function loads the pixels. Colour images can be read only if their
            pixels have not been loaded yet.
        file: File that the image was opened from. Without the file, only greyscale images can be
            read.

    Returns:
        Colour ``(H, W, 1)`` or ``(H, W, 3)`` in [0, 1] as stored, neither rotated nor converted,
        and alpha ``(H, W)`` or ``None``. If the image has 8 bits per channel, or can be read only
        with 8 bits, the result is ``None`` instead of a pair.
    """
    if image.mode.startswith("I") or image.mode == "F":
        image.load()
        key = None if image.mode == "F" else image.info.get("transparency")
        alpha = None if key is None else (np.asarray(image) != key).astype(np.float32)
        return _read_grey(image)[:, :, None], alpha
    samples = None if file is None else _read_colour(image, file)
    if samples is None:
        return None
    values = samples.astype(np.float32) / np.float32(65_535)
    if samples.shape[2] in (2, 4):
        return values[..., :-1], values[..., -1].copy()
    key = image.info.get("transparency")  # the transparent colour
    is_opaque = (samples != np.array(key)).any(axis=2) if isinstance(key, tuple) else None
    return values, None if is_opaque is None else is_opaque.astype(np.float32)


def _read_grey(image: Image.Image) -> NDArray[np.float32]:
    values, tags = np.asarray(image), getattr(image, "tag_v2", {})
    bits, is_signed = tags.get(258, (16,))[0], tags.get(339) == (2,)
    if image.mode == "F" or is_signed:
        top = 32_767 if is_signed and bits == 16 else 65_535
        return _scaled_by_range(values.astype(np.float64), top)
    # Pillow stores 16-bit values in mode I;16 or I, and unsigned 32-bit values in mode I.
    unsigned = values.view(np.uint32) if values.dtype == np.int32 else values
    if bits == 32:
        return _scaled_by_range(unsigned.astype(np.float64), 65_535)
    # Use the narrowest range that contains all values. TIFF files can also have 12 bits.
    ranges = (2**bits - 1, 2**16 - 1, 2**31 - 1, 2**32 - 1)
    highest = next(top for top in ranges if unsigned.max() <= top)
    return unsigned.astype(np.float32) / np.float32(highest)


def _scaled_by_range(values: NDArray[np.float64], top: int) -> NDArray[np.float32]:
    """Scale values without a known range to [0, 1].

    Black is 0, or the minimum if there are distinctly negative values. White is 1 if all values are
    at most 2, otherwise 255, ``top``, 2³¹ - 1 or 2³² - 1 if the maximum is near, otherwise the
    maximum.
    """
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if low >= -0.1 * high:
        tops = (255, top, 2**31 - 1, 2**32 - 1)
        low, high = 0.0, next((t for t in tops if t / 16 < high <= t), high if high > 2 else 1.0)
    scaled = (np.nan_to_num(values, nan=low, posinf=high, neginf=low) - low) / (high - low or 1.0)
    return np.clip(scaled, 0.0, 1.0).astype(np.float32)


def _read_colour(image: Image.Image, file: BinaryIO) -> NDArray[np.uint16] | None:
    """Decode 16-bit colour twice, once for each byte of the values."""
    if not isinstance(image, ImageFile.ImageFile) or image.format not in ("PNG", "TIFF"):
        return None
    tags = getattr(image, "tag_v2", {})
    if tags.get(284) == 2:
        return _read_planes(image, tags, file) if max(tags.get(258, (1,))) == 16 else None
    names = {_decoder_args(tile)[0] for tile in image.tile}
    if len(names) != 1 or not names <= set(_OTHER_BYTE):
        return None
    image.load()
    file.seek(0)
    with Image.open(file) as other:
        args = [_decoder_args(tile) for tile in other.tile]
        swapped = [(_OTHER_BYTE[mode], *rest) for mode, *rest in args]
        other.tile = [t._replace(args=a) for t, a in zip(other.tile, swapped, strict=True)]
        other.load()
        low = np.asarray(other).astype(np.uint16)
    if names == {"LA;16B"}:
        return low[..., 0::2] * 256 + low[..., 1::2]
    return np.asarray(image).astype(np.uint16) * 256 + low


def _read_planes(image: Image.Image, tags: Any, file: BinaryIO) -> NDArray[np.uint16] | None:
    """Read a TIFF file that stores the channels one after the other, which Pillow garbles.

    Each channel is read as a greyscale TIFF: a copy of the file in memory with another header.
    """
    exif = ex.Exif("<" if tags.prefix == b"II" else ">")
    file.seek(0)
    content = file.read()
    channels = []
    for index in range(len(image.getbands())):
        copied = {tag: tags[tag] for tag in _LAYOUT if tag in tags}
        for tag in copied.keys() & _PARTS:
            count = len(copied[tag]) // tags.get(277, 1)
            copied[tag] = copied[tag][index * count : (index + 1) * count]
        grey = copied | {258: 16, 262: 1, 277: 1}
        folder = {tag: exif.entry(ex.LONG, *np.atleast_1d(value)) for tag, value in grey.items()}
        whole = ex.Exif(exif.order, folder)
        head, tail = ex.header(exif.order, len(content)), ex.folders(whole, start=len(content))
        with Image.open(BytesIO(head + content[8:] + tail), formats=["TIFF"]) as channel:
            channels.append(np.asarray(channel).astype(np.uint16))
    samples = np.stack(channels, axis=2)
    image.tile = []  # type: ignore[attr-defined]  # nothing else needs to be decoded
    image.im = Image.new("L", (1, 1)).im
    if image.mode == "CMYK":
        image.im = Image.fromarray((samples >> 8).astype(np.uint8), "CMYK").im
        return None
    if tags.get(338) == (1,):  # colours are multiplied by alpha
        alpha = np.maximum(samples[..., 3:], 1).astype(np.float32)
        samples[..., :3] = np.rint(np.minimum(samples[..., :3] / alpha, 1) * 65_535)
    return samples


def _decoder_args(tile: Any) -> tuple[Any, ...]:
    """Return the arguments of Pillow's decoder, which begin with the raw mode."""
    return tile.args if isinstance(tile.args, tuple) else (tile.args,)


def sixteen_bit_png(template: bytes, samples: NDArray[np.uint16]) -> bytes:
    """Encode an image as a PNG with 16 bits per channel.

    Args:
        template: PNG file of any small image. Its metadata is copied to the result.
        samples: ``(H, W, 3)``, or ``(H, W, 4)`` with alpha.

    Returns:
        The contents of the file.
    """
    height, width, channels = samples.shape
    header = struct.pack(">IIBBBBB", width, height, 16, 6 if channels == 4 else 2, 0, 0, 0)
    place = template.rindex(b"IDAT") - 4  # Pillow writes it last, before IEND
    (size,) = struct.unpack_from(">I", template, place)
    image = _chunk(b"IHDR", header) + template[33:place] + _chunk(b"IDAT", _filtered(samples))
    return template[:8] + image + template[place + size + 12 :]


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _filtered(samples: NDArray[np.uint16]) -> bytes:
    """Filter every row with the Paeth predictor (PNG specification, 9.4) and compress the rows."""
    height, width, channels = samples.shape
    pixel = 2 * channels
    compressor = zlib.compressobj(COMPRESSION)
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
