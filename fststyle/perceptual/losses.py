"""The perceptual loss, with terms for content, style, palette and total variation.

Training and per-image optimisation use the same `PerceptualLoss`. The style is fixed when the loss
is created; the content is passed with each call.

Sources: Gatys, Ecker, Bethge, "Image Style Transfer Using Convolutional Neural Networks"
(CVPR 2016); Johnson, Alahi, Fei-Fei, "Perceptual Losses for Real-Time Style Transfer and
Super-Resolution" (ECCV 2016).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fststyle.errors import SettingError
from fststyle.images.resize import fit_short_side
from fststyle.perceptual.arrangement import ARRANGED, ArrangementLoss
from fststyle.perceptual.palette import palette_distance, palette_quantiles
from fststyle.perceptual.presets import MIN_STYLE_SIDE, Form, GramDivisor, LossConfig, TVForm
from fststyle.perceptual.structure import laplacian_loss, self_similarity_loss, windows
from fststyle.perceptual.vgg import (
    Features,
    VGG16Features,
    VGGWeights,
)

_STATISTICS: Final = Path(__file__).parent / "vgg16_statistics.safetensors"
_FLOOR: Final = 0.1
"""Minimum content energy, as a fraction of that of natural photos; see `_content_floor`."""


def gram_matrix(features: Tensor, divisor: GramDivisor = "hw") -> Tensor:
    """Compute the Gram matrix of features (Gatys et al., equation 3; Johnson et al., equation 3).

    Args:
        features: Features ``(N, C, h, w)`` of any float dtype.
        divisor: ``"hw"`` divides by h·w, ``"chw"`` by C·h·w, as in Johnson et al.

    Returns:
        The matrices ``(N, C, C)``, in float32 or float64 even under autocast.

    Example:
        >>> import torch
        >>> from fststyle.perceptual.losses import gram_matrix
        >>> gram_matrix(torch.ones(1, 2, 4, 4))
        tensor([[[1., 1.],
                 [1., 1.]]])
    """
    channels, height, width = features.shape[1:]
    scale = height * width * (channels if divisor == "chw" else 1)
    with torch.autocast(features.device.type, enabled=False):
        gram: Tensor = _Gram.apply(features, 1.0 / scale)
    return gram


class _Gram(torch.autograd.Function):
    """Scaled Σ_x F(x) F(x)ᵀ, with a backward pass three times as fast as autograd's."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, scale: float) -> Tensor:
        # With channels_last, features are stored in memory as (N, hw, C).
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
    """Compute the total variation, which measures differences between neighbouring pixels.

    Args:
        image: Images ``(N, C, H, W)`` with H and W at least 2.
        form: ``"mean_squares"`` is the mean squared difference along x plus that along y.
            ``"half_sum_squares"`` is ½ Σ (dx² + dy²), summed over the whole batch and all pixels
            that have both neighbours; its gradient is the same as in jcjohnson's
            TotalVariation.lua. ``"sum_absolute"`` is Σ |dx| + |dy| per image, averaged over the
            batch (the anisotropic form of Rudin, Osher, Fatemi 1992).

    Returns:
        A scalar.

    Example:
        >>> import torch
        >>> from fststyle.perceptual.losses import total_variation
        >>> total_variation(torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]]))
        tensor(1.)
    """
    image = _at_least_float32(image)
    dx = image[..., :, 1:] - image[..., :, :-1]
    dy = image[..., 1:, :] - image[..., :-1, :]
    if form == "mean_squares":
        return dx.square().mean() + dy.square().mean()
    if form == "half_sum_squares":
        return 0.5 * (dx[..., :-1, :].square().sum() + dy[..., :, :-1].square().sum())
    return (dx.abs().sum() + dy.abs().sum()) / image.shape[0]


class LossTerms(NamedTuple):
    """Weighted terms of a loss, each a scalar.

    Example:
        >>> import torch
        >>> from fststyle.perceptual.losses import LossTerms
        >>> LossTerms(*torch.tensor([1.0, 2.0, 0.5, 0.25])).total
        tensor(3.7500)
    """

    content: Tensor
    style: Tensor
    palette: Tensor
    tv: Tensor

    @property
    def total(self) -> Tensor:
        """Sum of all terms. Optimisation minimises this value."""
        return self.content + self.style + self.palette + self.tv


class RelativeLosses(NamedTuple):
    """Unweighted relative losses per layer and photo, which can be compared between presets.

    All values have the shape ``(N,)``. ``content[layer]`` is ‖F−F_c‖² / ‖F_c‖², and
    ``style[layer]`` is ‖G−G_s‖² / ‖G_s‖². ``palette`` is the result of `palette_distance`. ``tv``
    is the mean squared difference between neighbouring pixels, for pixels in [0, 1].
    """

    content: dict[str, Tensor]
    style: dict[str, Tensor]
    palette: Tensor
    tv: Tensor


class PerceptualLoss(nn.Module):
    """Content, style, palette and smoothness terms of an image, computed with a frozen VGG.

    Args:
        config: Settings of the loss.
        weights: VGG weights. If the preset was tuned for others, `substitution` is a warning.
        style: Style image ``(1, 3, h, w)``, RGB in [0, 1]. If it is given in several sizes, their
            Gram matrices are averaged.

    Raises:
        SettingError: The style image is too small, or a layer is missing or cannot be
            normalised with these weights.

    Example:
        This example is not run by the tests, because it needs the VGG weights:

        >>> from fststyle.images.load import load_image
        >>> from fststyle.perceptual.presets import PRESETS
        >>> from fststyle.perceptual.vgg_weights import load_weights
        >>> loss = PerceptualLoss.from_picture(  # doctest: +SKIP
        ...     PRESETS["calibrated"], load_weights(), load_image("style.jpg")
        ... )
    """

    def __init__(
        self, config: LossConfig, weights: VGGWeights, style: Tensor | Sequence[Tensor]
    ) -> None:
        super().__init__()
        if config.normalised_layers and not weights.original:
            raise SettingError(
                f"loss={config.preset} normalises channels with constants of the original VGG16, "
                f"but {weights.source} has other weights.",
                remedy="Give the original weights, or set loss.normalised_layers=[].",
                code="normalised_other_weights",
            )
        self.config = config
        arranged = ARRANGED if config.arrangement_weight else {}
        layers = [*config.content_layers, *config.style_layers, *arranged]
        self.vgg = VGG16Features(layers, weights)
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
            if arranged:
                found = [self._seen(self.vgg(p, list(arranged))) for p in pictures]
                self.arrangement = ArrangementLoss(found)
            self.register_buffer("palette", palette_quantiles(pictures), persistent=False)

    @classmethod
    def from_picture(
        cls, config: LossConfig, weights: VGGWeights, picture: NDArray[np.float32]
    ) -> PerceptualLoss:
        """Make a loss from a style image, which is resized to the configured sizes.

        Args:
            config: Settings of the loss.
            weights: VGG weights.
            picture: Style image ``(h, w, 3)``, RGB in [0, 1], at its full size.

        Raises:
            SettingError: The style image is too small, or a layer is missing or cannot be
                normalised with these weights.
        """
        sized = [fit_short_side(picture, size) if size else picture for size in config.style_sizes]
        tensors = [torch.from_numpy(p.transpose(2, 0, 1).copy())[None] for p in sized]
        return cls(config, weights, tensors)

    @property
    def substitution(self) -> str | None:
        """Warning that the preset was tuned for other weights, or ``None`` if it was not."""
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
        """Compute the content features that `forward` needs.

        Args:
            content: Photos ``(N, 3, H, W)``, RGB in [0, 1].

        Returns:
            The activations by content layer, without gradients, and the photos themselves under
            the name ``photo`` if the Laplacian loss needs them.
        """
        features: Features = self.vgg(content, self._layers(self.config.content_layers))
        if self.config.spatial_weight:
            features["photo"] = content
        return features

    def forward(self, image: Tensor, targets: Features) -> LossTerms:
        """Compute the weighted loss terms of images.

        Args:
            image: Images ``(N, 3, H, W)``, RGB in [0, 1].
            targets: Result of `content_targets` for the photos.

        Returns:
            The terms in float32, averaged over the batch (except for ``half_sum_squares``, a sum).
        """
        config = self.config
        features = self.vgg(image)
        with torch.autocast(image.device.type, enabled=False):
            zero = image.new_zeros((), dtype=_at_least_float32(image).dtype)
            content, style, palette, tv = zero, zero, zero, zero
            shapes = zero
            for layer, weight in config.content_layers.items():
                content = content + weight * self._content(layer, features, targets).mean()
                if config.self_similarity_weight:
                    pair = (self._normalised(layer, f[layer]) for f in (features, targets))
                    loss = self_similarity_loss(*pair).mean()
                    shapes = shapes + config.self_similarity_weight * weight * loss
            if config.spatial_weight:
                edges = laplacian_loss(_at_least_float32(image), targets["photo"].to(image))
                shapes = shapes + config.spatial_weight * edges.mean()
            for layer, weight in config.style_layers.items():
                loss = self._style(layer, features).mean()
                if config.window_weight and not layer.startswith("relu1_"):
                    quarters = {layer: windows(features[layer])}
                    loss = loss + config.window_weight * self._style(layer, quarters).mean()
                style = style + weight * loss
            if config.arrangement_weight:
                seen = self._seen({layer: features[layer] for layer in ARRANGED})
                style = style + config.arrangement_weight * self.arrangement(seen).mean()
            if config.palette_weight:
                palette = self._palette(image).mean()
            if config.tv_weight:
                tv = total_variation(image * config.pixel_range, config.tv_form)
        return LossTerms(
            config.content_weight * content + shapes,
            config.style_weight * style,
            config.palette_weight * palette,
            config.tv_weight * tv,
        )

    @torch.no_grad()
    def relative(self, image: Tensor, targets: Features) -> RelativeLosses:
        """Compute the unweighted relative losses per layer and photo.

        Args:
            image: Images ``(N, 3, H, W)``, RGB in [0, 1].
            targets: Result of `content_targets` for the photos.

        Returns:
            The losses, computed with this loss's layers and channel normalisation.
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
                self._palette(image),
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

    def _seen(self, features: Features) -> Features:
        return {layer: self._normalised(layer, values) for layer, values in features.items()}

    def _gram(self, layer: str, features: Tensor) -> Tensor:
        """Compute the Gram matrix of a layer, normalising its channels if configured."""
        gram = gram_matrix(features, self.config.gram_divisor)
        if layer not in self.config.normalised_layers:
            return gram
        # (S F)(S F)ᵀ = S (F Fᵀ) S for a diagonal S.
        scale = getattr(self, f"scale_{layer}").flatten().to(gram.dtype)
        normalised: Tensor = gram * scale[:, None] * scale[None, :]
        return normalised

    def _palette(self, image: Tensor) -> Tensor:
        """Compute the palette loss per image, ``(N,)``."""
        quantiles: Tensor = self.get_buffer("palette")
        return palette_distance(_at_least_float32(image), quantiles)

    def _content(
        self, layer: str, features: Features, targets: Features, form: Form | None = None
    ) -> Tensor:
        """Compute the loss of a content layer per image, ``(N,)``."""
        target = self._normalised(layer, targets[layer])
        error = (self._normalised(layer, features[layer]) - target).square().mean(dim=(1, 2, 3))
        if (form or self.config.content_form) == "mean":
            return error
        floor = _content_floor(layer, layer in self.config.normalised_layers)
        return error / target.square().mean(dim=(1, 2, 3)).clamp_min(floor)

    def _style(self, layer: str, features: Features, form: Form | None = None) -> Tensor:
        """Compute the loss of a style layer per image, ``(N,)``."""
        gram = self._gram(layer, features[layer])
        target: Tensor = getattr(self, f"gram_{layer}")
        difference = (gram - target.to(gram.dtype)).square()
        if (form or self.config.style_form) == "mean":
            return difference.mean(dim=(1, 2))
        return difference.sum(dim=(1, 2)) / target.square().sum()


@cache
def _statistics() -> dict[str, Tensor]:
    """Load the means and mean squares of each layer's activations, of shape ``(C,)``.

    The keys are of the form ``relu4_2.mean`` and ``relu4_2.square``. The statistics were computed
    from natural photos by ``scripts/zoo/vgg_statistics.py``.
    """
    return safetensors.torch.load_file(_STATISTICS)


def _channel_scale(layer: str) -> Tensor:
    """Return the reciprocal of each channel's mean activation, ``(1, C, 1, 1)``."""
    mean = _statistics()[f"{layer}.mean"]
    # Without a minimum, rarely active channels would dominate all others.
    return (1.0 / mean.clamp_min(0.1 * float(mean.median()))).reshape(1, -1, 1, 1)


@cache
def _content_floor(layer: str, normalised: bool) -> float:
    """Return the minimum divisor of the relative content loss, so flat crops do not dominate."""
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
            f"A style image must have the shape (1, 3, h, w), not {tuple(picture.shape)}.",
            code="bad_shape",
        )
    if min(picture.shape[-2:]) < MIN_STYLE_SIDE:
        raise SettingError(
            f"The style image is {picture.shape[-1]}×{picture.shape[-2]} pixels, and must be at "
            f"least {MIN_STYLE_SIDE} on each side.",
            remedy="Choose a larger one, preferably of 256 pixels or more.",
            code="too_small",
        )
