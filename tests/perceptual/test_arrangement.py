"""The loss for the arrangement of motifs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from fststyle.perceptual.arrangement import ARRANGED, ArrangementLoss, shifted_covariances


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def features_of(seed: int, images: int = 1) -> dict[str, Tensor]:
    return {
        layer: random(images, 3, 12, 14, seed=seed + index) for index, layer in enumerate(ARRANGED)
    }


@pytest.mark.parametrize("distance", [0, 1, 3])
def test_covariances_against_numpy(distance: int) -> None:
    features = random(2, 3, 7, 9)
    actual = shifted_covariances(features, distance)
    for image, found in zip(features.double().numpy(), actual, strict=True):
        for direction, offset in enumerate(((distance, 0), (0, distance))):
            here = image[:, : 7 - offset[0], : 9 - offset[1]].reshape(3, -1)
            there = image[:, offset[0] :, offset[1] :].reshape(3, -1)
            expected = np.cov(here, there, bias=True)[:3, 3:]
            np.testing.assert_allclose(found[direction], expected, atol=1e-6)


def test_loss_against_its_formula() -> None:
    style, image = features_of(seed=0), features_of(seed=10, images=2)
    expected = []
    for layer, distances in ARRANGED.items():
        energy = shifted_covariances(style[layer], 0).square().sum()
        for distance in distances:
            target = shifted_covariances(style[layer], distance)
            error = (shifted_covariances(image[layer], distance) - target).square().sum((1, 2, 3))
            expected.append(error / energy)
    torch.testing.assert_close(ArrangementLoss([style])(image), torch.stack(expected).mean(0))


def test_style_itself_is_no_loss() -> None:
    style = features_of(seed=0)
    assert float(ArrangementLoss([style])(style)) == 0


def test_regular_patterns_are_worse_than_irregular_ones() -> None:
    """The features of both images have the same values, so their Gram matrices are the same."""
    generator = torch.Generator().manual_seed(0)

    def features(image: Tensor) -> dict[str, Tensor]:
        return dict.fromkeys(ARRANGED, image[None])

    def shuffled(image: Tensor) -> Tensor:
        places = torch.randperm(image[0].numel(), generator=generator)
        return image.flatten(1)[:, places].view_as(image)

    dots = torch.zeros(2, 40, 40)
    dots[0, ::4, ::4] = 1  # a dot every four rows and columns
    dots[1, 2::4, 2::4] = 1
    loss = ArrangementLoss([features(shuffled(dots))])
    irregular, regular = (float(loss(features(image))) for image in (shuffled(dots), dots))
    assert regular > 10 * irregular


def test_several_sizes_are_averaged() -> None:
    first, second, image = (features_of(seed=seed) for seed in (0, 10, 20))
    mean = ArrangementLoss([first, second])
    layer = "relu2_2"
    covariances = [shifted_covariances(style[layer], 4) for style in (first, second)]
    torch.testing.assert_close(mean.get_buffer("relu2_2_4"), sum(covariances) / 2)
    assert 0 < float(mean(image)) < float("inf")


def test_gradients() -> None:
    loss = ArrangementLoss([{k: v.double() for k, v in features_of(seed=0).items()}])
    image = random(1, 3, 12, 14, seed=9).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(dict.fromkeys(ARRANGED, x)), image)
