"""The ONNX graph of `TransformerNet`: put together, taken apart and compared, without torch.

The graph is put together here instead of by ``torch.onnx.export``, which takes ten seconds,
prints, writes two Shape and Slice nodes for one, and merges weights that are equal, so that
an untrained network cannot be read back. For OpenVINO both graphs are equally fast. Having the
graph here makes reading safe too: `rebuild` refuses a model whose graph is not exactly the one
that belongs to its network, and what a runner gets is the graph built anew from the weights, so
nothing in a file but numbers ever reaches it.

Models are ``onnx.ModelProto``, for which onnx has no types.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from fststyle.styles import onnx_protobuf
from fststyle.styles.shape import HEAD

Weights = Mapping[str, NDArray[np.floating]]
"""By their names in `TransformerNet`; kernels in float16 or float32, all else in float32."""

Norms = Literal["instance", "folded", "measured", "steady"]

_OPERATORS: Final = frozenset(
    ("Add", "Cast", "Clip", "Conv", "InstanceNormalization", "Pad", "Relu", "Resize")
    + ("Shape", "Sigmoid", "Slice", "Sub")
)
EPSILON: Final = 1e-5
"""What every norm adds to the variance; torch's default, and ONNX's."""

_FEW: Final = 7
"""Every so many pixels down and across, the statistics of a film's frame are read off."""
_ROUNDING: Final = 0.01
_MOST_RATIO: Final = 10.0
_MOST_CHANGE: Final = 10.0
"""A frame is never further from its own statistics, whatever came before it."""

_OPSET: Final = 18
_IR_VERSION: Final = 8  # the one that came with opset 18, for old runners
_DTYPES: Final[Mapping[int, np.dtype[Any]]] = {  # by ONNX's TensorProto.DataType
    1: np.dtype("<f4"),
    7: np.dtype("<i8"),
    10: np.dtype("<f2"),
}


def build_model(config: Mapping[str, int], weights: Weights, *, norms: Norms = "instance") -> Any:
    """Build the ONNX model of `TransformerNet`, without metadata.

    Args:
        config: The values of a `NetworkConfig`; ``linear_output`` may be missing.
        weights: Those of the network, no more and no fewer; for ``norms="folded"`` what
            `fold_norms` made of them.
        norms: ``instance`` is the network itself. ``folded`` has no norms: a photo of any
            part of another one gets that one's statistics, by its weights. ``measured`` gives no
            picture: it normalises by the statistics of all photos of the batch together, as
            if they were one, and its outputs are those statistics, ``NAME.mean`` and
            ``NAME.variance`` ``(1, C, 1, 1)`` for each norm in `norm_names`. It has a second
            input, ``inset``: how many pixels along the upper and lower, and the left and right
            borders do not count; a multiple of 4 as the photos' sizes are, or 0. ``steady`` is for
            the frames of a film, one at a time: the photo and the picture are uint8
            ``(1, H, W, 3)``, and every norm takes ``keep · before + (1 - keep) · measured`` as its
            mean and deviation. ``keep``, ``(1,)`` in [0, 1], and ``before`` are inputs; what was
            taken is the second output, ``statistics``, of the same shape ``(1, n, 1, 1)``: of one
            norm after another. With ``keep`` at 0 it is the network itself.

    Returns:
        An ``onnx.ModelProto``.

    Raises:
        ValueError: A weight is missing or of another shape or type, or there is no such network.
    """
    types = onnx_protobuf.messages().TensorProto
    nodes: list[Any] = []
    tensors: list[Any] = []
    measured: list[str] = []
    taken: list[str] = []  # by the norms of a film
    sizes: list[int] = []

    def add(operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        output = output or f"{operator.lower()}_{len(nodes)}"
        nodes.append(onnx_protobuf.node(operator, inputs, [output], **attributes))
        return output

    def constant(name: str, values: object, dtype: type) -> str:
        if all(tensor.name != name for tensor in tensors):  # one for all layers
            tensors.append(onnx_protobuf.tensor(np.array(values, dtype), name))
        return name

    def margin(pixels: int) -> str:
        return constant(f"margin_{pixels}", [0, 0, pixels, pixels] * 2, np.int64)

    def weight(name: str, *shape: int) -> str:
        array = weights.get(name)
        kernel = len(shape) == 4
        if array is None or array.shape != shape:
            raise ValueError(f"{name} is missing or of another shape")
        if array.dtype != np.float32 and not (kernel and array.dtype == np.float16):
            raise ValueError(f"{name} is of another type")
        tensors.append(onnx_protobuf.tensor(array, name))
        return add("Cast", name, to=types.FLOAT) if array.dtype == np.float16 else name

    def convolution(
        hidden: str,
        name: str,
        inputs: int,
        outputs: int,
        size: int,
        stride: int = 1,
        bias: bool = False,
    ) -> str:
        if size > 1:
            hidden = add("Pad", hidden, margin(size // 2), mode="reflect")
        parameters = [weight(f"{name}.weight", outputs, inputs, size, size)]
        if bias or norms == "folded":
            parameters.append(weight(f"{name}.bias", outputs))
        return add("Conv", hidden, *parameters, kernel_shape=[size, size], strides=[stride, stride])

    def norm(hidden: str, name: str, channels: int) -> str:
        if norms == "folded":
            return hidden
        parameters = [weight(f"{name}.{kind}", channels) for kind in ("weight", "bias")]
        if norms == "measured":
            return measured_norm(hidden, name, *parameters)
        if norms == "steady":
            return steady_norm(hidden, channels, *parameters)
        return add("InstanceNormalization", hidden, *parameters, epsilon=EPSILON)

    def what_counts(hidden: str) -> str:
        # What the photo's inset is at the resolution of this layer.
        size = add("Shape", hidden, start=2, end=4)
        begin = add("Div", add("Mul", size, "inset"), photo_size)
        return add("Slice", hidden, begin, add("Sub", size, begin), "height_and_width")

    def average(hidden: str, output: str = "") -> str:
        return add("ReduceMean", hidden, "all_but_channels", output=output)

    def measured_norm(hidden: str, name: str, gain: str, shift: str) -> str:
        # In two steps, since a runner may round to bfloat16 in between: what the first mean is
        # wrong by is in the second.
        about = average(what_counts(hidden))
        centred = add("Sub", hidden, about)
        counted = what_counts(centred)
        rest = average(counted)
        mean = add("Add", about, rest, output=f"{name}.mean")
        square = average(add("Mul", counted, counted))
        variance = add("Sub", square, add("Mul", rest, rest), output=f"{name}.variance")
        measured.extend((mean, variance))
        deviation = add("Sqrt", add("Add", variance, "epsilon"))
        scale = add("Div", add("Reshape", gain, "per_channel"), deviation)
        offset = add("Sub", add("Reshape", shift, "per_channel"), add("Mul", rest, scale))
        return add("Add", add("Mul", centred, scale), offset)

    def steady_norm(hidden: str, channels: int, gain: str, shift: str) -> str:
        # What instance norm took is known from a few pixels before and after it, since
        # x = deviation · normal + mean for all of them. To measure it takes as long as all else.
        unit = [constant(f"{n}_{channels}", [n] * channels, np.float32) for n in (1, 0)]
        normal = add("InstanceNormalization", hidden, *unit, epsilon=EPSILON)
        x, y = (few_pixels(values, channels) for values in (hidden, normal))
        x_mean, y_mean = average(x), average(y)
        y_centred = add("Sub", y, y_mean)
        common = average(add("Mul", add("Sub", x, x_mean), y_centred))
        square = average(add("Mul", y_centred, y_centred))
        deviation = add("Div", common, add("Add", square, "epsilon"))
        mean = add("Sub", x_mean, add("Mul", y_mean, deviation))
        for measured_now in (mean, deviation):
            before = f"before_{len(taken)}"
            sizes.append(channels)
            more = add("Mul", add("Sub", before, measured_now), "keep")
            taken.append(add("Add", measured_now, more))
        new_mean, new_deviation = taken[-2:]
        # Of a channel that is next to constant, the change is mostly rounding.
        floor = add("Add", add("Mul", add("Abs", new_mean), "rounding"), "rounding")
        divisor = add("Max", new_deviation, floor)
        ratio = add("Div", add("Max", deviation, floor), divisor)
        change = add("Div", add("Sub", mean, new_mean), divisor)
        gain, shift = (add("Reshape", vector, "per_channel") for vector in (gain, shift))
        scale = add("Mul", gain, add("Clip", ratio, "least_ratio", "most_ratio"))
        offset = add("Mul", gain, add("Clip", change, "least_change", "most_change"))
        return add("Add", add("Mul", normal, scale), add("Add", shift, offset))

    def few_pixels(hidden: str, channels: int) -> str:
        # A convolution, since OpenVINO computes all that leads to an output without one in
        # float32, and so would double the time.
        kernel = constant(f"same_{channels}", np.ones((channels, 1, 1, 1)), np.float32)
        strides = [_FEW, _FEW]
        return add("Conv", hidden, kernel, kernel_shape=[1, 1], strides=strides, group=channels)

    def conv_norm_relu(
        hidden: str, name: str, inputs: int, outputs: int, size: int = 3, stride: int = 1
    ) -> str:
        hidden = convolution(hidden, f"{name}.0", inputs, outputs, size, stride)
        return add("Relu", norm(hidden, f"{name}.1", outputs))

    def double(hidden: str) -> str:
        return add(
            "Resize",
            hidden,
            "",
            "double",
            mode="nearest",
            nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
        )

    constant("centre", 0.5, np.float32)
    constant("double", [1, 1, 2, 2], np.float32)
    constant("origin", [0, 0], np.int64)
    constant("height_and_width", [2, 3], np.int64)
    if norms in ("measured", "steady"):
        constant("all_but_channels", [0, 2, 3], np.int64)
        constant("per_channel", [1, -1, 1, 1], np.int64)
        constant("epsilon", EPSILON, np.float32)
    photo = "photo"
    if norms == "measured":
        photo_size = add("Shape", "photo", start=2, end=4)
    if norms == "steady":
        constant("levels", 255, np.float32)
        photo = add("Transpose", add("Cast", "photo", to=types.FLOAT), perm=[0, 3, 1, 2])
        photo = add("Div", photo, "levels")
        constant("rounding", _ROUNDING, np.float32)
        for name, limit in (("ratio", _MOST_RATIO), ("change", _MOST_CHANGE)):
            least = 1 / limit if name == "ratio" else -limit
            constant(f"least_{name}", least, np.float32)
            constant(f"most_{name}", limit, np.float32)

    width, trunk, first_stride = config["width"], config["trunk"], config["first_stride"]
    if first_stride not in (1, 2):
        raise ValueError(f"there is none with the first stride {first_stride}")
    linear = config.get("linear_output", 0)
    if linear not in (0, 1):
        raise ValueError(f"there is none with the linear output {linear}")
    limits = []
    if linear:
        limits = [constant("black", 0, np.float32), constant("white", 1, np.float32)]
    hidden = add("Sub", photo, "centre")
    if first_stride == 1:
        hidden = conv_norm_relu(hidden, "encoder.0", 3, width, size=9)
        hidden = conv_norm_relu(hidden, "encoder.1", width, 2 * width, stride=2)
        hidden = conv_norm_relu(hidden, "encoder.2", 2 * width, trunk, stride=2)
    else:
        hidden = conv_norm_relu(hidden, "encoder.0", 3, width, size=5, stride=2)
        hidden = conv_norm_relu(hidden, "encoder.1", width, trunk, stride=2)
    for block in range(config["residual_blocks"]):
        body = f"residual.{block}.body"
        inner = conv_norm_relu(hidden, f"{body}.0", trunk, trunk)
        inner = convolution(inner, f"{body}.1", trunk, trunk, 3)
        hidden = add("Add", hidden, norm(inner, f"{body}.2", trunk))
    if first_stride == 1:
        hidden = conv_norm_relu(double(hidden), "decoder.1", trunk, 2 * width)
        hidden = conv_norm_relu(double(hidden), "decoder.3", 2 * width, width)
        hidden = convolution(hidden, "to_rgb", width, 3, 9, bias=True)
    else:
        hidden = conv_norm_relu(double(hidden), "decoder.1", trunk, width)
        hidden = convolution(hidden, "decoder.2", width, HEAD, 1, bias=True)
        hidden = convolution(double(hidden), "to_rgb", HEAD, 3, 3, bias=True)
    picture = add("Clip", hidden, *limits) if linear else add("Sigmoid", hidden)
    if norms == "steady":
        before = [f"before_{index}" for index in range(len(sizes))]
        constant("sizes", sizes, np.int64)
        # At the beginning, since an operator must follow what it needs.
        nodes.insert(0, onnx_protobuf.node("Split", ["before", "sizes"], before, axis=1))
        add("Concat", *taken, output="statistics", axis=1)
        size = add("Shape", photo, start=2, end=4)
        picture = add("Slice", picture, "origin", size, "height_and_width")
        picture = add("Round", add("Mul", picture, "levels"))
        picture = add("Transpose", picture, perm=[0, 2, 3, 1])
        add("Cast", picture, to=types.UINT8, output="picture")
    else:
        size = add("Shape", "photo", start=2, end=4)
        add("Slice", picture, "origin", size, "height_and_width", output="picture")

    unused = weights.keys() - {tensor.name for tensor in tensors}
    if unused:
        raise ValueError(f"{next(iter(unused))!r} has no place in it")

    def end(name: str, *shape: str | int, dtype: int = types.FLOAT) -> Any:
        return onnx_protobuf.end(name, dtype, *shape)

    inputs = [end("photo", "batch", 3, "height", "width")]
    outputs = [end("picture", "batch", 3, "height", "width")]
    if norms == "measured":
        inputs.append(end("inset", 2, dtype=types.INT64))
        outputs = [end(name, 1, "channels", 1, 1) for name in measured]
    if norms == "steady":
        inputs, outputs = (
            [end(name, 1, "height", "width", 3, dtype=types.UINT8)] for name in ("photo", "picture")
        )
        inputs += [end("keep", 1), end("before", 1, sum(sizes), 1, 1)]
        outputs.append(end("statistics", 1, sum(sizes), 1, 1))
    graph = {"node": nodes, "name": "fststyle", "initializer": tensors}
    ends = {"input": inputs, "output": outputs}
    return onnx_protobuf.model(graph | ends, opset=_OPSET, ir_version=_IR_VERSION)


def norm_names(weights: Weights) -> list[str]:
    """Name the norms of a network: all weights that have a gain for each channel."""
    return [
        name.removesuffix(".weight")
        for name, array in weights.items()
        if array.ndim == 1 and name.endswith(".weight")
    ]


def fold_norms(weights: Weights, statistics: Mapping[str, NDArray[np.floating]]) -> Weights:
    """Pin the norms' statistics: every norm becomes a part of the convolution before it.

    With the mean m and the variance v pinned, gain·(conv(x) - m)/√(v + ε) + shift is a
    convolution with the kernel scaled by gain/√(v + ε), and a bias.

    Args:
        weights: Those of a network.
        statistics: ``NAME.mean`` and ``NAME.variance`` ``(1, C, 1, 1)`` for each norm, which the
            model with ``norms="measured"`` gives.

    Returns:
        The weights for ``build_model(..., norms="folded")``, all float32.
    """
    folded = {name: array.astype(np.float32) for name, array in weights.items()}
    for norm in norm_names(weights):
        gain, shift = (folded.pop(f"{norm}.{kind}") for kind in ("weight", "bias"))
        mean, variance = (statistics[f"{norm}.{kind}"].ravel() for kind in ("mean", "variance"))
        # A channel that is constant up to rounding: its norm is the shift alone, and dividing
        # would show the rounding, three hundred times enlarged, in each layer.
        is_constant = variance <= 1e-9 + 1e-7 * mean**2
        scale = np.where(is_constant, 0, gain / np.sqrt(np.maximum(variance, 0) + EPSILON))
        layer, _, index = norm.rpartition(".")
        convolution = f"{layer}.{int(index) - 1}"
        folded[f"{convolution}.weight"] *= scale[:, None, None, None]
        folded[f"{convolution}.bias"] = np.asarray(shift - mean * scale, np.float32)
    return folded


def rebuild(model: Any, config: Mapping[str, int]) -> Any:
    """Build a model anew from the weights of one that was read, and check that both are equal.

    Args:
        model: An ``onnx.ModelProto`` of unknown origin.
        config: The values of the `NetworkConfig` that it claims to be.

    Returns:
        An equal ``onnx.ModelProto``, without metadata.

    Raises:
        ValueError: ``model`` is not what `build_model` makes of ``config`` and its weights.
    """
    if config["residual_blocks"] > len(model.graph.node):
        raise ValueError("there are not so many residual blocks")
    rebuilt = build_model(config, {t.name: _array(t) for t in model.graph.initializer})
    if _structure(model) != _structure(rebuilt):
        raise ValueError("its operations are others")
    return rebuilt


def read_weights(model: Any) -> Weights:
    """Read the weights of a model that `build_model` or `rebuild` made.

    Args:
        model: An ``onnx.ModelProto``.

    Returns:
        The weights as they are stored, in arrays that cannot be written to.
    """
    return {
        tensor.name: _array(tensor)
        for tensor in model.graph.initializer
        if tensor.name.endswith((".weight", ".bias"))
    }


def has_external_data(model: Any) -> bool:
    """Tell whether a model refers to another file, which `build_model` never does."""
    return any(t.external_data or t.data_location != t.DEFAULT for t in model.graph.initializer)


def foreign_operators(model: Any) -> list[str]:
    """Name the operators, domains and functions in a model that `build_model` never uses."""
    foreign = [f"{n.domain}:{n.op_type}" for n in model.graph.node if n.domain]
    foreign += [n.op_type for n in model.graph.node if n.op_type not in _OPERATORS]
    foreign += [f"{o.domain}:*" for o in model.opset_import if o.domain]
    return foreign + [f"{f.domain}:{f.name}" for f in model.functions]


def _array(tensor: Any) -> NDArray[Any]:
    """Read an ONNX tensor without following references to other files."""
    dtype = _DTYPES.get(tensor.data_type)
    if dtype is None:
        raise ValueError(f"{tensor.name!r} is of another type")
    shape = tuple(tensor.dims)
    # Python's integers, unlike numpy's, do not overflow.
    size = dtype.itemsize
    for length in shape:
        size *= length
    if min(shape, default=0) < 0 or size != len(tensor.raw_data):
        raise ValueError(f"{tensor.name!r} is of another size")
    array: NDArray[Any] = np.frombuffer(tensor.raw_data, dtype).reshape(shape)
    return array


def _structure(model: Any) -> object:
    """Return all of a model that is not metadata, in a form that compares by value."""
    graph = model.graph
    nodes = [
        (
            node.op_type,
            tuple(node.input),
            tuple(node.output),
            onnx_protobuf.attributes_of(node),
        )
        for node in graph.node
    ]
    constants = {t.name: (tuple(t.dims), t.data_type, t.raw_data) for t in graph.initializer}
    ends = [[value.name for value in values] for values in (graph.input, graph.output)]
    opsets = [(opset.domain, opset.version) for opset in model.opset_import]
    rest = [len(graph.initializer), len(graph.sparse_initializer), len(model.training_info)]
    return nodes, constants, ends, opsets, rest
