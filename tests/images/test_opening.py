"""Image files that are damaged or hostile: each is refused at once, with its true cause."""

from __future__ import annotations

import errno
import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from errors_help import raises
from image_help import random_bytes
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from fststyle.errors import PhotoError
from fststyle.images import exif as ex
from fststyle.images.animation import load_frames
from fststyle.images.load import load_photo
from fststyle.images.opening import cannot_read


def png(width: int, height: int, data: bytes, *, bits: int = 8, interlaced: bool = False) -> bytes:
    """Return a PNG in RGB with any data."""

    def chunk(name: bytes, content: bytes) -> bytes:
        whole = name + content
        return struct.pack(">I", len(content)) + whole + struct.pack(">I", zlib.crc32(whole))

    header = struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, interlaced)
    whole = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + whole


def tiff(width: int, height: int, strips: list[bytes], rows: int, **others: list[int]) -> bytes:
    """Return a TIFF in RGB with any strips."""
    exif = ex.Exif()
    offsets = [8 + sum(map(len, strips[:index])) for index in range(len(strips))]
    numbers = {
        256: [width], 257: [height], 258: [8, 8, 8], 259: others.get("compression", [1]), 262: [2],
        273: others.get("offsets", offsets), 277: [3], 278: [rows],
        279: others.get("counts", [len(strip) for strip in strips]),
    }  # fmt: skip
    folder = {tag: exif.entry(ex.LONG, *values) for tag, values in numbers.items()}
    start = others.get("start", [8 + len(b"".join(strips))])[0]
    whole = ex.Exif("<", folder)
    place = 8 + len(b"".join(strips))
    return ex.header("<", start) + b"".join(strips) + ex.folders(whole, start=place)


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


NOISE = random_bytes(64 * 200).tobytes()
RGB = Image.fromarray(random_bytes(64, 64, 3))


def larger(content: bytes, width: int = 20_000, height: int = 20_000) -> bytes:
    """Change the size in the header of a JPEG."""
    start = max(content.find(b"\xff\xc0"), content.find(b"\xff\xc2"))
    return content[: start + 5] + struct.pack(">HH", height, width) + content[start + 9 :]


DAMAGED = {
    "half.png": png(64, 64, NOISE[: 193 * 32]),
    "one_row_less.png": png(64, 64, NOISE[: 193 * 63]),
    "half_16_bits.png": png(64, 64, NOISE[: 385 * 20], bits=16),
    "interlaced.png": png(64, 64, bytes(193 * 40), interlaced=True),
    "tiny.png": png(20_000, 20_000, bytes(100)),
    "one_row.png": png(20_000, 20_000, bytes(60_001)),
    "few_strips.tif": tiff(64, 64, [NOISE[: 192 * 16]] * 2, 16),
    "short_strip.tif": tiff(64, 64, [NOISE[: 192 * 32]], 64) + bytes(20_000),
    "tiny.tif": tiff(20_000, 20_000, [b"abc"], 20_000),
    "tiny_deflate.tif": tiff(20_000, 20_000, [zlib.compress(NOISE)], 20_000, compression=[8]),
    "strip_offset.tif": tiff(64, 64, [NOISE[: 192 * 64]], 64, offsets=[2**32 - 1]),
    "folder_offset.tif": tiff(64, 64, [NOISE[: 192 * 64]], 64, start=[2**32 - 1]),
    "folder_offset_0.tif": tiff(64, 64, [NOISE[: 192 * 64]], 64, start=[0]),
    "tiny.jpg": larger(encoded(RGB, "JPEG")),
    "tiny_progressive.jpg": larger(encoded(RGB, "JPEG", progressive=True)),
    "tiny.gif": b"GIF89a" + struct.pack("<HH", 20_000, 20_000) + encoded(RGB, "GIF")[10:],
    "tiny.ppm": b"P6 20000 20000 255\n" + bytes(99),
    "half.avif": encoded(RGB, "AVIF")[:300],
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files_are_refused_at_once(tmp_path: Path, name: str) -> None:
    import resource

    (tmp_path / name).write_bytes(DAMAGED[name])
    before = resource.getrusage(resource.RUSAGE_SELF)

    with raises(PhotoError, "damaged", name, "damaged or incomplete"):
        load_photo(tmp_path / name)
    with raises(PhotoError, "damaged", name):
        list(load_frames(tmp_path / name).frames())

    after = resource.getrusage(resource.RUSAGE_SELF)
    assert after.ru_utime - before.ru_utime < 2
    assert after.ru_maxrss - before.ru_maxrss < 200_000  # kB


JPEGS = [
    {},
    {"quality": 30, "subsampling": "4:2:0"},
    {"subsampling": "4:4:4", "optimize": True},
    {"restart_marker_rows": 1},
    {"restart_marker_blocks": 3},
    {"progressive": True},
]


@pytest.mark.parametrize("options", JPEGS)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpeg_that_ends_early(tmp_path: Path, mode: str, options: dict[str, Any]) -> None:
    path = tmp_path / "photo.jpg"
    complete = encoded(RGB.convert(mode), "JPEG", **options)
    start = complete.index(b"\xff\xda") + 14
    for share in (0.2, 0.5):
        end = start + int(share * (len(complete) - start))
        path.write_bytes(complete[:end].rstrip(b"\xff") + b"\xff\xd9")
        with raises(PhotoError, "damaged", "damaged or incomplete"):
            load_photo(path)


@pytest.mark.parametrize("options", JPEGS)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpeg_that_ends_grey(tmp_path: Path, mode: str, options: dict[str, Any]) -> None:
    image = RGB.convert(mode)
    grey: Any = {"RGB": (128,) * 3, "L": 128, "CMYK": (127,) * 4}[mode]
    image.paste(grey, (0, 24, 64, 64))
    content = encoded(image, "JPEG", **options)
    for more in (b"", bytes(99), content):  # such as the next image of an MPO file
        (tmp_path / "photo.jpg").write_bytes(content + more)
        assert load_photo(tmp_path / "photo.jpg").pixels.shape == (64, 64, 3)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 2), (64, 3)])
def test_complete_files_are_read(tmp_path: Path, size: tuple[int, int], interlaced: bool) -> None:
    path = tmp_path / "photo.png"
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
        Image.new(mode, size).save(path)
        assert load_photo(path).pixels.shape == (size[1], size[0], 3)
        gif = Image.new("L", size)
        gif.save(tmp_path / "photo.gif", interlace=interlaced)
        assert load_photo(tmp_path / "photo.gif").pixels.shape == (size[1], size[0], 3)
        if mode != "P":
            Image.new(mode, size).save(tmp_path / "photo.tif")
            assert load_photo(tmp_path / "photo.tif").pixels.shape == (size[1], size[0], 3)


@pytest.mark.parametrize("offset", [0, 10**6, 2**32 - 1])
def test_icon_with_a_wrong_offset(tmp_path: Path, offset: int) -> None:
    icon = bytearray(encoded(RGB, "ICO", sizes=[(32, 32)]))
    icon[18:22] = struct.pack("<I", offset)
    (tmp_path / "photo.ico").write_bytes(icon)
    with raises(PhotoError, "damaged"):
        load_photo(tmp_path / "photo.ico")


def test_far_too_many_pixels(tmp_path: Path) -> None:
    for width in (20_100, 30_000):  # Pillow itself refuses more than twice the limit
        (tmp_path / "photo.png").write_bytes(png(width, 20_000, b""))
        with raises(PhotoError, "too_large", "limit", "400 megapixels"):
            load_photo(tmp_path / "photo.png")


@pytest.mark.needs("tifffile")
def test_other_kinds_are_not_called_damaged(tmp_path: Path) -> None:
    import tifffile

    tifffile.imwrite(tmp_path / "hdr.tif", np.zeros((4, 4, 3), np.float32), photometric="rgb")
    (tmp_path / "text.jpg").write_bytes(b"Hello")
    for name in ("hdr.tif", "text.jpg"):
        with raises(PhotoError, "not_an_image", "Convert it"):
            load_photo(tmp_path / name)


def test_long_texts_and_profiles(tmp_path: Path) -> None:
    texts = PngInfo()
    texts.add_text("workflow", "x" * 2_000_000, zip=True)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    RGB.save(tmp_path / "photo.png", pnginfo=texts, icc_profile=profile + bytes(1_200_000))
    np.testing.assert_array_equal(load_photo(tmp_path / "photo.png").pixels * 255, np.asarray(RGB))

    texts.add_text("bomb", "x" * 40_000_000, zip=True)
    RGB.save(tmp_path / "photo.png", pnginfo=texts)
    with raises(PhotoError, "too_much_text", "32 MB"):
        load_photo(tmp_path / "photo.png")


def test_causes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "photo.png"
    RGB.save(path)
    assert cannot_read(path, OSError(errno.EINVAL, "Invalid argument")).code == "damaged"
    assert cannot_read(path, OSError(errno.EIO, "Input/output error")).code == "cannot_read"
    assert cannot_read(path, OSError(errno.ENOMEM, "No memory")).code == "out_of_memory"
    assert cannot_read(path, MemoryError()).code == "out_of_memory"
    assert cannot_read(path, OSError("broken data stream")).code == "damaged"
    monkeypatch.setattr("fststyle.images.opening.memory_is_short", lambda size: size >= 64 * 64)
    assert cannot_read(path, OSError("broken data stream")).code == "out_of_memory"
