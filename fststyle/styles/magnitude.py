"""An upper bound for the values that a network computes, which shows whether they overflow."""

from __future__ import annotations

from typing import Final

import numpy as np

from fststyle.styles.dial import DIAL_RANGE
from fststyle.styles.onnx_protobuf import Weights
from fststyle.styles.shape import Convolution, NetworkConfig, layers

MAX_VALUE: Final = 1e14
"""Largest value allowed. The sum of a gigapixel of its squares still fits into float32."""

_MOST_DEVIATIONS: Final = 3e4  # of one value from the mean of a gigapixel


def overflows(shape: NetworkConfig, weights: Weights) -> bool:
    """Return whether a network could compute a value above `MAX_VALUE`, or NaN, from a photo.

    Runners do not report such values: a ReLU can turn NaN into 0, and the result is then black.

    Args:
        shape: The network's shape.
        weights: The network's weights.
    """
    parts = layers(shape)
    factors = {"": 1.0, "dial_": DIAL_RANGE} if shape.dial else {"": 1.0}
    seen = [0.5]  # photos are centred around 0

    def convolve(value: float, name: str) -> float:
        kernel = np.abs(weights[f"{name}.weight"])
        seen.append(value * float(kernel.sum(axis=(1, 2, 3), dtype=np.float64).max()))
        return seen[-1]

    def normalise(name: str, before: float = 0.0) -> float:
        gain, shift = (
            sum(
                factor * float(np.abs(weights[f"{name}.{part}{kind}"]).max())
                for part, factor in factors.items()
            )
            for kind in ("weight", "bias")
        )
        seen.append(before + _MOST_DEVIATIONS * gain + shift)
        return seen[-1]

    def layer(value: float, name: str, convolution: Convolution) -> float:
        if convolution.has_norm:
            convolve(value, f"{name}.0")
            return normalise(f"{name}.1")
        seen.append(convolve(value, name) + float(np.abs(weights[f"{name}.bias"]).max()))
        return seen[-1]

    value = seen[0]
    for index, convolution in enumerate(parts.encoder):
        value = layer(value, f"encoder.{index}", convolution)
    for block in range(shape.residual_blocks):
        body = f"residual.{block}.body"
        convolve(layer(value, f"{body}.0", parts.residual[0]), f"{body}.1")
        value = normalise(f"{body}.2", value)
    for index, part in enumerate(parts.decoder):
        if isinstance(part, Convolution):
            value = layer(value, f"decoder.{index}", part)
    layer(value, "to_rgb", parts.to_rgb)
    return not float(np.max(seen)) <= MAX_VALUE  # NaN overflows, too
