"""The dial: one network for every strength of a style.

The gain and the shift of each norm depend linearly on the position t of the dial. A position is
trained with the style weight times 2ᵗ. At t = 0, the network is the same as without a dial. With a
fixed position, the norms are ordinary ones, so that the dial costs no time. The position may also
be different for each pixel.

Users choose a strength from 0 to 4, which `dial_position` converts. Below `WEAKEST`, the result is
blended with the photo.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fststyle.styles.onnx_protobuf import Weights
from fststyle.styles.shape import NetworkConfig

DIAL_RANGE: Final = 4.0
"""Largest position of the dial. The smallest is its negative."""

STRONGEST: Final = 4.0
"""Largest strength, which has the position `DIAL_RANGE`."""

WEAKEST: Final = 1 / STRONGEST
"""Smallest strength that the network computes, which has the position -`DIAL_RANGE`."""

Strength = float | NDArray[np.float32]
"""A strength from 0 to `STRONGEST`: one number, or an array ``(H, W)`` with one for each pixel."""


def dial_position(strength: Strength) -> NDArray[np.float32]:
    """Return the position of the dial for a strength, 2 log₂(strength).

    Args:
        strength: A strength from 0 to 4. Values below `WEAKEST` have the same position as it.

    Returns:
        The position or positions, from -4 to 4: 0 for strength 1, 2 for strength 2.

    Example:
        >>> [float(dial_position(strength)) for strength in (0.25, 0.5, 1, 2, 4)]
        [-4.0, -2.0, 0.0, 2.0, 4.0]
    """
    # The style weight doubles with each step of t. A step of one therefore looks about the same
    # everywhere, and two such steps double the strength.
    clipped = np.clip(strength, WEAKEST, STRONGEST)
    return np.asarray(2 * np.log2(clipped), np.float32)


def style_share(strength: Strength) -> Strength:
    """Return the share of the network's result, from 0 to 1. The rest is the photo.

    Args:
        strength: A strength from 0 to 4. From `WEAKEST`, the share is 1.

    Example:
        >>> [float(style_share(strength)) for strength in (0, 0.125, 0.25, 1)]
        [0.0, 0.5, 1.0, 1.0]
    """
    share = np.minimum(np.asarray(strength, np.float32) / np.float32(WEAKEST), 1)
    return float(share) if share.ndim == 0 else share


NormParameters = Mapping[str, NDArray[np.float32]]
"""Parameters of conditional norms, ``(1, C, 1, 1)``, by their names in `TransformerNet`."""


def select_style(
    shape: NetworkConfig, weights: Weights, number: int
) -> tuple[NetworkConfig, Weights]:
    """Reduce a network with several styles to one of them.

    Args:
        shape: Shape of the network, with S styles.
        weights: Weights of the network. Those of the norms have the shape ``(S, C)``.
        number: Number of the style, from 0.

    Returns:
        Shape and weights of a network with one style.
    """
    rows = slice(number, number + 1)
    selected = {name: array[rows] if array.ndim == 2 else array for name, array in weights.items()}
    shape = replace(shape, styles=1)
    return (shape, selected) if shape.dial else (shape, _with_vectors(selected))


def fold_dial(
    shape: NetworkConfig, weights: Weights, position: float = 0.0
) -> tuple[NetworkConfig, Weights]:
    """Turn a network with one style and a dial into an ordinary one, for one position.

    Args:
        shape: Shape of the network.
        weights: Weights of the network. Those of the norms have the shape ``(1, C)``.
        position: Position of the dial.

    Returns:
        Shape and weights of a network with fixed norms.
    """
    folded = {}
    for name, array in weights.items():
        module, _, kind = name.rpartition(".")
        if array.ndim == 2:
            if kind.startswith("dial_"):
                continue
            array = array + np.float32(position) * weights[f"{module}.dial_{kind}"]
        folded[name] = array
    return replace(shape, dial=False), _with_vectors(folded)


def split_norms(
    shape: NetworkConfig, weights: Weights
) -> tuple[NetworkConfig, Weights, NormParameters]:
    """Separate the norms of a network with one style and a dial from their gains and shifts.

    Args:
        shape: Shape of the network.
        weights: Weights of the network.

    Returns:
        Shape and weights of a network without a dial, whose gains are all 1 and whose shifts are
        all 0, and the gains, the shifts and their slopes.
    """
    parameters = {n: a.reshape(1, -1, 1, 1) for n, a in weights.items() if a.ndim == 2}
    plain, weights = fold_dial(shape, weights)
    unit = {
        name: np.full_like(array, name.endswith(".weight")) if name in parameters else array
        for name, array in weights.items()
    }
    return plain, unit, parameters


def _with_vectors(weights: Weights) -> Weights:
    return {name: array[0] if array.ndim == 2 else array for name, array in weights.items()}
