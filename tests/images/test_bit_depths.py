"""The numbers of bits that docs/formats.md promises, in files made byte by byte."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from errors_help import raises
from numpy.typing import NDArray

from fststyle.errors import PhotoError
from fststyle.images.load import load_photo


def samples(bits: int, channels: int) -> NDArray[np.uint64]:
    return np.random.default_rng(0).integers(0, 2**bits, (12, 16, channels), dtype=np.uint64)


def packed(values: NDArray[np.uint64], bits: int) -> list[bytes]:
    """Write each row in as few bytes as possible, the highest bit first."""
    places = np.arange(bits - 1, -1, -1, dtype=np.uint64)
    digits = (values.reshape(len(values), -1, 1) >> places & np.uint64(1)).astype(np.uint8)
    return [np.packbits(row).tobytes() for row in digits.reshape(len(values), -1)]


def tiff(values: NDArray[np.uint64], bits: int, order: str) -> bytes:
    height, width, channels = values.shape
    data = b"".join(packed(values, bits))
    if bits in (16, 32):
        data = values.astype(f"{order}u{bits // 8}").tobytes()
    data += b"\0" * (len(data) % 2)
    tags: dict[int, Any] = {256: width, 257: height, 258: [bits] * channels, 259: 1}
    tags |= {262: 1 if channels == 1 else 2, 273: 8, 277: channels, 278: height, 279: len(data)}
    start = 8 + len(data)
    more, entries = b"", b""
    for tag, value in tags.items():
        numbers = np.atleast_1d(value)
        content = struct.pack(f"{order}{len(numbers)}H", *numbers)
        if len(content) > 4:
            place = start + 2 + 12 * len(tags) + 4 + len(more)
            content, more = struct.pack(f"{order}I", place), more + content
        entries += struct.pack(f"{order}HHI", tag, 3, len(numbers)) + content.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", start)
    return head + data + struct.pack(f"{order}H", len(tags)) + entries + b"\0" * 4 + more


def png(values: NDArray[np.uint64], bits: int) -> bytes:
    height, width, channels = values.shape

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">2I5B", width, height, bits, 0 if channels == 1 else 2, 0, 0, 0)
    rows = b"".join(b"\0" + row for row in packed(values, bits))
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def assert_read(path: Path, values: NDArray[np.uint64], bits: int) -> None:
    photo = load_photo(path)
    expected = np.broadcast_to(values / (2**bits - 1), photo.pixels.shape)
    np.testing.assert_allclose(photo.pixels, expected, atol=1e-4)
    assert photo.bits == (8 if bits <= 8 else 16)


@pytest.mark.parametrize(
    ("bits", "channels", "order"),
    [
        *((bits, 1, order) for bits in (1, 2, 4, 8, 16) for order in "<>"),
        *((bits, 3, order) for bits in (8, 16) for order in "<>"),
        (12, 1, "<"),
        (32, 1, "<"),
    ],
)
def test_tiff(bits: int, channels: int, order: str, tmp_path: Path) -> None:
    values = samples(bits, channels)
    (tmp_path / "a.tif").write_bytes(tiff(values, bits, order))
    assert_read(tmp_path / "a.tif", values, bits)


@pytest.mark.parametrize(
    ("bits", "channels"), [*((bits, 1) for bits in (1, 2, 4, 8, 16)), (8, 3), (16, 3)]
)
def test_png(bits: int, channels: int, tmp_path: Path) -> None:
    values = samples(bits, channels)
    (tmp_path / "a.png").write_bytes(png(values, bits))
    assert_read(tmp_path / "a.png", values, bits)


@pytest.mark.parametrize(("bits", "channels"), [(6, 1), (10, 1), (14, 1), (4, 3), (12, 3), (32, 3)])
def test_other_tiffs_are_refused(bits: int, channels: int, tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tiff(samples(bits, channels), bits, "<"))
    with raises(PhotoError, "not_an_image"):
        load_photo(tmp_path / "a.tif")
