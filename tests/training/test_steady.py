from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from errors_help import raises
from module_help import fit, make_module, photos, sgd
from module_help import loss as loss  # the fixture
from torch import Tensor

from fststyle.errors import SettingError
from fststyle.perceptual.losses import PerceptualLoss
from fststyle.styles.network import TransformerNet
from fststyle.training.steady import Motion, SteadyConfig, consistency, draw, move, move_photo

Network = Callable[[Tensor], Tensor]
DRAWS = [draw(SteadyConfig(), step) for step in range(400)]


def photo(size: int = 96, count: int = 1, smooth: bool = False) -> Tensor:
    """Noise in [0, 1], or a wave of 12 pixels."""
    if smooth:
        line = torch.arange(size) * (2 * math.pi / 12)
        wave = 0.5 + 0.3 * torch.sin(line[:, None] + 0.5 * line[None, :])
        return torch.stack((wave, wave.T, 1 - wave))[None].expand(count, -1, -1, -1)
    generator = torch.Generator().manual_seed(size)
    return torch.rand(count, 3, size, size, generator=generator)


@torch.no_grad()
def term(network: Network, image: Tensor, motion: Motion) -> float:
    return float(consistency(network, image, network(image), motion))


def negative(image: Tensor) -> Tensor:
    return 1 - image


def lattice(period: int, height: float = 0.4) -> Network:
    """Adds a sine along x that is tied to the frame, and not to the photo."""

    def network(image: Tensor) -> Tensor:
        x = torch.arange(image.shape[-1])
        return image + height * torch.sin(x * (2 * math.pi / period))

    return network


# The term


@pytest.mark.parametrize("network", [lambda image: image, negative, torch.sqrt])
@pytest.mark.parametrize(("dy", "dx"), [(0, 0), (1, 0), (-4, 3), (3, -3)])
def test_pointwise_network_is_steady_under_whole_shifts(network: Network, dy: int, dx: int) -> None:
    assert term(network, photo(), Motion(dy, dx)) < 1e-12


@pytest.mark.parametrize("network", [negative, torch.sqrt])
@pytest.mark.parametrize("motion", [Motion(0.5, -0.3), Motion(0.2, 0, 1.05), Motion(0, 0, 0.95)])
def test_pointwise_network_is_nearly_steady_under_resampling(
    network: Network, motion: Motion
) -> None:
    assert term(network, photo(smooth=True), motion) < 1e-4


@pytest.mark.parametrize("shift", [-4, -3, -1, 0, 1, 2, 3])
def test_lattice_is_as_unsteady_as_it_moves(shift: int) -> None:
    """A sine of height a and its copy that is φ on differ by 2a sin(φ/2) in amplitude."""
    flat = torch.full((1, 3, 96, 96), 0.5)
    amplitude = 2 * 0.4 * math.sin(math.pi * shift / 4)
    expected = (amplitude**2 / 2) / (0.4**2 / 2)
    assert term(lattice(4), flat, Motion(2, shift)) == pytest.approx(expected, abs=1e-6)
    if shift % 4:
        assert expected >= 1.99


def test_pale_picture_is_not_steadier() -> None:
    flat = torch.full((1, 3, 96, 96), 0.5)
    strong, weak = (term(lattice(4, height), flat, Motion(0, 1)) for height in (0.4, 0.2))
    assert strong == pytest.approx(weak, rel=1e-5)
    # Below the floor it is, so that a flat picture has no infinite term.
    assert term(lattice(4, 0.01), flat, Motion(0, 1)) < 0.1 * strong


def test_fading_is_not_rewarded() -> None:
    """The gradient along the contrast is nothing, the reference detached as it is."""
    flat = torch.full((1, 3, 96, 96), 0.5)
    contrast = torch.tensor(1.0, requires_grad=True)

    def faded(image: Tensor) -> Tensor:
        return 0.5 + contrast * (lattice(4)(image) - 0.5)

    consistency(faded, flat, faded(flat), Motion(0, 1)).backward()  # type: ignore[no-untyped-call]
    assert contrast.grad is not None
    assert float(contrast.grad) == pytest.approx(0, abs=1e-5)


def test_sharpness_that_interpolation_loses_is_no_unsteadiness() -> None:
    """A wave of 2.5 pixels: at half pixels, interpolation takes half of its amplitude away."""
    columns = torch.arange(96.0).expand(1, 3, 96, 96)
    motion = Motion(0, 0.5)

    def wave(x: Tensor) -> Tensor:
        return 0.5 + 0.4 * torch.sin(x * (2 * math.pi / 2.5))

    interpolated, true = move(wave(columns), motion), wave(move(columns, Motion()) + 0.5)
    assert float(interpolated.std()) < 0.6 * float(true.std())
    assert float(consistency(lambda frame: true, columns / 96, wave(columns), motion)) < 0.01


def test_photos_count_alike() -> None:
    images = torch.cat((photo(), torch.full((1, 3, 96, 96), 0.5)))
    single = [term(lattice(4), image[None], Motion(0, 1)) for image in images]
    assert single[0] != pytest.approx(single[1], rel=0.1)
    assert term(lattice(4), images, Motion(0, 1)) == pytest.approx(sum(single) / 2, rel=1e-5)


@pytest.mark.parametrize("motion", [Motion(noise=0.02), Motion(gain=0.92), Motion(gain=1.08)])
def test_noise_and_brightness_are_not_to_be_followed(motion: Motion) -> None:
    def deaf(image: Tensor) -> Tensor:
        return torch.stack((image[:, 0] * 0, image[:, 1] * 0, image[:, 2] * 0 + 1), dim=1)

    image = 0.1 + 0.8 * photo()
    assert term(deaf, image, motion) == 0
    followed = term(lambda frame: frame, image, motion)
    variance = 0.8**2 / 12
    error = motion.noise**2 if motion.noise else (1 - motion.gain) ** 2 * (variance + 0.5**2)
    assert followed == pytest.approx(error / (variance * motion.gain), rel=0.05)


def test_transformer_takes_no_notice_of_brightness(small_network: TransformerNet) -> None:
    """Instance norm after the first convolution takes a factor away."""
    image = 0.2 + 0.6 * photo(smooth=True)
    with torch.no_grad():
        still = term(small_network, image, Motion())
        assert term(small_network, image, Motion(gain=0.9)) == pytest.approx(still, rel=0.05)
        assert term(small_network, image, Motion(noise=0.05)) > 2 * still


def test_border_does_not_count() -> None:
    def framed(image: Tensor) -> Tensor:
        out = image.clone()
        out[..., :12, :] = out[..., -12:, :] = 0
        out[..., :, :12] = out[..., :, -12:] = 1
        return out

    image = photo()
    for motion in (Motion(), Motion(3, -4), Motion(1, 1)):
        assert term(framed, image, motion) < 1e-12
    wide = image.clone()
    wide[..., :, 40:44] = 0
    assert float(consistency(lambda frame: frame, image, wide, Motion())) > 0.01


def test_gradient_reaches_the_network_and_not_the_picture(small_network: TransformerNet) -> None:
    network = copy.deepcopy(small_network)
    image = photo(64)
    picture = network(image)
    picture.retain_grad()
    consistency(network, image, picture, Motion(1, 2)).backward()  # type: ignore[no-untyped-call]
    assert picture.grad is None
    gradients = [parameter.grad for parameter in network.parameters()]
    assert all(g is not None and bool(g.isfinite().all()) for g in gradients)
    assert all(g is not None and float(g.abs().max()) > 0 for g in gradients)


def test_term_is_float32_under_autocast(small_network: TransformerNet) -> None:
    image = photo(64)
    exact = term(small_network, image, Motion(0.5, 2))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        value = consistency(small_network, image, small_network(image), Motion(0.5, 2))
    assert value.dtype == torch.float32
    assert float(value) == pytest.approx(exact, rel=0.2)


# The motion of images


@pytest.mark.parametrize(("height", "width"), [(64, 64), (65, 90), (256, 128)])
def test_whole_shift_is_a_crop(height: int, width: int) -> None:
    image = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    rest = move(image, Motion())
    h, w = rest.shape[-2:]
    assert h % 4 == w % 4 == 0
    assert 0.8 * height < h <= height - 8
    for dy, dx in itertools.product(range(-4, 4), repeat=2):
        moved = move(image, Motion(dy, dx))
        assert moved.shape == rest.shape
        overlap = moved[..., max(0, -dy) : h - max(0, dy), max(0, -dx) : w - max(0, dx)]
        same = rest[..., max(0, dy) : h + min(0, dy), max(0, dx) : w + min(0, dx)]
        assert overlap.equal(same)


def test_resampling_agrees_with_the_crop() -> None:
    image = photo(96)
    almost = move(image, Motion(1 + 1e-7, -2, 1 + 1e-9))
    torch.testing.assert_close(almost, move(image, Motion(1, -2)), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("dy", "dx", "zoom"), [(0.5, -0.25, 1.0), (0, 0, 1.05), (1, 0.3, 0.95)])
def test_resampling_goes_where_it_should(dy: float, dx: float, zoom: float) -> None:
    """On an image whose values are its coordinates."""
    line = torch.arange(96.0)
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    image = torch.stack((rows, columns))[None]
    rest, moved = (move(image, motion)[0] for motion in (Motion(), Motion(dy, dx, zoom)))
    for before, after, shift in zip(rest, moved, (dy, dx), strict=True):
        middle = float(before.mean())
        expected = (before - middle) / zoom + middle + shift
        inner = (slice(4, -4), slice(4, -4))
        # torch's cubic (a = -0.75) does not reproduce straight lines exactly.
        torch.testing.assert_close(after[inner], expected[inner], rtol=0, atol=0.06)


@pytest.mark.parametrize("size", [64, 90, 128, 256])
def test_frames_show_nothing_from_beyond_the_image(size: int) -> None:
    line = torch.arange(float(size))
    image = torch.stack(torch.meshgrid(line, line, indexing="ij"))[None]
    for dy, dx, zoom in itertools.product((-1, 1), (-1, 1), (0.95, 1.05)):
        moved = move(image, Motion(dy, dx, zoom))
        # Where samples were taken from beyond, the coordinates would stop rising.
        assert float(moved[0, 0].diff(dim=0).min()) > 0.5
        assert float(moved[0, 1].diff(dim=1).min()) > 0.5


def test_photo_stays_a_photo() -> None:
    image = photo(64, count=2)
    before = image.clone()
    for motion in DRAWS[:10]:
        moved = move_photo(image, motion)
        assert moved.dtype == image.dtype
        assert 0 <= float(moved.min()) <= float(moved.max()) <= 1
        assert moved.equal(move_photo(image, motion))
    assert image.equal(before)
    other = move_photo(image, Motion(noise=0.02, seed=1))
    assert not other.equal(move_photo(image, Motion(noise=0.02, seed=2)))


def test_noise_has_its_sigma() -> None:
    noisy = move_photo(torch.full((1, 3, 128, 128), 0.5), Motion(noise=0.02, gain=0.9))
    assert float(noisy.mean()) == pytest.approx(0.45, abs=1e-3)
    assert float(noisy.std()) == pytest.approx(0.02, rel=0.05)


# The draws


def test_draws_are_functions_of_seed_and_step() -> None:
    again = [draw(SteadyConfig(weight=3), step) for step in reversed(range(400))]
    assert again[::-1] == DRAWS
    assert draw(SteadyConfig(seed=1), 0) != DRAWS[0]
    assert len(set(DRAWS)) == len(DRAWS)


def test_draws_cover_their_ranges() -> None:
    whole = [motion for motion in DRAWS if motion.is_whole]
    assert len(whole) / len(DRAWS) == pytest.approx(0.7, abs=0.07)
    assert {motion.dy for motion in whole} == {motion.dx for motion in whole} == set(range(-4, 4))
    others = [motion for motion in DRAWS if not motion.is_whole]
    zooms = [motion.zoom for motion in others if motion.zoom != 1]
    assert len(zooms) / len(others) == pytest.approx(0.5, abs=0.15)
    for values, lowest, highest in (
        ([motion.dy for motion in others], -1, 1),
        ([motion.dx for motion in others], -1, 1),
        (zooms, 0.95, 1.05),
        ([motion.gain for motion in DRAWS], 0.92, 1.08),
        ([motion.noise for motion in DRAWS], 0, 0.02),
    ):
        span = highest - lowest
        assert lowest <= min(values) < lowest + 0.1 * span
        assert highest - 0.1 * span < max(values) <= highest


def test_draws_keep_to_the_configuration() -> None:
    config = SteadyConfig(whole=0, zoom=0, gain=0, noise=0)
    for motion in (draw(config, step) for step in range(20)):
        assert (motion.zoom, motion.gain, motion.noise) == (1, 1, 0)
        assert not motion.is_whole


def test_global_random_state_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    term(negative, photo(), draw(SteadyConfig(), 3))
    assert torch.random.get_rng_state().equal(before)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"weight": -1}, "steady.weight must be a number from 0, not -1"),
        ({"weight": math.nan}, "steady.weight must be a number from 0"),
        ({"weight": math.inf}, "steady.weight must be a number from 0"),
        ({"weight": "much"}, "steady.weight must be a number from 0, not 'much'"),
        ({"weight": True}, "steady.weight must be a number from 0, not True"),
        ({"every": 0}, "steady.every must be a whole number from 1, not 0"),
        ({"every": 1.5}, "steady.every must be a whole number from 1, not 1.5"),
        ({"seed": -1}, "steady.seed must be a whole number from 0, not -1"),
        ({"whole": 1.1}, "steady.whole must be a number from 0 to 1"),
        ({"zoom": 0.06}, "steady.zoom must be a number from 0 to 0.05"),
        ({"gain": 0.6}, "steady.gain must be a number from 0 to 0.5"),
        ({"noise": 0.3}, "steady.noise must be a number from 0 to 0.2"),
    ],
)
def test_config_refuses(values: dict[str, Any], message: str) -> None:
    with raises(SettingError, "setting", message):
        SteadyConfig(**values)


# In training


def test_term_counts_at_its_steps(loss: PerceptualLoss) -> None:
    logged = []
    for config in (
        SteadyConfig(weight=2.0, every=1, start=0),
        SteadyConfig(weight=2.0, every=2, start=0),
        SteadyConfig(weight=2.0, every=1, start=0.5),
        SteadyConfig(weight=0.0),
    ):
        module = make_module(loss, sgd, warmup_steps=0, steps=2)
        module.steady = config
        values: list[dict[str, float]] = []

        def log(name: str, value: Any, values: Any = values, **options: Any) -> None:
            if name == "train/total":
                values.append({})
            values[-1][name] = float(value)

        module.log = log  # type: ignore[method-assign, assignment]
        fit(module, photos(2))
        logged.append(values)
    each, alternate, late, never = logged
    assert all("train/steady" in step for step in each)
    for step in (each[0], each[1], alternate[0]):
        terms = (step[f"train/{name}"] for name in ("content", "style", "tv", "steady"))
        assert step["train/total"] == pytest.approx(sum(terms), rel=1e-5)
    assert alternate[0]["train/steady"] == pytest.approx(2 * each[0]["train/steady"], rel=1e-5)
    assert each[0]["train/steady"] > 0
    assert "train/steady" in late[1]
    for step in (alternate[1], late[0], *never):
        assert "train/steady" not in step


def test_training_with_the_term_is_steadier(small_network: TransformerNet) -> None:
    """Trained to be as bright and as strong in contrast as before, with the term and without."""
    image = photo(64, smooth=True)
    with torch.no_grad():
        before = small_network(image)

    def trained(weight: float) -> TransformerNet:
        network = copy.deepcopy(small_network)
        optimizer = torch.optim.Adam(network.parameters(), lr=0.005)
        for step in range(30):
            picture = network(image)
            means, deviations = (
                (getattr(picture, name)() - getattr(before, name)()).square()
                for name in ("mean", "std")
            )
            unsteady = consistency(network, image, picture, draw(SteadyConfig(), step))
            optimizer.zero_grad()
            (means + deviations + weight * unsteady).backward()
            optimizer.step()
        return network

    without, with_it = trained(0), trained(0.1)
    shifts = [Motion(0, 1), Motion(2, 0), Motion(-1, 3)]
    unsteadiness = [sum(term(n, image, shift) for shift in shifts) for n in (without, with_it)]
    assert unsteadiness[1] < 0.6 * unsteadiness[0], unsteadiness
    with torch.no_grad():
        assert float(with_it(image).std()) > 0.7 * float(before.std())
