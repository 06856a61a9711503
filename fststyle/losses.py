"""The perceptual loss: content, Gram style and total variation, for both modes.

Training and per-image optimisation use the same `PerceptualLoss`: the style is fixed for
its life (buffers), the content varies (an argument).

Sources: Gatys, Ecker, Bethge, "Image Style Transfer Using Convolutional Neural Networks"
(CVPR 2016); Johnson, Alahi, Fei-Fei, "Perceptual Losses for Real-Time Style Transfer and
Super-Resolution" (ECCV 2016).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, get_args

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fststyle.errors import SettingError
from fststyle.images import fit_short_side
from fststyle.vgg import (
    Architecture,
    Features,
    VGG16Features,
    VGGWeights,
    cache_path,
    canonical_layer,
    load_weights,
)

Form = Literal["relative", "mean"]
GramDivisor = Literal["hw", "chw"]
TVForm = Literal["mean_squares", "half_sum_squares", "sum_absolute"]

MIN_STYLE_SIDE: Final = 32
"""Smallest side of a style picture, in pixels: below it the deep layers see nothing."""

_STATISTICS: Final = Path(__file__).parent / "vgg16_statistics.safetensors"
_FLOOR: Final = 0.1
"""Least content energy, as a share of a natural photograph's: see `_content_floor`."""


def gram_matrix(features: Tensor, divisor: GramDivisor = "hw") -> Tensor:
    """Gram matrix of features (Gatys et al. 2016, equation 3; Johnson et al., equation 3).

    Args:
        features: ``(N, C, h, w)``, any float dtype.
        divisor: ``"hw"`` divides by h·w; ``"chw"`` by C·h·w, as Johnson et al. do.

    Returns:
        ``(N, C, C)``, float32 or float64, also under autocast.
    """
    channels, height, width = features.shape[1:]
    scale = height * width * (channels if divisor == "chw" else 1)
    with torch.autocast(features.device.type, enabled=False):
        gram: Tensor = _Gram.apply(features, 1.0 / scale)
    return gram


class _Gram(torch.autograd.Function):
    """Σ_x F(x) F(x)ᵀ, scaled; a third of the time of what autograd makes of a product."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, scale: float) -> Tensor:
        # (N, hw, C) is how channels_last features lie in memory.
        flat = features.permute(0, 2, 3, 1).flatten(1, 2)
        ctx.save_for_backward(features)
        ctx.scale = scale
        wide = _at_least_float32(flat)
        return torch.bmm(wide.transpose(1, 2), wide) * scale

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (features,) = ctx.saved_tensors
        symmetric = (gradients[0] + gradients[0].transpose(1, 2)) * ctx.scale
        flat = features.permute(0, 2, 3, 1).flatten(1, 2)
        gradient = torch.bmm(flat, symmetric.to(features.dtype))
        height, width = features.shape[2:]
        gradient = gradient.reshape(-1, height, width, features.shape[1])
        return gradient.permute(0, 3, 1, 2), None


def total_variation(image: Tensor, form: TVForm = "mean_squares") -> Tensor:
    """How much neighbouring pixels differ.

    Args:
        image: ``(N, C, H, W)`` with H and W at least 2.
        form: ``"mean_squares"``: mean squared difference along x plus that along y.
            ``"half_sum_squares"``: ½ Σ (dx² + dy²) over the pixels that have both
            neighbours and over the whole batch, whose gradient jcjohnson's
            TotalVariation.lua adds. ``"sum_absolute"``: Σ |dx| + |dy| per image, averaged
            over the batch (Rudin, Osher, Fatemi 1992, anisotropic).

    Returns:
        A scalar.
    """
    image = _at_least_float32(image)
    dx = image[..., :, 1:] - image[..., :, :-1]
    dy = image[..., 1:, :] - image[..., :-1, :]
    if form == "mean_squares":
        return dx.square().mean() + dy.square().mean()
    if form == "half_sum_squares":
        return 0.5 * (dx[..., :-1, :].square().sum() + dy[..., :, :-1].square().sum())
    return (dx.abs().sum() + dy.abs().sum()) / image.shape[0]


def _canonical_weights(
    name: str, layers: Mapping[str, float], architecture: Architecture
) -> dict[str, float]:
    if not isinstance(layers, Mapping) or not layers:
        raise SettingError(f"loss.{name} must give a weight to at least one layer: {{relu4_2: 1}}.")
    weights = {canonical_layer(layer, architecture): weight for layer, weight in layers.items()}
    for layer, weight in weights.items():
        _check_weight(f"{name}.{layer}", weight)
    return {layer: float(weight) for layer, weight in weights.items()}


def _check_weight(name: str, weight: float) -> None:
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight < 1e30:
        raise SettingError(f"loss.{name} must be a number from 0, not {weight!r}.")


@dataclass(frozen=True)
class LossConfig:
    """Everything that defines a perceptual loss; the defaults are the calibrated loss.

    Attributes:
        preset: Name, for logs and reports.
        architecture: Which VGG computes the features.
        content_layers: Layer → weight.
        style_layers: Layer → weight.
        content_weight: Weight of the content term.
        style_weight: Weight of the style term.
        tv_weight: Weight of the total variation.
        style_sizes: Sizes (short side, pixels; the aspect ratio is kept) at which the style
            picture is seen, 0 for its own; with several, their Gram matrices are averaged.
            A picture is never enlarged.
        normalised_layers: Layers whose channels are divided by their mean activation over
            natural photographs (as Gatys et al. normalised their VGG). Original VGG16 only.
        content_form: ``"relative"``: ‖F−F_c‖² / ‖F_c‖² per photograph; ``"mean"``: the mean
            squared difference.
        style_form: ``"relative"``: ‖G−G_s‖² / ‖G_s‖² per layer; ``"mean"``: the mean
            squared difference.
        gram_divisor: See `gram_matrix`.
        tv_form: See `total_variation`.
        pixel_range: Range of the pixels that the total variation sees, 1 or 255.
        tuned_for: The weights that the recipe's own weights were chosen for.

    Raises:
        SettingError: A layer is unknown, or a value is out of range.
    """

    preset: str = "calibrated"
    architecture: Architecture = "vgg16"
    content_layers: Mapping[str, float] = field(default_factory=lambda: {"relu4_2": 1.0})
    style_layers: Mapping[str, float] = field(
        default_factory=lambda: {"relu1_2": 1.5, "relu2_2": 1.5, "relu3_3": 1.0, "relu4_3": 2.0}
    )
    content_weight: float = 1.0
    style_weight: float = 0.5
    tv_weight: float = 1.0
    style_sizes: tuple[int, ...] = (384,)
    normalised_layers: tuple[str, ...] = ("relu3_3", "relu4_2", "relu4_3")
    content_form: Form = "relative"
    style_form: Form = "relative"
    gram_divisor: GramDivisor = "hw"
    tv_form: TVForm = "mean_squares"
    pixel_range: Literal[1, 255] = 1
    tuned_for: str = "the original VGG16"

    def __post_init__(self) -> None:
        for name, choices in (
            ("architecture", get_args(Architecture)),
            ("content_form", get_args(Form)),
            ("style_form", get_args(Form)),
            ("gram_divisor", get_args(GramDivisor)),
            ("tv_form", get_args(TVForm)),
            ("pixel_range", (1, 255)),
        ):
            if getattr(self, name) not in choices:
                raise SettingError(
                    f"loss.{name} must be one of {', '.join(map(str, choices))}, "
                    f"not {getattr(self, name)!r}."
                )
        for name in ("content_layers", "style_layers"):
            layers = _canonical_weights(name, getattr(self, name), self.architecture)
            object.__setattr__(self, name, MappingProxyType(layers))
        normalised = tuple(canonical_layer(n, self.architecture) for n in self.normalised_layers)
        object.__setattr__(self, "normalised_layers", normalised)
        for name in ("content_weight", "style_weight", "tv_weight"):
            _check_weight(name, getattr(self, name))
        sizes = self.style_sizes
        sizes = tuple(sizes) if isinstance(sizes, Sequence) else (sizes,)
        if not sizes or any(
            not isinstance(size, int) or (size != 0 and size < MIN_STYLE_SIDE) for size in sizes
        ):
            raise SettingError(
                f"loss.style_sizes must be whole numbers of pixels from {MIN_STYLE_SIDE} "
                f"(0 for the picture's own size), not {self.style_sizes!r}."
            )
        object.__setattr__(self, "style_sizes", sizes)

    def as_dict(self) -> dict[str, Any]:
        """The values as plain dicts, lists and numbers, for JSON."""
        return {item.name: _plain(getattr(self, item.name)) for item in dataclasses.fields(self)}


_FOUR_LAYERS: Final = {"relu1_2": 1.0, "relu2_2": 1.0, "relu3_3": 1.0, "relu4_3": 1.0}
_FIRST_LAYERS: Final = {f"relu{block}_1": 1.0 for block in range(1, 6)}

PRESETS: Final[Mapping[str, LossConfig]] = MappingProxyType(
    {
        preset.preset: preset
        for preset in (
            LossConfig(),
            # train.lua, PerceptualCriterion.lua. Content is relu3_3 there (index 16 of the
            # Torch Sequential), where the paper says relu2_2.
            LossConfig(
                preset="johnson",
                content_layers={"relu3_3": 1.0},
                style_layers=_FOUR_LAYERS,
                content_weight=1.0,
                style_weight=5.0,
                tv_weight=1e-6,
                style_sizes=(256,),
                normalised_layers=(),
                content_form="mean",
                style_form="mean",
                gram_divisor="chw",
                tv_form="half_sum_squares",
                pixel_range=255,
            ),
            # neural_style.py
            LossConfig(
                preset="pytorch_examples",
                content_layers={"relu2_2": 1.0},
                style_layers=_FOUR_LAYERS,
                content_weight=1e5,
                style_weight=1e10,
                tv_weight=0.0,
                style_sizes=(0,),
                normalised_layers=(),
                content_form="mean",
                style_form="mean",
                gram_divisor="chw",
                tuned_for="torchvision's VGG16 (IMAGENET1K_V1)",
            ),
            # src/optimize.py. Its total variation is the mean squared difference on 0 to 255.
            LossConfig(
                preset="lengstrom",
                architecture="vgg19",
                content_layers={"relu4_2": 1.0},
                style_layers=_FIRST_LAYERS,
                content_weight=7.5,
                style_weight=1e2,
                tv_weight=2e2,
                style_sizes=(0,),
                normalised_layers=(),
                content_form="mean",
                style_form="mean",
                gram_divisor="chw",
                pixel_range=255,
                tuned_for="VGG19",
            ),
            # The layers' mean is a weight of 1/5 each.
            LossConfig(
                preset="keras_vgg16",
                content_layers={"relu5_2": 1.0},
                style_layers=dict.fromkeys(_FIRST_LAYERS, 0.2),
                content_weight=1.0,
                style_weight=1e4,
                tv_weight=0.0,
                style_sizes=(512,),
                normalised_layers=(),
                content_form="mean",
                style_form="mean",
                gram_divisor="chw",
            ),
            # The recipe leaves the weight of its total variation open; 0 until it is set.
            LossConfig(
                preset="keras_vgg19",
                architecture="vgg19",
                content_layers={"relu5_2": 1.0},
                style_layers=_FIRST_LAYERS,
                content_weight=1e3,
                style_weight=1e-2,
                tv_weight=0.0,
                style_sizes=(512,),
                normalised_layers=(),
                content_form="mean",
                style_form="mean",
                gram_divisor="hw",
                tv_form="sum_absolute",
                pixel_range=255,
                tuned_for="VGG19",
            ),
        )
    }
)
"""The calibrated loss and the published recipes, each as its source computes it."""


def loss_config(preset: str = "calibrated", **overrides: Any) -> LossConfig:
    """A preset, with some of its values replaced.

    Args:
        preset: A name in `PRESETS`.
        **overrides: Values of `LossConfig`; None leaves the preset's own.

    Returns:
        The configuration.

    Raises:
        SettingError: The preset or a key is unknown, or a value is out of range.
    """
    if preset not in PRESETS:
        raise SettingError(f"Unknown loss {preset!r}; choose from {', '.join(PRESETS)}.")
    known = {item.name for item in dataclasses.fields(LossConfig)} - {"preset", "tuned_for"}
    for key in overrides:
        if key not in known:
            raise SettingError(f"There is no loss.{key}; known are {', '.join(sorted(known))}.")
    given = {key: value for key, value in overrides.items() if value is not None}
    return dataclasses.replace(PRESETS[preset], **given)


def weights_for(
    config: LossConfig, path: Path | str | None = None
) -> tuple[LossConfig, VGGWeights]:
    """VGG's weights for a loss; a recipe for VGG19 runs on VGG16 where no VGG19 is given.

    Args:
        config: The loss.
        path: As for `fststyle.vgg.load_weights`.

    Returns:
        The loss, of the architecture that it will run on, and the weights.
        `PerceptualLoss.substitution` tells when they are not those that it was tuned for.

    Raises:
        WeightsError: The weights cannot be found.
    """
    if config.architecture == "vgg19" and path is None and not cache_path("vgg19").is_file():
        config = dataclasses.replace(config, architecture="vgg16")
    return config, load_weights(config.architecture, path)


class LossTerms(NamedTuple):
    """The weighted terms of a loss, each a scalar."""

    content: Tensor
    style: Tensor
    tv: Tensor

    @property
    def total(self) -> Tensor:
        """The sum, which is what is minimised."""
        return self.content + self.style + self.tv


class RelativeLosses(NamedTuple):
    """Unweighted relative losses per layer and photograph, which compare across presets.

    ``content[layer]`` is ‖F−F_c‖² / ‖F_c‖² and ``style[layer]`` is ‖G−G_s‖² / ‖G_s‖², each
    ``(N,)``; ``tv`` is the mean squared neighbour difference on [0, 1], ``(N,)``.
    """

    content: dict[str, Tensor]
    style: dict[str, Tensor]
    tv: Tensor


class PerceptualLoss(nn.Module):
    """Content, Gram style and total variation of an image under a frozen VGG.

    Args:
        config: What to compute.
        weights: VGG's weights. Others than the recipe was tuned for are used as they are;
            `substitution` then says so.
        style: The style picture, ``(1, 3, h, w)``, RGB in [0, 1], or several of them (the
            picture at several sizes), whose Gram matrices are averaged.

    Raises:
        SettingError: The style picture is too small, or a layer is missing or cannot be
            normalised with these weights.
    """

    def __init__(
        self, config: LossConfig, weights: VGGWeights, style: Tensor | Sequence[Tensor]
    ) -> None:
        super().__init__()
        if config.normalised_layers and not weights.original:
            raise SettingError(
                f"loss={config.preset} normalises channels by constants of the original VGG16, "
                f"and {weights.source} is not it; give the original weights, or set "
                "loss.normalised_layers=[]."
            )
        self.config = config
        self.vgg = VGG16Features([*config.content_layers, *config.style_layers], weights)
        for layer in config.normalised_layers:
            self.register_buffer(f"scale_{layer}", _channel_scale(layer), persistent=False)
        pictures = [style] if isinstance(style, Tensor) else list(style)
        for picture in pictures:
            _check_style(picture)
        with torch.no_grad():
            for layer in config.style_layers:
                grams = [
                    self._gram(layer, self.vgg(picture, [layer])[layer]) for picture in pictures
                ]
                self.register_buffer(
                    f"gram_{layer}", torch.stack(grams).mean(dim=0), persistent=False
                )

    @classmethod
    def from_picture(
        cls, config: LossConfig, weights: VGGWeights, picture: NDArray[np.float32]
    ) -> PerceptualLoss:
        """A loss whose style is a picture, seen at the sizes that the configuration names.

        Args:
            config: What to compute.
            weights: VGG's weights.
            picture: ``(h, w, 3)``, RGB in [0, 1], at its own size.

        Returns:
            The loss.

        Raises:
            SettingError: As the constructor does.
        """
        sized = [fit_short_side(picture, size) if size else picture for size in config.style_sizes]
        tensors = [torch.from_numpy(p.transpose(2, 0, 1).copy())[None] for p in sized]
        return cls(config, weights, tensors)

    @property
    def substitution(self) -> str | None:
        """A sentence if these weights are not those that the recipe was tuned for."""
        config = self.config
        fits = {
            "the original VGG16": self.vgg.architecture == "vgg16" and self.vgg.original,
            "VGG19": self.vgg.architecture == "vgg19",
        }.get(config.tuned_for, not self.vgg.original and self.vgg.architecture == "vgg16")
        if fits:
            return None
        return (
            f"loss={config.preset} was tuned for {config.tuned_for}; it runs on "
            f"{self.vgg.architecture.upper()} ({self.vgg.source}), so its weights may not fit."
        )

    @torch.no_grad()
    def content_targets(self, content: Tensor) -> Features:
        """What `forward` needs to know of the content.

        Args:
            content: ``(N, 3, H, W)``, RGB in [0, 1].

        Returns:
            Content layer → activations, without gradient.
        """
        features: Features = self.vgg(content, self._layers(self.config.content_layers))
        return features

    def forward(self, image: Tensor, targets: Features) -> LossTerms:
        """The weighted loss terms of images.

        Args:
            image: ``(N, 3, H, W)``, RGB in [0, 1].
            targets: What `content_targets` gave for the photographs.

        Returns:
            The terms, each averaged over the batch (``half_sum_squares`` excepted), float32.
        """
        config = self.config
        features = self.vgg(image)
        with torch.autocast(image.device.type, enabled=False):
            zero = image.new_zeros((), dtype=_at_least_float32(image).dtype)
            content, style, tv = zero, zero, zero
            for layer, weight in config.content_layers.items():
                content = content + weight * self._content(layer, features, targets).mean()
            for layer, weight in config.style_layers.items():
                style = style + weight * self._style(layer, features).mean()
            if config.tv_weight:
                tv = total_variation(image * config.pixel_range, config.tv_form)
        return LossTerms(
            config.content_weight * content, config.style_weight * style, config.tv_weight * tv
        )

    @torch.no_grad()
    def relative(self, image: Tensor, targets: Features) -> RelativeLosses:
        """Unweighted relative losses per layer and photograph, whatever the forms.

        Args:
            image: ``(N, 3, H, W)``, RGB in [0, 1].
            targets: What `content_targets` gave for the photographs.

        Returns:
            The losses, on this loss's layers (channels normalised where it does so).
        """
        features = self.vgg(image)
        with torch.autocast(image.device.type, enabled=False):
            return RelativeLosses(
                {
                    layer: self._content(layer, features, targets, "relative")
                    for layer in self.config.content_layers
                },
                {
                    layer: self._style(layer, features, "relative")
                    for layer in self.config.style_layers
                },
                torch.stack([total_variation(single[None]) for single in image]),
            )

    def _layers(self, names: Mapping[str, float]) -> tuple[str, ...]:
        return tuple(layer for layer in self.vgg.layers if layer in names)

    def _normalised(self, layer: str, features: Tensor) -> Tensor:
        features = _at_least_float32(features)
        if layer not in self.config.normalised_layers:
            return features
        scale: Tensor = getattr(self, f"scale_{layer}")
        return features * scale.to(features.dtype)

    def _gram(self, layer: str, features: Tensor) -> Tensor:
        """The Gram matrix of a layer, of its normalised channels where it is normalised."""
        gram = gram_matrix(features, self.config.gram_divisor)
        if layer not in self.config.normalised_layers:
            return gram
        # (S F)(S F)ᵀ = S (F Fᵀ) S for a diagonal S.
        scale = getattr(self, f"scale_{layer}").flatten().to(gram.dtype)
        normalised: Tensor = gram * scale[:, None] * scale[None, :]
        return normalised

    def _content(
        self, layer: str, features: Features, targets: Features, form: Form | None = None
    ) -> Tensor:
        """One content layer's loss per photograph, ``(N,)``."""
        target = self._normalised(layer, targets[layer])
        error = (self._normalised(layer, features[layer]) - target).square().mean(dim=(1, 2, 3))
        if (form or self.config.content_form) == "mean":
            return error
        floor = _content_floor(layer, layer in self.config.normalised_layers)
        return error / target.square().mean(dim=(1, 2, 3)).clamp_min(floor)

    def _style(self, layer: str, features: Features, form: Form | None = None) -> Tensor:
        """One style layer's loss per photograph, ``(N,)``."""
        gram = self._gram(layer, features[layer])
        target: Tensor = getattr(self, f"gram_{layer}")
        difference = (gram - target.to(gram.dtype)).square()
        if (form or self.config.style_form) == "mean":
            return difference.mean(dim=(1, 2))
        return difference.sum(dim=(1, 2)) / target.square().sum()


@cache
def _statistics() -> dict[str, Tensor]:
    """Per layer, ``relu4_2.mean`` and ``relu4_2.square``: activations' moments, ``(C,)``.

    Taken over natural photographs by scripts/vgg_statistics.py.
    """
    return safetensors.torch.load_file(_STATISTICS)


def _channel_scale(layer: str) -> Tensor:
    """One over the mean activation per channel, ``(1, C, 1, 1)``."""
    mean = _statistics()[f"{layer}.mean"]
    # A channel that hardly ever fires would otherwise drown all others.
    return (1.0 / mean.clamp_min(0.1 * float(mean.median()))).reshape(1, -1, 1, 1)


@cache
def _content_floor(layer: str, normalised: bool) -> float:
    """Least energy a content ratio divides by, so that a flat crop's does not explode."""
    square = _statistics().get(f"{layer}.square")
    if square is None:
        return 1e-6
    scale = _channel_scale(layer).flatten() if normalised else torch.ones_like(square)
    return _FLOOR * float((square * scale.square()).mean())


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def _check_style(picture: Tensor) -> None:
    if picture.ndim != 4 or picture.shape[:2] != (1, 3):
        raise SettingError(
            f"A style picture has the shape (1, 3, h, w), not {tuple(picture.shape)}."
        )
    if min(picture.shape[-2:]) < MIN_STYLE_SIDE:
        raise SettingError(
            f"The style picture is {picture.shape[-1]}×{picture.shape[-2]} pixels; it must be at "
            f"least {MIN_STYLE_SIDE} on each side (256 and more show the style well)."
        )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value
