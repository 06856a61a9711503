from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from fststyle.images.load import load_image
from fststyle.images.resize import fit_short_side
from fststyle.perceptual.presets import MIN_STYLE_SIDE
from fststyle.styles.find import art_folder
from fststyle.training.faults.specks import specks
from fststyle.training.gates import LIMITS
from fststyle.training.probes import clear_sky

Pixels = NDArray[np.float32]
SKY = np.asarray(ndimage.gaussian_filter(clear_sky(200, 260), (3, 3, 0)), np.float32)
FLAT = np.full((200, 200, 3), 0.5, np.float32)


def dots(strength: float) -> Pixels:
    rng = np.random.default_rng(0)
    points = np.zeros((200, 260))
    points[rng.integers(0, 200, 90), rng.integers(0, 260, 90)] = 9 * strength
    return SKY + np.asarray(ndimage.gaussian_filter(points, 1.2), np.float32)[..., None]


def worms(strength: float) -> Pixels:
    """Thin winding lines in some places."""
    rng = np.random.default_rng(0)
    line, place = (ndimage.gaussian_filter(rng.normal(size=(200, 260)), s) for s in (3, 10))
    lines = np.exp(-((line / line.std() / 0.25) ** 2)) * (place > 0.6 * place.std())
    return np.asarray(SKY + strength * lines[..., None], np.float32)


def brushed(strength: float, seed: int, height: int = 200, width: int = 260) -> Pixels:
    noise = np.random.default_rng(seed).normal(size=(height, width, 3))
    noise = ndimage.gaussian_filter(noise, (1, 2, 0))
    return np.asarray(strength * noise / noise.std(), np.float32)


@pytest.mark.parametrize(("plant", "noticed"), [(dots, 0.06), (worms, 0.04)])
def test_faults_in_a_plain_sky(plant: Callable[[float], Pixels], noticed: float) -> None:
    """The gate catches half of what an eye notices."""
    assert specks(plant(0), FLAT) < 0.3
    values = [specks(plant(noticed * share), FLAT) for share in (0.5, 1, 2)]
    assert values[0] > LIMITS["specks"]
    assert values[2] == pytest.approx(4 * values[0], rel=0.1)


def test_the_artwork_s_own_texture_is_no_fault() -> None:
    artwork = 0.5 + brushed(0.04, 1)
    assert specks(SKY + brushed(0.04, 2), artwork) < LIMITS["specks"]
    assert specks(SKY + brushed(0.08, 2), artwork) > LIMITS["specks"]
    assert specks(SKY + brushed(0.04, 2), FLAT) > LIMITS["specks"]
    assert specks(SKY, artwork) == 0


@pytest.mark.parametrize("name", ["ink_wash", "stained_glass", "thanos_poster", "woodblock_waves"])
def test_flat_areas_of_the_artworks_pass(name: str) -> None:
    artwork = fit_short_side(load_image(art_folder() / f"{name}.jpg"), 384)
    tiles = [artwork[y : y + 96, x : x + 96] for y in (0, 96, 192) for x in (0, 96, 192)]
    assert min(specks(tile, artwork) for tile in tiles) < LIMITS["specks"]


def test_the_smallest_artwork() -> None:
    artwork = np.random.default_rng(0).random((MIN_STYLE_SIDE, 40, 3)).astype(np.float32)
    assert specks(SKY, artwork) == 0
