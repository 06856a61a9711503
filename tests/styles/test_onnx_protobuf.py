"""Messages equal those of onnx's own helpers, and are made without importing onnx."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fststyle.styles import onnx_protobuf


def test_as_onnx_makes_them() -> None:
    attributes: dict[str, Any] = {"strides": [2, 2], "group": 3, "epsilon": 1e-5, "mode": "reflect"}
    node = onnx_protobuf.node("Conv", ["a", "", "b"], ["c"], **attributes)
    assert node == helper.make_node("Conv", ["a", "", "b"], ["c"], **attributes)
    arrays: list[Any] = [np.ones((2, 3, 1, 1), kind) for kind in (np.float32, np.float16, np.int64)]
    arrays += [np.array(0.5, np.float32), np.arange(6, dtype=np.float32).reshape(2, 3).T]
    for array in arrays:
        assert onnx_protobuf.tensor(array, "x") == numpy_helper.from_array(array, "x")
    end = onnx_protobuf.value_info("photo", "float32", ["batch", 3])
    assert end == helper.make_tensor_value_info("photo", TensorProto.FLOAT, ["batch", 3])
    tensor = onnx_protobuf.tensor(arrays[0], "b")
    graph = onnx_protobuf.Graph({})
    graph.input("photo", "batch", 3)
    graph.constant("b", arrays[0], np.float32)
    graph.constant("unused", 1, np.float32)
    graph.add("Conv", "a", "", "b", output="c", **attributes)
    graph.output("photo", "batch", 3)
    expected = helper.make_model(
        helper.make_graph([node], "fststyle", [end], [end], [tensor]),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=8,
    )
    assert graph.model() == expected


def test_attributes_compare_by_value() -> None:
    one, same, other, none = (
        onnx_protobuf.attributes_of(onnx_protobuf.node("Conv", ["a"], ["b"], **attributes))
        for attributes in (
            {"group": 3, "kernel_shape": [1, 1]},
            {"kernel_shape": [1, 1], "group": 3},
        )
        + ({"group": 4, "kernel_shape": [1, 1]}, {})
    )
    assert one == same != other
    assert none == {}


def test_onnx_is_not_imported_and_may_come_later(style_path: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom fststyle.styles.style_file import read_style\n"
        f"read_style(Path({str(style_path)!r}))\n"
        "from fststyle.styles.onnx_protobuf import messages\n"
        "assert 'onnx' not in sys.modules\n"
        "import onnx\nassert onnx.ModelProto is messages().ModelProto\n"
        "onnx.checker.check_model(read_style(Path(sys.argv[1])).model)\n"
    )
    subprocess.run([sys.executable, "-c", program, style_path], check=True)


def test_later_onnx_with_its_messages_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = importlib.util.spec_from_file_location(
        "onnx", tmp_path / "__init__.py", submodule_search_locations=[str(tmp_path)]
    )
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found)
    with monkeypatch.context() as context:
        context.delitem(sys.modules, "onnx")
        # What the fallback imports is the onnx that is there already.
        context.setattr("builtins.__import__", _importing_onnx(__import__))
        assert onnx_protobuf.messages.__wrapped__() is onnx


def _importing_onnx(usual: Any) -> Any:
    def load(name: str, *rest: Any) -> Any:
        return onnx if name == "onnx" else usual(name, *rest)

    return load
