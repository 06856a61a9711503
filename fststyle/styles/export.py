"""Export styles for other runners, as ONNX or in OpenVINO's format.

Exports can have a fixed image size, and ONNX files can use another opset version. Both formats
support three precisions:

- ``float32``: Everything is computed in single precision. In OpenVINO's format, kernels keep the
  precision that they have in the style file.
- ``float16``: Weights and convolutions use half precision. Instance norms stay in single
  precision, because they sum over every pixel of the photo.
- ``int8``: Weights and activations use 8 bits if the runner supports it. NNCF, OpenVINO's
  quantisation tool, quantises the trained network with the help of sample photos. Norms are not
  quantised.

Before an export is written, its results are compared with those of the style file on test images.
An export is not a style file, because `fststyle.styles.style_file` only reads graphs that fststyle
itself builds. Its metadata still contain the style's name, artist and licence.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.metadata
import importlib.util
import io
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fststyle import __version__
from fststyle.errors import SettingError, check_choice, check_number
from fststyle.files import cannot_write, temporary_folder, write_atomically
from fststyle.openvino_core import openvino_core
from fststyle.styles.content import StyleFile
from fststyle.styles.dial import STRONGEST, WEAKEST
from fststyle.styles.onnx_graph import build_model
from fststyle.styles.onnx_norms import InstanceNorm
from fststyle.styles.onnx_protobuf import OPSET
from fststyle.styles.probe import Run, openvino_runner, probe_photo
from fststyle.styles.shape import MIN_SIDE
from fststyle.styles.style_file import read_style, refusal

Precision = Literal["float32", "float16", "int8"]

LOWEST_OPSET: Final = 13
"""The oldest ONNX opset version that can be exported."""

_ODD_SIZES: Final = ((131, 173), (99, 66), (64, 61))
# Largest mean difference allowed for an export, as a fraction of the value range.
_TOLERANCES: Final[dict[Precision, float]] = {
    "float32": 0.1 / 255, "float16": 0.5 / 255, "int8": 6 / 255,
}  # fmt: skip

_NO_TELEMETRY: Final = "NNCF_CI"  # environment variable that NNCF reads when imported


@dataclass(frozen=True)
class Exported:
    """Files written by an export, and how far their results differ from the style file's.

    Attributes:
        paths: Paths of the files.
        sizes: Heights and widths of the test images on which the results were compared.
        largest: Largest difference of any value, as a fraction of the value range.
        mean: Mean difference, for the test image where it is largest, as a fraction of the range.
        runner: Name and version of the program that ran the export for the comparison.
    """

    paths: tuple[Path, ...]
    sizes: tuple[tuple[int, int], ...]
    largest: float
    mean: float
    runner: str


@dataclass(frozen=True)
class _Request:
    """The arguments of `export_style`."""

    target: Path
    size: tuple[int, int] | None
    precision: Precision
    opset: int | None
    samples: Sequence[NDArray[np.float32]]


def export_style(
    source: Path,
    target: Path,
    *,
    size: tuple[int, int] | None = None,
    precision: Precision = "float32",
    opset: int | None = None,
    samples: Sequence[NDArray[np.float32]] = (),
    strength: float = 1.0,
    style: str = "",
) -> Exported:
    """Export a style for another runner, after comparing the results with the style file's.

    Args:
        source: A style file.
        target: Path of the new file, with the extension ``.onnx``, or ``.xml`` for OpenVINO's
            format. OpenVINO's weights are written to a ``.bin`` file next to it. Existing files
            are replaced.
        size: Height and width for runners that need a fixed size, at least 5 each. The batch size
            is then 1. By default, batch size, height and width may vary.
        precision: ``float32``, ``float16`` or ``int8``, as described at the top of this module.
        opset: ONNX opset version, at least `LOWEST_OPSET`. By default, that of the style file.
        samples: Photos, ``(H, W, 3)`` in [0, 1], used to calibrate the activations for ``int8``.
        strength: Strength of the style, from 0.25 to 4. Only styles with a dial can be exported at
            strengths other than 1.
        style: Name of the style, for style files with several styles.

    Returns:
        The files, and how far their results differ from those of the style file.

    Raises:
        SettingError: The settings cannot be combined, or a package is missing (code
            ``missing_package``).
        StyleError: The style file cannot be used, or the results of the export differ too much
            from those of the style file (code ``not_verified``).
        FststyleError: A file cannot be written.
    """
    wanted = _Request(target, size, precision, opset, samples)
    _check_paths(source, target)
    _check_settings(wanted)
    check_number("strength", strength, WEAKEST, STRONGEST)
    content = read_style(source).selected(style)
    if strength != 1 and not content.network.dial:
        problem = "The style {path} has no dial, so it can only be exported at strength 1."
        raise refusal(problem, source, "no_dial", "Choose a style that was trained with a dial.")
    content = content.folded(strength)
    convert = _to_onnx if target.suffix == ".onnx" else _to_openvino
    files, run, runner = convert(content, wanted)
    sizes = _ODD_SIZES if size is None else (size,)
    original = openvino_runner(content.model)
    photos = [probe_photo(height, width) for height, width in sizes]
    differences = [np.abs(run(photo) - original(photo)) for photo in photos]
    largest = float(max(difference.max() for difference in differences))
    mean = float(max(difference.mean() for difference in differences))
    if not mean <= _TOLERANCES[precision]:  # written so that NaN does not pass
        problem = (
            f"In {precision}, the results of {content.info.name} differ by {255 * mean:.2f} of 255 "
            f"on average (run by {runner}), so {{path}} was not written."
        )
        raise refusal(problem, target, "not_verified", "Choose another precision.")
    for path, data in files.items():
        write_atomically(path, data)
    return Exported(tuple(files), sizes, largest, mean, runner)


def _check_paths(source: Path, target: Path) -> None:
    if target.suffix not in (".onnx", ".xml"):
        remedy = "Use the extension .onnx, or .xml for OpenVINO's format."
        problem = "Cannot export to {path}."
        raise SettingError(problem, path=target, remedy=remedy, code="unknown_extension")
    if not os.path.isdir(target.parent):
        problem, remedy = "The folder {path} does not exist.", "Create it, or choose another one."
        raise SettingError(problem, path=target.parent, remedy=remedy, code="not_found")
    if os.path.exists(target) and target.resolve() == source.resolve():
        problem, remedy = "The export would replace the style {path}.", "Choose another name."
        raise SettingError(problem, path=source, remedy=remedy, code="already_exists")


def _check_settings(wanted: _Request) -> None:
    import onnx

    size = wanted.size
    check_choice("precision", wanted.precision, get_args(Precision))
    if size is not None and min(size) < MIN_SIDE:
        raise SettingError(
            f"A fixed size must be at least {MIN_SIDE}x{MIN_SIDE} pixels, not {size[0]}x{size[1]}."
        )
    if wanted.opset is not None:
        if wanted.target.suffix != ".onnx":
            raise SettingError("OpenVINO's format has no opset.", remedy="Omit the opset.")
        highest = onnx.defs.onnx_opset_version()
        check_number("opset", wanted.opset, LOWEST_OPSET, highest, whole=True)
    if wanted.precision == "int8":
        needed = ["nncf"] + ["onnxruntime"] * (wanted.target.suffix == ".onnx")
        missing = [name for name in needed if importlib.util.find_spec(name) is None]
        if missing:
            raise SettingError(
                f"int8 needs {' and '.join(missing)}.",
                remedy="Install the extra int8.",
                code="missing_package",
                details={"packages": missing, "extra": "int8"},
            )
        if not wanted.samples:
            raise SettingError("int8 needs sample photos to calibrate the activations.")


def _to_onnx(content: StyleFile, wanted: _Request) -> tuple[dict[Path, bytes], Run, str]:
    import onnx
    from onnx import helper

    size, precision, opset = wanted.size, wanted.precision, wanted.opset
    weights = {name: array.astype(np.float32) for name, array in content.weights.items()}
    norm = InstanceNorm(size, opset=opset or OPSET)
    model = build_model(content.network, weights, norm, half=precision == "float16")
    if opset is not None:
        model.opset_import[0].version = opset
        model.ir_version = helper.find_min_ir_version_for(model.opset_import)
    if precision == "int8":
        model = _quantize(model, "photo", wanted)
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
        return {wanted.target: data}, openvino_runner(data), _version("openvino")
    return {wanted.target: data}, _onnxruntime_runner(data), _version("onnxruntime")


def _to_openvino(content: StyleFile, wanted: _Request) -> tuple[dict[Path, bytes], Run, str]:
    target = wanted.target
    model = openvino_core().read_model(content.model, b"")

    import openvino  # after openvino_core, which imports it without a home folder, too

    if wanted.size is not None:
        model.reshape([1, 3, *wanted.size])
    if wanted.precision == "int8":
        model = _quantize(model, 0, wanted)
    model.set_rt_info(content.info.to_json(), ["fststyle", "style"])
    model.set_rt_info(__version__, ["fststyle", "version"])
    with temporary_folder() as folder:
        path = folder / "style.xml"
        try:
            openvino.save_model(model, path, compress_to_fp16=wanted.precision == "float16")
        except RuntimeError as error:  # does not contain the reason
            raise cannot_write(path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))) from error
        # The weights come first, because the XML file cannot be loaded without them.
        files = {
            target.with_suffix(".bin"): path.with_suffix(".bin").read_bytes(),
            target: path.read_bytes(),
        }
    run = openvino_runner(files[target], files[target.with_suffix(".bin")])
    return files, run, _version("openvino")


def _quantize(model: Any, photo: str | int, wanted: _Request) -> Any:
    """Quantise weights and activations with NNCF, calibrated on the samples."""
    samples = wanted.samples
    if wanted.size is not None:
        from fststyle.images.resize import resize

        samples = [resize(s, height=wanted.size[0], width=wanted.size[1]) for s in samples]
    photos = [{photo: np.ascontiguousarray(s.transpose(2, 0, 1)[None])} for s in samples]
    with contextlib.redirect_stdout(io.StringIO()):  # NNCF draws progress bars
        nncf = _nncf()
        # NNCF's own set_log_level would change the handlers of the whole program.
        logging.getLogger("nncf").setLevel(logging.ERROR)
        return nncf.quantize(model, nncf.Dataset(photos), subset_size=len(photos))


def _nncf() -> Any:
    """Import NNCF with its telemetry disabled, which would report to Intel that NNCF is used."""
    is_ours = _NO_TELEMETRY not in os.environ
    os.environ.setdefault(_NO_TELEMETRY, "1")
    try:
        return importlib.import_module("nncf")
    finally:
        if is_ours:
            del os.environ[_NO_TELEMETRY]


def _onnxruntime_runner(model: bytes) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return lambda photo: np.array(session.run(None, {"photo": photo})[0])


def _version(package: str) -> str:
    return f"{package} {importlib.metadata.version(package)}"
