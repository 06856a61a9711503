"""Upsampling merged with the convolution after it, which takes less time for the same result.

After nearest-neighbour upsampling by 2, a 3×3 convolution reads every coarse pixel several times.
Adding up the kernel's values for the same coarse pixel gives a kernel that reads the coarse image.
Reflection at the edge of the fine image then equals repetition at the edge of the coarse image.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fststyle.styles.onnx_norms import Norm
from fststyle.styles.onnx_protobuf import Graph, Weights
from fststyle.styles.shape import Convolution, NetworkConfig, layers

_CELL: Final = 4  # pixels that the last convolution computes at once
# Coarse rows i and i + 1 contribute to the fine rows 2i + 1 and 2i + 2. For each fine row and each
# coarse row, this lists which of the kernel's three rows are added up.
_ROWS: Final = np.array([[[1, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, 1, 1]]], np.float32)


def merge_weights(shape: NetworkConfig, weights: Weights, *, norms: bool) -> Weights:
    """Compute the weights of a network whose upsampling is merged with its convolutions.

    Args:
        shape: The network's shape.
        weights: The network's weights, or the result of `fststyle.styles.onnx_norms.fold_norms`.
        norms: Whether to merge convolutions before norms (`add_upsampling`). The last convolutions
            of a network with ``first_stride`` 2 are always merged (`add_cells`).

    Returns:
        The weights. Merged kernels are float32.
    """
    merged = dict(weights)
    for index, layer in enumerate(layers(shape).decoder):
        if norms and isinstance(layer, Convolution) and layer.has_norm:
            kernel = weights[f"decoder.{index}.0.weight"]
            merged[f"decoder.{index}.0.weight"] = _transposed(kernel)
    if shape.first_stride == 2:
        first, first_bias = (merged.pop(f"decoder.2.{kind}") for kind in ("weight", "bias"))
        last = np.einsum("aur,bvc,oirc->oabiuv", _ROWS, _ROWS, weights["to_rgb.weight"])
        last = last.reshape(-1, *last.shape[3:])
        kernel = np.einsum("oiuv,ij->ojuv", last, first[:, :, 0, 0])
        bias = weights["to_rgb.bias"].repeat(_CELL) + np.einsum("oiuv,i->o", last, first_bias)
        merged |= {"to_rgb.weight": kernel, "to_rgb.bias": bias}
    return merged


def add_upsampling(graph: Graph, norm: Norm, hidden: str, name: str, layer: Convolution) -> str:
    """Add upsampling by 2 and a 3×3 convolution as one transposed convolution, norm and ReLU."""
    parameters = [graph.weight(f"{name}.0.weight", layer.inputs, layer.outputs, 4, 4)]
    if norm.has_bias:
        parameters.append(graph.weight(f"{name}.0.bias", layer.outputs))
    else:
        # Subtracting the mean does not change the norm's result. On a plain photo, it prevents
        # rounding errors, which differ between the four kinds of fine pixels, from being amplified.
        mean = graph.add("ReduceMean", hidden, "height_and_width")
        hidden = graph.add("Sub", hidden, mean)
    hidden = graph.add(
        "ConvTranspose",
        _padded(graph, hidden),
        *parameters,
        kernel_shape=[4, 4],
        strides=[2, 2],
        pads=[3, 3, 3, 3],
    )
    return graph.add("Relu", norm.apply(graph, hidden, f"{name}.1", layer.outputs))


def add_cells(graph: Graph, hidden: str, inputs: int) -> str:
    """Add the last two convolutions and the upsampling between them as one 2×2 convolution.

    Its results are ``(N, 3 · 4, H + 1, W + 1)``, for cells of 2×2 pixels that begin one pixel above
    and to the left of the photo. Use ``DepthToSpace`` in mode ``CRD`` to arrange the pixels.
    """
    kernel = graph.weight("to_rgb.weight", 3 * _CELL, inputs, 2, 2)
    bias = graph.weight("to_rgb.bias", 3 * _CELL)
    return graph.add("Conv", _padded(graph, hidden), kernel, bias, kernel_shape=[2, 2])


def _padded(graph: Graph, hidden: str) -> str:
    return graph.add(
        "Pad", hidden, graph.constant("margin_1", [0, 0, 1, 1] * 2, np.int64), mode="edge"
    )


def _transposed(kernel: NDArray[np.floating]) -> NDArray[np.float32]:
    filters, inputs = kernel.shape[:2]
    merged = np.zeros((inputs, filters, 4, 4), np.float32)
    for row in (0, 1):
        for column in (0, 1):
            flipped = kernel[:, :, ::-1, ::-1].swapaxes(0, 1)
            merged[:, :, row : row + 3, column : column + 3] += flipped
    return merged
