from __future__ import annotations

import colorsys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fststyle.errors import SettingError
from fststyle.stylize.blend import between, keep_colors, luma, mix, style_weights

RANDOM = np.random.default_rng(5)
ONE, TWO = (RANDOM.random((300, 7, 3), dtype=np.float32) for _ in range(2))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("wave", {"wave": 1.0}),
        ("my/wave.onnx", {"my/wave.onnx": 1.0}),
        ("wave:0.6,thanos:0.4", {"wave": 0.6, "thanos": 0.4}),
        ("wave:3, thanos:1", {"wave": 0.75, "thanos": 0.25}),
        ("wave,thanos", {"wave": 0.5, "thanos": 0.5}),
        ("wave:1,thanos:0", {"wave": 1.0}),
        ("wave:1,thanos:1,wave:2", {"wave": 0.75, "thanos": 0.25}),
        ("C:/wave.onnx", {"C:/wave.onnx": 1.0}),
        ("C:/wave.onnx:1,D:/b.onnx:1", {"C:/wave.onnx": 0.5, "D:/b.onnx": 0.5}),
    ],
)
def test_style_weights(text: str, expected: dict[str, float]) -> None:
    assert style_weights(text) == pytest.approx(expected)


def test_style_weights_of_other_types(tmp_path: Path) -> None:
    assert style_weights({"a": 2, "b": 6}) == {"a": 0.25, "b": 0.75}
    odd = tmp_path / "a:1,b:2.onnx"
    odd.touch()
    assert style_weights(odd) == {str(odd): 1.0}


@pytest.mark.parametrize(
    "style",
    [
        "a:x",
        "a:0.5",
        "a:5",
        None,
        3,
        "a:-1,b:2",
        "a:nan,b",
        "a:inf,b",
        "a:0",
        "a:0,b:0",
        ",",
        "a,,b",
        ":1",
        {},
        {"a": "1"},
    ],
)
def test_bad_weights(style: Any) -> None:
    with pytest.raises(SettingError):
        style_weights(style)


def test_mix() -> None:
    assert mix([ONE], [1.0]) is ONE
    one, two = ONE.copy(), TWO.copy()
    actual = mix(iter((one, two)), [0.3, 0.7])
    np.testing.assert_allclose(actual, 0.3 * ONE + 0.7 * TWO, atol=1e-6)
    np.testing.assert_array_equal(one, ONE)
    np.testing.assert_array_equal(two, TWO)
    white = np.ones((3, 3, 3), np.float32)
    assert mix([white] * 3, [1 / 3] * 3).max() <= 1


def test_between_is_exact_at_its_ends() -> None:
    np.testing.assert_array_equal(between(ONE, TWO, 0.0), ONE)
    np.testing.assert_array_equal(between(ONE, TWO, 1.0), TWO)
    np.testing.assert_allclose(between(ONE, TWO, 0.5), (ONE + TWO) / 2, atol=1e-6)
    amount = np.zeros(ONE.shape[:2], np.float32)
    amount[270:, 3:] = 1
    actual = between(ONE, TWO, amount)
    np.testing.assert_array_equal(actual[270:, 3:], TWO[270:, 3:])
    np.testing.assert_array_equal(actual[:270], ONE[:270])


def test_luma_of_grey_is_exact() -> None:
    grey = np.linspace(0, 1, 256, dtype=np.float32)
    np.testing.assert_array_equal(luma(np.stack([grey] * 3, axis=-1)), grey)
    np.testing.assert_allclose(luma(np.eye(3, dtype=np.float32)), [0.2126, 0.7152, 0.0722], 1e-5)


def test_kept_colors_have_the_luma_of_one_and_the_hue_of_the_other() -> None:
    before = ONE.copy()
    actual = keep_colors(ONE, TWO)
    assert actual.min() >= 0
    assert actual.max() <= 1
    np.testing.assert_allclose(luma(actual), luma(TWO), atol=1e-5)
    np.testing.assert_array_equal(ONE, before)
    for photo, pixel in zip(ONE.reshape(-1, 3), actual.reshape(-1, 3), strict=True):
        if np.ptp(pixel) > 0.05:
            hues = [colorsys.rgb_to_hsv(*map(float, color))[0] for color in (photo, pixel)]
            assert abs((hues[0] - hues[1] + 0.5) % 1 - 0.5) < 0.01


def test_kept_colors_at_the_ends() -> None:
    np.testing.assert_allclose(keep_colors(ONE, ONE), ONE, atol=1e-5)
    grey = np.repeat(ONE[..., :1], 3, axis=2)
    np.testing.assert_allclose(keep_colors(grey, TWO), luma(TWO)[..., None].repeat(3, 2), atol=1e-5)
    for value in (0, 1):  # nothing but black and white has their luma
        flat = np.full_like(ONE, value)
        np.testing.assert_allclose(keep_colors(ONE, flat), flat, atol=1e-5)
