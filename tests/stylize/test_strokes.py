from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fststyle.images import resize
from fststyle.images.resize import fitted_size
from fststyle.stylize import strokes
from fststyle.stylize.strokes import WORKING_SIDE, default_scale, resized, upscale, working_size


def random_pixels(height: int, width: int) -> NDArray[np.float32]:
    return np.random.default_rng(1).random((height, width, 3), np.float32)


def as_bytes(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.rint(pixels * 255).astype(np.uint8)


def test_scale_by_default() -> None:
    assert default_scale(WORKING_SIDE, 100) == 1
    assert default_scale(3, 2) == 1
    assert default_scale(100, 3 * WORKING_SIDE) == 3
    assert working_size(3024, 4032, default_scale(3024, 4032)) == (960, WORKING_SIDE)
    # A strip that is longer than any photo is seen at all the same.
    assert working_size(1, 10**6, default_scale(1, 10**6))[0] == 1


@pytest.mark.parametrize(("height", "width", "size"), [(60, 90, 40), (90, 1, 33), (20, 30, 30)])
def test_fitted_size_is_that_of_images(height: int, width: int, size: int) -> None:
    pixels = random_pixels(height, width)
    assert fitted_size(height, width, size) == resize.fit_long_side(pixels, size).shape[:2]


def test_resized() -> None:
    pixels = random_pixels(40, 50)
    assert resized(pixels, 40, 50) is pixels
    np.testing.assert_array_equal(
        resized(pixels, 17, 31), resize.resize(pixels, width=31, height=17)
    )


def test_bands_fit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = random_pixels(203, 150)
    seen = resized(photo, 61, 45)
    picture = 1 - seen
    for convert in (np.copy, as_bytes):
        monkeypatch.setattr(strokes, "_BAND_PIXELS", 10**6)
        arguments: Any = [convert(pixels) for pixels in (picture, seen, photo)]
        expected = upscale(*arguments)
        monkeypatch.setattr(strokes, "_BAND_PIXELS", 150 * 16)
        actual = upscale(*arguments)
        assert actual.dtype == arguments[0].dtype
        assert actual.shape == photo.shape
        tolerance = 1 if actual.dtype == np.uint8 else 2e-4
        np.testing.assert_allclose(actual.astype(float), expected.astype(float), atol=tolerance)


def test_detail() -> None:
    photo = 0.3 + 0.4 * random_pixels(64, 80)
    photo[:] = photo.mean(2, keepdims=True)  # grey: all its detail is luminance
    seen = resized(photo, 16, 20)
    np.testing.assert_allclose(upscale(seen, seen, photo, detail=1), photo, atol=1e-5)
    expected = resized(seen, 64, 80)
    np.testing.assert_allclose(upscale(seen, seen, photo, detail=0), expected, atol=1e-5)
    assert 0 < np.abs(upscale(seen, seen, photo) - photo).mean() < np.abs(expected - photo).mean()
