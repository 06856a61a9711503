from __future__ import annotations

import numpy as np
import pytest
from errors_help import raises
from image_help import random_pixels

from fststyle.errors import SettingError
from fststyle.images.resize import fit_long_side, fit_short_side, middle_square, resize


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(("height", "width"), [(3, 50), (40, 1), (16, 16)])
@pytest.mark.parametrize("shape", [(16, 24, 3), (16, 24), (16, 24, 1)])
def test_resize_keeps_a_constant(
    value: float, height: int, width: int, shape: tuple[int, ...]
) -> None:
    actual = resize(np.full(shape, value, np.float32), width=width, height=height)

    assert actual.shape == (height, width, *shape[2:])
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, value, atol=1e-6)


@pytest.mark.parametrize("scale", [2, 4])
def test_resize_keeps_a_ramp(scale: int) -> None:
    ramp = np.tile((np.arange(64, dtype=np.float32) + 0.5) / 64, (64, 1))
    pixels = np.stack([ramp, ramp.T, 1 - ramp], axis=2)
    small = 64 // scale
    line = np.tile((np.arange(small) + 0.5) / small, (small, 1))

    actual = resize(pixels, width=small, height=small)

    inner = slice(4, -4)  # at the edges the filter sees only one side
    expected = np.stack([line, line.T, 1 - line], axis=2)
    np.testing.assert_allclose(actual[inner, inner], expected[inner, inner], atol=1e-5)


def test_resize_is_antialiased_and_clipped() -> None:
    stripes = np.zeros((64, 64), np.float32)
    stripes[:, ::2] = 1
    step = np.zeros((64, 64), np.float32)
    step[:, 32:] = 1

    fine = resize(stripes, width=16, height=16)
    sharp = resize(step, width=200, height=64)

    np.testing.assert_allclose(fine[4:-4, 4:-4], 0.5, atol=0.01)
    assert sharp.min() == 0
    assert sharp.max() == 1


@pytest.mark.parametrize(
    ("shape", "size", "long_side", "short_side"),
    [
        ((40, 80, 3), 20, (10, 20), (20, 40)),
        ((80, 40, 3), 60, (60, 30), (80, 40)),
        ((80, 40), 80, (80, 40), (80, 40)),
        ((30, 45, 3), 100, (30, 45), (30, 45)),
        ((1, 500, 3), 10, (1, 10), (1, 500)),
        ((3, 500, 3), 1, (1, 1), (1, 167)),
    ],
)
def test_fit(
    shape: tuple[int, ...], size: int, long_side: tuple[int, int], short_side: tuple[int, int]
) -> None:
    pixels = random_pixels(*shape)

    assert fit_long_side(pixels, size).shape == long_side + shape[2:]
    assert fit_short_side(pixels, size).shape == short_side + shape[2:]


def test_fit_refuses_no_size() -> None:
    for fit in (fit_long_side, fit_short_side):
        with raises(SettingError, "setting", "size"):
            fit(random_pixels(4, 4, 3), 0)


def test_middle_square() -> None:
    photo = np.zeros((4, 10, 3), np.float32)
    photo[:, 3:7] = 1
    assert middle_square(photo, 8).shape == (8, 8, 3)
    np.testing.assert_array_equal(middle_square(photo, 8), 1)
    np.testing.assert_array_equal(middle_square(photo.transpose(1, 0, 2), 2), 1)
