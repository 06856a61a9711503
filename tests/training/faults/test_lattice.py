from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from fststyle.images.load import load_image
from fststyle.images.resize import fit_long_side
from fststyle.styles.find import art_folder
from fststyle.training.faults.lattice import PERIODS, SHIFTS, lattice
from fststyle.training.gates import LIMITS

Pixels = NDArray[np.float32]
PLAIN = np.full((175, 175, 3), 0.5, np.float32)


def brushed(strength: float = 0.05) -> Pixels:
    noise = np.random.default_rng(0).normal(size=(175, 175, 3))
    noise = ndimage.gaussian_filter(noise, (1.2, 2.5, 0))
    return np.asarray(np.clip(0.5 + strength * noise / noise.std(), 0, 1), np.float32)


def planted(period: int, amplitude: float) -> Callable[[Pixels], Pixels]:
    """A network that changes nothing, but paints a lattice that stays on the pixel grid."""

    def stylise(photo: Pixels) -> Pixels:
        rows, columns = np.indices(photo.shape[:2])[..., None] * (2 * math.pi / period)
        return np.asarray(photo + amplitude * np.cos(rows) * np.cos(columns), np.float32)

    return stylise


def test_phases_of_all_periods_differ() -> None:
    shifts = np.array(SHIFTS)
    for period in PERIODS:
        waves = np.exp(2j * np.pi / period * np.arange(period) * shifts[..., None])
        means = np.abs((waves[:, 0, :, None] * waves[:, 1, None]).mean(axis=0)).ravel()
        assert np.sort(means)[-2] < 0.69


@pytest.mark.parametrize("period", PERIODS)
def test_every_period_on_plain_ground(period: int) -> None:
    """A noticed lattice has an amplitude of about 6/255 there; the gate catches half of it."""
    actual = lattice(planted(period, 3 / 255), PLAIN)
    root_mean_square = 1 if period == 2 else 1 / 2
    assert actual.value == pytest.approx(3 / 2.5 * root_mean_square, rel=0.02)
    assert actual.period == period
    assert actual.value > LIMITS["lattice"]


@pytest.mark.parametrize("period", [2, 3, 5, 8, 11, 16])
def test_every_period_in_texture(period: int) -> None:
    """Texture hides more: there, an amplitude of 20/255 is noticed."""
    photo = brushed()
    assert lattice(planted(period, 0), photo).value < 0.05
    actual = lattice(planted(period, 10 / 255), photo)
    assert actual.period == period
    assert actual.value > LIMITS["lattice"]


def test_stronger_lattices_have_larger_values() -> None:
    values = [lattice(planted(8, a / 255), brushed()).value for a in (0, 2, 4, 8, 16)]
    assert values == sorted(values)
    assert values[-1] == pytest.approx(2 * values[-2], rel=0.05)


def test_what_moves_with_the_photo_is_no_lattice() -> None:
    tiled = planted(4, 0.2)(PLAIN)  # a photo of a grid
    assert lattice(lambda photo: photo, tiled).value < 0.01
    assert lattice(lambda photo: photo.round(1), brushed()).value < 0.01


def test_what_does_not_repeat_is_no_lattice() -> None:
    """Such as grain: noise at fixed positions."""
    noise = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=(175, 175, 1)), (2, 2, 0))

    def stylise(photo: Pixels) -> Pixels:
        grain = 0.06 * noise / noise.std()
        return np.asarray(photo + grain[: len(photo), : photo.shape[1]], np.float32)

    assert lattice(stylise, brushed()).value < LIMITS["lattice"]


def test_the_artworks_pass() -> None:
    for path in art_folder().glob("*.jpg"):
        artwork = fit_long_side(load_image(path), 256)
        assert lattice(lambda photo: photo, artwork).value < 0.01
