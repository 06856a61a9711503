from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from fststyle.perceptual.palette import DIRECTIONS, palette_distance, palette_quantiles


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def flat(colour: tuple[float, float, float], side: int = 32) -> Tensor:
    return torch.tensor(colour).reshape(1, 3, 1, 1).expand(1, 3, side, side)


def fibonacci_directions() -> NDArray[np.float64]:
    index = np.arange(DIRECTIONS)
    height = (index + 0.5) / DIRECTIONS
    angle = index * np.pi * (3 - np.sqrt(5))
    radius = np.sqrt(1 - height**2)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), height])


def test_a_picture_has_its_own_palette() -> None:
    style = picture(64, 96)
    assert palette_distance(style, palette_quantiles(style)).tolist() == pytest.approx(
        [0], abs=1e-3
    )


def test_where_colours_stand_does_not_matter() -> None:
    style = picture(64, 96)
    quantiles = palette_quantiles(style)
    # Blocks of 4×4 pixels change places.
    blocks = style.reshape(1, 3, 16, 4, 24, 4)
    shuffled = blocks[:, :, torch.randperm(16, generator=torch.Generator().manual_seed(1))]
    expected = palette_distance(style, quantiles)
    torch.testing.assert_close(palette_distance(shuffled.reshape(style.shape), quantiles), expected)
    turned = style.rot90(1, (2, 3))
    torch.testing.assert_close(palette_distance(turned, quantiles), expected)


def test_mean_colour_is_at_distance_one() -> None:
    style = picture(128, 128)
    red, green, blue = style.mean(dim=(0, 2, 3)).tolist()
    actual = palette_distance(flat((red, green, blue)), palette_quantiles(style))
    assert actual.tolist() == pytest.approx([1], rel=0.03)


def test_a_shift_of_all_colours() -> None:
    style = 0.5 * picture(64, 64)
    quantiles = palette_quantiles(style)
    # Along a unit vector d every quantile moves by d·c.
    shift = np.array([0.1, 0.2, 0.05])
    variance = float(quantiles.var(dim=0, unbiased=False).mean())
    expected = ((shift @ fibonacci_directions()) ** 2).mean() / variance
    moved = style + torch.tensor(shift, dtype=torch.float32).reshape(1, 3, 1, 1)
    assert palette_distance(moved, quantiles).tolist() == pytest.approx([expected], rel=0.01)


def test_against_numpy() -> None:
    """The distance, computed anew from its definition, of pictures of one size."""
    style, image = picture(32, 32, 1).double(), picture(32, 32, 2).double()
    directions = fibonacci_directions()
    np.testing.assert_allclose(np.linalg.norm(directions, axis=0), 1)
    projected = []
    for pixels in (style[0].numpy(), image[0].numpy()):
        blocks = pixels.reshape(3, 8, 4, 8, 4).mean(axis=(2, 4)).reshape(3, -1)
        projected.append(np.sort(blocks.T @ directions, axis=0))
    expected = ((projected[0] - projected[1]) ** 2).mean() / projected[0].var(axis=0).mean()
    actual = palette_distance(image, palette_quantiles(style))
    assert actual.tolist() == pytest.approx([expected], rel=0.01)


def test_swapped_hues_are_told_apart() -> None:
    """Gold and purple in the style, lime and purple in the image: no mean gives that away."""
    purple, gold, lime = (0.4, 0.1, 0.6), (0.9, 0.7, 0.2), (0.6, 0.9, 0.2)
    style = torch.cat([flat(purple), flat(gold)], dim=3)
    quantiles = palette_quantiles(style)
    same = palette_distance(torch.cat([flat(gold), flat(purple)], dim=2), quantiles)
    other = palette_distance(torch.cat([flat(lime), flat(purple)], dim=2), quantiles)
    assert float(same) < 1e-3
    assert float(other) > 0.1


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 5), (33, 31), (64, 128)])
def test_any_size_and_every_photo_by_itself(height: int, width: int) -> None:
    quantiles = palette_quantiles([picture(64, 64), picture(48, 80, 1)])
    images = torch.cat([picture(height, width, 2), picture(height, width, 3)])
    actual = palette_distance(images, quantiles)
    expected = [float(palette_distance(image[None], quantiles)) for image in images]
    assert actual.tolist() == pytest.approx(expected)


def test_gradient() -> None:
    quantiles = palette_quantiles(picture(32, 32).double())
    image = picture(8, 12, 4).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: palette_distance(x, quantiles), [image])
    palette_distance(image, quantiles).sum().backward()  # type: ignore[no-untyped-call]
    assert image.grad is not None
    assert bool((image.grad != 0).all()), "every pixel is seen, or a lattice would appear"


def test_a_style_of_one_colour_is_finite() -> None:
    quantiles = palette_quantiles(flat((0.2, 0.2, 0.2)))
    assert float(palette_distance(flat((0.2, 0.2, 0.2)), quantiles)) == pytest.approx(0, abs=1e-6)
    assert 0 < float(palette_distance(picture(32, 32), quantiles)) < 1e6
