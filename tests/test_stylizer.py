from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import fststyle
from fststyle import strokes, stylefile, styles, stylizer
from fststyle.errors import FststyleError, SettingError, StyleError
from fststyle.images import Photo
from fststyle.stylizer import Stylizer


@pytest.fixture(scope="module")
def small(style_path: Path) -> Stylizer:
    return Stylizer(style_path, device="cpu", threads=1)


def random_bytes(height: int, width: int, channels: int = 3) -> NDArray[np.uint8]:
    random = np.random.default_rng(3)
    return random.integers(0, 256, (height, width, channels), dtype=np.uint8)


def test_types_and_sizes_stay(small: Stylizer) -> None:
    photo = random_bytes(31, 46)
    floats = photo.astype(np.float32) / np.float32(255)
    before = floats.copy()
    from_floats = small(floats)
    from_bytes = small(photo)
    from_pillow = small(Image.fromarray(photo))
    assert from_floats.dtype == np.float32
    assert from_floats.shape == (31, 46, 3)
    assert from_bytes.dtype == np.uint8
    assert from_pillow.mode == "RGB"
    np.testing.assert_array_equal(from_bytes, np.rint(from_floats * 255))
    np.testing.assert_array_equal(np.asarray(from_pillow), from_bytes)
    np.testing.assert_array_equal(floats, before)
    assert np.abs(from_floats - floats).mean() > 0.05
    np.testing.assert_array_equal(small.stylize(Photo(floats)).pixels, from_floats)


def test_alpha_stays(small: Stylizer) -> None:
    photo = random_bytes(20, 24, 4)
    actual = small(Image.fromarray(photo))
    assert actual.mode == "RGBA"
    np.testing.assert_array_equal(np.asarray(actual)[:, :, 3], photo[:, :, 3])
    np.testing.assert_array_equal(
        np.asarray(actual)[:, :, :3], small(np.ascontiguousarray(photo[:, :, :3]))
    )


def test_orientation_is_applied(small: Stylizer) -> None:
    image = Image.fromarray(random_bytes(20, 30))
    upright = image.transpose(Image.Transpose.ROTATE_270)
    image.getexif()[0x0112] = 6
    actual = small(image)
    assert actual.size == (20, 30)
    assert actual.tobytes() == small(upright).tobytes()


@pytest.mark.parametrize("mode", ["L", "P", "CMYK"])
def test_pillow_modes(mode: str, small: Stylizer) -> None:
    assert small(Image.fromarray(random_bytes(9, 8)).convert(mode)).mode == "RGB"


def test_size_shrinks_and_never_enlarges(small: Stylizer) -> None:
    photo = random_bytes(30, 60, 4)
    shrunk = small(Image.fromarray(photo), size=20)
    assert shrunk.size == (20, 10)
    assert shrunk.mode == "RGBA"
    assert small(photo[:, :, :3], size=20).shape == (10, 20, 3)
    for size in (60, 100):
        np.testing.assert_array_equal(small(photo[:, :, :3], size=size), small(photo[:, :, :3]))


@pytest.mark.parametrize("scale", [0.5, 1.7, 4, 64])
def test_scale_changes_the_strokes_and_not_the_size(scale: float, small: Stylizer) -> None:
    photo = random_bytes(30, 61)
    actual = small(photo, scale=scale)
    assert actual.shape == photo.shape
    assert actual.dtype == np.uint8
    assert np.abs(actual.astype(float) - small(photo)).mean() > 2
    np.testing.assert_array_equal(small(photo, scale=1), small(photo))
    with pytest.raises(SettingError, match="scale must be from"):
        small(photo, scale=0)


def test_large_photo_is_seen_small_by_default(
    small: Stylizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = random_bytes(60, 120)
    own = small(photo)
    monkeypatch.setattr(strokes, "WORKING_SIDE", 40)
    by_default = small(photo)
    assert by_default.shape == photo.shape
    np.testing.assert_array_equal(by_default, small(photo, scale=3))
    assert np.abs(by_default.astype(float) - own).mean() > 2
    for settings in ({"scale": 1}, {"size": "full"}, {"size": 120}, {"size": 500}):
        np.testing.assert_array_equal(small(photo, **settings), own)


def test_scale_with_size_and_alpha(small: Stylizer) -> None:
    photo = Image.fromarray(random_bytes(30, 60, 4))
    actual = small(photo, size=40, scale=2, tile=16)
    assert (actual.size, actual.mode) == ((40, 20), "RGBA")
    with pytest.raises(SettingError, match="tile must be"):
        small(photo, tile=0)


def test_one_pixel(small: Stylizer) -> None:
    assert small(np.zeros((1, 1, 3), np.uint8)).shape == (1, 1, 3)


@pytest.mark.parametrize("size", [0, -5, 1.5, True, "512", "Full"])
def test_size_out_of_range(size: Any, small: Stylizer) -> None:
    with pytest.raises(SettingError, match="size must be"):
        small(random_bytes(8, 8), size=size)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((8, 8, 3)), "uint8 or float32, not float64"),
        (np.zeros((8, 8, 3), np.int32), "uint8 or float32, not int32"),
        (np.zeros((8, 8), np.uint8), r"\(height, width, 3\) in RGB, not \(8, 8\)"),
        (np.zeros((8, 8, 4), np.uint8), r"in RGB, not \(8, 8, 4\)"),
        (np.zeros((1, 3, 8, 8), np.float32), "in RGB, not"),
        (np.zeros((0, 8, 3), np.float32), "in RGB, not"),
        (np.full((8, 8, 3), 255, np.float32), r"in \[0, 1\], not from 255 to 255; divide"),
        (np.full((8, 8, 3), -0.5, np.float32), r"in \[0, 1\]"),
        (np.full((8, 8, 3), np.nan, np.float32), r"in \[0, 1\]"),
        ("photo.jpg", "pillow image or a numpy array, not 'photo.jpg'"),
        (None, "pillow image or a numpy array"),
    ],
)
def test_what_is_no_photo(image: Any, message: str, small: Stylizer) -> None:
    with pytest.raises(SettingError, match=message):
        small(image)


def test_info(small: Stylizer, style_path: Path) -> None:
    assert small.info == stylefile.read_info(style_path)
    assert small.device == "cpu"


def test_style_by_name(style_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "fststyle" / "styles"
    folder.mkdir(parents=True)
    (folder / "mine.onnx").write_bytes(style_path.read_bytes())
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert Stylizer("mine", device="cpu").info.name == "small"
    with pytest.raises(StyleError, match="did you mean mine"):
        Stylizer("mine2", device="cpu")


def test_picture_without_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (styles, stylizer):
        monkeypatch.setattr(module, "art_folder", lambda: tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    (tmp_path / "untrained_wave.jpg").touch()
    with pytest.raises(StyleError, match=r"train\.py style=untrained_wave', or .*optimize"):
        Stylizer("untrained_wave")
    (tmp_path / "sub").mkdir()
    picture = tmp_path / "sub" / "mine.png"
    picture.touch()
    with pytest.raises(StyleError) as caught:
        Stylizer(picture)
    assert f"python train.py style.image={picture} style.name=NAME" in str(caught.value)


def test_bad_settings(style_path: Path) -> None:
    with pytest.raises(SettingError, match="device"):
        Stylizer(style_path, device="tpu")  # type: ignore[arg-type]
    with pytest.raises(FststyleError, match="threads"):
        Stylizer(style_path, device="cpu", threads=0)


def test_cpu_loads_no_torch(style_path: Path) -> None:
    program = (
        "import sys, numpy, fststyle\n"
        "small = fststyle.Stylizer(sys.argv[1])\n"
        "picture = small(numpy.zeros((16, 16, 3), numpy.uint8))\n"
        "print(small.device, picture.shape, 'openvino' in sys.modules, 'torch' in sys.modules)\n"
    )
    root = Path(fststyle.__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": str(root), "PYTHONWARNINGS": "error"}
    result = subprocess.run(
        [sys.executable, "-c", program, str(style_path)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
    )
    assert (result.stdout, result.stderr) == ("cpu (16, 16, 3) True False\n", "")
