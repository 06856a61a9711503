"""Conversion of colours by ICC profiles; test_formats.py has whole files."""

from __future__ import annotations

import struct
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_help import (
    DISPLAY_P3,
    LINEAR_GREY,
    SRGB_CURVE,
    SWAPPED,
    cyan_profile,
    icc_profile,
    rgb_profile,
    s15,
)
from numpy.typing import NDArray
from PIL import Image, ImageCms

from fststyle.images.colour import (
    ADOBE_RGB,
    read_matrix_profile,
    srgb_profile,
    to_srgb,
    to_srgb_precisely,
)

RED, GREEN, BLUE = (0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)


TABLE = b"curv" + bytes(4) + struct.pack(">I5H", 5, 0, 2000, 9000, 30_000, 65_535) + bytes(2)


def parametric(kind: int, *numbers: float) -> bytes:
    return b"para" + bytes(4) + struct.pack(">HH", kind, 0) + s15(*numbers)


def colours() -> NDArray[np.uint8]:
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    return np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(27, 27, 3)


@pytest.mark.parametrize(
    "curve",
    [
        b"curv" + bytes(8),
        b"curv" + bytes(4) + struct.pack(">IH", 1, 461) + bytes(2),
        TABLE,
        parametric(0, 2.2),
        parametric(1, 2.0, 1.1, -0.1),
        parametric(2, 2.0, 0.9, 0.05, -0.0025),
        SRGB_CURVE,
        parametric(4, 2.4, 0.9, 0.05, 0.08, 0.04, 0.01, 0.0),
    ],
)
def test_every_curve_is_as_littlecms_has_it(curve: bytes) -> None:
    profile = rgb_profile(curve, RED, GREEN, BLUE)
    expected = np.asarray(to_srgb(Image.fromarray(colours()), profile), np.float64)
    parsed = read_matrix_profile(profile)
    assert parsed is not None

    actual = to_srgb_precisely((colours() / 255).astype(np.float32), parsed) * 255

    np.testing.assert_allclose(actual, expected, atol=1.6)
    assert np.abs(actual - expected).mean() < 0.4  # LittleCMS rounds


@pytest.mark.parametrize("profile", [DISPLAY_P3, SWAPPED])
def test_matrix_is_as_littlecms_has_it(profile: bytes) -> None:
    expected = np.asarray(to_srgb(Image.fromarray(colours()), profile), np.float64)
    parsed = read_matrix_profile(profile)
    assert parsed is not None

    actual = to_srgb_precisely((colours() / 255).astype(np.float32), parsed) * 255

    assert np.abs(actual - expected).max() < 2.5
    assert np.abs(actual - expected).mean() < 0.4


def test_srgb_is_left_alone() -> None:
    parsed = read_matrix_profile(srgb_profile())
    assert parsed is not None
    pixels = (colours() / 255).astype(np.float32)

    np.testing.assert_allclose(to_srgb_precisely(pixels, parsed), pixels, atol=2e-4)


def test_white_and_grey_stay_grey() -> None:
    pixels = np.array([[[0.0] * 3, [0.5] * 3, [1.0] * 3]], np.float32)

    actual = to_srgb_precisely(pixels, ADOBE_RGB)[0]

    np.testing.assert_allclose(actual[:, 0], actual[:, 2], atol=1e-3)
    np.testing.assert_allclose(actual[[0, 2]], [[0] * 3, [1] * 3], atol=1e-3)


@pytest.mark.parametrize(
    "profile",
    [
        b"",
        b"junk",
        SWAPPED[:200],
        cyan_profile(),
        rgb_profile(b"sf32" + bytes(12), RED, GREEN, BLUE),
        rgb_profile(parametric(1, 2.0, 0.0, 0.1), RED, GREEN, BLUE),
        rgb_profile(SRGB_CURVE, RED, RED, RED),  # has no inverse
        icc_profile(b"mntr", b"RGB ", b"XYZ ", {b"A2B0": b"mft1"}),
    ],
)
def test_other_profiles_are_left_to_pillow(profile: bytes) -> None:
    assert read_matrix_profile(profile) is None


@settings(max_examples=150, deadline=None)
@given(st.data())
@pytest.mark.parametrize("profile", [DISPLAY_P3, LINEAR_GREY, rgb_profile(TABLE, RED, GREEN, BLUE)])
def test_damage_gives_colours_or_none(profile: bytes, data: st.DataObject) -> None:
    damaged = bytearray(profile)
    for _ in range(data.draw(st.integers(1, 5))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))

    parsed = read_matrix_profile(bytes(damaged))

    if parsed is not None:
        actual = to_srgb_precisely((colours() / 255).astype(np.float32), parsed)
        assert actual.min() >= 0
        assert actual.max() <= 1


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
