from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from fststyle.training.faults.halo import halo
from fststyle.training.gates import LIMITS
from fststyle.training.probes import figures

PHOTOS, MASKS = figures(384)


def rim(mask: NDArray[np.bool_], strength: float) -> NDArray[np.float32]:
    distance = ndimage.distance_transform_edt(~mask)
    rims = strength * np.exp(-((distance / 20) ** 2)) * ~mask
    return np.asarray(rims[..., None], np.float32)


@pytest.mark.parametrize("name", PHOTOS)
def test_a_halo_on_plain_ground(name: str) -> None:
    """A noticed rim is 0.05 brighter than plain ground; the gate catches half of it."""
    photo, mask = PHOTOS[name], MASKS[name]
    assert halo(photo, photo, mask) < 0.02
    assert halo(photo, 1 - photo, mask) < 0.02
    assert halo(photo, photo + rim(mask, 0.025), mask) > LIMITS["halo"]
    values = [halo(photo, photo - rim(mask, s), mask) for s in (0.01, 0.02, 0.04, 0.08)]
    assert values == sorted(values)
    assert values[3] == pytest.approx(8 * values[0], rel=0.1)


def test_value_of_a_step() -> None:
    """The ground within 44 pixels is 0.1 brighter in all channels: a distance of 0.1·√3."""
    mask = MASKS["disc"]
    ground = np.zeros((*mask.shape, 3), np.float32)
    step = ((ndimage.distance_transform_edt(~mask) < 44) * np.float32(0.1))[..., None]
    assert halo(ground, ground + step, mask) == pytest.approx(0.1 * 3**0.5 / 0.05, rel=0.01)


def test_strokes_hide_a_halo() -> None:
    photo, mask = PHOTOS["disc"], MASKS["disc"]
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(384, 384, 1)), (8, 8, 0))
    strokes = (0.1 * noise / noise.std()).astype(np.float32)
    plain, brushed = (halo(photo, photo + rim(mask, 0.1) + s, mask) for s in (0, strokes))
    assert brushed < plain / 2


def test_a_contour_is_no_halo() -> None:
    photo, mask = PHOTOS["horse"], MASKS["horse"]
    contour = ndimage.binary_dilation(mask, iterations=6) & ~mask
    drawn = np.where(contour[..., None], np.float32(0), photo)
    assert halo(photo, drawn, mask) < 0.02
