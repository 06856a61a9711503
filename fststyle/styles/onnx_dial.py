"""Norms of an ONNX model with a dial: the strength is an input, or a map.

There are three ways to run a network with a dial, and all give the same result:

- **folded**: `fststyle.styles.dial.fold_dial` turns it into a network with fixed norms, for one
  strength. This costs no time.
- **input**: `DialNorm` computes the norms' gains and shifts from the model's input ``strength``.
  Style files contain this model.
- **map**: `MappedNorm` computes a gain and a shift for each pixel, from a map of positions.
"""

from __future__ import annotations

import math

import numpy as np

from fststyle.styles.dial import STRONGEST, WEAKEST, NormParameters
from fststyle.styles.onnx_norms import Norm, crop, instance_norm
from fststyle.styles.onnx_protobuf import Graph
from fststyle.styles.shape import NetworkConfig, norm_strides


class DialNorm:
    """Instance norms whose gains and shifts depend on the style and the strength.

    Besides ``photo``, the model has up to two inputs: ``strength``, ``(1,)``, for networks with a
    dial, and ``style``, the number of the style, for networks with several styles. Both have
    default values, so that runners need not set them. Below `WEAKEST`, the result is blended with
    the photo.

    Args:
        shape: Shape of the network.
        strength: Default strength.
    """

    has_bias = False
    can_merge = True

    def __init__(self, shape: NetworkConfig, strength: float = 1.0) -> None:
        self._shape = shape
        self._strength = strength

    def begin(self, graph: Graph, channels: list[int]) -> str:
        """Add the inputs, and compute the position of the dial."""
        photo = graph.input("photo", "batch", 3, "height", "width")
        graph.constant("style", 0, np.int64)
        if self._shape.styles > 1:
            graph.input("style", dtype="int64")
        if self._shape.dial:
            graph.constant("strength", [self._strength], np.float32)
            graph.input("strength", 1)
            weakest = graph.constant("weakest", WEAKEST, np.float32)
            strongest = graph.constant("strongest", STRONGEST, np.float32)
            graph.constant("per_octave", 2 / math.log(2), np.float32)
            octaves = graph.add("Log", graph.add("Clip", "strength", weakest, strongest))
            graph.add("Mul", octaves, "per_octave", output="position")
        return photo

    def apply(self, graph: Graph, hidden: str, name: str, channels: int) -> str:
        """Add an instance norm."""
        gain, shift = (self._parameter(graph, name, kind, channels) for kind in ("weight", "bias"))
        return instance_norm(graph, hidden, gain, shift)

    def finish(self, graph: Graph, result: str, margin: int) -> None:
        """Crop the result to the photo's size, as the output ``picture``."""
        graph.output("picture", "batch", 3, "height", "width")
        size = graph.add("Shape", "photo", start=2, end=4)
        if not self._shape.dial:
            crop(graph, result, size, margin, output="picture")
            return
        result = crop(graph, result, size, margin)
        black, white = (graph.constant(n, v, np.float32) for n, v in (("black", 0), ("white", 1)))
        share = graph.add("Clip", graph.add("Div", "strength", "weakest"), black, white)
        change = graph.add("Mul", graph.add("Sub", result, "photo"), share)
        graph.add("Add", "photo", change, output="picture")

    def _parameter(self, graph: Graph, name: str, kind: str, channels: int) -> str:
        """Add the computation of the gains or shifts of a norm, ``(C,)``."""
        size = (self._shape.styles, channels)
        value = graph.add("Gather", graph.weight(f"{name}.{kind}", *size), "style")
        if not self._shape.dial:
            return value
        slope = graph.add("Gather", graph.weight(f"{name}.dial_{kind}", *size), "style")
        return graph.add("Add", value, graph.add("Mul", slope, "position"))


class MappedNorm:
    """Norms that are followed by a gain and a shift for each pixel.

    The model has another input, ``position``, ``(N, 1, H, W)``: the position of the dial for each
    pixel of the photo, extended at the lower and right edges so that H and W are multiples of 4.
    Each layer uses its average over the area that a value of the layer stands for. A map
    ``(1, 1, 1, 1)`` sets the same position everywhere.

    Args:
        inner: Norms whose gains are 1 and whose shifts are 0. The model's other inputs, and its
            outputs, are theirs.
        shape: Shape of the network.
        parameters: Parameters of the norms, from `fststyle.styles.dial.split_norms`.
    """

    def __init__(self, inner: Norm, shape: NetworkConfig, parameters: NormParameters) -> None:
        self.has_bias, self.can_merge = inner.has_bias, inner.can_merge
        self._inner = inner
        self._strides = norm_strides(shape)
        self._parameters = parameters
        self._levels: dict[int, str] = {}

    def begin(self, graph: Graph, channels: list[int]) -> str:
        """Add the inputs, and reduce the map to the resolution of each layer."""
        photo = self._inner.begin(graph, channels)
        self._levels[1] = graph.input("position", "maps", 1, "rows", "columns")
        for stride in (2, 4):
            finer = self._levels[stride // 2]
            # The padding, which averages do not include, keeps a map of a single position.
            self._levels[stride] = graph.add(
                "AveragePool", finer, kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 1, 1]
            )
        return photo

    def apply(self, graph: Graph, hidden: str, name: str, channels: int) -> str:
        """Add a norm, a multiplication and an addition."""
        normal = self._inner.apply(graph, hidden, name, channels)
        size = graph.add("Shape", hidden, start=2, end=4)
        local = crop(graph, self._levels[self._strides[name]], size)
        gain, shift = (
            self._parameter(graph, local, name, kind, channels) for kind in ("weight", "bias")
        )
        return graph.add("Add", graph.add("Mul", normal, gain), shift)

    def finish(self, graph: Graph, result: str, margin: int) -> None:
        """Add the outputs of the inner norms."""
        self._inner.finish(graph, result, margin)

    def _parameter(self, graph: Graph, local: str, name: str, kind: str, channels: int) -> str:
        base, slope = (
            graph.constant(f"{name}.local_{key}", self._parameters[f"{name}.{key}"], np.float32)
            for key in (kind, f"dial_{kind}")
        )
        return graph.add("Add", graph.add("Mul", local, slope), base)
