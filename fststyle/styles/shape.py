"""The shape of a network, as plain values; needs no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from fststyle.errors import SettingError

MIN_SIDE: Final = 5
"""Smallest height and width that reflection padding can work with, in pixels."""


HEAD: Final = 16
"""Channels that are upsampled to full size where the first convolution has stride 2."""


_RANGES: Final = {
    "first_stride": (1, 2),
    "width": (1, 256),
    "trunk": (1, 1024),
    "residual_blocks": (0, 32),
    "linear_output": (0, 1),
}


@dataclass(frozen=True)
class NetworkConfig:
    """The shape of a `TransformerNet`.

    Attributes:
        first_stride: Stride of the first convolution, 1 or 2. The paper has 1; with 2 only the
            last convolution is computed at full size. It decides the layers at both ends.
        width: Filters of the first convolution, 1 to 256. The paper has 32.
        trunk: Channels of the residual blocks, 1 to 1024. The paper has 128, four times its
            width. Most of the weights are here; they grow with its square.
        residual_blocks: Number of residual blocks, 0 to 32. The paper has 5.
        linear_output: 1 clamps the last convolution's values to [0, 1] instead of passing them
            through a sigmoid. For networks that other programs trained; a clamp has no gradient
            where it clamps.

    Raises:
        SettingError: A value is not a whole number in its range.
    """

    first_stride: int = 2
    width: int = 24
    trunk: int = 64
    residual_blocks: int = 5
    linear_output: int = 0

    def __post_init__(self) -> None:
        for name, (lowest, highest) in _RANGES.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool):
                raise SettingError(f"network.{name} must be a whole number, not {value!r}.")
            if not lowest <= value <= highest:
                raise SettingError(
                    f"network.{name} must be from {lowest} to {highest}, not {value}."
                )


STRIDE: Final = 4
"""The network's total stride; tiles begin at its multiples."""


def reach(shape: NetworkConfig) -> int:
    """How far a network sees, rounded up to a multiple of `STRIDE`.

    Args:
        shape: Of the network.

    Returns:
        The distance in pixels beyond which the photo does not matter to a pixel of the picture,
        statistics aside.
    """
    # At each resolution the 3×3 convolutions reach one of its pixels further; a pixel that was
    # upsampled by 2 is up to one fine pixel away from the coarse pixel's corner, and so on.
    blocks = 2 * shape.residual_blocks * 4
    if shape.first_stride == 1:
        distance = 4 + 2 * 1 + 4 * 1 + blocks + 4 * 1 + 2 * 1 + 1 + 4
    else:
        distance = 2 + 2 * 1 + blocks + 2 * 1 + 1
    return math.ceil((distance + STRIDE) / STRIDE) * STRIDE
