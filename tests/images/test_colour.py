"""Files with profiles and deep greys, as they are met with, are in test_images.py."""

from __future__ import annotations

import struct
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageCms

from fststyle.images.colour import deep_grey, srgb_profile, to_srgb


def test_profile_does_not_hold_the_time() -> None:
    profile = srgb_profile()

    assert struct.unpack(">6H", profile[24:36]) == (2000, 1, 1, 0, 0, 0)
    assert ImageCms.ImageCmsProfile(BytesIO(profile)).profile.xcolor_space == "RGB "


@pytest.mark.parametrize("profile", [srgb_profile(), b"", b"junk", srgb_profile()[:200]])
def test_nothing_to_convert(profile: bytes) -> None:
    image = Image.new("RGB", (2, 2), (255, 0, 51))

    assert to_srgb(image, profile) is image


def test_conversion_leaves_its_argument_alone() -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    image = Image.new("L", (2, 2), 128)

    assert to_srgb(image, lab).tobytes() == image.tobytes() == bytes([128] * 4)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 13107, 65535]], np.uint16), [0, 0.2, 1]),
        (np.array([[0, 13107, 65535]], np.int32), [0, 0.2, 1]),
        (np.array([[0, -1]], np.int32), [0, 1]),  # 2**32 - 1, which pillow holds as signed
        (np.array([[-1, 0.5, 2, np.nan, np.inf]], np.float32), [0, 0.5, 1, 0, 1]),
    ],
)
def test_deep_grey(values: np.ndarray, expected: list[float]) -> None:
    actual = deep_grey(Image.fromarray(values))

    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, [expected], atol=1e-7)
