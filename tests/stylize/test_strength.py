"""Strengths and maps of strengths, for styles with and without a dial."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dialled import make_dialled_network, save_dialled_style
from errors_help import raises
from numpy.typing import NDArray
from PIL import Image

from fststyle.errors import SettingError, StyleError
from fststyle.stylize.blend import keep_colors
from fststyle.stylize.strokes import REPAINT
from fststyle.stylize.stylizer import Stylizer


@pytest.fixture(scope="module")
def dialled_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dialled")
    return save_dialled_style(make_dialled_network(), folder / "dialled.onnx")


@pytest.fixture(scope="module")
def dialled(dialled_path: Path) -> Stylizer:
    return Stylizer(dialled_path, device="cpu", threads=1)


@pytest.fixture(scope="module")
def fixed(style_path: Path) -> Stylizer:
    return Stylizer(style_path, device="cpu", threads=1)


PHOTO = np.random.default_rng(0).random((40, 52, 3), np.float32)
BYTES = np.rint(PHOTO * 255).astype(np.uint8)


def half_map() -> NDArray[np.float32]:
    values = np.ones(PHOTO.shape[:2], np.float32)
    values[:, :26] = 0
    return values


def test_each_strength_differs(dialled: Stylizer) -> None:
    results = [dialled(PHOTO, strength=s) for s in (0.25, 0.5, 1, 2, 4)]
    steps = [np.abs(a - b).mean() for a, b in zip(results, results[1:], strict=False)]
    assert min(steps) > 0.003


def test_weak_strengths_end_at_the_photo(dialled: Stylizer) -> None:
    np.testing.assert_array_equal(dialled(BYTES, strength=0), BYTES)
    weakest = dialled(PHOTO, strength=0.25)
    halfway = dialled(PHOTO, strength=0.125)
    np.testing.assert_allclose(halfway, (PHOTO + weakest) / 2, atol=1e-5)
    almost = dialled(PHOTO, strength=1e-6)
    np.testing.assert_allclose(almost, PHOTO, atol=1e-4)


def test_enlarged_results_are_repainted(dialled: Stylizer, fixed: Stylizer) -> None:
    once = dialled(PHOTO, scale=2, repaint=False)
    actual = dialled(PHOTO, scale=2)
    np.testing.assert_array_equal(actual, dialled(once, scale=1, strength=REPAINT))
    strong = dialled(PHOTO, scale=2, strength=3, repaint=False)
    expected = dialled(strong, scale=1, strength=3 * REPAINT)
    np.testing.assert_array_equal(dialled(PHOTO, scale=2, strength=3), expected)
    # Without a dial, or if there are few more pixels, there is one pass.
    for stylizer, scale in ((fixed, 2), (dialled, 1.4), (dialled, 0.5)):
        np.testing.assert_array_equal(
            stylizer(PHOTO, scale=scale), stylizer(PHOTO, scale=scale, repaint=False)
        )


def test_map_is_followed_when_repainting(dialled: Stylizer) -> None:
    half = dialled(PHOTO, scale=2, strength_map=half_map())
    np.testing.assert_array_equal(half[:, :20], PHOTO[:, :20])
    assert np.abs(half[:, 30:] - PHOTO[:, 30:]).mean() > 0.02


def test_weak_parts_are_hardly_repainted(dialled: Stylizer) -> None:
    values = np.ones(PHOTO.shape[:2], np.float32)
    values[:, :26] = 0.35
    once = dialled(PHOTO, scale=2, strength_map=values, repaint=False)
    change = np.abs(dialled(PHOTO, scale=2, strength_map=values) - once)
    assert change[:, :20].mean() < 0.25 * change[:, 30:].mean()


@pytest.mark.parametrize("strength", [0.2, 1.0, 3.0])
def test_white_map_is_no_map_when_repainting(strength: float, dialled: Stylizer) -> None:
    white = np.ones(PHOTO.shape[:2], np.float32)
    actual = dialled(PHOTO, scale=2, strength=strength, strength_map=white)
    expected = dialled(PHOTO, scale=2, strength=strength)
    assert np.abs(actual - expected).mean() < 1 / 255  # both passes may round to bfloat16


def test_one_strong_spot_leaves_the_rest_repainted(dialled: Stylizer) -> None:
    quarter = np.full(PHOTO.shape[:2], 0.25, np.float32)
    spot = quarter.copy()
    spot[:2, :2] = 1
    even, other = (dialled(PHOTO, scale=2, strength=4, strength_map=m) for m in (quarter, spot))
    once = dialled(PHOTO, scale=2, strength=4, strength_map=spot, repaint=False)
    far = np.s_[24:, 24:]
    assert np.abs(other - even)[far].mean() < 0.2 * np.abs(other - once)[far].mean()


def test_bytes_and_controls(dialled: Stylizer) -> None:
    np.testing.assert_array_equal(
        dialled(BYTES, strength=2), np.rint(255 * dialled(BYTES / np.float32(255), strength=2))
    )
    actual = dialled(PHOTO, strength=2, keep_colors=True)
    np.testing.assert_array_equal(actual, keep_colors(PHOTO, dialled(PHOTO, strength=2)))


@pytest.mark.parametrize("strength", [0.2, 1.0, 3.0])
def test_white_map_is_no_map(strength: float, dialled: Stylizer) -> None:
    white = np.ones(PHOTO.shape[:2], np.float32)
    actual = dialled(PHOTO, strength=strength, strength_map=white)
    # On processors with bfloat16, the two networks round differently.
    difference = np.abs(actual - dialled(PHOTO, strength=strength))
    assert difference.mean() < 1 / 255


def test_photo_is_unchanged_where_the_map_is_black(dialled: Stylizer, fixed: Stylizer) -> None:
    for stylizer in (dialled, fixed):
        for photo in (PHOTO, BYTES):
            result = stylizer(photo, strength_map=half_map())
            np.testing.assert_array_equal(result[:, :26], photo[:, :26])
            assert np.abs(result[:, 26:].astype(float) - photo[:, 26:]).mean() > 0.02


def test_map_of_any_kind_and_size(dialled: Stylizer, tmp_path: Path) -> None:
    image = Image.new("L", (26, 20), 255)
    image.paste(0, (0, 0, 13, 20))
    image.save(tmp_path / "map.png")
    expected = dialled(PHOTO, strength=2, strength_map=image)
    from_file = dialled(PHOTO, strength=2, strength_map=tmp_path / "map.png")
    np.testing.assert_array_equal(from_file, expected)
    np.testing.assert_array_equal(expected[:, :25], PHOTO[:, :25])  # stretched over the photo
    transparent = Image.new("RGBA", (5, 5), (255, 255, 255, 0))
    np.testing.assert_array_equal(dialled(PHOTO, strength_map=transparent), PHOTO)
    assert dialled(PHOTO, size=26, strength_map=image).shape == (20, 26, 3)
    assert dialled(PHOTO, scale=2, strength_map=image).shape == PHOTO.shape


def test_map_blends_styles_without_a_dial(fixed: Stylizer) -> None:
    values = np.random.default_rng(1).random(PHOTO.shape[:2], np.float32)
    share = 0.8 * values[..., None]
    expected = (1 - share) * PHOTO + share * fixed(PHOTO)
    actual = fixed(PHOTO, strength=0.8, strength_map=values)
    np.testing.assert_allclose(actual, expected, atol=1e-5)


@pytest.mark.parametrize("strength", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("with_map", [False, True])
def test_blend_of_styles_with_and_without_a_dial(
    strength: float, with_map: bool, dialled_path: Path, style_path: Path, dialled: Stylizer,
    fixed: Stylizer,
) -> None:  # fmt: skip
    both = Stylizer({str(dialled_path): 3, str(style_path): 1}, device="cpu", threads=1)
    control: Any = {"strength": strength}
    if with_map:
        control["strength_map"] = half_map()
    actual = both(PHOTO, **control)
    expected = 0.75 * dialled(PHOTO, **control) + 0.25 * fixed(PHOTO, **control)
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_blend_leaves_the_photo_unchanged_where_the_map_is_black(
    dialled_path: Path, style_path: Path
) -> None:
    both = Stylizer({str(dialled_path): 3, str(style_path): 1}, device="cpu", threads=1)
    for scale in (0.5, 1, 2):
        for keep in (False, True):
            result = both(BYTES, strength_map=half_map(), scale=scale, keep_colors=keep)
            np.testing.assert_array_equal(result[:, :20], BYTES[:, :20])
            assert (result[:, 30:] != BYTES[:, 30:]).any()


def test_style_without_a_dial_cannot_be_stronger(
    fixed: Stylizer, dialled_path: Path, style_path: Path
) -> None:
    with raises(SettingError, "no_dial", "small", "1.5"):
        fixed(PHOTO, strength=1.5)
    both = Stylizer({str(dialled_path): 1, str(style_path): 1}, device="cpu", threads=1)
    with raises(SettingError, "no_dial"):
        both(PHOTO, strength=4)
    outside = Stylizer(dialled_path, outside=style_path, device="cpu", threads=1)
    with raises(SettingError, "no_dial"):
        outside(PHOTO, strength=4, mask=half_map())


def test_style_in_a_file_is_chosen_by_name(tmp_path: Path) -> None:
    path = save_dialled_style(make_dialled_network(styles=2), tmp_path / "pair.onnx")
    first, second = (Stylizer(f"{path}#style_{n}", device="cpu", threads=1) for n in (0, 1))
    assert (first.info.name, second.info.name) == ("style_0", "style_1")
    assert np.abs(first(PHOTO) - second(PHOTO)).mean() > 0.01
    np.testing.assert_array_equal(Stylizer(path, device="cpu", threads=1)(PHOTO), first(PHOTO))
    blend = Stylizer(f"{path}#style_0:0.5,{path}#style_1:0.5", device="cpu", threads=1)
    np.testing.assert_allclose(blend(PHOTO), (first(PHOTO) + second(PHOTO)) / 2, atol=1e-5)
    with raises(StyleError, "unknown_style", "style_2"):
        Stylizer(f"{path}#style_2", device="cpu")
