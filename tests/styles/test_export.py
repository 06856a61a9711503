from __future__ import annotations

import importlib.util
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from errors_help import raises
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from fststyle.errors import SettingError, StyleError
from fststyle.openvino_core import openvino_core
from fststyle.runtime.runner import load_runtime
from fststyle.styles import export
from fststyle.styles.export import export_style
from fststyle.styles.info import StyleInfo
from fststyle.styles.network import TransformerNet
from fststyle.styles.style_file import read_style, save_style

has_nncf = importlib.util.find_spec("nncf") is not None
needs_nncf = pytest.mark.skipif(not has_nncf, reason='needs NNCF: pip install "fststyle[int8]"')
ROOT = Path(__file__).parents[2]


def random_photo(height: int, width: int) -> NDArray[np.float32]:
    coarse = np.random.default_rng(6).random((1, 3, -(-height // 4), -(-width // 4)), np.float32)
    return coarse.repeat(4, axis=2).repeat(4, axis=3)[:, :, :height, :width]


def expected_picture(style: Path, photo: NDArray[np.float32]) -> NDArray[np.float32]:
    """The style file's own picture, by ONNX's reference implementation."""
    (picture,) = ReferenceEvaluator(read_style(style).model).run(None, {"photo": photo})
    return np.asarray(picture)


def run(path: Path, photo: NDArray[np.float32]) -> NDArray[np.float32]:
    quantised = path.suffix == ".onnx" and b"DequantizeLinear" in path.read_bytes()
    if path.suffix == ".xml" or quantised:  # the reference lacks old versions of that operator
        settings = {"INFERENCE_PRECISION_HINT": "f32"}
        compiled = openvino_core().compile_model(path, "CPU", settings)
        return np.array(compiled([photo])[0])
    (picture,) = ReferenceEvaluator(str(path)).run(None, {"photo": photo})
    result = np.asarray(picture)
    assert result.dtype == np.float32
    return result


def shapes(model: Any) -> list[list[int | str]]:
    return [
        [d.dim_value or d.dim_param for d in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    ]


@pytest.mark.parametrize(
    ("options", "tolerance"),
    [
        ({}, 1e-4),
        ({"opset": 13}, 1e-4),
        ({"opset": 13, "precision": "float16"}, 0.01),
        ({"opset": 15}, 1e-4),
        ({"opset": 21}, 1e-4),
        ({"precision": "float16"}, 0.01),
    ],
)
def test_onnx_of_any_size(
    options: dict[str, Any], tolerance: float, each_style_path: Path, tmp_path: Path
) -> None:
    path = tmp_path / "out.onnx"
    exported = export_style(each_style_path, path, **options)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version == options.get("opset", 18)
    assert shapes(model) == [["batch", 3, "height", "width"]] * 2
    assert exported.paths == (path,)
    assert 0 <= exported.mean <= exported.largest <= tolerance
    assert any(height % 4 and width % 4 for height, width in exported.sizes)
    for photo in (random_photo(13, 22), random_photo(16, 9)):
        expected = expected_picture(each_style_path, photo)
        np.testing.assert_allclose(run(path, photo), expected, atol=tolerance)
        assert expected.std() > 0.02


@pytest.mark.parametrize("size", [(16, 12), (13, 22), (5, 5)])
@pytest.mark.parametrize("options", [{}, {"opset": 13}, {"precision": "float16"}])
def test_onnx_of_a_fixed_size(
    options: dict[str, Any], size: tuple[int, int], style_path: Path, tmp_path: Path
) -> None:
    path = tmp_path / "out.onnx"
    exported = export_style(style_path, path, size=size, **options)
    model = onnx.load(path)
    assert exported.sizes == (size,)
    assert shapes(model) == [[1, 3, *size]] * 2
    operators = {node.op_type for node in model.graph.node}
    assert "Shape" not in operators
    assert ("Slice" in operators) == any(length % 4 for length in size)
    names = {tensor.name for tensor in model.graph.initializer}
    assert names <= {name for node in model.graph.node for name in node.input}
    photo = random_photo(*size)
    np.testing.assert_allclose(run(path, photo), expected_picture(style_path, photo), atol=0.01)


def test_smaller_files(style_path: Path, tmp_path: Path) -> None:
    kernels: dict[str, set[int]] = {}
    for precision in ("float32", "float16"):
        export_style(style_path, tmp_path / "out.onnx", precision=precision)
        tensors = onnx.load(tmp_path / "out.onnx").graph.initializer
        kernels[precision] = {t.data_type for t in tensors if len(t.dims) == 4}
    types = onnx.TensorProto
    assert kernels["float32"] == {types.FLOAT}
    assert kernels["float16"] == {types.FLOAT16}


def test_export_says_what_it_is(style_path: Path, tmp_path: Path) -> None:
    export_style(style_path, tmp_path / "out.onnx", size=(16, 12), precision="float16")
    metadata = {e.key: e.value for e in onnx.load(tmp_path / "out.onnx").metadata_props}
    assert StyleInfo.from_json(metadata["style"]) == read_style(style_path).info
    assert json.loads(metadata["export"]) == {"precision": "float16", "size": [16, 12]}
    with raises(StyleError, "not_a_style"):
        read_style(tmp_path / "out.onnx")


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_openvino(precision: Any, each_style_path: Path, tmp_path: Path) -> None:
    exported = export_style(each_style_path, tmp_path / "out.xml", precision=precision)
    assert sorted(tmp_path.iterdir()) == sorted(exported.paths)
    assert {path.name for path in exported.paths} == {"out.bin", "out.xml"}
    tolerance = {"float32": 1e-4, "float16": 0.01}[precision]
    assert exported.largest <= tolerance
    photo = random_photo(13, 22)
    expected = expected_picture(each_style_path, photo)
    np.testing.assert_allclose(run(tmp_path / "out.xml", photo), expected, atol=tolerance)
    model = openvino_core().read_model(tmp_path / "out.xml")
    assert "A small one" in model.get_rt_info(["fststyle", "style"]).astype(str)


def test_openvino_of_a_fixed_size(style_path: Path, tmp_path: Path) -> None:
    export_style(style_path, tmp_path / "out.xml", size=(13, 22))
    model = openvino_core().read_model(tmp_path / "out.xml")
    assert list(model.input(0).shape) == list(model.output(0).shape) == [1, 3, 13, 22]


@needs_nncf
@pytest.mark.filterwarnings("ignore")  # of NNCF's own
@pytest.mark.parametrize("suffix", [".xml", ".onnx"])
def test_int8(
    suffix: str,
    style_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    levels = [handler.level for handler in logging.root.handlers]
    # A small network loses more than a trained one of full size.
    monkeypatch.setitem(export._TOLERANCES, "int8", 0.1)
    samples = [random_photo(32, 32)[0].transpose(1, 2, 0)] * 2
    path = tmp_path / f"out{suffix}"
    exported = export_style(style_path, path, precision="int8", samples=samples)
    photo = random_photo(33, 26)
    difference = np.abs(run(path, photo) - expected_picture(style_path, photo))
    assert difference.mean() < 0.1
    assert exported.mean > 1e-4  # 8 bits do show
    data = b"".join(written.read_bytes() for written in exported.paths)
    assert b"FakeQuantize" in data or b"QuantizeLinear" in data
    assert [handler.level for handler in logging.root.handlers] == levels
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("name", "options", "code", "fact"),
    [
        ("out.tflite", {}, "unknown_extension", ".xml"),
        ("missing/out.onnx", {}, "not_found", "missing"),
        ("out.onnx", {"opset": 12}, "setting", "opset"),
        ("out.onnx", {"opset": 999}, "setting", "opset"),
        ("out.xml", {"opset": 18}, "setting", "opset"),
        ("out.onnx", {"size": (4, 64)}, "setting", "5x5 pixels, not 4x64"),
        ("out.onnx", {"precision": "int4"}, "setting", "float32, float16, int8"),
    ],
)
def test_impossible_exports(
    name: str, options: dict[str, Any], code: str, fact: str, style_path: Path, tmp_path: Path
) -> None:
    with raises(SettingError, code, fact):
        export_style(style_path, tmp_path / name, **options)
    assert list(tmp_path.iterdir()) == []


def test_int8_without_its_packages(
    style_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = importlib.util.find_spec
    missing = ("nncf", "onnxruntime")
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in missing else find_spec(name)
    )
    with raises(SettingError, "missing_package", *missing) as caught:
        export_style(style_path, tmp_path / "out.onnx", precision="int8")
    assert caught.value.details == {"packages": list(missing), "extra": "int8"}
    assert export_style(style_path, tmp_path / "out.onnx").runner.startswith("openvino")


@pytest.mark.skipif(sys.platform == "win32", reason="links need special rights on Windows")
def test_style_itself_is_not_replaced(small_network: TransformerNet, tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    save_style(small_network, StyleInfo("a"), path)
    before = path.read_bytes()
    (tmp_path / "link.onnx").symlink_to(path)
    with raises(SettingError, "already_exists", path):
        export_style(path, tmp_path / "link.onnx")
    assert path.read_bytes() == before
    assert load_runtime(path).info.name == "a"


def test_export_that_differs_is_not_written(
    style_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.onnx"
    path.write_bytes(b"before")
    monkeypatch.setitem(export._TOLERANCES, "float16", 1e-9)
    with raises(StyleError, "not_verified", "float16", path):
        export_style(style_path, path, precision="float16")
    assert path.read_bytes() == b"before"


def test_export_loads_no_torch(style_path: Path, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from fststyle.styles.export import export_style;"
        "export_style(Path(sys.argv[1]), Path(sys.argv[2])); print('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", program, str(style_path), str(tmp_path / "out.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "False"
