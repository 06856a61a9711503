"""Images of 16 bits per channel, read and written."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from image_help import LINEAR_GREY, PATCH, SPACES, stored_colour
from numpy.typing import NDArray
from PIL import Image

from fststyle.images import exif as ex
from fststyle.images import load, save
from fststyle.images.colour import srgb_profile
from fststyle.images.sixteen_bit import read_sixteen_bit


def write_png(path: Path, samples: NDArray[np.uint16], *chunks: tuple[bytes, bytes]) -> None:
    """Write a PNG of 16 bits by hand, without filters."""

    def chunk(name: bytes, data: bytes) -> bytes:
        whole = name + data
        return struct.pack(">I", len(data)) + whole + struct.pack(">I", zlib.crc32(whole))

    height, width, channels = samples.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + b"".join(chunk(name, data) for name, data in chunks)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def random_samples(*shape: int) -> NDArray[np.uint16]:
    return np.random.default_rng(0).integers(0, 65_536, shape, dtype=np.uint16)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_colour_of_another_space(tmp_path: Path, suffix: str, space: str) -> None:
    path = tmp_path / f"photo{suffix}"
    words = np.rint(stored_colour(space) * 65_535).astype(np.uint16)
    samples = np.broadcast_to(words, (4, 5, 3)).copy()
    if suffix == ".png":
        profile = b"a name\0\0" + zlib.compress(SPACES[space])
        write_png(path, samples, (b"iCCP", profile))
    else:
        tifffile.imwrite(path, samples, photometric="rgb", iccprofile=SPACES[space])

    photo = load.load_photo(path)

    assert photo.bits == 16
    np.testing.assert_allclose(photo.pixels[2, 2] * 255, PATCH, atol=0.1)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_is_read(tmp_path: Path, channels: int) -> None:
    samples = random_samples(3, 5, channels)
    write_png(tmp_path / "photo.png", samples)

    photo = load.load_photo(tmp_path / "photo.png")

    assert photo.bits == 16
    colours = samples[..., :3] if channels > 2 else samples[..., [0, 0, 0]]
    np.testing.assert_array_equal(np.rint(photo.pixels * 65_535), colours)
    if channels in (1, 3):
        assert photo.alpha is None
    else:
        assert photo.alpha is not None
        np.testing.assert_array_equal(np.rint(photo.alpha * 65_535), samples[..., -1])


def test_png_with_a_transparent_colour(tmp_path: Path) -> None:
    samples = np.array([[[1000, 2000, 3000], [1000, 2000, 3001]]], np.uint16)
    write_png(tmp_path / "photo.png", samples, (b"tRNS", struct.pack(">3H", *samples[0, 0])))

    photo = load.load_photo(tmp_path / "photo.png")

    assert photo.alpha is not None
    np.testing.assert_array_equal(photo.alpha, [[0, 1]])


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("channels", [3, 4])
def test_tiff_is_read(tmp_path: Path, order: Any, compression: str | None, channels: int) -> None:
    samples = random_samples(3, 5, channels)
    tifffile.imwrite(
        tmp_path / "photo.tif",
        samples,
        photometric="rgb",
        byteorder=order,
        compression=compression,
        extrasamples=["unassalpha"] if channels == 4 else None,
    )

    photo = load.load_photo(tmp_path / "photo.tif")

    assert photo.bits == 16
    np.testing.assert_array_equal(np.rint(photo.pixels * 65_535), samples[..., :3])
    assert (photo.alpha is not None) == (channels == 4)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_as_of_8_bits(tmp_path: Path, orientation: int) -> None:
    samples = random_samples(3, 5, 3)
    exif = ex.Exif()
    exif.image[ex.ORIENTATION] = exif.entry(ex.SHORT, orientation)
    block = ex.write_exif(exif)
    write_png(tmp_path / "precise.png", samples, (b"eXIf", block))
    plain = Image.fromarray((samples // 256).astype(np.uint8))
    plain.save(tmp_path / "plain.png", exif=block)

    precise = load.load_image(tmp_path / "precise.png")
    expected = load.load_image(tmp_path / "plain.png")

    np.testing.assert_allclose(precise, expected, atol=1 / 255)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 5), (600, 7)])
def test_results(tmp_path: Path, suffix: str, channels: int, height: int, width: int) -> None:
    samples = random_samples(height, width, channels)
    values = (samples / 65_535).astype(np.float32)
    alpha = values[..., 3] if channels == 4 else None
    path = tmp_path / f"out{suffix}"

    save.save_photo(values[..., :3], path, alpha=alpha, bits=16)
    photo = load.load_photo(path)

    assert photo.bits == 16
    np.testing.assert_array_equal(np.rint(photo.pixels * 65_535), samples[..., :3])
    if alpha is not None:
        assert photo.alpha is not None
        np.testing.assert_array_equal(np.rint(photo.alpha * 65_535), samples[..., 3])
    if suffix == ".tif":  # as another program reads it
        np.testing.assert_array_equal(tifffile.imread(path).reshape(samples.shape), samples)
    with Image.open(path) as stored:
        assert stored.info["icc_profile"] == srgb_profile()


def test_formats_without_16_bits_get_8(tmp_path: Path) -> None:
    for suffix in (".jpg", ".webp", ".bmp"):
        save.save_photo(np.full((8, 8, 3), 0.5, np.float32), tmp_path / f"a{suffix}", bits=16)
        assert load.load_photo(tmp_path / f"a{suffix}").bits == 8


def test_grey_with_a_profile_keeps_its_precision(tmp_path: Path) -> None:
    samples = np.arange(30_000, 30_016, dtype=np.uint16).reshape(4, 4, 1)
    profile = b"a name\0\0" + zlib.compress(LINEAR_GREY)
    write_png(tmp_path / "photo.png", samples, (b"iCCP", profile))

    photo = load.load_photo(tmp_path / "photo.png")

    assert photo.bits == 16
    assert len(np.unique(photo.pixels)) == 16
    expected = 1.055 * (samples / 65_535) ** (1 / 2.4) - 0.055
    np.testing.assert_allclose(photo.pixels, np.repeat(expected, 3, axis=2), atol=1e-5)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 13107, 65535]], np.uint16), [0, 0.2, 1]),
        (np.array([[0, 13107, 65535]], np.int32), [0, 0.2, 1]),
        (np.array([[0, -1]], np.int32), [0, 1]),  # 2**32 - 1, which pillow holds as signed
        (np.array([[-1, 0.5, 2, np.nan, np.inf]], np.float32), [0, 0.5, 1, 0, 1]),
    ],
)
def test_grey(values: np.ndarray, expected: list[float]) -> None:
    read = read_sixteen_bit(Image.fromarray(values))

    assert read is not None
    grey, alpha = read
    assert alpha is None
    assert grey.dtype == np.float32
    np.testing.assert_allclose(grey[..., 0], [expected], atol=1e-7)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("tile", [None, (16, 32)])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("channels", [3, 4])
def test_tiff_with_separate_planes(
    tmp_path: Path, channels: int, compression: str | None, tile: tuple[int, int] | None, order: Any
) -> None:
    samples = random_samples(20, 50, channels)
    tifffile.imwrite(
        tmp_path / "photo.tif",
        np.moveaxis(samples, 2, 0),
        photometric="rgb",
        planarconfig="separate",
        byteorder=order,
        compression=compression,
        predictor=None if compression is None else True,
        tile=tile,
        rowsperstrip=None if tile else 7,
        extrasamples=["unassalpha"] if channels == 4 else None,
    )

    photo = load.load_photo(tmp_path / "photo.tif")

    assert photo.bits == 16
    np.testing.assert_array_equal(np.rint(photo.pixels * 65_535), samples[..., :3])
    if channels == 4:
        assert photo.alpha is not None
        np.testing.assert_array_equal(np.rint(photo.alpha * 65_535), samples[..., 3])


def test_tiff_with_separate_planes_of_other_kinds(tmp_path: Path) -> None:
    path = tmp_path / "photo.tif"
    options: dict[str, Any] = {"planarconfig": "separate"}
    cmyk = random_samples(9, 8, 4)
    tifffile.imwrite(path, np.moveaxis(cmyk, 2, 0), photometric="separated", **options)
    actual = load.load_photo(path, as_bytes=True).pixels
    expected = Image.fromarray((cmyk >> 8).astype(np.uint8), "CMYK").convert("RGB")
    np.testing.assert_array_equal(actual, np.asarray(expected))

    premultiplied = np.array([[[100, 200, 300, 600], [7, 0, 0, 0]]], np.uint16)
    planes = np.moveaxis(premultiplied, 2, 0)
    tifffile.imwrite(path, planes, photometric="rgb", extrasamples=["assocalpha"], **options)
    pixels = load.load_photo(path).pixels
    np.testing.assert_allclose(pixels[0, 0], [1 / 6, 1 / 3, 1 / 2], atol=1e-4)

    extratags = [(274, 3, 1, 6, True)]
    planes = random_samples(3, 4, 5)
    tifffile.imwrite(path, planes, photometric="rgb", extratags=extratags, **options)
    pixels = load.load_photo(path).pixels
    np.testing.assert_array_equal(
        np.rint(pixels * 65_535), np.rot90(np.moveaxis(planes, 0, 2), k=-1)
    )
