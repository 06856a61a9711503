"""The transformer network: a photo in, the stylised photo out, in one pass.

Source: Johnson, Alahi, Fei-Fei, "Perceptual Losses for Real-Time Style Transfer and
Super-Resolution" (ECCV 2016) and its supplementary material, table 1.

    first_stride 1, the paper:
        photo → c9s1-w → d2w → dt → n × Rt → u2w → uw → c9s1-3 → picture
    first_stride 2, the default:
        photo → c5s2-w → dt → n × Rt → uw → c1s1-16 → u → c3s1-3 → picture

w is ``width``, t ``trunk`` (4w in the paper) and n ``residual_blocks``. ``ckss-f`` is a k×k
convolution with stride s and f filters, ``df`` a 3×3 convolution with stride 2, ``Rf`` a residual
block, ``uf`` an upsampling by 2 and a 3×3 convolution, ``u`` an upsampling alone. Every
convolution with w, 2w or t filters is followed by instance norm and ReLU (in a residual block:
the second one by instance norm alone); those with 16 or 3 filters have a bias instead.

The default makes nothing at the photo's full size but the picture itself, by one small
convolution; its residual blocks stand at a quarter of the size, as the paper's do. Other
deviations from the paper are marked at their lines.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from fststyle.styles.shape import HEAD, MIN_SIDE, NetworkConfig


class TransformerNet(nn.Module):
    """Stylises photos; one network is one style.

    Input and output are ``(N, 3, H, W)``, RGB in [0, 1], of the same, arbitrary H and W.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        width, trunk = config.width, config.trunk
        shrink: list[nn.Module]
        grow: list[nn.Module]
        if config.first_stride == 1:
            shrink = [
                _ConvNormReLU(3, width, kernel_size=9),
                _ConvNormReLU(width, 2 * width, kernel_size=3, stride=2),
                _ConvNormReLU(2 * width, trunk, kernel_size=3, stride=2),
            ]
            grow = [
                _upsample(),
                _ConvNormReLU(trunk, 2 * width, kernel_size=3),
                _upsample(),
                _ConvNormReLU(2 * width, width, kernel_size=3),
            ]
            to_rgb = _conv(width, 3, kernel_size=9, bias=True)
        else:
            shrink = [
                _ConvNormReLU(3, width, kernel_size=5, stride=2),
                _ConvNormReLU(width, trunk, kernel_size=3, stride=2),
            ]
            # A pixel shuffle would be cheaper still, and leaves a lattice of period 2.
            grow = [
                _upsample(),
                _ConvNormReLU(trunk, width, kernel_size=3),
                _conv(width, HEAD, kernel_size=1, bias=True),
                _upsample(),
            ]
            to_rgb = _conv(HEAD, 3, kernel_size=3, bias=True)
        self.encoder = nn.Sequential(*shrink)
        self.residual = nn.Sequential(
            *(_ResidualBlock(trunk) for _ in range(config.residual_blocks))
        )
        self.decoder = nn.Sequential(*grow)
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
        picture = self.to_rgb(hidden)
        picture = picture.clamp(0.0, 1.0) if self.config.linear_output else picture.sigmoid()
        # Odd sizes: the decoder ends at the next multiple of 4.
        cropped: Tensor = picture[..., :height, :width]
        return cropped


def _upsample() -> nn.Upsample:
    # The paper upsamples by transposed convolutions. Nearest-neighbour upsampling and a plain
    # convolution leave no checkerboard (Odena, Dumoulin, Olah, "Deconvolution and
    # Checkerboard Artifacts", Distill 2016).
    return nn.Upsample(scale_factor=2.0, mode="nearest")


def _conv(
    in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, bias: bool = False
) -> nn.Conv2d:
    # The paper pads the residual blocks not at all and crops; zero padding, which others
    # use, draws a frame around the picture. Reflection padding does neither.
    return nn.Conv2d(
        in_channels,
        out_channels,
        kernel_size,
        stride,
        padding=kernel_size // 2,
        padding_mode="reflect",
        bias=bias,
    )


class _ConvNormReLU(nn.Sequential):
    """Convolution, instance norm, ReLU. The norm's shift takes the place of a bias."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1
    ) -> None:
        # Instance norm for the paper's batch norm: Ulyanov, Vedaldi, Lempitsky, "Instance
        # Normalization: The Missing Ingredient for Fast Stylization" (2016).
        super().__init__(
            _conv(in_channels, out_channels, kernel_size, stride),
            nn.InstanceNorm2d(out_channels, affine=True),
            nn.ReLU(),
        )


class _ResidualBlock(nn.Module):
    """x + IN(conv(ReLU(IN(conv(x))))), without a ReLU after the sum (Gross and Wilber 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _ConvNormReLU(channels, channels, kernel_size=3),
            _conv(channels, channels, kernel_size=3),
            nn.InstanceNorm2d(channels, affine=True),
        )

    def forward(self, hidden: Tensor) -> Tensor:
        out: Tensor = hidden + self.body(hidden)
        return out
