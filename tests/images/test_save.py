"""Writing of image files."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from errors_help import raises
from image_help import random_pixels
from PIL import Image

from fststyle.errors import FststyleError, PhotoError, SettingError
from fststyle.files import write_atomically
from fststyle.images import load, resize, save
from fststyle.images.extensions import PHOTO_SUFFIXES


def test_known_suffixes() -> None:
    assert {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"} <= set(save.OUTPUT_SUFFIXES)
    assert set(save.OUTPUT_SUFFIXES) <= set(PHOTO_SUFFIXES)


def test_png_round_trip_is_exact_for_every_value(tmp_path: Path) -> None:
    stored = np.arange(256, dtype=np.uint8).reshape(16, 16)
    pixels = (np.stack([stored, stored.T, stored[::-1]], axis=2) / 255).astype(np.float32)

    save.save_photo(pixels, tmp_path / "out.png", alpha=pixels[:, :, 1])
    photo = load.load_photo(tmp_path / "out.png")

    visible = pixels[:, :, 1] > 0
    np.testing.assert_array_equal(photo.pixels[visible], pixels[visible])
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


def test_sixteen_bits_are_always_floats(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
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


def test_same_image_gives_the_same_file(tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    "error",
    [MemoryError(), OSError("encoder error -2"), ValueError("encoding error 1"), RuntimeError("x")],
)
def test_too_little_memory_is_the_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(save, "memory_is_short", lambda size: True)
    monkeypatch.setattr(Image.Image, "save", fail)
    with raises(PhotoError, "out_of_memory", "Not enough memory to encode", "JPEG"):
        save.save_photo(random_pixels(2, 2, 3), tmp_path / "out.jpg")
    assert list(tmp_path.iterdir()) == []


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
