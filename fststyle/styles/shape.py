"""The shape of a network, described by plain values, without torch."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Final, NamedTuple

from fststyle.errors import SettingError, check_number

MIN_SIDE: Final = 5
"""Smallest height and width that reflection padding supports, in pixels."""

STRIDE: Final = 4
"""Total stride of the network. Tiles begin at multiples of this value."""

HEAD: Final = 16
"""Number of channels that are upsampled to full size if the first stride is 2."""

_RANGES: Final = {
    "first_stride": (1, 2),
    "width": (1, 256),
    "trunk": (1, 1024),
    "residual_blocks": (0, 32),
    "linear_output": (0, 1),
    "styles": (1, 64),
}
_MOST_GRAIN: Final = 32.0
# Files include these values only if they differ from the defaults, so that a file without them is
# the same as before they existed.
_OPTIONAL: Final = {"linear_output": 0, "styles": 1, "dial": False, "grain": 0.0}


@dataclass(frozen=True)
class NetworkConfig:
    """The shape of a `TransformerNet`.

    Attributes:
        first_stride: Stride of the first convolution, 1 or 2. The paper uses 1. With 2, only the
            last convolution runs at full size. The stride also determines which layers come before
            and after the residual blocks.
        width: Number of filters of the first convolution, from 1 to 256. The paper uses 32.
        trunk: Number of channels of the residual blocks, from 1 to 1024. The paper uses 128, four
            times its width. Most weights belong to the residual blocks. Their number grows with
            the square of this value.
        residual_blocks: Number of residual blocks, from 0 to 32. The paper uses 5.
        linear_output: If 1, the values of the last convolution are clamped to [0, 1] instead of
            passed through a sigmoid. Only networks from other programs need this. A clamp has no
            gradient for values outside its range.
        styles: Number of styles, from 1 to 64. They share all kernels, and each has its own norms.
        dial: Whether the norms depend on the strength of the style, as
            `fststyle.styles.dial` describes.
        grain: Standard deviation of the noise that is added to the photo
            (`fststyle.styles.grain`), from 0 to 32, for pixel values from 0 to 255.

    Raises:
        SettingError: A value is out of range, or not a whole number where it must be one, or
            ``dial`` is not a boolean.

    Example:
        >>> NetworkConfig(width=16)
        NetworkConfig(first_stride=2, width=16, trunk=64, residual_blocks=5, linear_output=0, \
        styles=1, dial=False, grain=0.0)
        >>> NetworkConfig.from_json(NetworkConfig().to_json()) == NetworkConfig()
        True
    """

    first_stride: int = 2
    width: int = 24
    trunk: int = 64
    residual_blocks: int = 5
    linear_output: int = 0
    styles: int = 1
    dial: bool = False
    grain: float = 0.0

    def __post_init__(self) -> None:
        for name, (lowest, highest) in _RANGES.items():
            value = getattr(self, name)
            check_number(f"network.{name}", value, lowest, highest, whole=True)
        if not isinstance(self.dial, bool):
            raise SettingError(f"network.dial must be true or false, not {self.dial!r:.80}.")
        check_number("network.grain", self.grain, 0, _MOST_GRAIN)

    @property
    def is_plain(self) -> bool:
        """``True`` if there is one style and no dial, so that the norms are ordinary ones."""
        return self.styles == 1 and not self.dial

    @property
    def format_version(self) -> int:
        """Version of the file format that style files of such networks have."""
        return 1 if self.is_plain and not self.grain else 2

    def to_json(self) -> str:
        """Return the values as a JSON object, in the form that style files store."""
        values = asdict(self)
        for name, default in _OPTIONAL.items():
            if values[name] == default:
                del values[name]
        return json.dumps(values)

    @classmethod
    def from_json(cls, text: str) -> NetworkConfig:
        """Read the values that `to_json` wrote.

        Args:
            text: A JSON object with all values. Only ``linear_output``, ``styles``, ``dial`` and
                ``grain`` may be missing.

        Returns:
            The shape.

        Raises:
            SettingError: The text is not such an object, a value is out of range (both with code
                ``setting``), or there are unknown keys (code ``unknown_key``).
        """
        try:
            values = _OPTIONAL | json.loads(text)
        except (ValueError, TypeError, RecursionError) as error:
            raise SettingError("The network's shape is not a JSON object.") from error
        known = {field.name for field in fields(cls)}
        missing, unknown = known - values.keys(), values.keys() - known
        if missing:
            raise SettingError(f"The network's shape is missing the value {min(missing)}.")
        shape = cls(**{name: values[name] for name in known})
        if unknown:
            raise SettingError(f"Unknown value {min(unknown):.40}.", code="unknown_key")
        return shape


class Convolution(NamedTuple):
    """A convolutional layer with reflection padding.

    Attributes:
        inputs: Number of input channels.
        outputs: Number of filters.
        kernel: Height and width of the kernel.
        stride: Step in pixels.
        has_norm: Whether instance norm and ReLU follow the convolution. If not, it has a bias.
    """

    inputs: int
    outputs: int
    kernel: int
    stride: int = 1
    has_norm: bool = True


class Upsample(NamedTuple):
    """A nearest-neighbour upsampling layer.

    Attributes:
        factor: Scale factor for height and width.
    """

    factor: int = 2


class Layers(NamedTuple):
    """The layers of a network, in the order in which they are computed.

    Attributes:
        encoder: Layers before the residual blocks.
        residual: The two convolutions of each residual block. The second has no ReLU.
        decoder: Layers after the residual blocks.
        to_rgb: The last convolution.
    """

    encoder: tuple[Convolution, ...]
    residual: tuple[Convolution, Convolution]
    decoder: tuple[Convolution | Upsample, ...]
    to_rgb: Convolution


def layers(shape: NetworkConfig) -> Layers:
    """List the layers of a network.

    Both ``fststyle.styles.network`` and ``fststyle.styles.onnx_graph`` build networks from this
    list.

    Args:
        shape: The network's shape.

    Returns:
        The layers, without the final sigmoid or clamp.
    """
    width, trunk = shape.width, shape.trunk
    residual = (Convolution(trunk, trunk, 3), Convolution(trunk, trunk, 3))
    if shape.first_stride == 1:
        return Layers(
            encoder=(
                Convolution(3, width, 9),
                Convolution(width, 2 * width, 3, stride=2),
                Convolution(2 * width, trunk, 3, stride=2),
            ),
            residual=residual,
            decoder=(
                Upsample(),
                Convolution(trunk, 2 * width, 3),
                Upsample(),
                Convolution(2 * width, width, 3),
            ),
            to_rgb=Convolution(width, 3, 9, has_norm=False),
        )
    return Layers(
        encoder=(Convolution(3, width, 5, stride=2), Convolution(width, trunk, 3, stride=2)),
        residual=residual,
        # A pixel shuffle would be faster, but leaves a grid pattern with a period of 2 pixels.
        decoder=(
            Upsample(),
            Convolution(trunk, width, 3),
            Convolution(width, HEAD, 1, has_norm=False),
            Upsample(),
        ),
        to_rgb=Convolution(HEAD, 3, 3, has_norm=False),
    )


def norm_strides(shape: NetworkConfig) -> dict[str, int]:
    """Return the number of the photo's pixels, across, that a value of each norm stands for.

    Args:
        shape: The network's shape.

    Returns:
        1, 2 or 4 for each norm, by its name in `TransformerNet`.

    Example:
        >>> norm_strides(NetworkConfig(residual_blocks=0))
        {'encoder.0.1': 2, 'encoder.1.1': 4, 'decoder.1.1': 2}
    """
    parts = layers(shape)
    strides, stride = {}, 1
    for index, convolution in enumerate(parts.encoder):
        stride *= convolution.stride
        strides[f"encoder.{index}.1"] = stride
    for block in range(shape.residual_blocks):
        strides |= {f"residual.{block}.body.{name}": stride for name in ("0.1", "2")}
    for index, layer in enumerate(parts.decoder):
        if isinstance(layer, Upsample):
            stride //= layer.factor
        elif layer.has_norm:
            strides[f"decoder.{index}.1"] = stride
    return strides


def receptive_radius(shape: NetworkConfig) -> int:
    """Return the radius of a network's receptive field, rounded up to a multiple of `STRIDE`.

    Args:
        shape: The network's shape.

    Returns:
        The distance in pixels. Parts of the photo that are farther away from a pixel do not
        influence the result there, except through the norms' statistics.
    """
    # Each 3×3 convolution extends the radius by one pixel at its resolution. An upsampled pixel
    # is up to one fine pixel away from the corner of the coarse pixel.
    blocks = 2 * shape.residual_blocks * 4
    if shape.first_stride == 1:
        distance = 4 + 2 * 1 + 4 * 1 + blocks + 4 * 1 + 2 * 1 + 1 + 4
    else:
        distance = 2 + 2 * 1 + blocks + 2 * 1 + 1
    return math.ceil((distance + STRIDE) / STRIDE) * STRIDE
