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
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from fststyle.styles.shape import MIN_SIDE, Convolution, NetworkConfig, Upsample, layers


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
            The stylised photos, with the same shape and range. Photos that are smaller than
            5 pixels on a side are padded with their edge pixels, and the results are cropped.
        """
        height, width = photo.shape[-2:]
        if height < MIN_SIDE or width < MIN_SIDE:
            missing = (0, max(0, MIN_SIDE - width), 0, max(0, MIN_SIDE - height))
            photo = F.pad(photo, missing, mode="replicate")
        # Centre the values around 0; jcjohnson's code subtracts the ImageNet mean instead.
        hidden = self.decoder(self.residual(self.encoder(photo - 0.5)))
        # The authors' code ends with 150·tanh around the mean, which can exceed the range of
        # pixel values. By default, a sigmoid keeps every output in [0, 1] without clamping.
        result = self.to_rgb(hidden)
        result = result.clamp(0.0, 1.0) if self.config.linear_output else result.sigmoid()
        # The decoder rounds sizes up to a multiple of 4, so crop the result to the photo's size.
        cropped: Tensor = result[..., :height, :width]
        return cropped


def _layer(layer: Convolution | Upsample) -> nn.Module:
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
    return nn.Sequential(_convolution(layer), _norm(layer), nn.ReLU())


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


def _norm(layer: Convolution) -> nn.InstanceNorm2d:
    return nn.InstanceNorm2d(layer.outputs, affine=True)


class _ResidualBlock(nn.Module):
    """Residual block, x + IN(conv(ReLU(IN(conv(x))))), without a final ReLU.

    Source: Gross and Wilber 2016.
    """

    def __init__(self, first: Convolution, second: Convolution) -> None:
        super().__init__()
        self.body = nn.Sequential(_layer(first), _convolution(second), _norm(second))

    def forward(self, hidden: Tensor) -> Tensor:
        out: Tensor = hidden + self.body(hidden)
        return out
