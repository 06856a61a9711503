"""The layers of VGG16 and VGG19 by name; needs no torch."""

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
    """The ReLU layers of an architecture from shallow to deep, ``relu1_1`` first."""
    return tuple(
        f"relu{block}_{index}"
        for block, count in enumerate(_CONVOLUTIONS[architecture], start=1)
        for index in range(1, count + 1)
    )


def canonical_layer(name: str, architecture: Architecture = "vgg16") -> str:
    """Turn ``block3_conv3`` (as Keras names it, its output after the ReLU) into ``relu3_3``.

    Args:
        name: A layer by either name.
        architecture: The network that must have this layer.

    Returns:
        The name of the form ``relu3_3``.

    Raises:
        SettingError: The network has no such layer.
    """
    keras = re.fullmatch(r"block(\d)_conv(\d)", name)
    canonical = f"relu{keras[1]}_{keras[2]}" if keras else name
    if canonical not in layer_names(architecture):
        raise SettingError(
            f"{architecture.upper()} has no layer {name!r}; choose from "
            f"{', '.join(layer_names(architecture))} (or Keras' names, such as block3_conv3)."
        )
    return canonical
