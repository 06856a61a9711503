from __future__ import annotations

from typing import Any

import pytest
import torch

from fststyle.errors import SettingError
from fststyle.network import NetworkConfig, TransformerNet


def random_photos(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize(
    ("height", "width"),
    [(1, 1), (1, 9), (3, 4), (5, 5), (6, 5), (7, 64), (61, 64), (64, 61), (62, 63), (64, 64)],
)
def test_shape_is_kept(small_network: TransformerNet, height: int, width: int) -> None:
    photos = random_photos(2, 3, height, width)
    before = photos.clone()
    with torch.no_grad():
        actual = small_network(photos)
    assert actual.shape == photos.shape
    assert actual.dtype == torch.float32
    assert bool(torch.isfinite(actual).all())
    assert actual.min() >= 0
    assert actual.max() <= 1
    assert torch.equal(photos, before)


@pytest.mark.parametrize("factor", [1.0, 1e3])
def test_range(factor: float) -> None:
    network = TransformerNet(NetworkConfig(width=2, residual_blocks=0))
    with torch.no_grad():
        network.to_rgb.weight.copy_(
            factor * torch.randn(3, 2, 9, 9, generator=torch.Generator().manual_seed(0))
        )
        actual = network(random_photos(1, 3, 20, 20))
    assert actual.min() >= 0
    assert actual.max() <= 1
    assert actual.max() - actual.min() > 0.5


def test_photos_of_a_batch_do_not_mix(small_network: TransformerNet) -> None:
    photos = random_photos(3, 3, 21, 18)
    with torch.no_grad():
        actual = small_network(photos)
        expected = torch.cat([small_network(photo[None]) for photo in photos])
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)
    assert (actual[0] - actual[1]).abs().max() > 0.01


def test_a_tiny_photo_is_extended_by_its_edge(small_network: TransformerNet) -> None:
    tiny = random_photos(1, 3, 2, 3)
    extended = tiny[..., [0, 1, 1, 1, 1], :][..., [0, 1, 2, 2, 2]]
    with torch.no_grad():
        torch.testing.assert_close(small_network(tiny), small_network(extended)[..., :2, :3])


@pytest.mark.parametrize("size", [(16, 16), (23, 30)])
def test_a_plain_photo_gives_a_plain_picture(
    small_network: TransformerNet, size: tuple[int, int]
) -> None:
    """Zero padding anywhere would draw a frame."""
    photo = torch.tensor([0.9, 0.4, 0.1]).reshape(1, 3, 1, 1).expand(1, 3, *size)
    with torch.no_grad():
        actual = small_network(photo)
    torch.testing.assert_close(actual, actual[..., :1, :1].expand_as(actual), rtol=0, atol=1e-3)


@pytest.mark.parametrize(("width", "blocks"), [(1, 0), (8, 2), (32, 5)])
def test_parameters_are_those_of_the_paper(width: int, blocks: int) -> None:
    # Table 1 of the supplementary material: (kernel side, inputs, filters).
    layers = [
        (9, 3, width),
        (3, width, 2 * width),
        (3, 2 * width, 4 * width),
        *[(3, 4 * width, 4 * width)] * (2 * blocks),
        (3, 4 * width, 2 * width),
        (3, 2 * width, width),
    ]
    gain_and_shift = 2 * sum(filters for _, _, filters in layers)
    last = 9 * 9 * width * 3 + 3
    expected = sum(side * side * n * filters for side, n, filters in layers)
    expected += gain_and_shift + last
    network = TransformerNet(NetworkConfig(width=width, residual_blocks=blocks))
    actual = sum(parameter.numel() for parameter in network.parameters())
    assert actual == expected
    if (width, blocks) == (32, 5):
        # The count that others publish, with a bias in every convolution before a norm too.
        assert actual == 1_679_235 - sum(filters for _, _, filters in layers)


def test_every_parameter_learns() -> None:
    torch.manual_seed(0)
    network = TransformerNet(NetworkConfig(width=2, residual_blocks=1))
    (network(random_photos(1, 3, 16, 16)) - random_photos(1, 3, 16, 16)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"width": 0}, r"network\.width must be from 1 to 256, not 0\."),
        ({"width": 257}, r"network\.width must be from 1 to 256, not 257\."),
        ({"width": 8.0}, r"network\.width must be a whole number, not 8\.0\."),
        ({"width": True}, r"network\.width must be a whole number, not True\."),
        ({"width": "8"}, r"network\.width must be a whole number, not '8'\."),
        ({"residual_blocks": -1}, r"network\.residual_blocks must be from 0 to 32, not -1\."),
        ({"residual_blocks": 33}, r"network\.residual_blocks must be from 0 to 32, not 33\."),
        ({"residual_blocks": None}, r"network\.residual_blocks must be a whole number"),
    ],
)
def test_impossible_settings(values: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        NetworkConfig(**values)
