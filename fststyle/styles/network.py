"""The transformer network, which stylises a photo in a single pass.

Source: Johnson, Alahi, Fei-Fei, "Perceptual Losses for Real-Time Style Transfer and
Super-Resolution" (ECCV 2016) and its supplementary material, table 1.

    first_stride 1, as in the paper:
        photo → c9s1-w → d2w → dt → n × Rt → u2w → uw → c9s1-3 → result
    first_stride 2, the default:
        photo → c5s2-w → dt → n × Rt → uw → c1s1-16 → u → c3s1-3 → result

Here, w is ``width``, t is ``trunk`` (4w in the paper) and n is ``residual_blocks``. ``ckss-f`` is
a k×k convolution with stride s and f filters, ``df`` is a 3×3 convolution with stride 2, ``Rf`` is
a residual block, ``uf`` is upsampling by 2 followed by a 3×3 convolution, and ``u`` is upsampling
alone. Convolutions with w, 2w or t filters are followed by instance norm and ReLU, except that the
second convolution of a residual block is followed by instance norm alone. Convolutions with 16 or
3 filters have a bias instead.

By default, only the last, small convolution runs at the photo's full size. The residual blocks run
at a quarter of the size, as in the paper. Comments in the code explain all other deviations from
the paper. `fststyle.styles.shape.layers` lists the layers.

With several styles, or with a dial for the strength, the norms are conditional: each style has its
own gains and shifts, and these depend on the position of the dial (`fststyle.styles.dial`).

With grain, weak noise is added to the photo first (`fststyle.styles.grain`).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fststyle.styles.grain import Grain
from fststyle.styles.onnx_norms import EPSILON
from fststyle.styles.shape import MIN_SIDE, STRIDE, Convolution, NetworkConfig, Upsample, layers


class TransformerNet(nn.Module):
    """A network that stylises photos in one particular style.

    Input and output have the same shape, ``(N, 3, H, W)``, with any H and W, and contain RGB values
    in [0, 1].

    Example:
        >>> import torch
        >>> network = TransformerNet(NetworkConfig(width=4, trunk=8, residual_blocks=1))
        >>> network(torch.rand(1, 3, 50, 70)).shape
        torch.Size([1, 3, 50, 70])
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        parts = layers(config)
        # For a given random seed, the initial weights depend on the order in which layers are made.
        encoder = _Sequence(*(_layer(layer, config) for layer in parts.encoder))
        decoder = _Sequence(*(_layer(layer, config) for layer in parts.decoder))
        to_rgb = _convolution(parts.to_rgb)
        self.encoder = encoder
        self.residual = _Sequence(
            *(_ResidualBlock(*parts.residual, config) for _ in range(config.residual_blocks))
        )
        self.decoder = decoder
        self.to_rgb = to_rgb

    def forward(self, photo: Tensor, position: float | Tensor = 0.0, style: int = 0) -> Tensor:
        """Stylise photos. Grain is added only in evaluation mode.

        Args:
            photo: ``(N, 3, H, W)``, RGB in [0, 1].
            position: Position of the dial: one number for all photos, or a map
                ``(N or 1, 1, H, W)`` with a number for each pixel. Without a dial, the position is
                ignored.
            style: Number of the style, from 0.

        Returns:
            The stylised photos, with the same shape and range. Photos that are smaller than
            5 pixels on a side are padded with their edge pixels, and the results are cropped.
        """
        if self.config.grain and not self.training:  # in training, the noise is random
            grain = Grain(self.config.grain)(*photo.shape[-2:]).copy()
            photo = photo + torch.from_numpy(grain).to(photo)
        height, width = photo.shape[-2:]
        if height < MIN_SIDE or width < MIN_SIDE:
            missing = (0, max(0, MIN_SIDE - width), 0, max(0, MIN_SIDE - height))
            photo = F.pad(photo, missing, mode="replicate")
        setting = _Setting(_padded(position), style)
        # Centre the values around 0; jcjohnson's code subtracts the ImageNet mean instead.
        hidden = photo - 0.5
        for part in (self.encoder, self.residual, self.decoder):
            hidden = part(hidden, setting)
        # The authors' code ends with 150·tanh around the mean, which can exceed the range of
        # pixel values. By default, a sigmoid keeps every output in [0, 1] without clamping.
        result = self.to_rgb(hidden)
        result = result.clamp(0.0, 1.0) if self.config.linear_output else result.sigmoid()
        # The decoder rounds sizes up to a multiple of 4, so crop the result to the photo's size.
        cropped: Tensor = result[..., :height, :width]
        return cropped


class _Setting(NamedTuple):
    """The setting of all conditional norms.

    Attributes:
        position: Position of the dial: one number, or a map ``(N, 1, H, W)`` of the photo's size,
            with H and W rounded up to a multiple of `STRIDE`.
        style: Number of the style.
    """

    position: float | Tensor
    style: int


class _Sequence(nn.Sequential):
    """Layers that run one after another, of which some need the setting of the norms."""

    def forward(self, hidden: Tensor, setting: _Setting) -> Tensor:  # type: ignore[override]
        for layer in self:
            needs_setting = isinstance(layer, _Sequence | _ResidualBlock | ConditionalNorm)
            hidden = layer(hidden, setting) if needs_setting else layer(hidden)
        return hidden


class ConditionalNorm(nn.Module):
    """Instance norm whose gain and shift depend on the style and on the position of the dial.

    For style s and position t, the gain is γ_s + t γ'_s, and the shift is β_s + t β'_s. Source of
    norms for each style: Dumoulin, Shlens, Kudlur, "A Learned Representation for Artistic Style"
    (ICLR 2017).

    Args:
        channels: Number of channels, C.
        config: The network's shape, with S styles.

    Attributes:
        weight: The gains γ, ``(S, C)``.
        bias: The shifts β, ``(S, C)``.
        dial_weight: The slopes γ', ``(S, C)``. Missing if there is no dial.
        dial_bias: The slopes β', ``(S, C)``. Missing if there is no dial.
    """

    def __init__(self, channels: int, config: NetworkConfig) -> None:
        super().__init__()
        shape = (config.styles, channels)
        self.weight = nn.Parameter(torch.ones(shape))
        self.bias = nn.Parameter(torch.zeros(shape))
        self.has_dial = config.dial
        if config.dial:
            self.dial_weight = nn.Parameter(torch.zeros(shape))
            self.dial_bias = nn.Parameter(torch.zeros(shape))

    def forward(self, hidden: Tensor, setting: _Setting) -> Tensor:
        """Normalise ``(N, C, h, w)``."""
        position, style = setting
        gain, shift = self.weight[style], self.bias[style]
        if not self.has_dial:
            return F.instance_norm(hidden, weight=gain, bias=shift, eps=EPSILON)
        slopes = self.dial_weight[style], self.dial_bias[style]
        if not isinstance(position, Tensor):
            gain, shift = gain + position * slopes[0], shift + position * slopes[1]
            return F.instance_norm(hidden, weight=gain, bias=shift, eps=EPSILON)
        return self.scaled(F.instance_norm(hidden, eps=EPSILON), setting)

    def scaled(self, normal: Tensor, setting: _Setting) -> Tensor:
        """Apply gain and shift to normalised values ``(N, C, h, w)``."""
        position, style = setting
        if isinstance(position, Tensor):
            position = _reduced(position, normal)
        gain, shift = (
            (base[style].view(1, -1, 1, 1) + position * slope[style].view(1, -1, 1, 1))
            for base, slope in (
                (self.weight, self.dial_weight),
                (self.bias, self.dial_bias),
            )
        )
        return normal * gain + shift


def _padded(position: float | Tensor) -> float | Tensor:
    """Extend a map at its lower and right edges, so that its sides are multiples of `STRIDE`."""
    if not isinstance(position, Tensor):
        return position
    height, width = position.shape[-2:]
    return F.pad(position, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")


def _reduced(position: Tensor, hidden: Tensor) -> Tensor:
    """Average a map over the area that each value of ``hidden`` stands for."""
    reduced = F.avg_pool2d(position, position.shape[-2] // hidden.shape[-2])
    return reduced[..., : hidden.shape[-2], : hidden.shape[-1]].to(hidden.dtype)


def _layer(layer: Convolution | Upsample, config: NetworkConfig) -> nn.Module:
    """Create a layer: upsampling, a convolution, or a convolution with norm and ReLU."""
    if isinstance(layer, Upsample):
        # The paper upsamples with transposed convolutions. Nearest-neighbour upsampling followed
        # by a plain convolution avoids checkerboard patterns (Odena, Dumoulin, Olah,
        # "Deconvolution and Checkerboard Artifacts", Distill 2016).
        return nn.Upsample(scale_factor=float(layer.factor), mode="nearest")
    if not layer.has_norm:
        return _convolution(layer)
    # Instance norm instead of the paper's batch norm: Ulyanov, Vedaldi, Lempitsky, "Instance
    # Normalization: The Missing Ingredient for Fast Stylization" (2016). The norm's shift takes
    # the place of a bias.
    return _Sequence(_convolution(layer), _norm(layer, config), nn.ReLU())


def _convolution(layer: Convolution) -> nn.Conv2d:
    # In the residual blocks, the paper does not pad, so its results must be cropped. Zero padding,
    # which others use, leaves a visible frame. Reflection padding avoids both problems.
    return nn.Conv2d(
        layer.inputs,
        layer.outputs,
        layer.kernel,
        layer.stride,
        padding=layer.kernel // 2,
        padding_mode="reflect",
        bias=not layer.has_norm,
    )


def _norm(layer: Convolution, config: NetworkConfig) -> nn.Module:
    if config.is_plain:
        return nn.InstanceNorm2d(layer.outputs, affine=True)
    return ConditionalNorm(layer.outputs, config)


class _ResidualBlock(nn.Module):
    """Residual block, x + IN(conv(ReLU(IN(conv(x))))), without a final ReLU.

    Source: Gross and Wilber 2016.
    """

    def __init__(self, first: Convolution, second: Convolution, config: NetworkConfig) -> None:
        super().__init__()
        self.body = _Sequence(_layer(first, config), _convolution(second), _norm(second, config))

    def forward(self, hidden: Tensor, setting: _Setting) -> Tensor:
        out: Tensor = hidden + self.body(hidden, setting)
        return out
