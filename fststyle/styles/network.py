"""The transformer network: a photo in, the stylised photo out, in one pass.

Source: Johnson, Alahi, Fei-Fei, "Perceptual Losses for Real-Time Style Transfer and
Super-Resolution" (ECCV 2016) and its supplementary material, table 1.

    first_stride 1, the paper:
        photo → c9s1-w → d2w → dt → n × Rt → u2w → uw → c9s1-3 → result
    first_stride 2, the default:
        photo → c5s2-w → dt → n × Rt → uw → c1s1-16 → u → c3s1-3 → result

w is ``width``, t ``trunk`` (4w in the paper) and n ``residual_blocks``. ``ckss-f`` is a k×k
convolution with stride s and f filters, ``df`` a 3×3 convolution with stride 2, ``Rf`` a residual
block, ``uf`` an upsampling by 2 and a 3×3 convolution, ``u`` an upsampling alone. Every
convolution with w, 2w or t filters is followed by instance norm and ReLU (in a residual block,
the second one by instance norm alone). Those with 16 or 3 filters have a bias instead.

The default computes only the result itself at the photo's full size, with one small convolution.
Its residual blocks run at a quarter of the size, as in the paper. Other deviations from the paper
are marked where they occur. `fststyle.styles.shape.layers` lists the layers.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from fststyle.styles.shape import MIN_SIDE, Convolution, NetworkConfig, Upsample, layers


class TransformerNet(nn.Module):
    """A network that stylises photos. Each network holds one style.

    Input and output are ``(N, 3, H, W)``, RGB in [0, 1], of the same, arbitrary H and W.

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
        # The order in which weights are drawn decides which network a random seed gives.
        encoder = nn.Sequential(*map(_layer, parts.encoder))
        decoder = nn.Sequential(*map(_layer, parts.decoder))
        to_rgb = _convolution(parts.to_rgb)
        self.encoder = encoder
        self.residual = nn.Sequential(
            *(_ResidualBlock(*parts.residual) for _ in range(config.residual_blocks))
        )
        self.decoder = decoder
        self.to_rgb = to_rgb

    def forward(self, photo: Tensor) -> Tensor:
        """Stylise photos.

        Args:
            photo: ``(N, 3, H, W)``, RGB in [0, 1].

        Returns:
            The stylised photos, of the same shape and range. A photo that is smaller than
            5 pixels on a side is extended by its edge pixels and cropped back.
        """
        height, width = photo.shape[-2:]
        if height < MIN_SIDE or width < MIN_SIDE:
            missing = (0, max(0, MIN_SIDE - width), 0, max(0, MIN_SIDE - height))
            photo = F.pad(photo, missing, mode="replicate")
        # Centred, as jcjohnson's code centres its input by the ImageNet mean.
        hidden = self.decoder(self.residual(self.encoder(photo - 0.5)))
        # The authors' code ends with 150·tanh around the mean, which leaves the range of
        # pixels. Here the sigmoid keeps every output in [0, 1], so nothing needs clamping.
        result = self.to_rgb(hidden)
        result = result.clamp(0.0, 1.0) if self.config.linear_output else result.sigmoid()
        # Odd sizes: the decoder ends at the next multiple of 4.
        cropped: Tensor = result[..., :height, :width]
        return cropped


def _layer(layer: Convolution | Upsample) -> nn.Module:
    """Make a layer: an upsampling, a convolution, or a convolution with norm and ReLU."""
    if isinstance(layer, Upsample):
        # The paper upsamples by transposed convolutions. Nearest-neighbour upsampling and a plain
        # convolution leave no checkerboard (Odena, Dumoulin, Olah, "Deconvolution and
        # Checkerboard Artifacts", Distill 2016).
        return nn.Upsample(scale_factor=float(layer.factor), mode="nearest")
    if not layer.has_norm:
        return _convolution(layer)
    # Instance norm instead of the paper's batch norm: Ulyanov, Vedaldi, Lempitsky, "Instance
    # Normalization: The Missing Ingredient for Fast Stylization" (2016). The norm's shift takes
    # the place of a bias.
    return nn.Sequential(_convolution(layer), _norm(layer), nn.ReLU())


def _convolution(layer: Convolution) -> nn.Conv2d:
    # The paper does not pad in the residual blocks, and crops. Zero padding, which others use,
    # draws a frame around the result. Reflection padding does neither.
    return nn.Conv2d(
        layer.inputs,
        layer.outputs,
        layer.kernel,
        layer.stride,
        padding=layer.kernel // 2,
        padding_mode="reflect",
        bias=not layer.has_norm,
    )


def _norm(layer: Convolution) -> nn.InstanceNorm2d:
    return nn.InstanceNorm2d(layer.outputs, affine=True)


class _ResidualBlock(nn.Module):
    """x + IN(conv(ReLU(IN(conv(x))))), without a ReLU after the sum (Gross and Wilber 2016)."""

    def __init__(self, first: Convolution, second: Convolution) -> None:
        super().__init__()
        self.body = nn.Sequential(_layer(first), _convolution(second), _norm(second))

    def forward(self, hidden: Tensor) -> Tensor:
        out: Tensor = hidden + self.body(hidden)
        return out
