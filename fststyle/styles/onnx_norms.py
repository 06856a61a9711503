"""Norms of an ONNX model: as trained, folded into convolutions, measured, or smoothed over a video.

Each class implements one way to normalise. `fststyle.styles.onnx_graph.build_model` builds the
network around it: ``begin`` adds the model's inputs and returns the photo, ``apply`` adds one norm,
and ``finish`` adds the model's outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from fststyle.styles.onnx_protobuf import OPSET, Graph, Weights
from fststyle.styles.shape import STRIDE

EPSILON: Final = 1e-5
"""Constant that is added to every variance. This value is the default of torch and ONNX."""

_STEP: Final = 7
"""Distance in pixels, down and across, between those used for a video frame's statistics."""
_ROUNDING: Final = 0.01
_MOST_RATIO: Final = 10.0
_MOST_CHANGE: Final = 10.0
"""Limits on how far smoothing can move a frame away from its own statistics."""


class Norm(Protocol):
    """A way to normalise, including the inputs and outputs that the model needs for it."""

    has_bias: bool
    """Whether convolutions before norms have a bias."""

    can_merge: bool
    """Whether upsampling can be merged with convolutions before norms.

    This requires that no statistics of the convolutions' results are used elsewhere.
    """

    def begin(self, graph: Graph, channels: list[int]) -> str:
        """Add the inputs. Return the name of the photo's tensor, ``(N, 3, H, W)`` in [0, 1].

        Args:
            graph: The graph under construction.
            channels: Number of channels of each norm, in the order of the calls to `apply`.
        """

    def apply(self, graph: Graph, hidden: str, name: str, channels: int) -> str:
        """Add the norm ``name`` after the tensor ``hidden``. Return the name of its output."""

    def finish(self, graph: Graph, result: str, margin: int) -> None:
        """Add the outputs.

        Args:
            graph: The graph under construction.
            result: Tensor that contains the result.
            margin: Number of pixels to remove at the top and left. Any number of pixels may have
                to be removed at the bottom and right.
        """


class InstanceNorm:
    """Instance norms, as in the trained network.

    Args:
        size: Fixed height and width of the photos, for a batch size of 1. By default, all three
            may vary.
        opset: ONNX opset version of the model.
    """

    has_bias = False
    can_merge = True

    def __init__(self, size: tuple[int, int] | None = None, *, opset: int = OPSET) -> None:
        self._size = size
        self._opset = opset
        self._shape: tuple[str | int, ...] = ("batch", 3, "height", "width")
        if size is not None:
            self._shape = (1, 3, *size)

    def begin(self, graph: Graph, channels: list[int]) -> str:
        """Add the input ``photo``."""
        return graph.input("photo", *self._shape)

    def apply(self, graph: Graph, hidden: str, name: str, channels: int) -> str:
        """Add an instance norm."""
        return instance_norm(graph, hidden, *_parameters(graph, name, channels))

    def finish(self, graph: Graph, result: str, margin: int) -> None:
        """Crop the result to the photo's size, as the output ``picture``."""
        graph.output("picture", *self._shape)
        if self._size is None:
            crop(graph, result, self._photo_size(graph), margin, output="picture")
        elif margin or any(length % STRIDE for length in self._size):
            size = graph.constant("size", self._size, np.int64)
            crop(graph, result, size, margin, output="picture")
        else:
            graph.add("Identity", result, output="picture")

    def _photo_size(self, graph: Graph) -> str:
        if self._opset >= 15:
            return graph.add("Shape", "photo", start=2, end=4)
        # In older opsets, Shape can only return all dimensions.
        begin, end, axis = (graph.constant(f"number_{n}", [n], np.int64) for n in (2, 4, 0))
        return graph.add("Slice", graph.add("Shape", "photo"), begin, end, axis)


class FoldedNorm(InstanceNorm):
    """No norms, because `fold_norms` has merged them into the convolutions.

    Such a network can process a photo in parts, each with the statistics of the whole photo.
    """

    has_bias = True

    def apply(self, graph: Graph, hidden: str, name: str, channels: int) -> str:
        """Add nothing."""
        return hidden


class MeasuredNorm:
    """Norms with statistics measured over all photos of a batch, which the model outputs.

    The model has a second input, ``inset``. Its two values are the widths in pixels of the margins
    that the statistics ignore: one at the top and bottom, the other on the left and right. Both
    the margins and the sizes of the photos must be multiples of 4.

    The model's outputs are ``NAME.mean`` and ``NAME.variance``, each ``(1, C, 1, 1)``, for each
    norm in `norm_names`. The model does not output an image.
    """

    has_bias = False
    can_merge = False

    def __init__(self) -> None:
        self._photo_size = ""
        self._measured: list[str] = []

    def begin(self, graph: Graph, channels: list[int]) -> str:
        """Add the inputs ``photo`` and ``inset``."""
        _add_constants(graph)
        photo = graph.input("photo", "batch", 3, "height", "width")
        graph.input("inset", 2, dtype="int64")
        self._photo_size = graph.add("Shape", photo, start=2, end=4)
        return photo

    def apply(self, graph: Graph, hidden: str, name: str, channels: int) -> str:
        """Add a norm with the statistics of the pixels inside the margins."""
        gain, shift = _parameters(graph, name, channels)
        # The mean is computed in two steps, because a runner may round to bfloat16 in between.
        # The second step corrects the error of the first.
        about = _average(graph, self._counted(graph, hidden))
        centred = graph.add("Sub", hidden, about)
        counted = self._counted(graph, centred)
        rest = _average(graph, counted)
        mean = graph.add("Add", about, rest, output=f"{name}.mean")
        square = _average(graph, graph.add("Mul", counted, counted))
        variance = graph.add("Sub", square, graph.add("Mul", rest, rest), output=f"{name}.variance")
        self._measured += (mean, variance)
        deviation = graph.add("Sqrt", graph.add("Add", variance, "epsilon"))
        scale = graph.add("Div", _per_channel(graph, gain), deviation)
        offset = graph.add("Sub", _per_channel(graph, shift), graph.add("Mul", rest, scale))
        return graph.add("Add", graph.add("Mul", centred, scale), offset)

    def finish(self, graph: Graph, result: str, margin: int) -> None:
        """Add the statistics as outputs."""
        for name in self._measured:
            graph.output(name, 1, "channels", 1, 1)

    def _counted(self, graph: Graph, hidden: str) -> str:
        # Scale the margins to the resolution of this layer.
        size = graph.add("Shape", hidden, start=2, end=4)
        begin = graph.add("Div", graph.add("Mul", size, "inset"), self._photo_size)
        return graph.add("Slice", hidden, begin, graph.add("Sub", size, begin), "height_and_width")


class SmoothedNorm:
    """Norms for the frames of a video, which the model processes one at a time.

    Photo and result are uint8, ``(1, H, W, 3)``. Each norm uses the mean and standard deviation
    ``keep · before + (1 - keep) · measured``. Two inputs of the model control this: ``keep``,
    ``(1,)`` in [0, 1], and ``before``, ``(1, n, 1, 1)``, which lists the previous values of all
    norms in order. The model's second output, ``statistics``, has the same shape and contains the
    values that were used. With ``keep`` = 0, the model behaves like the trained network.
    """

    has_bias = False
    can_merge = False

    def __init__(self) -> None:
        self._used: list[str] = []
        self._count = 0

    def begin(self, graph: Graph, channels: list[int]) -> str:
        """Add the inputs ``photo``, ``keep`` and ``before``, and convert the photo."""
        _add_constants(graph)
        limits = {"least_ratio": 1 / _MOST_RATIO, "most_ratio": _MOST_RATIO}
        limits |= {"least_change": -_MOST_CHANGE, "most_change": _MOST_CHANGE}
        for name, value in {"levels": 255, "rounding": _ROUNDING, **limits}.items():
            graph.constant(name, value, np.float32)
        self._count = 2 * sum(channels)
        photo = graph.input("photo", 1, "height", "width", 3, dtype="uint8")
        graph.input("keep", 1)
        before = graph.input("before", 1, self._count, 1, 1)
        lengths = [length for length in channels for _ in ("mean", "deviation")]
        graph.split(before, lengths, [f"before_{index}" for index in range(len(lengths))])
        planes = graph.add("Transpose", graph.cast(photo, "float32"), perm=[0, 3, 1, 2])
        return graph.add("Div", planes, "levels", output="planes")

    def apply(self, graph: Graph, hidden: str, name: str, channels: int) -> str:
        """Add an instance norm, and adjust its result to the smoothed statistics.

        Measuring the statistics would double the time. Instead, they are derived from a few pixels
        before and after the instance norm. For each pixel, x = deviation · normal + mean.
        """
        gain, shift = (_per_channel(graph, p) for p in _parameters(graph, name, channels))
        units = [graph.constant(f"{n}_{channels}", [n] * channels, np.float32) for n in (1, 0)]
        normal = instance_norm(graph, hidden, *units)
        mean, deviation = _derived_statistics(graph, hidden, normal, channels)
        new_mean = self._smoothed(graph, mean)
        new_deviation = self._smoothed(graph, deviation)
        # Changes in an almost constant channel are mostly rounding errors.
        share = graph.add("Mul", graph.add("Abs", new_mean), "rounding")
        floor = graph.add("Add", share, "rounding")
        divisor = graph.add("Max", new_deviation, floor)
        ratio = graph.add("Div", graph.add("Max", deviation, floor), divisor)
        change = graph.add("Div", graph.add("Sub", mean, new_mean), divisor)
        ratio = graph.add("Clip", ratio, "least_ratio", "most_ratio")
        change = graph.add("Clip", change, "least_change", "most_change")
        scale, offset = graph.add("Mul", gain, ratio), graph.add("Mul", gain, change)
        return graph.add("Add", graph.add("Mul", normal, scale), graph.add("Add", shift, offset))

    def finish(self, graph: Graph, result: str, margin: int) -> None:
        """Add the outputs ``picture`` (cropped and rounded) and ``statistics``."""
        graph.add("Concat", *self._used, output="statistics", axis=1)
        size = graph.add("Shape", "planes", start=2, end=4)
        result = crop(graph, result, size, margin)
        result = graph.add("Round", graph.add("Mul", result, "levels"))
        result = graph.add("Transpose", result, perm=[0, 2, 3, 1])
        graph.cast(result, "uint8", output="picture")
        graph.output("picture", 1, "height", "width", 3, dtype="uint8")
        graph.output("statistics", 1, self._count, 1, 1)

    def _smoothed(self, graph: Graph, measured: str) -> str:
        before = f"before_{len(self._used)}"
        more = graph.add("Mul", graph.add("Sub", before, measured), "keep")
        self._used.append(graph.add("Add", measured, more))
        return self._used[-1]


def norm_names(weights: Weights) -> list[str]:
    """List the names of a network's norms, which are those with a weight for each channel."""
    return [
        name.removesuffix(".weight")
        for name, array in weights.items()
        if array.ndim == 1 and name.endswith(".weight")
    ]


def fold_norms(weights: Weights, statistics: Mapping[str, NDArray[np.floating]]) -> Weights:
    """Merge every norm, with fixed statistics, into the convolution before it.

    With a fixed mean m and variance v, gain·(conv(x) - m)/√(v + ε) + shift is a convolution
    with a bias, whose kernel is scaled by gain/√(v + ε).

    Args:
        weights: The network's weights.
        statistics: ``NAME.mean`` and ``NAME.variance``, each ``(1, C, 1, 1)``, for each norm, as
            returned by a model with `MeasuredNorm`.

    Returns:
        Weights for a model with `FoldedNorm`, all float32.
    """
    folded = {name: array.astype(np.float32) for name, array in weights.items()}
    for norm in norm_names(weights):
        gain, shift = (folded.pop(f"{norm}.{kind}") for kind in ("weight", "bias"))
        mean, variance = (statistics[f"{norm}.{kind}"].ravel() for kind in ("mean", "variance"))
        # If a channel is constant except for rounding errors, its normalised value is the shift
        # alone. Dividing would amplify the errors three hundred times in each layer.
        is_constant = variance <= 1e-9 + 1e-7 * mean**2
        scale = np.where(is_constant, 0, gain / np.sqrt(np.maximum(variance, 0) + EPSILON))
        layer, _, index = norm.rpartition(".")
        convolution = f"{layer}.{int(index) - 1}"
        folded[f"{convolution}.weight"] *= scale[:, None, None, None]
        folded[f"{convolution}.bias"] = np.asarray(shift - mean * scale, np.float32)
    return folded


def _parameters(graph: Graph, name: str, channels: int) -> tuple[str, str]:
    gain, shift = (graph.weight(f"{name}.{kind}", channels) for kind in ("weight", "bias"))
    return gain, shift


def _add_constants(graph: Graph) -> None:
    graph.constant("all_but_channels", [0, 2, 3], np.int64)
    graph.constant("per_channel", [1, -1, 1, 1], np.int64)
    graph.constant("epsilon", EPSILON, np.float32)


def instance_norm(graph: Graph, hidden: str, gain: str, shift: str) -> str:
    """Add an instance norm with the given gains and shifts, each ``(C,)``."""
    return graph.add("InstanceNormalization", hidden, gain, shift, epsilon=EPSILON)


def _per_channel(graph: Graph, vector: str) -> str:
    return graph.add("Reshape", vector, "per_channel")


def _average(graph: Graph, hidden: str) -> str:
    return graph.add("ReduceMean", hidden, "all_but_channels")


def crop(graph: Graph, result: str, size: str, margin: int = 0, output: str = "") -> str:
    """Crop a tensor to a height and width, from ``margin`` pixels below and right of its corner."""
    if margin:
        origin = graph.constant("inner_origin", [margin, margin], np.int64)
        end = graph.add("Add", size, origin)
        return graph.add("Slice", result, origin, end, "height_and_width", output=output)
    return graph.add("Slice", result, "origin", size, "height_and_width", output=output)


def _derived_statistics(graph: Graph, hidden: str, normal: str, channels: int) -> tuple[str, str]:
    """Return the mean and standard deviation of ``hidden``, given its instance norm ``normal``.

    The mean and deviation are found by fitting the line x = deviation · y + mean through a few
    pixels.
    """
    x, y = (_few_pixels(graph, values, channels) for values in (hidden, normal))
    x_mean, y_mean = _average(graph, x), _average(graph, y)
    y_centred = graph.add("Sub", y, y_mean)
    common = _average(graph, graph.add("Mul", graph.add("Sub", x, x_mean), y_centred))
    square = _average(graph, graph.add("Mul", y_centred, y_centred))
    deviation = graph.add("Div", common, graph.add("Add", square, "epsilon"))
    mean = graph.add("Sub", x_mean, graph.add("Mul", y_mean, deviation))
    return mean, deviation


def _few_pixels(graph: Graph, hidden: str, channels: int) -> str:
    # The pixels are selected with a convolution. Without a convolution before an output, OpenVINO
    # computes everything that leads to it in float32, which would double the time.
    kernel = graph.constant(f"same_{channels}", np.ones((channels, 1, 1, 1)), np.float32)
    strides: Any = [_STEP, _STEP]
    return graph.add("Conv", hidden, kernel, kernel_shape=[1, 1], strides=strides, group=channels)
