"""ONNX's messages, made without the rest of onnx, whose import takes longer than a small photo.

Importing onnx costs four times what its messages cost alone, since it brings its checker, text
formats and more with it. A one-shot ``fststyle stylize`` needs the messages only.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_NAME: Final = "onnx.onnx_ml_pb2"
_TYPES: Final[Mapping[str, str]] = {"float32": "FLOAT", "float16": "FLOAT16", "int64": "INT64"}


@cache
def messages() -> Any:
    """Return the module of ONNX's messages, which onnx itself uses when it is imported later."""
    package = importlib.util.find_spec("onnx")
    if "onnx" not in sys.modules and package is not None:
        for folder in package.submodule_search_locations or ():
            spec = importlib.util.spec_from_file_location(_NAME, f"{folder}/onnx_ml_pb2.py")
            if spec is None or spec.loader is None:
                continue
            module = importlib.util.module_from_spec(spec)
            try:
                spec.loader.exec_module(module)
            except OSError:  # where a later onnx has it elsewhere
                continue
            return sys.modules.setdefault(_NAME, module)
    import onnx

    return onnx


def node(operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> Any:
    """Make an operator.

    Args:
        operator: Its type.
        inputs: Names.
        outputs: Names.
        attributes: Texts, and whole numbers or lists of them.

    Returns:
        A ``NodeProto``.
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
    """Read a ``NodeProto``'s attributes: name → what compares by value."""
    return {one.name: one.SerializeToString(deterministic=True) for one in made.attribute}


def tensor(array: NDArray[Any], name: str) -> Any:
    """Make a ``TensorProto`` of an array of float32, float16 or int64."""
    kind = getattr(messages().TensorProto, _TYPES[array.dtype.name])
    data = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()
    return messages().TensorProto(dims=array.shape, data_type=kind, name=name, raw_data=data)


def end(name: str, dtype: int, *shape: str | int) -> Any:
    """Make the ``ValueInfoProto`` of an input or output.

    Args:
        name: Its own.
        dtype: One of ``TensorProto.DataType``.
        shape: Lengths, and names of those that are free.
    """
    made = messages().ValueInfoProto(name=name)
    made.type.tensor_type.elem_type = dtype
    for length in shape:
        dimension = made.type.tensor_type.shape.dim.add()
        if isinstance(length, str):
            dimension.dim_param = length
        else:
            dimension.dim_value = length
    return made


def model(graph: Mapping[str, Any], *, opset: int, ir_version: int) -> Any:
    """Make a ``ModelProto``.

    Args:
        graph: The fields of its ``GraphProto``.
        opset: Version of ONNX's own operators.
        ir_version: Of the format.
    """
    made = messages().ModelProto(ir_version=ir_version, graph=messages().GraphProto(**graph))
    made.opset_import.add(domain="", version=opset)
    return made
