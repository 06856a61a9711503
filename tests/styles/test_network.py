from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fststyle.styles.network import TransformerNet
from fststyle.styles.shape import HEAD, NetworkConfig


def random_photos(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize(
    ("height", "width"),
    [(1, 1), (1, 9), (3, 4), (5, 5), (6, 5), (7, 64), (61, 64), (64, 61), (62, 63), (64, 64)],
)
def test_shape_is_kept(each_network: TransformerNet, height: int, width: int) -> None:
    photos = random_photos(2, 3, height, width)
    before = photos.clone()
    with torch.no_grad():
        actual = each_network(photos)
    assert actual.shape == photos.shape
    assert actual.dtype == torch.float32
    assert bool(torch.isfinite(actual).all())
    assert actual.min() >= 0
    assert actual.max() <= 1
    assert torch.equal(photos, before)


@pytest.mark.parametrize("factor", [1.0, 1e3])
@pytest.mark.parametrize("first_stride", [1, 2])
def test_range(first_stride: int, factor: float) -> None:
    torch.manual_seed(0)
    network = TransformerNet(NetworkConfig(first_stride, width=2, trunk=8, residual_blocks=0))
    with torch.no_grad():
        network.to_rgb.weight.copy_(factor * torch.randn(network.to_rgb.weight.shape))
        actual = network(random_photos(1, 3, 20, 20))
    assert actual.min() >= 0
    assert actual.max() <= 1
    assert actual.max() - actual.min() > 0.5


def test_linear_output_is_clamped(small_network: TransformerNet) -> None:
    clamped = TransformerNet(replace(small_network.config, linear_output=1)).eval()
    clamped.load_state_dict(small_network.state_dict())
    photos = random_photos(1, 3, 21, 18)
    with torch.no_grad():
        actual, before = clamped(photos), torch.logit(small_network(photos).double())
    torch.testing.assert_close(actual.double(), before.clamp(0, 1), rtol=0, atol=1e-5)
    assert ((actual > 0) & (actual < 1)).any()
    assert (before < 0).any()
    assert (before > 1).any()


def test_photos_of_a_batch_do_not_mix(each_network: TransformerNet) -> None:
    photos = random_photos(3, 3, 21, 18)
    with torch.no_grad():
        actual = each_network(photos)
        expected = torch.cat([each_network(photo[None]) for photo in photos])
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)
    assert (actual[0] - actual[1]).abs().max() > 0.01


def test_a_tiny_photo_is_extended_by_its_edge(each_network: TransformerNet) -> None:
    tiny = random_photos(1, 3, 2, 3)
    extended = tiny[..., [0, 1, 1, 1, 1], :][..., [0, 1, 2, 2, 2]]
    with torch.no_grad():
        torch.testing.assert_close(each_network(tiny), each_network(extended)[..., :2, :3])


@pytest.mark.parametrize("size", [(16, 16), (23, 30)])
def test_a_plain_photo_gives_a_plain_result(
    each_network: TransformerNet, size: tuple[int, int]
) -> None:
    """Zero padding anywhere would draw a frame."""
    photo = torch.tensor([0.9, 0.4, 0.1]).reshape(1, 3, 1, 1).expand(1, 3, *size)
    with torch.no_grad():
        actual = each_network(photo)
    torch.testing.assert_close(actual, actual[..., :1, :1].expand_as(actual), rtol=0, atol=1e-3)


def count_parameters(network: TransformerNet) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(("width", "trunk", "blocks"), [(1, 4, 0), (8, 20, 2), (32, 128, 5)])
def test_parameters_are_those_of_the_paper(width: int, trunk: int, blocks: int) -> None:
    # Table 1 of the supplementary material: (kernel side, inputs, filters).
    layers = [
        (9, 3, width),
        (3, width, 2 * width),
        (3, 2 * width, trunk),
        *[(3, trunk, trunk)] * (2 * blocks),
        (3, trunk, 2 * width),
        (3, 2 * width, width),
    ]
    gain_and_shift = 2 * sum(filters for _, _, filters in layers)
    last = 9 * 9 * width * 3 + 3
    expected = sum(side * side * n * filters for side, n, filters in layers)
    expected += gain_and_shift + last
    actual = count_parameters(TransformerNet(NetworkConfig(1, width, trunk, blocks)))
    assert actual == expected
    if (width, trunk, blocks) == (32, 128, 5):
        # The count that others publish, with a bias in every convolution before a norm too.
        assert actual == 1_679_235 - sum(filters for _, _, filters in layers)


@pytest.mark.parametrize(("width", "trunk", "blocks"), [(1, 4, 0), (8, 20, 2), (24, 64, 5)])
def test_parameters_with_first_stride_2(width: int, trunk: int, blocks: int) -> None:
    layers = [
        (5, 3, width),
        (3, width, trunk),
        *[(3, trunk, trunk)] * (2 * blocks),
        (3, trunk, width),
    ]
    gain_and_shift = 2 * sum(filters for _, _, filters in layers)
    last_two = (width * 16 + 16) + (3 * 3 * 16 * 3 + 3)
    expected = sum(side * side * n * filters for side, n, filters in layers)
    expected += gain_and_shift + last_two
    assert count_parameters(TransformerNet(NetworkConfig(2, width, trunk, blocks))) == expected


def test_default_parameters() -> None:
    # 1800 + 13824 + 10 · 36864 + 13824 in kernels, 2 · 752 in norms, 400 and 435 at the end.
    assert count_parameters(TransformerNet(NetworkConfig())) == 400_427


@pytest.mark.parametrize(("first_stride", "expected"), [(1, 32), (2, 3)])
def test_channels_at_full_size(first_stride: int, expected: int) -> None:
    """Layers at the photo's full size cost most of the time and memory."""
    sizes = []
    network = TransformerNet(NetworkConfig(first_stride, width=32, trunk=8, residual_blocks=1))
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(
                lambda _module, _inputs, output: sizes.append(output.shape)
            )
    with torch.no_grad():
        network(random_photos(1, 3, 24, 20))
    assert max(shape[1] for shape in sizes if shape[2:] == (24, 20)) == expected
    assert min(shape[2:] for shape in sizes) == (6, 5)
    if first_stride == 2:
        assert (1, HEAD, 12, 10) in sizes


@pytest.mark.parametrize("first_stride", [1, 2])
def test_every_parameter_learns(first_stride: int) -> None:
    torch.manual_seed(0)
    network = TransformerNet(NetworkConfig(first_stride, width=2, trunk=8, residual_blocks=1))
    (network(random_photos(1, 3, 16, 16)) - random_photos(1, 3, 16, 16)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
