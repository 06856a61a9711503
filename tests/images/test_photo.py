from __future__ import annotations

import errno
import os
import struct
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from errors_help import raises
from image_help import LINEAR_GREY, SWAPPED, cyan_profile, random_bytes, random_pixels
from PIL import Image

from fststyle.errors import FststyleError, PhotoError, SettingError
from fststyle.files import write_atomically
from fststyle.images import limits, load, resize, save
from fststyle.images import photo as images

ORIENTATION_TAG = 0x0112


# --- reading ---


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
    np.testing.assert_array_equal(one.pixels, [np.eye(3)])
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
    deep = Image.fromarray(np.array([[1000, 2000]], np.uint16))
    deep.info["transparency"] = 2000

    for photo in (load.load_photo(tmp_path / "grey.png"), load.from_pil(deep)):
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


def test_float_tiff_is_clipped(tmp_path: Path) -> None:
    stored = np.array([[-1, 0.25, 7, np.nan, np.inf]], np.float32)
    Image.fromarray(stored).save(tmp_path / "photo.tif")

    actual = load.load_image(tmp_path / "photo.tif")[0, :, 0]

    np.testing.assert_array_equal(actual, [0, 0.25, 1, 0, 1])


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp"])
def test_first_frame_of_an_animation(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("white", "black")]
    path = tmp_path / f"photo{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:])

    np.testing.assert_allclose(load.load_image(path), 1, atol=0.02)


# --- what cannot be read ---


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


# --- writing ---


def test_known_suffixes() -> None:
    assert {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"} <= set(save.OUTPUT_SUFFIXES)
    assert set(save.OUTPUT_SUFFIXES) <= set(load.PHOTO_SUFFIXES)


def test_png_round_trip_is_exact_for_every_value(tmp_path: Path) -> None:
    stored = np.arange(256, dtype=np.uint8).reshape(16, 16)
    pixels = (np.stack([stored, stored.T, stored[::-1]], axis=2) / 255).astype(np.float32)

    save.save_photo(pixels, tmp_path / "out.png", alpha=pixels[:, :, 1])
    photo = load.load_photo(tmp_path / "out.png")

    np.testing.assert_array_equal(photo.pixels, pixels)
    np.testing.assert_array_equal(photo.alpha, pixels[:, :, 1])


@pytest.mark.parametrize("suffix", save.OUTPUT_SUFFIXES)
@pytest.mark.parametrize("with_alpha", [False, True])
def test_every_format_can_be_written(tmp_path: Path, suffix: str, with_alpha: bool) -> None:
    path = tmp_path / f"out{suffix.upper()}"
    pixels = np.full((16, 24, 3), (1.0, 0.2, 0.0), np.float32)
    alpha = np.full((16, 24), 0.6, np.float32) if with_alpha else None
    keeps_alpha = suffix not in (".jpg", ".jpeg", ".bmp")

    save.save_photo(pixels, path, alpha=alpha)
    photo = load.load_photo(path)

    over_white = with_alpha and not keeps_alpha
    expected = pixels * 0.6 + 0.4 if over_white else pixels
    np.testing.assert_allclose(photo.pixels, expected, atol=0.02)
    if with_alpha and keeps_alpha:
        assert photo.alpha is not None
        np.testing.assert_allclose(photo.alpha, 0.6, atol=0.01)
    else:
        assert photo.alpha is None
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    with Image.open(path) as file:
        assert (file.info.get("icc_profile") is None) == (suffix == ".bmp")


@pytest.mark.parametrize("with_alpha", [True, False])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
def test_bytes_stay_bytes_and_are_the_same_picture(
    tmp_path: Path, suffix: str, with_alpha: bool
) -> None:
    samples = np.random.default_rng(3).integers(0, 256, (7, 9, 4), np.uint8)
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


def test_deep_photos_are_floats_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    save.save_photo(random_pixels(4, 5, 3), path, bits=16)
    photo = load.load_photo(path, as_bytes=True)
    assert photo.bits == 16
    assert photo.pixels.dtype == np.float32


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (-3.0, 0),
        (0.499 / 255, 0),
        (0.501 / 255, 1),
        (127.499 / 255, 127),
        (127.501 / 255, 128),
        (254.501 / 255, 255),
        (7.0, 255),
    ],
)
def test_values_are_clamped_and_rounded(tmp_path: Path, value: float, expected: int) -> None:
    save.save_photo(np.full((1, 1, 3), value, np.float32), tmp_path / "out.png")

    with Image.open(tmp_path / "out.png") as file:
        assert file.getpixel((0, 0)) == (expected, expected, expected)


def test_jpeg_keeps_colour_resolution_and_quality_matters(tmp_path: Path) -> None:
    pixels = np.zeros((32, 32, 3), np.float32)
    pixels[:, ::2, 0] = 1.0  # red columns: halved chroma would smear them

    save.save_photo(pixels, tmp_path / "fine.jpg", quality=98)
    save.save_photo(random_pixels(32, 32, 3), tmp_path / "high.jpg", quality=95)
    save.save_photo(random_pixels(32, 32, 3), tmp_path / "low.jpg", quality=20)

    np.testing.assert_allclose(load.load_image(tmp_path / "fine.jpg"), pixels, atol=0.1)
    assert (tmp_path / "low.jpg").stat().st_size < (tmp_path / "high.jpg").stat().st_size / 2


@pytest.mark.parametrize("quality", [92, 100])
def test_noise_can_be_written_as_jpeg(tmp_path: Path, quality: int) -> None:
    # Pillow's own buffer is too small for this, and it fails with "broken data stream".
    save.save_photo(random_pixels(400, 500, 3), tmp_path / "out.jpg", quality=quality)

    assert load.load_image(tmp_path / "out.jpg").shape == (400, 500, 3)


def test_the_same_picture_gives_the_same_file(tmp_path: Path) -> None:
    pixels = random_pixels(8, 8, 3)
    suffixes = [".jpg", ".png", ".webp", ".tif"]
    for suffix in suffixes:
        save.save_photo(pixels, tmp_path / f"a{suffix}")
    program = (
        "import sys, numpy as np; from fststyle.images.save import save_photo;"
        "pixels = np.random.default_rng(0).random((8, 8, 3), dtype=np.float32);"
        "[save_photo(pixels, path) for path in sys.argv[1:]]"
    )
    others = [str(tmp_path / f"b{suffix}") for suffix in suffixes]
    subprocess.run([sys.executable, "-c", program, *others], check=True)

    for suffix in suffixes:
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_arguments_are_not_changed(tmp_path: Path) -> None:
    pixels, alpha = random_pixels(6, 6, 3) * 3 - 1, random_pixels(6, 6) * 3 - 1
    pixels_before, alpha_before = pixels.copy(), alpha.copy()

    save.save_photo(pixels, tmp_path / "out.png", alpha=alpha)
    save.save_photo(pixels, tmp_path / "out.jpg", alpha=alpha)
    resize.resize(pixels, width=3, height=3)

    np.testing.assert_array_equal(pixels, pixels_before)
    np.testing.assert_array_equal(alpha, alpha_before)


@pytest.mark.parametrize("quality", [0, 101])
def test_quality_out_of_range(tmp_path: Path, quality: int) -> None:
    with raises(SettingError, "setting", "from 1 to 100"):
        save.save_photo(random_pixels(2, 2, 3), tmp_path / "out.jpg", quality=quality)


@pytest.mark.parametrize(("suffix", "side"), [(".jpg", 65_501), (".webp", 16_384)])
def test_too_long_for_the_format(tmp_path: Path, suffix: str, side: int) -> None:
    with raises(PhotoError, "too_large_for_format", "pixels per side"):
        save.save_photo(np.zeros((1, side, 3), np.float32), tmp_path / f"out{suffix}")
    assert list(tmp_path.iterdir()) == []


def test_encoder_failure_is_a_photo_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **options: object) -> None:
        raise OSError("encoder error -2")

    monkeypatch.setattr(Image.Image, "save", fail)
    with raises(PhotoError, "cannot_encode", "PNG", "encoder error -2"):
        save.save_photo(random_pixels(2, 2, 3), tmp_path / "out.png")


def no_space(*args: object, **options: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("moment", ["write", "replace"])
def test_failed_writing_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    path = tmp_path / "out.png"
    path.write_bytes(b"before")
    if moment == "replace":
        monkeypatch.setattr(os, "replace", no_space)
    else:
        monkeypatch.setattr(Path, "write_bytes", half_a_write)

    expected = ("out.png", "No space left on device", "Free some space")
    with raises(PhotoError, "cannot_write", *expected):
        save.save_photo(random_pixels(4, 4, 3), path)
    with raises(FststyleError, "cannot_write", *expected):
        write_atomically(path, b"after")

    monkeypatch.undo()
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def half_a_write(path: Path, data: bytes) -> int:
    with path.open("wb") as file:
        file.write(data[: len(data) // 2])
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("suffix", save.OUTPUT_SUFFIXES)
def test_check_output_accepts(tmp_path: Path, suffix: str) -> None:
    save.check_output(tmp_path / f"out{suffix}")
    save.check_output(str(tmp_path / f"OUT{suffix.upper()}"))

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "code", "fact"),
    [
        ("out", "unknown_extension", ".jpg, .jpeg, .png"),
        (".jpg", "unknown_extension", "no extension"),
        ("out.gif", "unknown_extension", ".gif"),
        ("missing/out.png", "no_folder", "missing"),
        ("file/out.png", "not_a_folder", "file"),
        ("folder", "is_folder", "out.png"),
        ("folder.png", "is_folder", "out.png"),
        ("a" * 300 + ".png", "cannot_write", "Choose a shorter name"),
    ],
)
def test_check_output_refuses(tmp_path: Path, name: str, code: str, fact: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder.png").mkdir()

    with raises(PhotoError, code, fact) as caught:
        save.check_output(tmp_path / name)

    assert caught.value.path == str(tmp_path / name)
    assert not (tmp_path / "missing").exists()


def test_check_output_really_tries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, mode: int = 0o666, exist_ok: bool = True) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)
    with raises(PhotoError, "cannot_write", "out.png", "Permission denied"):
        save.check_output(tmp_path / "out.png")


def test_save_photo_refuses_unknown_formats(tmp_path: Path) -> None:
    with raises(PhotoError, "unknown_extension", ".xyz"):
        save.save_photo(random_pixels(2, 2, 3), tmp_path / "out.xyz")


# --- pillow images ---


def test_to_pil_and_back() -> None:
    pixels, alpha = random_pixels(3, 4, 3), random_pixels(3, 4)

    opaque = images.to_pil(pixels)
    transparent = images.to_pil(pixels, alpha)
    back = load.from_pil(transparent)

    assert (opaque.mode, opaque.size, transparent.mode) == ("RGB", (4, 3), "RGBA")
    assert back.alpha is not None
    np.testing.assert_allclose(back.pixels, pixels, atol=0.5 / 255 + 1e-6)
    np.testing.assert_allclose(back.alpha, alpha, atol=0.5 / 255 + 1e-6)


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4), (1, 4, 4, 3)])
def test_to_pil_refuses_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="shape"):
        images.to_pil(np.zeros(shape, np.float32))


def test_from_pil_leaves_its_argument_alone() -> None:
    picture = Image.fromarray(random_bytes(4, 6, 4))
    picture.info["icc_profile"] = SWAPPED
    picture.getexif()[ORIENTATION_TAG] = 6
    before = picture.tobytes()

    photo = load.from_pil(picture)

    assert photo.pixels.shape == (6, 4, 3)
    assert (picture.size, picture.mode, picture.tobytes()) == ((6, 4), "RGBA", before)
    assert picture.getexif()[ORIENTATION_TAG] == 6


# --- folders ---


def test_find_photos(tmp_path: Path) -> None:
    found = ["B.JPG", "a.png", "dangling.jpg", "deep/er/c.WebP", "deep/z.tiff"]
    others = [".hidden.jpg", ".cache/x.jpg", "deep/.git/y.png", "notes.txt", "jpg", "d.jpg.part"]
    (tmp_path / "dangling.jpg").symlink_to(tmp_path.parent / "nowhere.jpg")
    for name in (*found, *others):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if name != "dangling.jpg":
            (tmp_path / name).touch()
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(tmp_path / "pipe.jpg")

    assert load.find_photos(str(tmp_path)) == [tmp_path / name for name in found]


def test_find_photos_refuses(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()

    with raises(PhotoError, "no_photos", ".jpg"):
        load.find_photos(tmp_path)
    for name in ("notes.txt", "missing"):
        with raises(PhotoError, "no_folder", name):
            load.find_photos(tmp_path / name)


# --- the module ---


def test_importing_loads_no_torch() -> None:
    program = (
        "import sys, fststyle.images.photo;"
        "print(*{'torch', 'matplotlib', 'onnx', 'scipy', 'PIL.ImageFont'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == []
