from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from fststyle.training.gates import LIMITS
from fststyle.training.probes import Probes, figures, large_probes, small_probes


def check_uses(probes: Probes) -> None:
    assert set(probes.uses) == set(LIMITS)
    assert all(names and set(names) <= set(probes.photos) for names in probes.uses.values())
    assert set(probes.uses["halo"]) == set(probes.figures)
    for name, photo in probes.photos.items():
        assert photo.dtype == np.float32
        assert photo.shape[2:] == (3,)
        assert photo.flags.c_contiguous
        assert 0 <= photo.min() <= photo.max() <= 1, name


def test_small_probes() -> None:
    probes, again = small_probes(), small_probes()
    photos = probes.photos
    names = ["flat_grey", "clear_sky", "black_border", "fine_text", "face", "night"]
    assert list(photos) == [*names, "disc", "horse"]
    check_uses(probes)
    for name, photo in photos.items():
        assert 191 <= min(photo.shape[:2]) <= max(photo.shape[:2]) <= 385
        assert np.array_equal(photo, again.photos[name])
    assert np.median(photos["night"]) < 0.1 < 0.9 < photos["night"].max()
    assert not photos["black_border"][:40].any()


def test_large_probes() -> None:
    photo = np.random.default_rng(0).random((400, 300, 3)).astype(np.float32)
    probes = large_probes({"own": photo}, 512)
    check_uses(probes)
    assert probes.photos["own"] is photo
    assert probes.photos["clear_sky"].shape == (384, 512, 3)
    assert probes.uses["structure"] == ("own",)


@pytest.mark.parametrize("side", [384, 512, 700])
def test_figures_stand_on_plain_ground(side: int) -> None:
    photos, masks = figures(side)
    for name, mask in masks.items():
        distance = ndimage.distance_transform_edt(~mask)
        assert photos[name].shape == (side, side, 3)
        assert mask.mean() > 0.02
        assert photos[name][mask].std() > 0.08
        assert (distance >= 86).mean() > 0.2
        assert photos[name][distance > 4].std(axis=0).max() < 2 / 255
