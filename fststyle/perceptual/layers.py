"""Layer names of VGG16 and VGG19; this module does not import torch."""

from __future__ import annotations

import re
from typing import Final, Literal

from fststyle.errors import SettingError

Architecture = Literal["vgg16", "vgg19"]

_CONVOLUTIONS: Final[dict[str, tuple[int, ...]]] = {
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}


def layer_names(architecture: Architecture = "vgg16") -> tuple[str, ...]:
    """Return the names of all ReLU layers, from ``relu1_1`` to the deepest."""
    return tuple(
        f"relu{block}_{index}"
        for block, count in enumerate(_CONVOLUTIONS[architecture], start=1)
        for index in range(1, count + 1)
    )


def canonical_layer(name: str, architecture: Architecture = "vgg16") -> str:
    """Convert a Keras layer name such as ``block3_conv3`` to ``relu3_3``.

    Args:
        name: Layer name in either form. Both refer to the output after the ReLU.
        architecture: Architecture that must have the layer.

    Returns:
        The name in the form ``relu3_3``.

    Raises:
        SettingError: The architecture does not have this layer.
    """
    keras = re.fullmatch(r"block(\d)_conv(\d)", name)
    canonical = f"relu{keras[1]}_{keras[2]}" if keras else name
    if canonical not in layer_names(architecture):
        raise SettingError(
            f"{architecture.upper()} has no layer {name!r}; choose from "
            f"{', '.join(layer_names(architecture))} (or use Keras names such as block3_conv3).",
            code="unknown_layer",
        )
    return canonical
