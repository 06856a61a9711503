from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from errors_help import raises
from numpy.typing import NDArray
from torch import Tensor

from fststyle.errors import SettingError
from fststyle.perceptual import losses, presets
from fststyle.perceptual.layers import layer_names
from fststyle.perceptual.losses import PerceptualLoss, gram_matrix, total_variation
from fststyle.perceptual.palette import palette_distance, palette_quantiles
from fststyle.perceptual.presets import PRESETS, LossConfig, loss_config
from fststyle.perceptual.structure import laplacian_loss, self_similarity_loss
from fststyle.perceptual.vgg import VGG16Features, VGGWeights

Array = NDArray[np.float64]
Arrays = dict[str, Array]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def vgg19_of(narrow: VGGWeights) -> VGGWeights:
    """As many convolutions as VGG19 has, out of those of a narrow VGG16."""
    convolutions = {
        name: narrow.convolutions[name.replace("_4", "_2")] for name in layer_names("vgg19")
    }
    return dataclasses.replace(
        narrow, architecture="vgg19", convolutions=convolutions, source="a narrow VGG19"
    )


def plain_config(**values: Any) -> LossConfig:
    """A loss for `narrow_weights` that takes nothing from the defaults."""
    everything: dict[str, Any] = {
        "content_layers": {"relu2_2": 1.0},
        "style_layers": {"relu1_2": 1.0, "relu2_1": 0.5},
        "content_weight": 1.0,
        "style_weight": 1.0,
        "tv_weight": 0.0,
        "style_sizes": (0,),
        "normalised_layers": (),
        "content_form": "mean",
        "style_form": "mean",
        "gram_divisor": "hw",
        "tv_form": "mean_squares",
        "pixel_range": 1,
    }
    return LossConfig(**{**everything, **values})


# --- the functions ---------------------------------------------------------------------------


@pytest.mark.parametrize(("divisor", "expected"), [("hw", 1.0), ("chw", 1 / 3)])
def test_gram_of_ones(divisor: presets.GramDivisor, expected: float) -> None:
    actual = gram_matrix(torch.ones(2, 3, 4, 5), divisor)
    torch.testing.assert_close(actual, torch.full((2, 3, 3), expected))


@pytest.mark.parametrize("divisor", ["hw", "chw"])
def test_gram_against_numpy(divisor: presets.GramDivisor) -> None:
    features = noise(2, 4, 5, 7) - 0.5
    flat = features.numpy().astype(np.float64).reshape(2, 4, 35)
    expected = np.einsum("nix,njx->nij", flat, flat) / (35 if divisor == "hw" else 4 * 35)
    actual = gram_matrix(features, divisor).numpy()
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(actual, actual.transpose(0, 2, 1), rtol=0, atol=1e-7)
    assert np.linalg.eigvalsh(actual.astype(np.float64)).min() > -1e-6


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("divisor", ["hw", "chw"])
def test_gram_gradient(divisor: presets.GramDivisor, memory_format: torch.memory_format) -> None:
    features = (noise(2, 3, 4, 5).double() - 0.5).to(memory_format=memory_format)
    features.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: gram_matrix(x, divisor), (features,))
    # An upstream gradient that is not symmetric.
    upstream = noise(2, 3, 3, seed=1).double()
    (actual,) = torch.autograd.grad(gram_matrix(features, divisor), features, upstream)
    flat = features.reshape(2, 3, 20)
    plain = flat @ flat.transpose(1, 2) / (20 if divisor == "hw" else 60)
    (expected,) = torch.autograd.grad(plain, features, upstream)
    torch.testing.assert_close(actual, expected)


def test_gram_of_bfloat16_is_float32() -> None:
    features = (1000 * noise(1, 4, 16, 16)).bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        gram = gram_matrix(features)
    (gradient,) = torch.autograd.grad(gram.sum(), features)
    assert gram.dtype == torch.float32
    torch.testing.assert_close(gram, gram_matrix(features.detach().float()))
    assert gradient.dtype == torch.bfloat16
    plain = features.detach().float().requires_grad_()
    (expected,) = torch.autograd.grad(gram_matrix(plain).sum(), plain)
    torch.testing.assert_close(gradient.float(), expected, rtol=0.02, atol=0)


def ramp(slope_x: float, slope_y: float) -> Tensor:
    y, x = torch.meshgrid(torch.arange(5.0), torch.arange(4.0), indexing="ij")
    return (slope_x * x + slope_y * y).expand(2, 3, 5, 4)


def checkerboard() -> Tensor:
    y, x = torch.meshgrid(torch.arange(5), torch.arange(4), indexing="ij")
    return ((x + y) % 2).float().expand(2, 3, 5, 4)


@pytest.mark.parametrize(
    ("form", "image", "expected"),
    [
        # Two images of three channels of 5×4: 5·3 differences along x, 4·4 along y, and
        # 4·3 pixels that have both neighbours.
        ("mean_squares", torch.full((2, 3, 5, 4), 0.7), 0.0),
        ("mean_squares", ramp(0.1, 0.2), 0.01 + 0.04),
        ("mean_squares", checkerboard(), 2.0),
        ("half_sum_squares", torch.full((2, 3, 5, 4), 0.7), 0.0),
        ("half_sum_squares", ramp(0.1, 0.2), 0.5 * 2 * 3 * 12 * (0.01 + 0.04)),
        ("half_sum_squares", checkerboard(), 0.5 * 2 * 3 * 12 * 2),
        ("sum_absolute", torch.full((2, 3, 5, 4), 0.7), 0.0),
        ("sum_absolute", ramp(0.1, -0.2), 3 * (15 * 0.1 + 16 * 0.2)),
        ("sum_absolute", checkerboard(), 3.0 * (15 + 16)),
    ],
)
def test_total_variation(form: presets.TVForm, image: Tensor, expected: float) -> None:
    assert float(total_variation(image, form)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("form", ["mean_squares", "half_sum_squares", "sum_absolute"])
def test_total_variation_gradient(form: presets.TVForm) -> None:
    image = noise(2, 2, 4, 5).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: total_variation(x, form), (image,))


def test_total_variation_of_bfloat16_is_float32() -> None:
    assert total_variation(noise(1, 3, 4, 4).bfloat16()).dtype == torch.float32


def test_gradient_of_johnson_total_variation(narrow_weights: VGGWeights) -> None:
    """What fast_neural_style/TotalVariation.lua adds to the gradient, with strength 1e-6."""
    loss = PerceptualLoss(loss_config("johnson"), narrow_weights, noise(1, 3, 40, 40))
    photos = noise(2, 3, 36, 33, seed=1)
    image = (255 * noise(2, 3, 36, 33, seed=2)).requires_grad_()
    (actual,) = torch.autograd.grad(loss(image / 255, loss.content_targets(photos)).tv, image)
    x = image.detach().numpy().astype(np.float64)
    x_diff = x[:, :, :-1, :-1] - x[:, :, :-1, 1:]
    y_diff = x[:, :, :-1, :-1] - x[:, :, 1:, :-1]
    expected = np.zeros_like(x)
    expected[:, :, :-1, :-1] += x_diff + y_diff
    expected[:, :, :-1, 1:] -= x_diff
    expected[:, :, 1:, :-1] -= y_diff
    np.testing.assert_allclose(actual, 1e-6 * expected, rtol=1e-3, atol=1e-8)


# --- the presets, each recomputed from its published formula -----------------------------------


def gram(features: Array) -> Array:
    """Gram matrices of (N, C, h, w), not divided by anything."""
    flat = features.reshape(*features.shape[:2], -1)
    product: Array = np.einsum("ncx,ndx->ncd", flat, flat)
    return product


def size(features: Array) -> int:
    return int(np.prod(features.shape[1:]))


def area(features: Array) -> int:
    return int(np.prod(features.shape[2:]))


def johnson(image: Array, output: Arrays, photo: Arrays, style: Arrays) -> tuple[Any, Any, Any]:
    content = ((output["relu3_3"] - photo["relu3_3"]) ** 2).mean()
    style_loss = 0.0
    for layer in ("relu1_2", "relu2_2", "relu3_3", "relu4_3"):
        actual = gram(output[layer]) / size(output[layer])
        style_loss += 5.0 * ((actual - gram(style[layer]) / size(style[layer])) ** 2).mean()
    pixels = 255 * image
    dx = pixels[:, :, :-1, :-1] - pixels[:, :, :-1, 1:]
    dy = pixels[:, :, :-1, :-1] - pixels[:, :, 1:, :-1]
    return content, style_loss, 1e-6 * 0.5 * (dx**2 + dy**2).sum()


def pytorch_examples(
    image: Array, output: Arrays, photo: Arrays, style: Arrays
) -> tuple[Any, Any, Any]:
    content = 1e5 * ((output["relu2_2"] - photo["relu2_2"]) ** 2).mean()
    style_loss = 0.0
    for layer in ("relu1_2", "relu2_2", "relu3_3", "relu4_3"):
        actual = gram(output[layer]) / size(output[layer])
        style_loss += ((actual - gram(style[layer]) / size(style[layer])) ** 2).mean()
    return content, 1e10 * style_loss, 0.0


def lengstrom(image: Array, output: Arrays, photo: Arrays, style: Arrays) -> tuple[Any, Any, Any]:
    def l2_loss(x: Array) -> Any:
        return (x**2).sum() / 2

    batch = image.shape[0]
    error = output["relu4_2"] - photo["relu4_2"]
    content = 7.5 * 2 * l2_loss(error) / (size(error) * batch)
    style_loss = 0.0
    for layer in ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"):
        target = gram(style[layer]) / size(style[layer])
        actual = gram(output[layer]) / size(output[layer])
        style_loss += 2 * l2_loss(actual - target) / target.size
    pixels = 255 * image
    dy, dx = np.diff(pixels, axis=2), np.diff(pixels, axis=3)
    tv = 2e2 * 2 * (l2_loss(dx) / size(dx) + l2_loss(dy) / size(dy)) / batch
    return content, 1e2 * style_loss / batch, tv


def keras_vgg16(image: Array, output: Arrays, photo: Arrays, style: Arrays) -> tuple[Any, Any, Any]:
    content = ((output["relu5_2"] - photo["relu5_2"]) ** 2).mean()
    layer_losses = []
    for layer in ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"):
        target = gram(style[layer]) / size(style[layer])
        actual = gram(output[layer]) / size(output[layer])
        layer_losses.append(((actual - target) ** 2).mean())
    return content, 1e4 * np.mean(layer_losses), 0.0


def keras_vgg19(image: Array, output: Arrays, photo: Arrays, style: Arrays) -> tuple[Any, Any, Any]:
    content = 1e3 * ((output["relu5_2"] - photo["relu5_2"]) ** 2).mean()
    style_loss = 0.0
    for layer in ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"):
        target = gram(style[layer]) / area(style[layer])
        style_loss += ((gram(output[layer]) / area(output[layer]) - target) ** 2).mean()
    pixels = 255 * image
    absolute = np.abs(np.diff(pixels, axis=2)).sum() + np.abs(np.diff(pixels, axis=3)).sum()
    # The recipe leaves γ open; the test sets it to 3.
    return content, 1e-2 * style_loss, 3.0 * absolute / image.shape[0]


def calibrated(image: Array, output: Arrays, photo: Arrays, style: Arrays) -> tuple[Any, Any, Any]:
    return relative_terms(loss_config("calibrated"), image, output, photo, style)


def painterly(image: Array, output: Arrays, photo: Arrays, style: Arrays) -> tuple[Any, Any, Any]:
    config = loss_config("painterly")
    content, style_loss, tv = relative_terms(config, image, output, photo, style)
    for layer, weight in config.content_layers.items():
        pairs = zip(output[layer], photo[layer], strict=True)
        for one, other in ((seen(config, layer, x[None])[0] for x in pair) for pair in pairs):
            actual, expected = cosine_distances(one), cosine_distances(other)
            error = ((actual - expected) ** 2).mean() / expected.var()
            content += config.self_similarity_weight * weight * error / len(image)
    for layer, weight in config.style_layers.items():
        if layer == "relu1_2":
            continue
        features, picture = seen(config, layer, output[layer]), seen(config, layer, style[layer])
        target = gram(picture)[0] / area(picture)
        rows, columns = (length // 2 for length in features.shape[2:])
        for top in (0, rows):
            for left in (0, columns):
                quarter = features[:, :, top : top + rows, left : left + columns]
                for one in gram(quarter) / (rows * columns):
                    error = ((one - target) ** 2).sum() / (target**2).sum() / (4 * len(image))
                    style_loss += config.style_weight * config.window_weight * weight * error
    return content, style_loss, tv


def cosine_distances(features: Array) -> Array:
    vectors = features.reshape(len(features), -1)
    vectors = vectors - vectors.mean(axis=1, keepdims=True)
    vectors /= np.linalg.norm(vectors, axis=0)
    distances: Array = 1 - vectors.T @ vectors
    return distances


def seen(config: LossConfig, layer: str, features: Array) -> Array:
    if layer not in config.normalised_layers:
        return features
    mean = losses._statistics()[f"{layer}.mean"].numpy().astype(np.float64)
    mean = mean.clip(min=0.1 * np.sort(mean)[(mean.size - 1) // 2])
    scaled: Array = features / mean[None, :, None, None]
    return scaled


def relative_terms(
    config: LossConfig, image: Array, output: Arrays, photo: Arrays, style: Arrays
) -> tuple[Any, Any, Any]:
    content, style_loss = 0.0, 0.0
    for layer, weight in config.content_layers.items():
        target = seen(config, layer, photo[layer])
        for one, other in zip(seen(config, layer, output[layer]), target, strict=True):
            energy = (other**2).sum()
            assert energy / other.size > 0.2 * natural_energy(layer, config)  # above the floor
            content += weight * ((one - other) ** 2).sum() / energy / len(image)
    for layer, weight in config.style_layers.items():
        features, picture = seen(config, layer, output[layer]), seen(config, layer, style[layer])
        target = gram(picture)[0] / area(picture)
        for one in gram(features) / area(features):
            error = ((one - target) ** 2).sum() / (target**2).sum()
            style_loss += weight * error / len(image)
    tv = (np.diff(image, axis=2) ** 2).mean() + (np.diff(image, axis=3) ** 2).mean()
    return (
        config.content_weight * content,
        config.style_weight * style_loss,
        config.tv_weight * tv,
    )


def natural_energy(layer: str, config: LossConfig) -> float:
    """The mean square of a layer's features over natural photographs, as the loss sees them."""
    statistics = losses._statistics()
    square, mean = (statistics[f"{layer}.{moment}"].double() for moment in ("square", "mean"))
    if layer in config.normalised_layers:
        square = square / mean.clamp_min(0.1 * float(mean.median())).square()
    return float(square.mean())


def as_arrays(features: dict[str, Tensor]) -> Arrays:
    return {layer: values.numpy().astype(np.float64) for layer, values in features.items()}


Formula = Callable[[Array, Arrays, Arrays, Arrays], tuple[Any, Any, Any]]


@pytest.mark.parametrize(
    "formula",
    [calibrated, painterly, johnson, pytorch_examples, lengstrom, keras_vgg16, keras_vgg19],
    ids=lambda formula: formula.__name__,
)
@pytest.mark.parametrize("batch", [1, 2])
def test_preset_against_its_formula(
    formula: Formula, batch: int, request: pytest.FixtureRequest, narrow_weights: VGGWeights
) -> None:
    preset = formula.__name__
    config = loss_config(preset)
    weights = narrow_weights
    if config.architecture == "vgg19":
        weights = vgg19_of(narrow_weights)
    if preset in ("calibrated", "painterly"):
        weights = request.getfixturevalue("original_weights")
    if preset == "keras_vgg19":
        config = loss_config(preset, tv_weight=3.0)
    style, photo = noise(1, 3, 38, 45), noise(batch, 3, 36, 32, seed=1)
    image = 0.6 * noise(batch, 3, 36, 32, seed=2) + 0.1
    loss = PerceptualLoss(config, weights, style)
    with torch.no_grad():
        actual = loss(image, loss.content_targets(photo))
    features = VGG16Features(loss.vgg.layers, weights)
    pixels = image.numpy().astype(np.float64)
    expected = formula(pixels, *(as_arrays(features(x)) for x in (image, photo, style)))
    # tests/test_palette.py computes the palette's distance anew.
    palette = palette_distance(image, palette_quantiles(style)).mean() * config.palette_weight
    assert (config.palette_weight > 0) == (preset in ("calibrated", "painterly"))
    assert float(actual.palette) == pytest.approx(float(palette), rel=1e-6)
    others = {name: getattr(actual, name) for name in ("content", "style", "tv")}
    for (name, value), target in zip(others.items(), expected, strict=True):
        assert float(value) == pytest.approx(target, rel=2e-4), name
    assert expected[0] > 0
    assert expected[1] > 0
    assert float(actual.total) == pytest.approx(sum(expected) + float(palette), rel=2e-4)


def test_every_preset_has_a_formula() -> None:
    formulas = (
        *(calibrated, painterly, johnson),
        *(pytorch_examples, lengstrom, keras_vgg16, keras_vgg19),
    )
    assert {formula.__name__ for formula in formulas} == set(PRESETS)
    assert all(name == preset.preset for name, preset in PRESETS.items())


# --- the loss object -------------------------------------------------------------------------


@pytest.mark.parametrize("preset", list(PRESETS))
def test_nothing_to_improve_is_no_loss(preset: str, request: pytest.FixtureRequest) -> None:
    # The quarters of an image differ from the whole.
    config = loss_config(preset, architecture="vgg16", window_weight=0)
    name = "original_weights" if config.normalised_layers else "narrow_weights"
    style = noise(1, 3, 33, 40)
    loss = PerceptualLoss(config, request.getfixturevalue(name), style)
    with torch.no_grad():
        actual = loss(style, loss.content_targets(style))
        other = loss(noise(1, 3, 33, 40, seed=1), loss.content_targets(style))
    assert float(actual.content) == 0
    assert float(actual.style) < 1e-9 * float(other.style)
    assert float(other.content) > 0


def test_added_terms_are_those_of_their_functions(narrow_weights: VGGWeights) -> None:
    """The weights for shapes and windows add what their functions compute, and nothing else."""
    style, photo, image = (noise(1, 3, 48, 40, seed=seed) for seed in range(3))
    layers = {"style_layers": {"relu1_2": 1.0, "relu2_1": 0.5}, "style_form": "relative"}
    plain = PerceptualLoss(plain_config(**layers), narrow_weights, style)
    config = plain_config(
        self_similarity_weight=3.0, spatial_weight=5.0, window_weight=0.25, **layers
    )
    loss = PerceptualLoss(config, narrow_weights, style)
    before = plain(image, plain.content_targets(photo))
    after = loss(image, loss.content_targets(photo))
    of_image, of_photo, of_style = (loss.vgg(pixels) for pixels in (image, photo, style))
    shapes = 3 * self_similarity_loss(of_image["relu2_2"], of_photo["relu2_2"])
    shapes = shapes + 5 * laplacian_loss(image, photo)
    assert float(after.content) == pytest.approx(float(before.content + shapes), rel=1e-5)
    target = gram_matrix(of_style["relu2_1"])
    errors = [
        (gram_matrix(quarter) - target).square().sum() / target.square().sum()
        for half in of_image["relu2_1"].chunk(2, dim=2)
        for quarter in half.chunk(2, dim=3)
    ]
    added = 0.25 * 0.5 * float(torch.stack(errors).mean())
    assert float(after.style) == pytest.approx(float(before.style) + added, rel=1e-5)


def test_arguments_stay(narrow_weights: VGGWeights) -> None:
    style, photo, image = (noise(1, 3, 32, 36, seed=seed) for seed in range(3))
    picture = np.ascontiguousarray(style[0].permute(1, 2, 0).numpy())
    copies = [x.clone() for x in (style, photo, image)]
    picture_copy = picture.copy()
    loss = PerceptualLoss(plain_config(tv_weight=1.0, pixel_range=255), narrow_weights, style)
    PerceptualLoss.from_picture(plain_config(), narrow_weights, picture)
    targets = loss.content_targets(photo)
    targets_copy = {layer: values.clone() for layer, values in targets.items()}
    image.requires_grad_()
    loss(image, targets).total.backward()
    loss.relative(image, targets)
    for value, copy in zip((style, photo, image), copies, strict=True):
        assert torch.equal(value, copy)
    np.testing.assert_array_equal(picture, picture_copy)
    for layer, values in targets.items():
        assert torch.equal(values, targets_copy[layer])
        assert not values.requires_grad
    assert image.grad is not None
    assert image.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in loss.parameters())


def test_content_targets_go_no_deeper(narrow_weights: VGGWeights) -> None:
    config = plain_config(content_layers={"relu1_2": 1.0}, style_layers={"relu4_1": 1.0})
    loss = PerceptualLoss(config, narrow_weights, noise(1, 3, 32, 32))
    ran: list[int] = []
    for convolution in loss.vgg.convolutions.values():
        convolution.register_forward_hook(lambda *_: ran.append(1))
    assert set(loss.content_targets(noise(1, 3, 32, 32))) == {"relu1_2"}
    assert len(ran) == 2


def test_nothing_of_it_is_saved(narrow_weights: VGGWeights) -> None:
    loss = PerceptualLoss(plain_config(), narrow_weights, noise(1, 3, 32, 32))
    assert all(key.startswith("vgg.") for key in loss.state_dict())


def test_several_style_sizes_average_their_grams(narrow_weights: VGGWeights) -> None:
    pictures = [noise(1, 3, 40, 32), 0.2 * noise(1, 3, 64, 48, seed=1)]
    image, config = noise(1, 3, 32, 32, seed=2), plain_config(style_layers={"relu2_1": 1.0})
    loss = PerceptualLoss(config, narrow_weights, pictures)
    actual = loss(image, loss.content_targets(image)).style
    features = VGG16Features(["relu2_1"], narrow_weights)
    output, first, second = (
        as_arrays(features(x))["relu2_1"] for x in (image, pictures[0], pictures[1])
    )
    target = (gram(first) / area(first) + gram(second) / area(second)) / 2
    expected = ((gram(output) / area(output) - target) ** 2).mean()
    assert float(actual) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ((0,), [(60, 90)]),
        ((40,), [(40, 60)]),
        (40, [(40, 60)]),
        ((500,), [(60, 90)]),
        ((48, 32, 0), [(48, 72), (32, 48), (60, 90)]),
    ],
)
def test_style_image_keeps_its_aspect_ratio(
    narrow_weights: VGGWeights,
    sizes: tuple[int, ...],
    expected: list[tuple[int, int]],
) -> None:
    seen: list[Tensor] = []

    class Spy(PerceptualLoss):
        def __init__(
            self, config: LossConfig, weights: VGGWeights, style: Tensor | Sequence[Tensor]
        ) -> None:
            seen.extend([style] if isinstance(style, Tensor) else style)
            super().__init__(config, weights, style)

    picture = noise(60, 90, 3).numpy()
    Spy.from_picture(plain_config(style_sizes=sizes), narrow_weights, picture)
    assert [tuple(tensor.shape) for tensor in seen] == [(1, 3, *size) for size in expected]
    for tensor in seen:
        if tensor.shape[-1] == 90:
            np.testing.assert_array_equal(tensor[0].permute(1, 2, 0), picture)
        # The average colour survives, channel by channel.
        np.testing.assert_allclose(tensor.mean(dim=(0, 2, 3)), picture.mean((0, 1)), atol=0.01)


@pytest.mark.parametrize("preset", list(PRESETS))
def test_batch_is_the_mean_of_singles(preset: str, request: pytest.FixtureRequest) -> None:
    """Also when one photo is flat, where ratios go to their floor."""
    config = loss_config(preset, architecture="vgg16", tv_weight=0.0)
    name = "original_weights" if config.normalised_layers else "narrow_weights"
    loss = PerceptualLoss(config, request.getfixturevalue(name), noise(1, 3, 40, 40))
    photos = torch.cat([noise(1, 3, 32, 32, seed=1), torch.full((1, 3, 32, 32), 0.5)])
    images = noise(2, 3, 32, 32, seed=2)
    with torch.no_grad():
        actual = loss(images, loss.content_targets(photos))
        singles = [
            loss(image[None], loss.content_targets(photo[None]))
            for image, photo in zip(images, photos, strict=True)
        ]
    for term in ("content", "style"):
        expected = sum(float(getattr(single, term)) for single in singles) / 2
        assert float(getattr(actual, term)) == pytest.approx(expected, rel=1e-4), term


@pytest.mark.parametrize("grey", [0.0, 0.5, 1.0])
def test_flat_content_does_not_explode(original_weights: VGGWeights, grey: float) -> None:
    loss = PerceptualLoss(loss_config("calibrated"), original_weights, noise(1, 3, 64, 64))
    photo = torch.full((1, 3, 64, 64), grey)
    relative = loss.relative(noise(1, 3, 64, 64, seed=1), loss.content_targets(photo))
    for content in relative.content.values():
        assert 0.1 < float(content) < 2 / losses._FLOOR


def test_a_floor_is_for_flat_photos_only(original_weights: VGGWeights) -> None:
    """Of a photo with less energy than the floor, content is relative to the floor."""
    layer = next(iter(loss_config("calibrated").content_layers))
    config = loss_config("calibrated", content_layers={layer: 1.0}, content_weight=1.0)
    loss = PerceptualLoss(config, original_weights, noise(1, 3, 48, 48))
    photo, image = noise(1, 3, 48, 48, seed=1), noise(1, 3, 48, 48, seed=2)
    faint = {name: 1e-3 * values for name, values in loss.content_targets(photo).items()}
    with torch.no_grad():
        actual = float(loss(image, faint).content)
    output = loss.vgg(image)[layer].double()
    error = output - faint[layer].double()
    if layer in config.normalised_layers:
        mean = losses._statistics()[f"{layer}.mean"].double()
        error = error / mean.clamp_min(0.1 * float(mean.median())).reshape(1, -1, 1, 1)
    floor = losses._FLOOR * natural_energy(layer, config)
    assert actual == pytest.approx(float(error.square().mean()) / floor, rel=1e-3)


def test_float64(narrow_weights: VGGWeights) -> None:
    config = plain_config(tv_weight=1.0, content_form="relative", style_form="relative")
    single = PerceptualLoss(config, narrow_weights, noise(1, 3, 32, 32))
    double = PerceptualLoss(config, narrow_weights, noise(1, 3, 32, 32)).double()
    image, photo = noise(1, 3, 32, 32, seed=1), noise(1, 3, 32, 32, seed=2)
    expected = single(image, single.content_targets(photo))
    actual = double(image.double(), double.content_targets(photo.double()))
    for name in actual._fields:
        assert getattr(actual, name).dtype == torch.float64
        assert float(getattr(actual, name)) == pytest.approx(
            float(getattr(expected, name)), rel=1e-4
        )


@pytest.mark.parametrize("preset", ["johnson", "calibrated"])
def test_autocast_stays_close_to_float32(preset: str, original_weights: VGGWeights) -> None:
    loss = PerceptualLoss(loss_config(preset), original_weights, noise(1, 3, 64, 64))
    photo = torch.nn.functional.interpolate(noise(1, 3, 8, 8, seed=1), scale_factor=8)
    image = (0.7 * photo + 0.3 * noise(1, 3, 64, 64, seed=2)).requires_grad_()
    expected = loss(image, loss.content_targets(photo))
    (expected_gradient,) = torch.autograd.grad(expected.total, image)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        targets = loss.content_targets(photo)
        actual = loss(image, targets)
    (gradient,) = torch.autograd.grad(actual.total, image)
    assert {values.dtype for values in targets.values()} == {torch.bfloat16}
    for name in actual._fields:
        assert getattr(actual, name).dtype == torch.float32
        target = float(getattr(expected, name).detach())
        assert float(getattr(actual, name).detach()) == pytest.approx(target, rel=0.03), name
    cosine = torch.cosine_similarity(gradient.flatten(), expected_gradient.flatten(), dim=0)
    assert cosine > 0.97


# --- relative --------------------------------------------------------------------------------


def test_relative_is_per_photo_and_ignores_weights_and_forms(narrow_weights: VGGWeights) -> None:
    style, photos, images = noise(1, 3, 40, 40), noise(3, 3, 32, 32), noise(3, 3, 32, 32, seed=1)
    losses_ = [
        PerceptualLoss(config, narrow_weights, style)
        for config in (
            plain_config(tv_weight=1.0),
            plain_config(content_weight=7.0, style_weight=1e4, pixel_range=255),
            plain_config(content_form="relative", style_form="relative", gram_divisor="chw"),
            plain_config(
                content_layers={"relu2_2": 3.0},
                style_layers={"relu1_2": 9.0, "relu2_1": 0.1},
                tv_weight=2.0,
                tv_form="sum_absolute",
            ),
        )
    ]
    expected = losses_[0].relative(images, losses_[0].content_targets(photos))
    for loss in losses_:
        actual = loss.relative(images, loss.content_targets(photos))
        assert set(actual.content) == {"relu2_2"}
        assert set(actual.style) == {"relu1_2", "relu2_1"}
        torch.testing.assert_close(actual, expected)
        for index in range(3):
            one = slice(index, index + 1)
            single = loss.relative(images[one], loss.content_targets(photos[one]))
            torch.testing.assert_close(single.tv, actual.tv[one])
            torch.testing.assert_close(single.content["relu2_2"], actual.content["relu2_2"][one])
            torch.testing.assert_close(single.style["relu1_2"], actual.style["relu1_2"][one])

    features = VGG16Features(["relu2_1"], narrow_weights)
    output, picture = (as_arrays(features(x))["relu2_1"] for x in (images, style))
    target = gram(picture)[0] / area(picture)
    numpy_style = [
        ((one - target) ** 2).sum() / (target**2).sum() for one in gram(output) / area(output)
    ]
    np.testing.assert_allclose(expected.style["relu2_1"], numpy_style, rtol=1e-4)
    tv = [float(total_variation(image[None])) for image in images]
    np.testing.assert_allclose(expected.tv, tv, rtol=1e-5)


# --- which weights ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "architecture", "original", "tuned_for"),
    [
        ("johnson", "vgg16", True, None),
        ("keras_vgg16", "vgg16", True, None),
        ("calibrated", "vgg16", True, None),
        ("johnson", "vgg16", False, "the original VGG16"),
        ("keras_vgg16", "vgg16", False, "the original VGG16"),
        ("calibrated", "vgg16", False, "the original VGG16"),
        ("pytorch_examples", "vgg16", False, None),
        ("pytorch_examples", "vgg16", True, "torchvision's VGG16"),
        ("lengstrom", "vgg16", True, "VGG19"),
        ("keras_vgg19", "vgg16", True, "VGG19"),
        ("lengstrom", "vgg19", False, None),
        ("keras_vgg19", "vgg19", False, None),
    ],
)
def test_substitution(
    narrow_weights: VGGWeights,
    preset: str,
    architecture: Any,
    original: bool,
    tuned_for: str | None,
) -> None:
    config = loss_config(preset, architecture=architecture, normalised_layers=())
    weights = vgg19_of(narrow_weights) if architecture == "vgg19" else narrow_weights
    weights = dataclasses.replace(weights, original=original, source="SOMEWHERE")
    actual = PerceptualLoss(config, weights, noise(1, 3, 32, 32)).substitution
    if tuned_for is None:
        assert actual is None
    else:
        assert actual is not None
        assert actual.startswith(f"loss={preset} was tuned for {tuned_for}")
        assert f"it runs on {architecture.upper()} (SOMEWHERE)" in actual


def test_normalised_layers_need_the_original(narrow_weights: VGGWeights) -> None:
    config = plain_config(normalised_layers=("block2_conv2",))
    with raises(SettingError, "normalised_other_weights", "a narrow VGG16"):
        PerceptualLoss(config, narrow_weights, noise(1, 3, 32, 32))


def test_normalised_channels_are_of_equal_rank(original_weights: VGGWeights) -> None:
    """Dividing by the mean activation: multiplying all of a channel changes nothing relative."""
    statistics = losses._statistics()
    assert {name.split(".")[0] for name in statistics} == set(layer_names("vgg16"))
    for layer in layer_names("vgg16"):
        mean, square = statistics[f"{layer}.mean"], statistics[f"{layer}.square"]
        assert mean.shape == original_weights.convolutions[layer][1].shape
        assert bool((square >= mean.square()).all())


@pytest.mark.parametrize("shape", [(1, 3, 1, 1), (1, 3, 31, 200), (1, 3, 200, 31)])
def test_a_style_image_that_is_too_small(
    narrow_weights: VGGWeights, shape: tuple[int, ...]
) -> None:
    with raises(SettingError, "too_small", f"{shape[3]}×{shape[2]}", 32):
        PerceptualLoss(plain_config(), narrow_weights, noise(*shape))


@pytest.mark.parametrize("shape", [(3, 40, 40), (2, 3, 40, 40), (1, 4, 40, 40)])
def test_a_style_image_of_another_shape(narrow_weights: VGGWeights, shape: tuple[int, ...]) -> None:
    with raises(SettingError, "bad_shape", shape):
        PerceptualLoss(plain_config(), narrow_weights, noise(*shape))


def test_a_layer_that_the_weights_do_not_have(narrow_weights: VGGWeights) -> None:
    config = plain_config(architecture="vgg19", content_layers={"relu3_4": 1.0})
    with raises(SettingError, "unknown_layer", "VGG16", "relu3_4"):
        PerceptualLoss(config, narrow_weights, noise(1, 3, 32, 32))
