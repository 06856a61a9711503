"""Reading of image files, and search for photos."""

from __future__ import annotations

import errno
import os
import struct
import threading
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from errors_help import raises
from image_help import LINEAR_GREY, SWAPPED, cyan_profile, random_bytes, random_pixels
from PIL import Image

from fststyle.errors import PhotoError
from fststyle.images import limits, load, save
from fststyle.images.metadata import Metadata

ORIENTATION_TAG = 0x0112


# Where the stored picture's row 0 and column 0 are seen: the table in the EXIF specification.
@pytest.mark.parametrize(
    ("orientation", "row_0", "column_0"),
    [
        (1, "top", "left"),
        (2, "top", "right"),
        (3, "bottom", "right"),
        (4, "bottom", "left"),
        (5, "left", "top"),
        (6, "right", "top"),
        (7, "right", "bottom"),
        (8, "left", "bottom"),
    ],
)
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_exif_orientation(
    tmp_path: Path, orientation: int, row_0: str, column_0: str, suffix: str
) -> None:
    upright = random_bytes(3, 5, 4)
    stored = upright
    if "bottom" in (row_0, column_0):
        stored = stored[::-1]
    if "right" in (row_0, column_0):
        stored = stored[:, ::-1]
    if row_0 in ("left", "right"):
        stored = stored.swapaxes(0, 1)
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = orientation
    path = tmp_path / f"photo{suffix}"
    picture = Image.fromarray(np.ascontiguousarray(stored))
    if suffix == ".webp":
        picture.save(path, exif=exif, lossless=True, exact=True)
    else:
        picture.save(path, exif=exif)

    photo = load.load_photo(path)

    assert photo.alpha is not None
    np.testing.assert_array_equal(photo.pixels * 255, upright[..., :3])
    np.testing.assert_array_equal(photo.alpha * 255, upright[..., 3])


def test_jpeg_orientation_and_broken_exif(tmp_path: Path) -> None:
    picture = Image.new("RGB", (16, 8), "white")
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = 6
    picture.save(tmp_path / "turned.jpg", exif=exif)
    picture.save(tmp_path / "broken.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff garbage")

    assert load.load_image(tmp_path / "turned.jpg").shape == (16, 8, 3)
    assert load.load_image(tmp_path / "broken.jpg").shape == (8, 16, 3)


def test_pixels_are_float32_rgb_in_unit_range(tmp_path: Path) -> None:
    stored = random_bytes(4, 6, 3)
    Image.fromarray(stored).save(tmp_path / "photo.png")

    photo = load.load_photo(str(tmp_path / "photo.png"))

    assert photo.pixels.dtype == np.float32
    assert photo.alpha is None
    np.testing.assert_allclose(photo.pixels, stored / 255, atol=1e-7)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
def test_icc_profile_is_converted(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"photo{suffix}"
    Image.new("RGB", (16, 16), (255, 0, 0)).save(path, icc_profile=SWAPPED)

    actual = load.load_image(path)

    np.testing.assert_allclose(actual, np.broadcast_to([0, 1, 0], (16, 16, 3)), atol=0.06)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "1"])
def test_icc_curve_in_every_mode(tmp_path: Path, mode: str) -> None:
    # Greys stay grey, white stays white, and the linear 128 is sRGB's 188.
    picture = Image.new("L", (4, 4), 255 if mode == "1" else 128).convert(mode)
    picture.save(tmp_path / "photo.png", icc_profile=SWAPPED)

    actual = load.load_image(tmp_path / "photo.png")

    expected = 1.0 if mode == "1" else 188 / 255
    np.testing.assert_allclose(actual, expected, atol=0.01)


@pytest.mark.parametrize("mode", ["L", "LA", "I;16", "1"])
def test_grey_icc_profile(tmp_path: Path, mode: str) -> None:
    if mode == "I;16":
        picture = Image.fromarray(np.full((4, 4), 32896, np.uint16))
    else:
        picture = Image.new("L", (4, 4), 255 if mode == "1" else 128).convert(mode)
    picture.save(tmp_path / "photo.png", icc_profile=LINEAR_GREY)

    photo = load.load_photo(tmp_path / "photo.png")

    np.testing.assert_allclose(photo.pixels, 1.0 if mode == "1" else 188 / 255, atol=0.01)
    assert (photo.alpha is not None) == (mode == "LA")


@pytest.mark.parametrize("profile", [b"junk", SWAPPED[:300], LINEAR_GREY, cyan_profile()])
def test_broken_or_foreign_profile_is_ignored(tmp_path: Path, profile: bytes) -> None:
    Image.new("RGB", (4, 4), (255, 0, 51)).save(tmp_path / "photo.png", icc_profile=profile)

    actual = load.load_image(tmp_path / "photo.png")

    np.testing.assert_allclose(actual, np.broadcast_to([1, 0, 0.2], (4, 4, 3)), atol=1e-6)


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])  # Adobe's JPEGs are stored inverted
@pytest.mark.parametrize("profile", [None, b"junk", SWAPPED])
def test_cmyk(tmp_path: Path, suffix: str, profile: bytes | None) -> None:
    path = tmp_path / f"photo{suffix}"
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(path, icc_profile=profile)

    actual = load.load_image(path)

    np.testing.assert_allclose(actual, np.broadcast_to([1, 0, 0], (16, 16, 3)), atol=0.02)


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
@pytest.mark.parametrize(("inks", "expected"), [((0, 255, 255, 255), 1), ((255, 0, 0, 0), 0)])
def test_cmyk_with_profile(
    tmp_path: Path, suffix: str, inks: tuple[int, ...], expected: int
) -> None:
    path = tmp_path / f"photo{suffix}"
    Image.new("CMYK", (16, 16), inks).save(path, icc_profile=cyan_profile())

    np.testing.assert_allclose(load.load_image(path), expected, atol=0.03)


def test_palette_with_transparency(tmp_path: Path) -> None:
    picture = Image.new("P", (3, 1))
    picture.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    picture.putdata([0, 1, 2])
    picture.save(tmp_path / "one.png", transparency=1)
    picture.save(tmp_path / "many.png", transparency=bytes([0, 51, 255]))

    one = load.load_photo(tmp_path / "one.png")
    many = load.load_photo(tmp_path / "many.png")

    assert one.alpha is not None
    assert many.alpha is not None
    np.testing.assert_array_equal(one.pixels[0, [0, 2]], np.eye(3)[[0, 2]])
    np.testing.assert_array_equal(one.alpha, [[1, 0, 1]])
    np.testing.assert_allclose(many.alpha, [[0, 0.2, 1]], atol=1e-7)


@pytest.mark.parametrize("mode", ["LA", "PA", "La", "RGBa", "RGBA"])
def test_alpha_of_every_mode(mode: str) -> None:
    picture = Image.new("RGBA", (2, 2), (51, 51, 51, 204))
    if mode == "PA":
        picture = picture.convert("RGB").convert("PA")
        picture.putalpha(204)
    else:
        picture = (picture.convert("LA") if mode == "La" else picture).convert(mode)

    photo = load.from_pil(picture)

    assert photo.alpha is not None
    np.testing.assert_allclose(photo.pixels, 0.2, atol=0.005)
    np.testing.assert_allclose(photo.alpha, 0.8, atol=1e-7)


def test_colour_key_transparency(tmp_path: Path) -> None:
    Image.fromarray(np.array([[10, 20]], np.uint8)).save(tmp_path / "grey.png", transparency=20)
    grey = Image.fromarray(np.array([[1000, 2000]], np.uint16))
    grey.info["transparency"] = 2000

    for photo in (load.load_photo(tmp_path / "grey.png"), load.from_pil(grey)):
        assert photo.alpha is not None
        np.testing.assert_array_equal(photo.alpha, [[1, 0]])


def test_load_image_composites_over_white(tmp_path: Path) -> None:
    stored = np.array([[[0, 0, 0, 0], [0, 0, 0, 255], [255, 0, 0, 51]]], np.uint8)
    Image.fromarray(stored).save(tmp_path / "photo.png")

    actual = load.load_image(tmp_path / "photo.png")

    expected = np.array([[[1, 1, 1], [0, 0, 0], [1, 0.8, 0.8]]])
    np.testing.assert_allclose(actual, expected, atol=1e-6)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_16_bit_grey_is_scaled(tmp_path: Path, suffix: str) -> None:
    stored = np.array([[0, 1, 256, 32768, 65535]], np.uint16)
    path = tmp_path / f"photo{suffix}"
    if suffix == ".pgm":
        path.write_bytes(b"P5 5 1 65535\n" + stored.astype(">u2").tobytes())
    else:
        Image.fromarray(stored).save(path)

    actual = load.load_image(path)

    assert actual.shape == (1, 5, 3)
    np.testing.assert_allclose(actual, np.repeat(stored[..., None] / 65535, 3, 2), atol=1e-7)


@pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B"])
def test_16_bit_modes(mode: str) -> None:
    order = ">u2" if mode.endswith("B") else "<u2"
    picture = Image.frombytes(mode, (2, 1), np.array([13107, 65535], order).tobytes())

    np.testing.assert_allclose(load.from_pil(picture).pixels[0, :, 0], [0.2, 1], atol=1e-7)


def test_16_bit_colour_ppm(tmp_path: Path) -> None:
    path = tmp_path / "photo.ppm"
    path.write_bytes(b"P6 1 1 65535\n" + struct.pack(">3H", 32768, 65535, 0))

    np.testing.assert_allclose(load.load_image(path), [[[0.5, 1.0, 0.0]]], atol=0.003)


@pytest.mark.parametrize(("highest", "dtype"), [(2**31 - 1, np.int32), (2**32 - 1, np.uint32)])
def test_32_bit_grey_is_scaled(highest: int, dtype: type[np.signedinteger]) -> None:
    stored = np.array([[0, highest // 2, highest]], dtype).view(np.int32)

    actual = load.from_pil(Image.fromarray(stored)).pixels[0, :, 0]

    np.testing.assert_allclose(actual, [0, 0.5, 1], atol=1e-6)


RAMP = np.linspace(0, 1, 256, dtype=np.float32).reshape(1, 256)


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (RAMP, RAMP),
        (RAMP * 1.6 - 0.05, RAMP * 1.6 - 0.05),  # slightly outside: clipped
        (RAMP * 200, RAMP * 200 / 255),
        (RAMP * 60_000, RAMP * 60_000 / 65_535),
        (RAMP * 7, RAMP),
        (RAMP * 2 - 1, RAMP),
        (RAMP * 1e6 - 5e5, RAMP),
        (np.array([[0, np.nan, 1, np.inf, -np.inf]], np.float32), [[0, 0, 1, 1, 0]]),
        (np.zeros((1, 3), np.float32), [[0, 0, 0]]),
        (np.full((1, 3), np.nan, np.float32), [[0, 0, 0]]),
        ((RAMP * 255).astype(np.int32), (RAMP * 255).astype(np.int32) / 255),
        ((RAMP * 255).astype(np.uint32), (RAMP * 255).astype(np.int32) / 255),
        ((RAMP.astype(np.float64) * (2**32 - 1)).astype(np.uint32), RAMP),
        ((RAMP * 30_000).astype(np.int16), RAMP * 30_000 / 32_767),
        ((RAMP * 60_000 - 30_000).astype(np.int16), RAMP),
    ],
)
def test_grey_without_a_known_range(tmp_path: Path, stored: Any, expected: Any) -> None:
    tifffile.imwrite(tmp_path / "photo.tif", stored, photometric="minisblack")

    actual = load.load_photo(tmp_path / "photo.tif").pixels[..., 0]

    np.testing.assert_allclose(actual, np.clip(expected, 0, 1), atol=1e-3)


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp"])
def test_first_frame_of_an_animation(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("white", "black")]
    path = tmp_path / f"photo{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:])

    np.testing.assert_allclose(load.load_image(path), 1, atol=0.02)


def test_missing_photo_and_folder(tmp_path: Path) -> None:
    with raises(PhotoError, "not_found", "nowhere.jpg"):
        load.load_photo(tmp_path / "nowhere.jpg")
    with raises(PhotoError, "is_folder"):
        load.load_photo(tmp_path)


def jpeg(quality: int = 90) -> bytes:
    file = BytesIO()
    Image.fromarray(random_bytes(64, 64, 3)).save(file, "JPEG", quality=quality)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "codes"),
    [
        ("empty.jpg", b"", {"empty"}),
        ("text.jpg", b"Dear diary, today I took a photo.", {"not_an_image"}),
        ("truncated.jpg", jpeg()[:2000], {"damaged"}),
        ("truncated.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", {"damaged", "not_an_image"}),
        ("header.tif", b"II*\0\x08\0\0\0", {"damaged", "not_an_image"}),
    ],
)
def test_unreadable_files(tmp_path: Path, name: str, content: bytes, codes: set[str]) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(PhotoError) as caught:
        load.load_photo(path)

    assert caught.value.code in codes
    message = str(caught.value)
    assert str(path) in message
    assert message.endswith(".")
    assert "\n" not in message


def test_every_truncation_of_a_png_is_a_photo_error(tmp_path: Path) -> None:
    whole = tmp_path / "whole.png"
    save.save_photo(random_pixels(8, 8, 3), whole)
    content = whole.read_bytes()
    end = content.index(b"IEND") - 8  # pillow forgives a missing end

    for length in range(0, end, 23):
        path = tmp_path / "cut.png"
        path.write_bytes(content[:length])
        with pytest.raises(PhotoError, match=r"cut\.png"):
            load.load_photo(path)


def test_permission_denied_is_a_photo_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, mode: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with raises(PhotoError, "cannot_read", "photo.jpg", "Permission denied"):
        load.load_photo(tmp_path / "photo.jpg")


@pytest.mark.parametrize("pillows_limit", [8, 15, None])  # refuse, warn, neither
def test_pixel_limit_is_ours_not_pillows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pillows_limit: int | None
) -> None:
    monkeypatch.setattr(limits, "MAX_PIXELS", 20)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pillows_limit)
    save.save_photo(random_pixels(4, 5, 3), tmp_path / "fits.png")
    save.save_photo(random_pixels(3, 7, 3), tmp_path / "exceeds.png")

    assert load.load_image(tmp_path / "fits.png").shape == (4, 5, 3)
    with raises(PhotoError, "too_large", "7×3"):
        load.load_image(tmp_path / "exceeds.png")
    assert pillows_limit == Image.MAX_IMAGE_PIXELS


def test_decompression_bomb_is_refused_before_decoding(tmp_path: Path) -> None:
    (tmp_path / "bomb.pgm").write_bytes(b"P5 20001 20000 255\n")

    with raises(PhotoError, "too_large", "20001×20000", "400 megapixels"):
        load.load_photo(tmp_path / "bomb.pgm")


@pytest.mark.parametrize("with_alpha", [True, False])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
def test_bytes_stay_bytes_and_are_the_same_image(
    tmp_path: Path, suffix: str, with_alpha: bool
) -> None:
    samples = np.random.default_rng(3).integers(1, 256, (7, 9, 4), np.uint8)
    given = tmp_path / "given.png"
    Image.fromarray(samples if with_alpha else samples[..., :3]).save(given)
    photo, exact = load.load_photo(given), load.load_photo(given, as_bytes=True)
    np.testing.assert_array_equal(exact.pixels, samples[..., :3])
    assert exact.pixels.dtype == np.uint8
    np.testing.assert_array_equal(photo.pixels, samples[..., :3] / np.float32(255))
    assert (photo.alpha is None) is (exact.alpha is None) is not with_alpha
    if exact.alpha is not None:
        np.testing.assert_array_equal(exact.alpha, samples[..., 3])
        assert exact.alpha.dtype == np.uint8
    for bits in (8, 16):
        files = []
        for name, picture in (("floats", photo), ("bytes", exact)):
            path = tmp_path / f"{name}{suffix}"
            save.save_photo(picture.pixels, path, alpha=picture.alpha, bits=bits)
            files.append(path.read_bytes())
        assert files[0] == files[1]


def test_from_pil_leaves_its_argument_alone() -> None:
    picture = Image.fromarray(random_bytes(4, 6, 4))
    picture.info["icc_profile"] = SWAPPED
    picture.getexif()[ORIENTATION_TAG] = 6
    before = picture.tobytes()

    photo = load.from_pil(picture)

    assert photo.pixels.shape == (6, 4, 3)
    assert (picture.size, picture.mode, picture.tobytes()) == ((6, 4), "RGBA", before)
    assert picture.getexif()[ORIENTATION_TAG] == 6


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "I;16"])
@pytest.mark.parametrize("gamma", [1.0, 1 / 1.8, 1 / 2.2])
def test_gamma_of_png(tmp_path: Path, mode: str, gamma: float) -> None:
    value = 60
    array = np.full((4, 4), value * 257 if mode == "I;16" else value, np.uint16)
    image = Image.fromarray(array if mode == "I;16" else array.astype(np.uint8)).convert(mode)
    image.save(tmp_path / "photo.png")
    content = (tmp_path / "photo.png").read_bytes()
    chunk = b"gAMA" + struct.pack(">I", round(gamma * 100_000))
    chunk = struct.pack(">I", 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "photo.png").write_bytes(content[:33] + chunk + content[33:])

    actual = load.load_photo(tmp_path / "photo.png").pixels

    linear = (value / 255) ** (1 / gamma)
    expected = 1.055 * linear ** (1 / 2.4) - 0.055 if gamma != 1 / 2.2 else value / 255
    np.testing.assert_allclose(actual, expected, atol=0.003)


@pytest.mark.skipif(os.name != "posix", reason="named pipes are POSIX's")
@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
def test_named_pipe(tmp_path: Path, suffix: str) -> None:
    path, pipe = tmp_path / f"photo{suffix}", tmp_path / f"pipe{suffix}"
    save.save_photo(random_pixels(20, 30, 3), path, metadata=Metadata(description="A photo."))
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(path.read_bytes()))
    writer.start()
    photo = load.load_photo(pipe)
    writer.join()
    expected = load.load_photo(path)
    np.testing.assert_array_equal(photo.pixels, expected.pixels)
    assert photo.metadata == expected.metadata
