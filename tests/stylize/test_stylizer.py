from __future__ import annotations

import copy
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from errors_help import raises
from numpy.typing import NDArray
from PIL import Image

import fststyle
from fststyle.errors import NoNetworkError, PhotoError, SettingError, StyleError
from fststyle.images.metadata import Metadata
from fststyle.images.photo import Photo
from fststyle.runtime.runner import Runtime, load_runtime
from fststyle.styles import style_file
from fststyle.styles.info import StyleInfo
from fststyle.styles.network import TransformerNet
from fststyle.stylize import strokes
from fststyle.stylize.blend import keep_colors, luma
from fststyle.stylize.control import Control
from fststyle.stylize.stylizer import Stylizer


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
    photo = random_bytes(20, 24, 4) | np.uint8(1)  # colours under an alpha of 0 are replaced
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
    with raises(SettingError, "setting", "scale"):
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
    with raises(SettingError, "setting", "tile"):
        small(photo, tile=0)


def test_bytes_reach_the_network_as_they_are(
    small: Stylizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def record(runtime: Runtime, pixels: Any, tile: Any, strength: Any) -> Any:
        seen.append(pixels.dtype)
        return pixels

    monkeypatch.setattr(Runtime, "__call__", record)
    photo = random_bytes(20, 24, 4)
    for image in (photo, photo[..., :3], photo[..., :1]):
        small(image, scale=2, size=16, tile=8)
    assert seen == [np.uint8] * 3
    small(photo, strength=0.5)
    assert seen[3:] == [np.float32]


def test_networks_that_are_loaded_already_may_be_shared(style_path: Path, other_path: Path) -> None:
    both = Stylizer({str(style_path): 1, str(other_path): 3}, device="cpu", threads=1)
    parts = [
        (load_runtime(path, device="cpu", threads=1), weight)
        for path, weight in ((style_path, 0.25), (other_path, 0.75))
    ]
    shared = Stylizer.of(parts)
    assert shared.styles == both.styles
    assert np.array_equal(shared(PHOTO, strength=0.5), both(PHOTO, strength=0.5))
    assert np.array_equal(Stylizer.of([(parts[0][0], 1.0)])(PHOTO), Stylizer(style_path)(PHOTO))


def test_metadata_and_bits_stay(small: Stylizer) -> None:
    photo = Photo(PHOTO, PHOTO[..., 0], Metadata(software="camera"), bits=16)
    for control in ({}, {"strength": 0.0}, {"size": 10, "keep_colors": True}):
        result = small.stylize(photo, Control(**control))
        assert (result.metadata, result.bits) == (photo.metadata, 16)
        assert result.alpha is not None
        assert result.alpha.shape == result.pixels.shape[:2]


def test_one_pixel(small: Stylizer) -> None:
    assert small(np.zeros((1, 1, 3), np.uint8)).shape == (1, 1, 3)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_arrays_keep_type_and_transparency(small: Stylizer, dtype: Any, channels: int) -> None:
    photo = random_bytes(9, 12, channels)
    photo[..., 3:] |= 1  # colours under an alpha of 0 are replaced
    image = photo if dtype == np.uint8 else (photo / 255).astype(dtype)
    actual = small(image)
    assert actual.dtype == dtype
    assert actual.shape == (9, 12, max(3, channels))
    if channels == 4:
        np.testing.assert_allclose(actual[..., 3], image[..., 3], rtol=1e-6)
    rgb = photo[..., :3] if channels > 1 else np.repeat(photo, 3, axis=2)
    scale = 1 if dtype == np.uint8 else 255
    expected = small(np.ascontiguousarray(rgb))
    difference = np.abs(actual[..., :3].astype(float) * scale - expected)
    assert difference.mean() < 0.7  # rounding of the photo goes through bfloat16
    assert difference.max() < 6


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64, torch.bfloat16])
def test_tensors(small: Stylizer, dtype: torch.dtype) -> None:
    photos = torch.from_numpy(random_bytes(9, 24)).permute(2, 0, 1).reshape(3, 9, 2, 12)
    batch = photos.permute(2, 0, 1, 3)
    batch = batch if dtype == torch.uint8 else (batch / 255).to(dtype)
    before = batch.clone()
    actual = small(batch)
    assert (actual.dtype, actual.shape) == (dtype, (2, 3, 9, 12))
    for one, photo in zip(actual, batch, strict=True):
        assert torch.equal(small(photo), one)
    assert torch.equal(batch, before)
    if dtype == torch.uint8:
        expected = small(np.ascontiguousarray(batch[1].permute(1, 2, 0).numpy()))
        np.testing.assert_array_equal(actual[1].permute(1, 2, 0).numpy(), expected)


def test_a_path_gives_a_picture(small: Stylizer, tmp_path: Path) -> None:
    photo = random_bytes(9, 12)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    for path in (tmp_path / "photo.png", str(tmp_path / "photo.png")):
        np.testing.assert_array_equal(np.asarray(small(path)), small(photo))
    with raises(PhotoError, "not_found"):
        small(tmp_path / "no.png")


def test_batches_of_any_kind(small: Stylizer) -> None:
    photos: list[Any] = [
        random_bytes(9, 12),
        Image.fromarray(random_bytes(7, 8)),
        torch.zeros(3, 6, 5),
    ]
    actual = small.batch(photos, strength=0.5)
    expected = [small(photo, strength=0.5) for photo in photos]
    np.testing.assert_array_equal(actual[0], expected[0])
    assert actual[1].tobytes() == expected[1].tobytes()
    assert torch.equal(actual[2], expected[2])
    stacked = small(np.stack([photos[0], photos[0][::-1]]))
    np.testing.assert_array_equal(stacked[1], small(np.ascontiguousarray(photos[0][::-1])))


def test_every_thread_gets_the_picture_of_its_photo(small: Stylizer) -> None:
    random = np.random.default_rng(0)
    shapes = [(8, 8, 3), (8, 12, 3), (31, 17, 3)]
    photos = [random.random(shapes[n % 3], dtype=np.float32) for n in range(24)]
    expected = [small(photo) for photo in photos]
    with ThreadPoolExecutor(8) as threads:
        for _ in range(3):
            for actual, picture in zip(threads.map(small, photos), expected, strict=True):
                np.testing.assert_array_equal(actual, picture)


# Control


@pytest.fixture(scope="module")
def other_path(small_network: TransformerNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another style file, named "other"."""
    network = copy.deepcopy(small_network)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(-0.7)
    path = tmp_path_factory.mktemp("styles") / "other.onnx"
    style_file.save_style(network, StyleInfo("other"), path)
    return path


@pytest.fixture(scope="module")
def other(other_path: Path) -> Stylizer:
    return Stylizer(other_path, device="cpu", threads=1)


PHOTO = random_bytes(21, 30).astype(np.float32) / np.float32(255)


def test_control_of_large_photos(small: Stylizer) -> None:
    styled = small(PHOTO, scale=2)
    half = small(PHOTO, scale=2, strength=0.5, tile=8)
    np.testing.assert_allclose(half, (PHOTO + small(PHOTO, scale=2, tile=8)) / 2, atol=1e-6)
    colored = small(PHOTO, scale=2, keep_colors=True)
    np.testing.assert_array_equal(colored, keep_colors(PHOTO, styled))
    mask = np.zeros((21, 30), bool)
    mask[:, 15:] = True
    masked = small(PHOTO, scale=2, mask=mask)
    np.testing.assert_array_equal(masked[:, :15], PHOTO[:, :15])
    np.testing.assert_array_equal(masked[:, 15:], styled[:, 15:])
    for setting in ({"scale": 0}, {"size": "whole"}):
        with pytest.raises(SettingError):
            small(PHOTO, strength=0, **setting)


def test_strength(small: Stylizer) -> None:
    picture = small(PHOTO)
    np.testing.assert_array_equal(small(PHOTO, strength=0), PHOTO)
    np.testing.assert_array_equal(small(PHOTO, strength=1), picture)
    np.testing.assert_allclose(
        small(PHOTO, strength=0.25), 0.75 * PHOTO + 0.25 * picture, atol=1e-6
    )
    photo = random_bytes(8, 9)
    nothing = small(photo, strength=0)
    np.testing.assert_array_equal(nothing, photo)
    assert not np.shares_memory(nothing, photo)


@pytest.mark.parametrize("strength", [-0.1, 4.1, np.nan, "much", None])
def test_strength_out_of_range(small: Stylizer, strength: Any) -> None:
    with raises(SettingError, "setting", "strength"):
        small(PHOTO, strength=strength)


def test_colors_are_kept(small: Stylizer) -> None:
    actual = small(PHOTO, keep_colors=True)
    np.testing.assert_array_equal(actual, keep_colors(PHOTO, small(PHOTO)))
    np.testing.assert_allclose(luma(actual), luma(small(PHOTO)), atol=1e-5)


def test_mask_is_exact_where_it_is_black_and_white(small: Stylizer) -> None:
    mask = np.zeros((21, 30), np.float32)
    mask[:, 10:] = 1
    mask[:, 20:] = 0.5
    actual = small(PHOTO, mask=mask)
    np.testing.assert_array_equal(actual[:, :10], PHOTO[:, :10])
    np.testing.assert_array_equal(actual[:, 10:20], small(PHOTO)[:, 10:20])
    np.testing.assert_allclose(actual[:, 20:], (PHOTO + small(PHOTO))[:, 20:] / 2, atol=1e-6)


def test_masks_of_all_kinds(small: Stylizer, tmp_path: Path) -> None:
    mask = np.zeros((21, 30), np.uint8)
    mask[5:, 10:] = 255
    expected = small(PHOTO, mask=mask)
    Image.fromarray(mask).save(tmp_path / "mask.png")
    red = np.dstack((np.full((21, 30, 3), 255, np.uint8), mask))  # white, but see-through
    kinds: list[Any] = [tmp_path / "mask.png", Image.fromarray(mask), mask > 0, mask[..., None]]
    for kind in [*kinds, torch.from_numpy(mask), torch.from_numpy(mask)[None], red]:
        np.testing.assert_array_equal(small(PHOTO, mask=kind), expected)


def test_mask_is_stretched_without_ringing(small: Stylizer) -> None:
    mask = np.zeros((2, 3), np.float32)
    mask[:, 2] = 1
    actual = small(PHOTO, mask=mask)
    np.testing.assert_array_equal(actual[:, :10], PHOTO[:, :10])
    np.testing.assert_array_equal(actual[:, 25:], small(PHOTO)[:, 25:])
    shrunk = small(PHOTO, mask=np.ones((50, 70), np.float32), size=10)
    np.testing.assert_array_equal(shrunk, small(PHOTO, size=10))


@pytest.mark.parametrize("mask", [3, np.zeros(5), np.full((4, 4), 2.0), np.zeros((2, 4, 4, 3))])
def test_bad_masks(small: Stylizer, mask: Any) -> None:
    with pytest.raises(SettingError):
        small(PHOTO, mask=mask)


def test_two_styles_by_a_mask(
    small: Stylizer, other: Stylizer, style_path: Path, other_path: Path
) -> None:
    both = Stylizer(style_path, outside=other_path, device="cpu", threads=1)
    mask = np.zeros((21, 30), bool)
    mask[:, 15:] = True
    actual = both(PHOTO, mask=mask)
    np.testing.assert_array_equal(actual[:, 15:], small(PHOTO)[:, 15:])
    np.testing.assert_array_equal(actual[:, :15], other(PHOTO)[:, :15])
    np.testing.assert_array_equal(both(PHOTO, mask=mask, strength=0), PHOTO)
    with raises(SettingError, "mask_missing"):
        both(PHOTO)


def test_blends(small: Stylizer, other: Stylizer, style_path: Path, other_path: Path) -> None:
    one, two = small(PHOTO), other(PHOTO)
    assert np.abs(one - two).mean() > 0.05
    settings: dict[str, Any] = {"device": "cpu", "threads": 1}
    blend = Stylizer(f"{style_path}:3, {other_path}:1", **settings)
    np.testing.assert_allclose(blend(PHOTO), 0.75 * one + 0.25 * two, atol=1e-6)
    assert [(info.name, weight) for info, weight in blend.styles] == [
        ("small", 0.75),
        ("other", 0.25),
    ]
    assert blend.info.name == "small"
    same = Stylizer({str(style_path): 6, str(other_path): 2}, **settings)
    np.testing.assert_array_equal(same(PHOTO), blend(PHOTO))
    ends = {f"{style_path}:1,{other_path}:0": one, f"{style_path}:0,{other_path}:2": two}
    for style, expected in ends.items():
        np.testing.assert_array_equal(Stylizer(style, **settings)(PHOTO), expected)


@pytest.mark.parametrize("size", [0, -5, 1.5, True, "512", "Full"])
def test_size_out_of_range(size: Any, small: Stylizer) -> None:
    with raises(SettingError, "setting", "size"):
        small(random_bytes(8, 8), size=size)


@pytest.mark.parametrize(
    ("image", "facts"),
    [
        (np.zeros((8, 8, 3), np.int32), ["uint8", "int32", "65535"]),
        (np.zeros((8, 8), np.uint8), ["(height, width, channels)", "(8, 8)"]),
        (np.zeros((8, 8, 2), np.uint8), ["(8, 8, 2)"]),
        (np.zeros((1, 3, 8, 8), np.float32), ["(1, 3, 8, 8)"]),
        (np.zeros((0, 8, 3), np.float32), ["(0, 8, 3)"]),
        (torch.zeros(8, 8, 3), ["(channels, height, width)"]),
        (np.full((8, 8, 3), 255, np.float32), ["[0, 1]", "from 255 to 255"]),
        (np.full((8, 8, 3), -0.5, np.float32), ["[0, 1]"]),
        (np.full((8, 8, 3), np.nan, np.float32), ["[0, 1]"]),
        (None, ["None"]),
    ],
)
def test_other_objects_are_refused(image: Any, facts: list[str], small: Stylizer) -> None:
    with raises(SettingError, "bad_array", *facts):
        small(image)


def test_info(small: Stylizer, style_path: Path) -> None:
    assert small.info == style_file.read_info(style_path)
    assert small.device == "cpu"


def test_style_by_name(style_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "fststyle" / "styles"
    folder.mkdir(parents=True)
    (folder / "mine.onnx").write_bytes(style_path.read_bytes())
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert Stylizer("mine", device="cpu").info.name == "small"
    with pytest.raises(StyleError, match="mine"):
        Stylizer("mine2", device="cpu")


def test_picture_without_network(tmp_path: Path) -> None:
    picture = tmp_path / "mine.png"
    picture.touch()
    with raises(NoNetworkError, "no_network", "mine"):
        Stylizer(picture)


def test_bad_settings(style_path: Path) -> None:
    with raises(SettingError, "setting", "device"):
        Stylizer(style_path, device="tpu")  # type: ignore[arg-type]
    with raises(SettingError, "setting", "threads"):
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
