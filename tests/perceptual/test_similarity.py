from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from fststyle.perceptual.similarity import patch_distance, psnr, ssim


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random((height, width, 3), dtype=np.float32)


def flat(value: float, height: int = 64, width: int = 80) -> NDArray[np.float32]:
    return np.full((height, width, 3), value, np.float32)


def test_patch_distance_of_equal_pictures_is_zero() -> None:
    assert patch_distance(noise(70, 90), noise(70, 90)) == 0


def test_patch_distance_is_the_same_both_ways() -> None:
    picture, style = noise(64, 64), noise(90, 70, seed=1) ** 2
    expected = patch_distance(style, picture)
    assert expected > 1
    assert patch_distance(picture, style) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("shift", [0.1, -0.2])
def test_patch_distance_of_flat_pictures(shift: float) -> None:
    # The sum over a random direction's 147 components is nearly normal, of variance 1.
    expected = 255 * abs(shift) * math.sqrt(2 / math.pi)
    # Mean of 4 × 256 directions: its relative deviation is about 0.024.
    assert patch_distance(flat(0.5 + shift), flat(0.5)) == pytest.approx(expected, rel=0.1)


def test_patch_distance_is_proportional_to_the_shift_of_flat_pictures() -> None:
    once, twice = (patch_distance(flat(0.3 + shift), flat(0.3)) for shift in (0.125, 0.25))
    assert twice == pytest.approx(2 * once, rel=1e-6)


def test_patch_distance_of_one_level_is_the_wasserstein_distance_of_the_projections() -> None:
    # In pictures of one patch each all 4096 places are the same one, so only the directions count.
    picture, style = noise(7, 7), noise(7, 7, seed=1)
    directions = np.random.default_rng(3).standard_normal((100_000, 147))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    expected = 255 * np.abs(directions @ (picture - style).ravel()).mean()
    assert patch_distance(picture, style) == pytest.approx(expected, rel=0.15)


def test_patch_distance_sees_the_texture_and_not_the_places() -> None:
    stripes = np.zeros((96, 96, 3), np.float32)
    stripes[:, ::2] = 1
    moved, turned = np.roll(stripes, 1, axis=1), stripes.transpose(1, 0, 2)
    assert patch_distance(stripes, moved) < 0.2 * patch_distance(stripes, turned)


def test_patch_distance_of_fine_texture_is_in_the_fine_levels() -> None:
    fine = np.zeros((64, 64, 3), np.float32)
    fine[::2, ::2] = fine[1::2, 1::2] = 1
    one, four = (patch_distance(fine, flat(0.5, 64, 64), levels=n) for n in (1, 4))
    # Each coarser level is flat and equal. The fourth, of 8 pixels, still holds a patch.
    assert four == pytest.approx(one / 4, rel=1e-6)


def test_patch_distance_leaves_out_levels_without_a_patch() -> None:
    picture, style = noise(14, 40), noise(14, 40, seed=1)
    assert patch_distance(picture, style) == patch_distance(picture, style, levels=2)
    assert math.isnan(patch_distance(noise(6, 40), style))


def test_patch_distance_depends_little_on_the_seed() -> None:
    picture, style = noise(64, 64), noise(64, 64, seed=1) ** 2
    first, second = (patch_distance(picture, style, seed=seed) for seed in (0, 1))
    assert first != second
    assert first == pytest.approx(second, rel=0.1)


def smooth(height: int, width: int, shift: float = 0.0) -> NDArray[np.float32]:
    """Something like a photograph."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    waves = [
        0.5 + 0.4 * np.sin(7 * x + phase + shift) * np.cos(5 * y - phase) for phase in (0, 0.7, 1.9)
    ]
    return np.stack(waves, axis=2).astype(np.float32)


def test_ssim_is_that_of_scikit_image() -> None:
    photo, image = smooth(32, 40), smooth(32, 40, shift=0.3)
    expected = structural_similarity(  # type: ignore[no-untyped-call]
        photo, image, channel_axis=2, data_range=1.0, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False,
    )  # fmt: skip
    assert ssim(image, photo) == pytest.approx(expected)
    assert ssim(photo, photo) == pytest.approx(1.0)
    # Wang et al., equation 13, for constant images: only the luminance differs.
    dark, light = np.full((16, 16, 3), 0.2, np.float32), np.full((16, 16, 3), 0.6, np.float32)
    luminance = (2 * 0.2 * 0.6 + 0.01**2) / (0.2**2 + 0.6**2 + 0.01**2)
    assert ssim(dark, light) == pytest.approx(luminance, rel=1e-4)


@pytest.mark.parametrize("shape", [(10, 40), (40, 10)])
def test_ssim_needs_a_window(shape: tuple[int, int]) -> None:
    assert math.isnan(ssim(noise(*shape), noise(*shape)))


def test_psnr() -> None:
    photo = smooth(8, 8)
    assert psnr(photo + np.float32(0.1), photo) == pytest.approx(20.0, rel=1e-4)
    assert psnr(1 - np.round(photo), np.round(photo)) == pytest.approx(0.0)
    assert psnr(photo, photo.copy()) == math.inf
    image = smooth(8, 8, shift=0.3)
    expected = peak_signal_noise_ratio(photo, image, data_range=1.0)  # type: ignore[no-untyped-call]
    assert psnr(image, photo) == pytest.approx(expected, rel=1e-5)
