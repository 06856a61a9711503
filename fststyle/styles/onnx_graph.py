"""Build, read and compare the ONNX graph of `TransformerNet`, without torch.

The graph is built here rather than by ``torch.onnx.export``. That function takes ten seconds,
prints messages, writes redundant Shape and Slice nodes, and merges equal weights, so that an
untrained network cannot be read back. Both graphs are equally fast in OpenVINO.

Building the graph here also makes reading safe. `rebuild` rejects a model unless its graph exactly
matches the one built here. Even then, runners never get the file's own graph, only one rebuilt
from the weights. The weights are all that runners use from the file.

Models are ``onnx.ModelProto`` objects. They are annotated as ``Any``, because onnx does not provide
type hints for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fststyle.styles import onnx_protobuf
from fststyle.styles.grain import add_grain
from fststyle.styles.onnx_dial import DialNorm
from fststyle.styles.onnx_norms import InstanceNorm, Norm
from fststyle.styles.onnx_protobuf import Graph, Weights
from fststyle.styles.shape import Convolution, NetworkConfig, Upsample, layers
from fststyle.styles.upsampling import add_cells, add_upsampling, merge_weights

_OPERATORS: Final = frozenset(
    (
        "Add",
        "Cast",
        "Clip",
        "Concat",
        "Conv",
        "Div",
        "Gather",
        "InstanceNormalization",
        "Log",
        "Mul",
        "Pad",
    )
    + ("Relu", "Resize", "Shape", "Sigmoid", "Slice", "Sub", "Tile")
)
_DTYPES: Final[Mapping[int, np.dtype[Any]]] = {  # by ONNX's TensorProto.DataType
    1: np.dtype("<f4"),
    7: np.dtype("<i8"),
    10: np.dtype("<f2"),
}


def build_model(
    shape: NetworkConfig,
    weights: Weights,
    norm: Norm | None = None,
    *,
    half: bool = False,
    merged: bool = False,
) -> Any:
    """Build the ONNX model of `TransformerNet`, without metadata.

    Args:
        shape: The network's shape.
        weights: All weights of the network and no others. For `FoldedNorm`, these are the result
            of `fold_norms`.
        norm: Kind of norms, which also determines the model's inputs and outputs. By default,
            the norms of the network as trained: `InstanceNorm` or `DialNorm`.
        half: Run convolutions in float16. Norms stay in float32, because they sum over every
            pixel of the photo.
        merged: Merge upsampling with the convolutions after it (`fststyle.styles.upsampling`).
            The results are the same except for rounding. Not possible with ``half``.

    Returns:
        An ``onnx.ModelProto``.

    Raises:
        ValueError: A weight is missing, or has the wrong shape or type.
    """
    if norm is None:
        norm = InstanceNorm() if shape.is_plain else DialNorm(shape)
    merged_norms = merged and norm.can_merge
    if merged:
        weights = merge_weights(shape, weights, norms=merged_norms)
    graph = Graph(weights, half=half)
    graph.constant("centre", 0.5, np.float32)
    graph.constant("double", [1, 1, 2, 2], np.float32)
    graph.constant("origin", [0, 0], np.int64)
    graph.constant("height_and_width", [2, 3], np.int64)
    parts = layers(shape)
    first, second = parts.residual
    all_layers = [*parts.encoder, *parts.residual * shape.residual_blocks, *parts.decoder]
    channels = [c.outputs for c in all_layers if isinstance(c, Convolution) and c.has_norm]
    photo = norm.begin(graph, channels)
    if shape.grain:
        photo = add_grain(graph, photo, shape.grain)
    limits = []
    if shape.linear_output:
        limits = [graph.constant("black", 0, np.float32), graph.constant("white", 1, np.float32)]

    hidden = _to_half(graph, graph.add("Sub", photo, "centre"))
    for index, convolution in enumerate(parts.encoder):
        hidden = _add_layer(graph, norm, hidden, f"encoder.{index}", convolution)
    for block in range(shape.residual_blocks):
        body = f"residual.{block}.body"
        inner = _add_layer(graph, norm, hidden, f"{body}.0", first)
        inner = _add_convolution(graph, norm, inner, f"{body}.1", second)
        inner = _add_norm(graph, norm, inner, f"{body}.2", second)
        hidden = graph.add("Add", hidden, inner)
    in_cells = merged and shape.first_stride == 2
    for index, layer in enumerate(parts.decoder[:-2] if in_cells else parts.decoder):
        name = f"decoder.{index}"
        if not merged_norms:
            hidden = _add_layer(graph, norm, hidden, name, layer)
        elif isinstance(layer, Convolution):
            hidden = add_upsampling(graph, norm, hidden, name, layer)
    if in_cells:
        hidden = add_cells(graph, hidden, shape.width)
    else:
        hidden = _to_single(graph, _add_layer(graph, norm, hidden, "to_rgb", parts.to_rgb))
    result = graph.add("Clip", hidden, *limits) if limits else graph.add("Sigmoid", hidden)
    if in_cells:
        result = graph.add("DepthToSpace", result, blocksize=2, mode="CRD")
    norm.finish(graph, result, margin=int(in_cells))
    return graph.model()


def _add_layer(
    graph: Graph, norm: Norm, hidden: str, name: str, layer: Convolution | Upsample
) -> str:
    """Add upsampling, a convolution, or a convolution with norm and ReLU."""
    if isinstance(layer, Upsample):
        modes = {"mode": "nearest", "nearest_mode": "floor"}
        modes["coordinate_transformation_mode"] = "asymmetric"
        return graph.add("Resize", hidden, "", "double", **modes)
    if not layer.has_norm:
        return _add_convolution(graph, norm, hidden, name, layer)
    hidden = _add_convolution(graph, norm, hidden, f"{name}.0", layer)
    return graph.add("Relu", _add_norm(graph, norm, hidden, f"{name}.1", layer))


def _add_convolution(graph: Graph, norm: Norm, hidden: str, name: str, layer: Convolution) -> str:
    size = layer.kernel
    if size > 1:
        margin = [0, 0, size // 2, size // 2] * 2
        pads = graph.constant(f"margin_{size // 2}", margin, np.int64)
        hidden = graph.add("Pad", hidden, pads, mode="reflect")
    shape = (layer.outputs, layer.inputs, size, size)
    parameters = [graph.weight(f"{name}.weight", *shape, half=graph.half)]
    if norm.has_bias or not layer.has_norm:
        parameters.append(graph.weight(f"{name}.bias", layer.outputs, half=graph.half))
    strides = [layer.stride, layer.stride]
    return graph.add("Conv", hidden, *parameters, kernel_shape=[size, size], strides=strides)


def _add_norm(graph: Graph, norm: Norm, hidden: str, name: str, layer: Convolution) -> str:
    return _to_half(graph, norm.apply(graph, _to_single(graph, hidden), name, layer.outputs))


def _to_half(graph: Graph, hidden: str) -> str:
    return graph.cast(hidden, "float16") if graph.half else hidden


def _to_single(graph: Graph, hidden: str) -> str:
    return graph.cast(hidden, "float32") if graph.half else hidden


def rebuild(model: Any, shape: NetworkConfig, norm: Norm | None = None) -> Any:
    """Rebuild a model from its weights, and check that the rebuilt model equals the original.

    Args:
        model: An ``onnx.ModelProto`` of unknown origin.
        shape: The shape that the network should have.
        norm: The norms that the model should have, as for `build_model`.

    Returns:
        The rebuilt ``onnx.ModelProto``, without metadata.

    Raises:
        ValueError: ``model`` differs from what `build_model` builds for ``shape`` and the weights.
    """
    rebuilt = build_model(shape, {t.name: _array(t) for t in model.graph.initializer}, norm)
    if _structure(model) != _structure(rebuilt):
        raise ValueError("its operations are different")
    return rebuilt


def read_weights(model: Any) -> Weights:
    """Read the weights of a model that `build_model` or `rebuild` returned.

    Args:
        model: An ``onnx.ModelProto``.

    Returns:
        The weights as stored, in read-only arrays.
    """
    return {
        tensor.name: _array(tensor)
        for tensor in model.graph.initializer
        if "." in tensor.name  # constants have no module
    }


def has_external_data(model: Any) -> bool:
    """Return whether a model refers to another file. Models from `build_model` never do."""
    return any(t.external_data or t.data_location != t.DEFAULT for t in model.graph.initializer)


def foreign_operators(model: Any) -> list[str]:
    """List operators, domains and functions in a model that `build_model` never uses."""
    foreign = [f"{n.domain}:{n.op_type}" for n in model.graph.node if n.domain]
    foreign += [n.op_type for n in model.graph.node if n.op_type not in _OPERATORS]
    foreign += [f"{o.domain}:*" for o in model.opset_import if o.domain]
    return foreign + [f"{f.domain}:{f.name}" for f in model.functions]


def _array(tensor: Any) -> NDArray[Any]:
    """Read an ONNX tensor without following references to other files."""
    dtype = _DTYPES.get(tensor.data_type)
    if dtype is None:
        raise ValueError(f"{tensor.name!r} has the wrong type")
    shape = tuple(tensor.dims)
    # Unlike NumPy's integers, Python's do not overflow.
    size = dtype.itemsize
    for length in shape:
        size *= length
    if min(shape, default=0) < 0 or size != len(tensor.raw_data):
        raise ValueError(f"{tensor.name!r} has the wrong size")
    array: NDArray[Any] = np.frombuffer(tensor.raw_data, dtype).reshape(shape)
    return array


def _structure(model: Any) -> object:
    """Return everything in a model except metadata, in a form that can be compared by value."""
    graph = model.graph
    nodes = [
        (node.op_type, tuple(node.input), tuple(node.output), onnx_protobuf.attributes_of(node))
        for node in graph.node
    ]
    constants = {t.name: (tuple(t.dims), t.data_type, t.raw_data) for t in graph.initializer}
    ends = [[value.name for value in values] for values in (graph.input, graph.output)]
    opsets = [(opset.domain, opset.version) for opset in model.opset_import]
    rest = [len(graph.initializer), len(graph.sparse_initializer), len(model.training_info)]
    return nodes, constants, ends, opsets, rest
