"""The losses that keep shapes: analytic values, invariances, gradients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fststyle.perceptual.structure import (
    POSITIONS,
    laplacian_loss,
    self_similarity_loss,
    windows,
)

pytestmark = pytest.mark.torch


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_self_similarity_against_numpy() -> None:
    features, target = random(2, 5, 4, 3), random(2, 5, 4, 3, seed=1)

    def distances(values: Tensor) -> Any:
        vectors = values.reshape(5, 12).numpy().T
        vectors = vectors - vectors.mean(axis=0)
        norms = np.linalg.norm(vectors, axis=1)
        return 1 - vectors @ vectors.T / np.outer(norms, norms)

    for loss, one, other in zip(
        self_similarity_loss(features, target), features, target, strict=True
    ):
        actual, expected = distances(one), distances(other)
        variance = ((expected - expected.mean()) ** 2).mean()
        assert float(loss) == pytest.approx(((actual - expected) ** 2).mean() / variance)


def test_self_similarity_ignores_colour_and_contrast() -> None:
    """Neither another origin and scale nor swapped channels change the relations."""
    target = random(1, 6, 8, 8)
    changed = 0.3 * target.flip(1) + 2.0
    assert float(self_similarity_loss(changed, target)) == pytest.approx(0, abs=1e-12)
    negative = 1 - target  # this is why a plain term has to fix the tone
    assert float(self_similarity_loss(negative, target)) == pytest.approx(0, abs=1e-12)


def test_self_similarity_sees_moved_parts() -> None:
    target = random(1, 6, 8, 8)
    shuffled = target.flatten(2)[:, :, torch.randperm(64)].reshape(target.shape)
    assert float(self_similarity_loss(shuffled, target)) > 0.5


def test_self_similarity_of_large_images_takes_a_grid() -> None:
    """Positions that the grid leaves out do not count, and memory stays bounded."""
    target = random(1, 2, 96, 64)
    assert math.ceil(96 / 3) * math.ceil(64 / 3) <= POSITIONS
    changed = target.clone()
    changed[:, :, 1::3] = 0
    changed[:, :, :, 1::3] = 0
    assert float(self_similarity_loss(changed, target)) == 0
    changed[:, :, 0, 0] += 5
    assert float(self_similarity_loss(changed, target)) > 0


def test_self_similarity_of_a_flat_photo_is_finite() -> None:
    flat = torch.ones(1, 3, 4, 4, dtype=torch.float64)
    image = random(1, 3, 4, 4).requires_grad_()
    loss = self_similarity_loss(image, flat)
    (gradient,) = torch.autograd.grad(loss.sum(), image)
    assert torch.isfinite(gradient).all()
    assert 0 < float(loss.detach()) <= 4 / 0.004


def test_laplacian_of_a_parabola() -> None:
    """The Laplacian of (x/n)²/2, sampled in blocks of s pixels, is (s/n)² everywhere."""
    ramp = torch.arange(64, dtype=torch.float64) / 64
    bowl = (ramp.square() / 2).expand(1, 3, 64, 64)
    linear = ramp.expand(1, 3, 64, 64) + 0.2
    # The difference of an image without curvature is the photo's whole Laplacian.
    expected = np.mean([min(1.0, ((s / 64) ** 2) ** 2 / 1e-4) for s in (2, 4, 8)])
    assert float(laplacian_loss(linear, bowl)) == pytest.approx(expected)


def test_laplacian_ignores_colour_and_slow_changes() -> None:
    photo = random(2, 3, 40, 33)
    slope = torch.linspace(0, 1, 33, dtype=torch.float64)
    assert laplacian_loss(photo + slope, photo).tolist() == pytest.approx([0, 0], abs=1e-12)
    grey = photo.new_tensor([0.2126, 0.7152, 0.0722]).reshape(1, 3, 1, 1)
    luma = (photo * grey).sum(dim=1, keepdim=True).expand_as(photo)
    assert laplacian_loss(luma, photo).tolist() == pytest.approx([0, 0], abs=1e-12)


def test_laplacian_of_no_edges_and_of_twice_the_edges_is_1() -> None:
    photo = random(2, 3, 40, 40)
    assert laplacian_loss(0 * photo, photo).tolist() == pytest.approx([1, 1])
    assert laplacian_loss(2 * photo, photo).tolist() == pytest.approx([1, 1])


def test_laplacian_of_tiny_images_is_0() -> None:
    assert laplacian_loss(random(2, 3, 5, 40), random(2, 3, 5, 40, seed=1)).tolist() == [0, 0]


@pytest.mark.parametrize("loss", [self_similarity_loss, laplacian_loss])
def test_gradients(loss: type) -> None:
    image, photo = random(2, 3, 13, 26).requires_grad_(), random(2, 3, 13, 26, seed=1)
    assert torch.autograd.gradcheck(lambda x: loss(x, photo), image, fast_mode=True)


@pytest.mark.parametrize("loss", [self_similarity_loss, laplacian_loss])
def test_batch_equals_single_images(loss: type) -> None:
    image, photo = random(3, 3, 20, 24), random(3, 3, 20, 24, seed=1)
    singles = [float(loss(image[[i]], photo[[i]])) for i in range(3)]
    assert loss(image, photo).tolist() == pytest.approx(singles)


def test_windows_are_quarters() -> None:
    features = random(2, 3, 5, 7)
    parts = windows(features).reshape(2, 4, 3, 2, 3)
    for n in range(2):
        assert torch.equal(parts[n, 0], features[n, :, :2, :3])
        assert torch.equal(parts[n, 1], features[n, :, :2, 3:6])
        assert torch.equal(parts[n, 2], features[n, :, 2:4, :3])
        assert torch.equal(parts[n, 3], features[n, :, 2:4, 3:6])
