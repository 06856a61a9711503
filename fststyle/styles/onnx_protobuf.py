"""ONNX's protobuf messages, and a class that builds graphs from them.

Importing all of onnx takes four times as long as importing only its protobuf messages, because it
also loads a checker, text formats and more. ``fststyle stylize`` needs only the messages, so this
module imports them without the rest of onnx.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Weights = Mapping[str, NDArray[np.floating]]
"""Arrays by their names in `TransformerNet`. Kernels are float16 or float32, others float32."""

_NAME: Final = "onnx.onnx_ml_pb2"
OPSET: Final = 18
"""ONNX opset version of style files."""
_IR_VERSION: Final = 8  # released with opset 18, so that old runners accept it
_TYPES: Final[Mapping[str, str]] = {
    "float32": "FLOAT", "float16": "FLOAT16", "int64": "INT64", "uint8": "UINT8",
}  # fmt: skip


@cache
def messages() -> Any:
    """Return the module of ONNX's messages. If onnx is imported later, it uses the same module."""
    package = importlib.util.find_spec("onnx")
    if "onnx" not in sys.modules and package is not None:
        for folder in package.submodule_search_locations or ():
            spec = importlib.util.spec_from_file_location(_NAME, f"{folder}/onnx_ml_pb2.py")
            if spec is None or spec.loader is None:
                continue
            module = importlib.util.module_from_spec(spec)
            try:
                spec.loader.exec_module(module)
            except OSError:  # a later version of onnx may store it elsewhere
                continue
            return sys.modules.setdefault(_NAME, module)
    import onnx

    return onnx


def node(operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> Any:
    """Create a ``NodeProto``.

    Args:
        operator: The operator's type, such as ``Conv``.
        inputs: Names of the input tensors.
        outputs: Names of the output tensors.
        attributes: Attributes of the operator: strings, numbers, or lists of whole numbers.
    """
    made = messages().NodeProto(op_type=operator, input=inputs, output=outputs)
    for name, value in sorted(attributes.items()):
        attribute = made.attribute.add(name=name)
        if isinstance(value, str):
            attribute.type, attribute.s = attribute.STRING, value.encode()
        elif isinstance(value, float):
            attribute.type, attribute.f = attribute.FLOAT, value
        elif isinstance(value, int):
            attribute.type, attribute.i = attribute.INT, value
        else:
            attribute.type = attribute.INTS
            attribute.ints.extend(value)
    return made


def attributes_of(made: Any) -> dict[str, object]:
    """Return the attributes of a ``NodeProto`` by name, as values that can be compared."""
    return {one.name: one.SerializeToString(deterministic=True) for one in made.attribute}


def tensor(array: NDArray[Any], name: str) -> Any:
    """Create a ``TensorProto`` from a float32, float16 or int64 array."""
    kind = _data_type(array.dtype.name)
    data = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()
    return messages().TensorProto(dims=array.shape, data_type=kind, name=name, raw_data=data)


def value_info(name: str, dtype: str, shape: Sequence[str | int]) -> Any:
    """Create the ``ValueInfoProto`` for an input or output.

    Args:
        name: Name of the tensor.
        dtype: Data type of the tensor: ``float32``, ``int64`` or ``uint8``.
        shape: Length of each dimension, or a name if the length may vary.
    """
    made = messages().ValueInfoProto(name=name)
    made.type.tensor_type.elem_type = _data_type(dtype)
    made.type.tensor_type.shape.SetInParent()  # even if there are no dimensions
    for length in shape:
        dimension = made.type.tensor_type.shape.dim.add()
        if isinstance(length, str):
            dimension.dim_param = length
        else:
            dimension.dim_value = length
    return made


class Graph:
    """An ONNX graph under construction.

    Every method that adds a tensor returns its name, which can then be used as the input of other
    nodes.

    Args:
        weights: Weights that `weight` can add to the graph.
        half: Whether convolutions run in float16.
    """

    def __init__(self, weights: Weights, *, half: bool = False) -> None:
        self.half = half
        self._weights = weights
        self._nodes: list[Any] = []
        self._tensors: dict[str, Any] = {}
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def input(self, name: str, *shape: str | int, dtype: str = "float32") -> str:
        """Add an input to the model. The arguments are those of `value_info`."""
        self._inputs.append(value_info(name, dtype, shape))
        return name

    def output(self, name: str, *shape: str | int, dtype: str = "float32") -> str:
        """Declare a tensor as an output of the model. The arguments are those of `value_info`."""
        self._outputs.append(value_info(name, dtype, shape))
        return name

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node with one output.

        Args:
            operator: The operator's type, such as ``Conv``.
            inputs: Names of the input tensors.
            output: Name of the output tensor. By default, the name is generated from the
                operator's type.
            attributes: Attributes of the operator, as in `node`.
        """
        output = output or f"{operator.lower()}_{len(self._nodes)}"
        self._nodes.append(node(operator, inputs, [output], **attributes))
        return output

    def cast(self, name: str, dtype: str, output: str = "") -> str:
        """Convert a tensor to another data type."""
        return self.add("Cast", name, output=output, to=_data_type(dtype))

    def split(self, name: str, lengths: Sequence[int], outputs: Sequence[str]) -> None:
        """Split a tensor along its channels into parts of the given lengths."""
        sizes = self.constant(f"{name}_lengths", lengths, np.int64)
        self._nodes.append(node("Split", [name, sizes], outputs, axis=1))

    def constant(self, name: str, values: object, dtype: type) -> str:
        """Add a constant. If the graph already has a constant with this name, reuse it."""
        if name not in self._tensors:
            self._tensors[name] = tensor(np.array(values, dtype), name)
        return name

    def weight(self, name: str, *shape: int, half: bool = False) -> str:
        """Add a weight.

        Args:
            name: Name of the weight.
            shape: Expected shape. Weights with four dimensions are kernels, which may be float16.
            half: Whether the model uses the weight in float16. If not, a float16 weight is
                converted to float32 when the model runs.

        Raises:
            ValueError: The weight is missing, or has the wrong shape or type.
        """
        array = self._weights.get(name)
        is_kernel = len(shape) == 4
        if array is None or array.shape != shape:
            raise ValueError(f"{name} is missing or has the wrong shape")
        if array.dtype != np.float32 and not (is_kernel and array.dtype == np.float16):
            raise ValueError(f"{name} has the wrong type")
        if half:
            with np.errstate(over="ignore"):
                array = array.astype(np.float16)
        self._tensors[name] = tensor(array, name)
        if half:
            return name
        return self.cast(name, "float32") if array.dtype == np.float16 else name

    def model(self) -> Any:
        """Return the finished graph as a ``ModelProto``, without unused constants.

        Raises:
            ValueError: At least one weight has not been used.
        """
        unused = self._weights.keys() - self._tensors.keys()
        if unused:
            raise ValueError(f"{min(unused)!r} does not belong in it")
        used = {name for made in self._nodes for name in made.input}
        graph = messages().GraphProto(
            name="fststyle",
            node=self._nodes,
            initializer=[t for name, t in self._tensors.items() if name in used],
            input=self._inputs,
            output=self._outputs,
        )
        made = messages().ModelProto(ir_version=_IR_VERSION, graph=graph)
        made.opset_import.add(domain="", version=OPSET)
        return made


def _data_type(name: str) -> int:
    number: int = getattr(messages().TensorProto, _TYPES[name])
    return number
