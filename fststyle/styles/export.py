"""Style files for other runners: ONNX of a fixed size, an older opset or less precision; OpenVINO.

Every export is compared with the style file, on photos of odd sizes or of the fixed one, before
it takes its place. It is no style file any more (`fststyle.styles.style_file` reads only the graph
that it knows), but tells its style, artist and licence in its metadata.

- ``float32``: all in single precision; in OpenVINO's format kernels stay as in the style file.
- ``float16``: weights and convolutions in half precision. Instance norms stay in single: they add
  up as many numbers as a photo has pixels.
- ``int8``: weights and activations in 8 bits, where a runner can compute with them: post-training
  quantisation by NNCF, OpenVINO's own tool, from sample photos. Norms stay as they are.
- ``int8-weights``: only the kernels are stored in 8 bits, with a scale for each filter; a quarter
  of the size, no more speed.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import io
import json
import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fststyle import __version__
from fststyle.errors import SettingError, StyleError
from fststyle.files import write_atomically
from fststyle.openvino_core import openvino_core
from fststyle.styles.onnx_graph import build_model
from fststyle.styles.probe import probe_photo
from fststyle.styles.style_file import StyleFile, read_style

Precision = Literal["float32", "float16", "int8", "int8-weights"]
Format = Literal["onnx", "openvino"]

LOWEST_OPSET: Final = 11
"""Of ONNX; older ones pad by constants alone."""

_SUFFIXES: Final = {"onnx": ".onnx", "openvino": ".xml"}
_MIN_SIDE: Final = 5  # MIN_SIDE of network.py, which would load torch
_ODD_SIZES: Final = ((131, 173), (99, 66), (64, 61))
# Mean difference that an export may have, as a share of the range.
_TOLERANCES: Final[dict[Precision, float]] = {
    "float32": 0.1 / 255, "float16": 0.5 / 255, "int8": 6 / 255, "int8-weights": 3 / 255,
}  # fmt: skip

_NO_TELEMETRY: Final = "NNCF_CI"  # NNCF reads it when it is imported

_Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True)
class Exported:
    """What was written, and how far its pictures are from the style file's.

    Attributes:
        paths: The files.
        sizes: Heights and widths of the photos on which both were compared.
        largest: Largest difference of a value, as a share of the range.
        mean: Mean difference.
        runner: What ran the export.
    """

    paths: tuple[Path, ...]
    sizes: tuple[tuple[int, int], ...]
    largest: float
    mean: float
    runner: str


def export_style(
    source: Path,
    target: Path,
    *,
    size: tuple[int, int] | None = None,
    precision: Precision = "float32",
    opset: int | None = None,
    samples: Sequence[NDArray[np.float32]] = (),
) -> Exported:
    """Write a style for another runner, after comparing both.

    Args:
        source: A style file.
        target: Ends in ``.onnx``, or in ``.xml`` for OpenVINO's format, whose weights go to a
            ``.bin`` beside it. Files there are replaced.
        size: Height and width, from 5, for runners that need them fixed (the batch is 1 then).
            By default both are free.
        precision: As above.
        opset: ONNX's, from `LOWEST_OPSET`; by default as in the style file.
        samples: Photos, ``(H, W, 3)`` in [0, 1], for ``int8`` to measure activations on.

    Returns:
        What was written, with its difference from the style file.

    Raises:
        SettingError: Settings that do not fit together, or need a package that is not there.
        StyleError: The style file cannot be used, or its export differs from it too much.
        FststyleError: The files cannot be written.
    """
    file_format = _check(source, target, size, precision, opset, samples)
    content = read_style(source)
    if file_format == "onnx":
        files, run, runner = _to_onnx(content, target, size, precision, opset, samples)
    else:
        files, run, runner = _to_openvino(content, target, size, precision, samples)

    sizes = _ODD_SIZES if size is None else (size,)
    original = _run_openvino(content.model)
    photos = [probe_photo(height, width) for height, width in sizes]
    differences = [np.abs(run(photo) - original(photo)) for photo in photos]
    largest = float(max(difference.max() for difference in differences))
    mean = float(max(difference.mean() for difference in differences))
    if not mean <= _TOLERANCES[precision]:  # written so that NaN does not pass
        raise StyleError(
            f"In {precision}, {content.info.name} differs by {255 * mean:.2f} of 255 on average "
            f"in {runner}, so {target.name} was not written; choose another precision."
        )
    for path, data in files.items():
        write_atomically(path, data)
    return Exported(tuple(files), sizes, largest, mean, runner)


def _check(
    source: Path,
    target: Path,
    size: tuple[int, int] | None,
    precision: Precision,
    opset: int | None,
    samples: Sequence[NDArray[np.float32]],
) -> Format:
    import onnx

    formats: dict[str, Format] = {".onnx": "onnx", ".xml": "openvino"}
    file_format = formats.get(target.suffix)
    if file_format is None:
        raise SettingError(f"{target} must end in .onnx, or in .xml for OpenVINO's format.")
    if not target.parent.is_dir():
        raise SettingError(f"There is no folder {target.parent} for {target.name}; make it first.")
    if target.exists() and target.resolve() == source.resolve():
        raise SettingError(f"The export would replace the style {source}; give it a new name.")
    if precision not in get_args(Precision):
        raise SettingError(
            f"precision must be one of {', '.join(get_args(Precision))}, not {precision!r}."
        )
    if size is not None and min(size) < _MIN_SIDE:
        raise SettingError(
            f"A fixed size must be at least {_MIN_SIDE}x{_MIN_SIDE} pixels, "
            f"not {size[0]}x{size[1]}."
        )
    if opset is not None:
        if file_format != "onnx":
            raise SettingError("OpenVINO's format has no opset to choose; leave it out.")
        highest = onnx.defs.onnx_opset_version()
        lowest = 13 if precision.startswith("int8") else LOWEST_OPSET
        if not lowest <= opset <= highest:
            raise SettingError(
                f"opset must be from {lowest} to {highest} in {precision}, not {opset}."
            )
    if precision == "int8":
        needed = ["nncf"] + ["onnxruntime"] * (file_format == "onnx")
        missing = [name for name in needed if importlib.util.find_spec(name) is None]
        if missing:
            raise SettingError(
                f'int8 needs {" and ".join(missing)}: pip install "fststyle[int8]"; '
                "int8-weights does without."
            )
        if not samples:
            raise SettingError("int8 needs sample photos to measure activations on.")
    return file_format


def _to_onnx(
    content: StyleFile,
    target: Path,
    size: tuple[int, int] | None,
    precision: Precision,
    opset: int | None,
    samples: Sequence[NDArray[np.float32]],
) -> tuple[dict[Path, bytes], _Run, str]:
    import onnx
    from onnx import helper

    weights = {name: array.astype(np.float32) for name, array in content.weights.items()}
    model = build_model(content.network, weights)
    if opset is not None:
        _set_opset(model, opset)
    if size is not None:
        _fix_size(model, *size)
    if precision == "float16":
        _to_half(model)
    elif precision == "int8-weights":
        _to_int8_kernels(model)
    elif precision == "int8":
        model = _quantize(model, "photo", size, samples)
    used = {name for node in model.graph.node for name in node.input}
    for tensor in [t for t in model.graph.initializer if t.name not in used]:
        model.graph.initializer.remove(tensor)
    model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    described = {"precision": precision, "size": size and list(size)}
    metadata = {
        "format": "fststyle-export",
        "fststyle_version": __version__,
        "export": json.dumps(described),
        "style": content.info.to_json(),
    }
    del model.metadata_props[:]
    helper.set_model_props(model, metadata)
    model.producer_name, model.producer_version = "fststyle", __version__
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString()
    if importlib.util.find_spec("onnxruntime") is None:
        return {target: data}, _run_openvino(data), _version("openvino")
    return {target: data}, _run_onnxruntime(data), _version("onnxruntime")


def _to_openvino(
    content: StyleFile,
    target: Path,
    size: tuple[int, int] | None,
    precision: Precision,
    samples: Sequence[NDArray[np.float32]],
) -> tuple[dict[Path, bytes], _Run, str]:
    import openvino
    from onnx import ModelProto

    data = content.model
    if precision == "int8-weights":
        onnx_model = ModelProto.FromString(data)
        _widen_kernels(onnx_model)
        _to_int8_kernels(onnx_model)
        data = onnx_model.SerializeToString()
    model = openvino_core().read_model(data, b"")
    if size is not None:
        model.reshape([1, 3, *size])
    if precision == "int8":
        model = _quantize(model, 0, size, samples)
    model.set_rt_info(content.info.to_json(), ["fststyle", "style"])
    model.set_rt_info(__version__, ["fststyle", "version"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "style.xml")
        openvino.save_model(model, path, compress_to_fp16=precision == "float16")
        # Weights first: a description without them would not load.
        files = {
            target.with_suffix(".bin"): path.with_suffix(".bin").read_bytes(),
            target: path.read_bytes(),
        }
    run = _run_openvino(files[target], files[target.with_suffix(".bin")])
    return files, run, _version("openvino")


def _set_opset(model: Any, opset: int) -> None:
    """Rewrite what another opset says differently; the graph is of opset 18."""
    from onnx import helper, numpy_helper

    graph = model.graph
    model.opset_import[0].version = opset
    model.ir_version = helper.find_min_ir_version_for(model.opset_import)
    if opset < 15:  # Shape gives all of a shape
        for index, node in enumerate(graph.node):
            if node.op_type == "Shape":
                whole = helper.make_node("Shape", node.input, ["photo_shape"])
                numbers = {"two": [2], "four": [4], "zero": [0]}
                part = helper.make_node("Slice", ["photo_shape", *numbers], node.output)
                graph.node.remove(node)
                graph.node.insert(index, whole)
                graph.node.insert(index + 1, part)
                for name, values in numbers.items():
                    array = np.array(values, np.int64)
                    graph.initializer.append(numpy_helper.from_array(array, name))
                break
    if opset < 13:  # Resize needs a region, which it then ignores
        for node in graph.node:
            if node.op_type == "Resize":
                node.input[1] = "region"
        graph.initializer.append(numpy_helper.from_array(np.zeros(0, np.float32), "region"))


def _fix_size(model: Any, height: int, width: int) -> None:
    """Fix the batch to 1 and height and width to numbers, so that nothing depends on the photo."""
    from onnx import numpy_helper

    graph = model.graph
    for value in (*graph.input, *graph.output):
        for dimension, length in zip(
            value.type.tensor_type.shape.dim, (1, 3, height, width), strict=True
        ):
            dimension.dim_value = length
    crop = graph.node[-1]
    for node in [n for n in graph.node if "photo_shape" in n.input or n.op_type == "Shape"]:
        graph.node.remove(node)
    if height % 4 == 0 and width % 4 == 0:  # there is nothing to crop
        graph.node.remove(crop)
        graph.node[-1].output[0] = "picture"
    else:
        size = np.array([height, width], np.int64)
        graph.initializer.append(numpy_helper.from_array(size, crop.input[2]))


def _to_half(model: Any) -> None:
    """Convert convolutions and what is between them to half precision."""
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    kernels = {name for node in graph.node if node.op_type == "Conv" for name in node.input[1:]}
    for tensor in graph.initializer:
        if tensor.name in kernels:
            half = numpy_helper.to_array(tensor).astype(np.float16)
            if not np.isfinite(half).all():
                raise StyleError(
                    f"{tensor.name} has values beyond float16's range; choose another precision."
                )
            tensor.CopyFrom(numpy_helper.from_array(half, tensor.name))
    nodes = []

    def cast(name: str, kind: int) -> str:
        output = f"{name}_{'half' if kind == TensorProto.FLOAT16 else 'single'}"
        nodes.append(helper.make_node("Cast", [name], [output], to=kind))
        return output

    renamed: dict[str, str] = {}  # what is half precision now
    for node in list(graph.node):
        in_single = node.op_type in ("InstanceNormalization", "Sigmoid", "Clip")
        for index, name in enumerate(node.input):
            if name in renamed:
                source = renamed[name]
                node.input[index] = cast(source, TensorProto.FLOAT) if in_single else source
        nodes.append(node)
        # After them single precision is not needed any more; the crop at the end keeps it.
        if node.op_type in ("Sub", "InstanceNormalization"):
            renamed[node.output[0]] = cast(node.output[0], TensorProto.FLOAT16)
        elif any(name in renamed.values() for name in node.input) and not in_single:
            renamed[node.output[0]] = node.output[0]
    del graph.node[:]
    graph.node.extend(nodes)


def _widen_kernels(model: Any) -> None:
    """Undo the half precision of a style file's kernels."""
    from onnx import numpy_helper

    graph = model.graph
    for node in [n for n in graph.node if n.op_type == "Cast"]:
        (tensor,) = (t for t in graph.initializer if t.name == node.input[0])
        array = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(array, node.output[0]))
        graph.node.remove(node)


def _to_int8_kernels(model: Any) -> None:
    """Store kernels in 8 bits with a scale for each filter (DequantizeLinear)."""
    from onnx import helper, numpy_helper

    graph = model.graph
    for index, node in reversed(list(enumerate(graph.node))):
        if node.op_type != "Conv":
            continue
        name = node.input[1]
        (tensor,) = (t for t in graph.initializer if t.name == name)
        kernel = numpy_helper.to_array(tensor)
        largest = np.abs(kernel).max((1, 2, 3))
        scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
        levels = np.rint(kernel / scale[:, None, None, None]).astype(np.int8)
        tensor.CopyFrom(numpy_helper.from_array(levels, name))
        graph.initializer.append(numpy_helper.from_array(scale, f"{name}_scale"))
        zero = np.zeros(len(scale), np.int8)
        graph.initializer.append(numpy_helper.from_array(zero, f"{name}_zero"))
        inputs = [name, f"{name}_scale", f"{name}_zero"]
        graph.node.insert(
            index, helper.make_node("DequantizeLinear", inputs, [f"{name}_float"], axis=0)
        )
        node = graph.node[index + 1]
        node.input[1] = f"{name}_float"


def _quantize(
    model: Any,
    photo: str | int,
    size: tuple[int, int] | None,
    samples: Sequence[NDArray[np.float32]],
) -> Any:
    """Quantise weights and activations by NNCF, as measured on samples."""
    photos = [
        {photo: np.ascontiguousarray(_fitted(s, size).transpose(2, 0, 1)[None])} for s in samples
    ]
    with contextlib.redirect_stdout(io.StringIO()):  # it draws progress bars
        nncf = _nncf()
        # Its own set_log_level would change the handlers of the whole program.
        logging.getLogger("nncf").setLevel(logging.ERROR)
        return nncf.quantize(model, nncf.Dataset(photos), subset_size=len(photos))


def _nncf() -> Any:
    """Import NNCF without its telemetry, which would tell Intel that it is used, unasked."""
    before = os.environ.get(_NO_TELEMETRY)
    os.environ[_NO_TELEMETRY] = "1"
    try:
        return importlib.import_module("nncf")
    finally:
        if before is None:
            del os.environ[_NO_TELEMETRY]
        else:
            os.environ[_NO_TELEMETRY] = before


def _fitted(sample: NDArray[np.float32], size: tuple[int, int] | None) -> NDArray[np.float32]:
    if size is None:
        return sample
    from fststyle.images.resize import resize

    return resize(sample, height=size[0], width=size[1])


def _run_openvino(model: bytes, weights: bytes = b"") -> _Run:
    core = openvino_core()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(core.read_model(model, weights), "CPU", settings)
    return lambda photo: np.array(compiled([photo])[0])


def _run_onnxruntime(model: bytes) -> _Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return lambda photo: np.array(session.run(None, {"photo": photo})[0])


def _version(package: str) -> str:
    return f"{package} {importlib.metadata.version(package)}"
