"""The content of a style file, in the forms that runners need.

`fststyle.styles.style_file` reads and writes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from fststyle.errors import StyleError, check_number
from fststyle.styles.dial import (
    STRONGEST,
    WEAKEST,
    NormParameters,
    dial_position,
    fold_dial,
    select_style,
    split_norms,
)
from fststyle.styles.grain import NO_GRAIN, Grain
from fststyle.styles.info import StyleInfo
from fststyle.styles.onnx_dial import DialNorm, MappedNorm
from fststyle.styles.onnx_graph import build_model
from fststyle.styles.onnx_norms import InstanceNorm, Norm
from fststyle.styles.onnx_protobuf import Weights
from fststyle.styles.shape import NetworkConfig

if TYPE_CHECKING:
    from torch import Tensor

    from fststyle.styles.network import TransformerNet


@dataclass(frozen=True)
class OneStyle:
    """One of the styles in a style file.

    Attributes:
        info: Origin and training of the style.
        strength: Recommended strength, from 0.25 to 4. Without a dial, always 1.

    Raises:
        SettingError: The strength is out of range.
    """

    info: StyleInfo
    strength: float = 1.0

    def __post_init__(self) -> None:
        check_number("The recommended strength", self.strength, WEAKEST, STRONGEST)


@dataclass(frozen=True, eq=False)
class StyleFile:
    """The checked content of a style file.

    Attributes:
        styles: Origin, training and recommended strength of each style.
        network: Shape of the network.
        weights: Weights by their names in `TransformerNet`, as stored. Kernels are float16 or
            float32, and all other weights are float32.
    """

    styles: tuple[OneStyle, ...]
    network: NetworkConfig
    weights: Weights

    @cached_property
    def model(self) -> bytes:
        """ONNX model for a runner, built only from the network's shape and weights."""
        model = build_model(self.network, self.weights, norm_of(self.network, self.styles))
        data: bytes = model.SerializeToString()
        return data

    @property
    def info(self) -> StyleInfo:
        """Origin and training of the first style."""
        return self.styles[0].info

    def selected(self, name: str = "") -> StyleFile:
        """Return the content for only one of the styles.

        Args:
            name: Name of a style in the file. By default, the first one.

        Returns:
            The content of a file with one style. If this file has only one, the same object is
            returned.

        Raises:
            StyleError: The file has no style with this name (code ``unknown_style``).
        """
        names = [style.info.name for style in self.styles]
        if name and name not in names:
            raise StyleError(
                f"The style file of {names[0]} has no style {name!r:.80}.",
                remedy=f"Choose from: {', '.join(names)}.",
                code="unknown_style",
            )
        if len(names) == 1:
            return self
        number = names.index(name) if name else 0
        shape, weights = select_style(self.network, self.weights, number)
        return StyleFile((self.styles[number],), shape, weights)

    def torch_network(self) -> TransformerNet:
        """Return the network for torch: float32, on the CPU and in evaluation mode."""
        return torch_network(self.network, self.weights)

    def folded(self, strength: float = 1.0) -> StyleFile:
        """Return the network for one strength, with fixed norms. The file must have one style.

        Args:
            strength: Strength of the style, from `fststyle.styles.dial.WEAKEST` to 4. Without a
                dial, the strength is ignored.

        Returns:
            The content of a file with one style and without a dial. If this is such a file, the
            same object is returned.
        """
        if self.network.is_plain:
            return self
        position = float(dial_position(strength))
        return StyleFile(self.styles, *fold_dial(self.network, self.weights, position))

    def without_grain(self) -> tuple[Grain, StyleFile]:
        """Separate the grain from the network, for runners that add it to the photo themselves."""
        if not self.network.grain:
            return NO_GRAIN, self
        plain = replace(self.network, grain=0.0)
        return Grain(self.network.grain), StyleFile(self.styles, plain, self.weights)

    def separated(self) -> tuple[StyleFile, NormParameters]:
        """Return the network in the form that follows a map of positions.

        The file must have one style and a dial.

        Returns:
            A style whose norms only normalise, and the parameters for
            `fststyle.styles.onnx_dial.MappedNorm`.
        """
        shape, weights, parameters = split_norms(self.network, self.weights)
        return StyleFile(self.styles, shape, weights), parameters

    def with_position(self) -> bytes:
        """Return an ONNX model for runners that cannot set inputs with default values.

        The file must have one style and a dial.

        Returns:
            A model with the inputs ``photo`` and ``position``, as in
            `fststyle.styles.onnx_dial.MappedNorm`. The result is not blended with the photo.
        """
        plain, parameters = self.separated()
        norm = MappedNorm(InstanceNorm(), plain.network, parameters)
        model: bytes = build_model(plain.network, plain.weights, norm).SerializeToString()
        return model


def norm_of(shape: NetworkConfig, styles: Sequence[OneStyle]) -> Norm:
    """Return the norms of the model in a style file."""
    return InstanceNorm() if shape.is_plain else DialNorm(shape, styles[0].strength)


def torch_network(shape: NetworkConfig, weights: Weights) -> TransformerNet:
    """Return a network for torch: float32, on the CPU and in evaluation mode."""
    import torch

    from fststyle.styles.network import TransformerNet

    # The meta device avoids drawing random weights that would only be overwritten.
    with torch.device("meta"):
        network = TransformerNet(shape)
    state: dict[str, Tensor] = {
        name: torch.tensor(array.astype(np.float32)) for name, array in weights.items()
    }
    network.load_state_dict(state, assign=True)
    return network.eval()
